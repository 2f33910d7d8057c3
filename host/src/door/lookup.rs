//! Looks up a server's name: one look-up at a time, shared by all callers that wait for it.
//!
//! The system's resolver occupies a thread until it returns, even if nobody waits for it any more. So each look-up has a thread of its own,
//! which delays neither a call nor the end of the process, and keeps its place among the look-ups until it ends.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::thread;
use tokio::sync::{Semaphore, watch};

/// How many names may be looked up at once in this process.
const AT_ONCE: usize = 64;

static PLACES: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(AT_ONCE)));

/// The function that asks the system.
type Resolve = fn(&str, u16) -> io::Result<Vec<SocketAddr>>;

/// The addresses, or why there are none.
type Addresses = Result<Arc<[SocketAddr]>, LookupError>;

/// Why a name has no address.
#[derive(Clone, Debug)]
pub(crate) enum LookupError {
    /// The system reports this error.
    System(Arc<io::Error>),
    /// The system returned no address.
    NoAddress,
    /// No thread could be started for the look-up.
    NotStarted,
}

impl fmt::Display for LookupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LookupError::System(error) => error.fmt(f),
            LookupError::NoAddress => f.write_str("the name has no address"),
            LookupError::NotStarted => f.write_str("the look-up could not be started"),
        }
    }
}

/// The addresses of one server.
pub(crate) struct Lookup {
    host: Arc<str>,
    port: u16,
    resolve: Resolve,
    places: Arc<Semaphore>,
    /// The look-up under way, or the last one.
    last: Mutex<Option<watch::Receiver<Option<Addresses>>>>,
}

impl Lookup {
    /// The look-up of a server by its address, or by its name, which may end in a dot.
    pub(crate) fn new(host: &str, port: u16) -> Lookup {
        Lookup { host: host.into(), port, resolve: ask_system, places: PLACES.clone(), last: Mutex::default() }
    }

    /// The server's addresses as of now.
    pub(crate) async fn addresses(&self) -> Addresses {
        if let Ok(address) = self.host.parse::<IpAddr>() {
            return Ok([SocketAddr::new(address, self.port)].into());
        }
        let mut under_way = self.under_way();
        let ended = under_way.wait_for(Option::is_some).await;
        ended.map(|found| found.clone()).ok().flatten().unwrap_or(Err(LookupError::NotStarted))
    }

    /// The look-up under way, or a new one.
    fn under_way(&self) -> watch::Receiver<Option<Addresses>> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        match &*last {
            Some(under_way) if under_way.has_changed().is_ok() => under_way.clone(),
            _ => {
                let (tell, begun) = watch::channel(None);
                tokio::spawn(begin(self.places.clone(), self.host.clone(), self.port, self.resolve, tell));
                last.insert(begun).clone()
            }
        }
    }
}

async fn begin(places: Arc<Semaphore>, host: Arc<str>, port: u16, resolve: Resolve, tell: watch::Sender<Option<Addresses>>) {
    // The semaphore is never closed.
    let place = places.acquire_owned().await.ok();
    let look_up = move || {
        let found = resolve(&host, port).map_err(|e| LookupError::System(Arc::new(e)));
        tell.send_replace(Some(found.and_then(some)));
        drop(place);
    };
    // If no thread is started, `tell` is dropped, which tells all who wait.
    if let Err(error) = thread::Builder::new().name("incluster-lookup".into()).spawn(look_up) {
        tracing::warn!(target: crate::figures::TARGET, %error, "failed to start a thread to look a name up");
    }
}

fn ask_system(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    let found = (host, port).to_socket_addrs();
    let found = match host.strip_suffix('.') {
        // A hosts file has names without the dot, and glibc does not find them by a name with it.
        Some(without_dot) if found.is_err() => (without_dot, port).to_socket_addrs(),
        _ => found,
    };
    found.map(Iterator::collect)
}

fn some(addresses: Vec<SocketAddr>) -> Addresses {
    if addresses.is_empty() { Err(LookupError::NoAddress) } else { Ok(addresses.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn a_name_with_a_dot_is_found_in_the_hosts_file() {
        assert!(ask_system("localhost.", 6443).unwrap().iter().all(|address| address.ip().is_loopback()));
        assert!(ask_system("no-such-host.invalid.", 6443).is_err());
    }

    static BEGUN: AtomicUsize = AtomicUsize::new(0);
    static MAY_END: LazyLock<Barrier> = LazyLock::new(|| Barrier::new(2));

    /// A resolver that waits until it may end.
    fn slow(_: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        BEGUN.fetch_add(1, Ordering::SeqCst);
        MAY_END.wait();
        Ok(vec![([127, 0, 0, 1], port).into()])
    }

    fn lookup(host: &str, resolve: Resolve, places: &Arc<Semaphore>) -> Lookup {
        Lookup { host: host.into(), port: 6443, resolve, places: places.clone(), last: Mutex::default() }
    }

    /// Begins to wait, and gives up.
    async fn given_up(addresses: impl Future<Output = Addresses>) {
        tokio::select! {
            biased;
            _ = addresses => panic!("it was quick"),
            () = std::future::ready(()) => {}
        }
    }

    /// Without this, 1,500 calls with a deadline of 2 ms took 512 threads.
    #[tokio::test]
    async fn callers_that_give_up_leave_one_look_up_which_the_next_one_shares() {
        let places = Arc::new(Semaphore::new(1));
        let (slow, another) = (lookup("slow", slow, &places), lookup("another", slow, &places));
        for _ in 0..100 {
            given_up(slow.addresses()).await;
        }
        while BEGUN.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
        given_up(another.addresses()).await;
        tokio::task::yield_now().await;
        assert_eq!((BEGUN.load(Ordering::SeqCst), places.available_permits()), (1, 0));
        let may_end = async || tokio::task::spawn_blocking(|| MAY_END.wait()).await.unwrap();
        // A caller that waits before the look-up ends shares it.
        let (shared, ()) = tokio::join!(slow.addresses(), async { _ = may_end().await });
        assert_eq!(shared.unwrap().len(), 1);
        let (found, ()) = tokio::join!(another.addresses(), async { _ = may_end().await });
        assert_eq!(found.unwrap()[0].port(), 6443);
        assert_eq!(BEGUN.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn an_address_is_not_looked_up_and_a_name_without_one_is_an_error() {
        let never = |_: &str, _| Ok(Vec::new());
        let places = Arc::new(Semaphore::new(1));
        assert_eq!(*lookup("::1", never, &places).addresses().await.unwrap(), ["[::1]:6443".parse().unwrap()]);
        assert_eq!(lookup("nobody", never, &places).addresses().await.unwrap_err().to_string(), "the name has no address");
        let fails = |_: &str, _| Err(io::Error::other("no"));
        assert_eq!(lookup("nobody", fails, &places).addresses().await.unwrap_err().to_string(), "no");
    }
}
