//! A relay between a client and a server, like a load balancer.

use crate::server::Server;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::io::copy_bidirectional;
use tokio::net::TcpStream;

/// A TCP relay between clients and a server. Dropping it ends it and its connections.
pub struct Relay {
    server: Server,
    to: Arc<Mutex<SocketAddr>>,
}

impl Relay {
    /// Starts a relay to this address.
    pub async fn to(to: SocketAddr) -> Relay {
        let to = Arc::new(Mutex::new(to));
        let leading = to.clone();
        let server = Server::start_raw(move |mut client| {
            let to = *leading.lock().unwrap();
            async move {
                let mut server = TcpStream::connect(to).await.expect("a server");
                // An error is of no use here: both ends notice it themselves.
                let _ = copy_bidirectional(&mut client, &mut server).await;
            }
        })
        .await;
        Relay { server, to }
    }

    /// Returns the relay's base URL.
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// Relays new connections to this address.
    pub fn lead_to(&self, to: SocketAddr) {
        *self.to.lock().unwrap() = to;
    }

    /// Ends all open connections.
    pub fn hang_up(&self) {
        self.server.hang_up();
    }
}
