//! A throw-away API server for tests: real TLS, HTTP/1.1 and HTTP/2 on a free port, with a CA of its own and a
//! service-account volume laid out as kubelet does. The test decides what it answers.
//!
//! The crate is for tests and the demo: it panics where it cannot go on.
#![expect(clippy::expect_used, clippy::unwrap_used, clippy::panic, reason = "a test that cannot be set up has failed")]

mod answer;
mod api;
mod ca;
#[cfg(test)]
mod client;
mod fault;
mod openssl;
mod recording;
mod relay;
mod request;
mod server;
mod store;
mod tls;
mod volume;

pub use answer::{Answer, Chunk, Chunks};
pub use api::{PodApi, TOKEN};
pub use ca::{Ca, Identity};
pub use fault::{Fault, Faults};
pub use recording::Recording;
pub use relay::Relay;
pub use request::Request;
pub use server::Server;
pub use store::{Forgotten, PodStore};
pub use tls::Protocol;
pub use volume::Volume;

/// An API server with the recorded pods, its CA, and a volume with a token that it accepts.
pub struct Testbed {
    /// The CA that issued the server's certificate.
    pub ca: Ca,
    /// The server.
    pub server: Server,
    /// The service account's volume.
    pub volume: Volume,
}

impl Testbed {
    /// Starts a server of the recorded pods in the namespace `shop`.
    pub async fn start() -> Testbed {
        Testbed::serving(PodApi::answer).await
    }

    /// Starts a server that answers with `answer`.
    pub async fn serving(answer: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Testbed {
        let ca = Ca::new("kubernetes-ca");
        let server = Server::start(ca.identity(&["127.0.0.1"]), Protocol::Any, answer).await;
        let volume = Volume::new(TOKEN, &ca.pem(), "shop");
        Testbed { ca, server, volume }
    }

    /// Starts a server that answers with the asynchronous `answer`.
    pub async fn serving_async<F: Future<Output = Answer> + Send + 'static>(
        answer: impl Fn(Request) -> F + Send + Sync + 'static,
    ) -> Testbed {
        let ca = Ca::new("kubernetes-ca");
        let server = Server::start_async(ca.identity(&["127.0.0.1"]), Protocol::Any, answer).await;
        let volume = Volume::new(TOKEN, &ca.pem(), "shop");
        Testbed { ca, server, volume }
    }
}
