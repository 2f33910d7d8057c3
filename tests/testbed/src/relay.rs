//! What stands between a client and a server, as a load balancer does.

use crate::server::Server;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::io::copy_bidirectional;
use tokio::net::TcpStream;

/// Passes on what a client says to a server, and back. It ends when it is dropped, and its connections with it.
pub struct Relay {
    server: Server,
    to: Arc<Mutex<SocketAddr>>,
}

impl Relay {
    /// A relay whose connections lead here.
    pub async fn to(to: SocketAddr) -> Relay {
        let to = Arc::new(Mutex::new(to));
        let leading = to.clone();
        let server = Server::start_raw(move |mut client| {
            let to = *leading.lock().unwrap();
            async move {
                let mut server = TcpStream::connect(to).await.expect("a server");
                // How it ended, both ends know.
                let _ = copy_bidirectional(&mut client, &mut server).await;
            }
        })
        .await;
        Relay { server, to }
    }

    /// Its base URL.
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// Lets new connections lead here.
    pub fn lead_to(&self, to: SocketAddr) {
        *self.to.lock().unwrap() = to;
    }

    /// Ends the connections that there are.
    pub fn hang_up(&self) {
        self.server.hang_up();
    }
}
