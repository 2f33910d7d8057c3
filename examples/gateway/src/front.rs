//! Clients' HTTP connections, and the gateway's own answers.

use crate::engine::{Serving, until_stopping};
use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::timeout;
use tracing::error;

/// How long a request's head may take to arrive.
const HEAD: Duration = Duration::from_secs(10);

/// How long requests in progress may take to end when the gateway stops.
const GRACE: Duration = Duration::from_secs(10);

pub(crate) type Body = BoxBody<Bytes, hyper::Error>;

pub(crate) async fn accept<A>(
    listener: TcpListener,
    mut serving: watch::Receiver<Serving>,
    answer: impl Fn(SocketAddr, Request<Incoming>) -> A + Clone + Send + Sync + 'static,
) where
    A: Future<Output = Response<Body>> + Send + 'static,
{
    let connections = GracefulShutdown::new();
    loop {
        let (stream, client) = tokio::select! {
            () = until_stopping(&mut serving) => break,
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                // Usually, too many files are open. When connections end, there is room again.
                Err(error) => {
                    error!(%error, "accepting a connection failed");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            },
        };
        let _ = stream.set_nodelay(true);
        let answer = answer.clone();
        let service = service_fn(move |request| {
            let answer = answer(client, request);
            async move { Ok::<_, std::convert::Infallible>(answer.await) }
        });
        let mut server = auto::Builder::new(TokioExecutor::new());
        server.http1().timer(TokioTimer::new()).header_read_timeout(HEAD);
        server.http2().timer(TokioTimer::new());
        let connection = connections.watch(server.serve_connection(TokioIo::new(stream), service).into_owned());
        // How a connection ends concerns its client alone.
        tokio::spawn(async move { drop(connection.await) });
    }
    let _ = timeout(GRACE, connections.shutdown()).await;
}

/// An answer of the gateway's own.
pub(crate) fn text(status: StatusCode, text: &str) -> Response<Body> {
    let body = Full::new(Bytes::from(format!("{text}\n"))).map_err(|never| match never {}).boxed();
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    answer
}

pub(crate) fn unavailable(why: &str) -> Response<Body> {
    text(StatusCode::SERVICE_UNAVAILABLE, why)
}
