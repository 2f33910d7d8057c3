//! A throw-away API server: real TLS, real HTTP/1.1 and HTTP/2, on a port of its own, with a CA of its own and a
//! service-account volume laid out as kubelet lays it out. What it answers, a test decides.
//!
//! It is for tests and the demo: where it cannot go on, it panics.
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
    /// Serves the recorded pods in the namespace `shop`.
    pub async fn start() -> Testbed {
        Testbed::serving(PodApi::answer).await
    }

    /// Serves what `answer` says.
    pub async fn serving(answer: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Testbed {
        let ca = Ca::new("kubernetes-ca");
        let server = Server::start(ca.identity(&["127.0.0.1"]), Protocol::Any, answer).await;
        let volume = Volume::new(TOKEN, &ca.pem(), "shop");
        Testbed { ca, server, volume }
    }

    /// Serves what `answer` says, which may take its time.
    pub async fn serving_async<F: Future<Output = Answer> + Send + 'static>(
        answer: impl Fn(Request) -> F + Send + Sync + 'static,
    ) -> Testbed {
        let ca = Ca::new("kubernetes-ca");
        let server = Server::start_async(ca.identity(&["127.0.0.1"]), Protocol::Any, answer).await;
        let volume = Volume::new(TOKEN, &ca.pem(), "shop");
        Testbed { ca, server, volume }
    }
}
