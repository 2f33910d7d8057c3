//! An external processor (`ext_proc`) and endpoint discovery (EDS) for Envoy, which use the tenants, routes and extensions of
//! the crate `gateway`.

mod endpoints;
mod processor;

use endpoints::Endpoints;
use envoy_types::pb::envoy::service::endpoint::v3::endpoint_discovery_service_server::EndpointDiscoveryServiceServer;
use envoy_types::pb::envoy::service::ext_proc::v3::external_processor_server::ExternalProcessorServer;
use futures_util::future::Either;
use gateway::{Config, Engine, Listen, Serving};
use incluster::Compiler;
use metrics_exporter_prometheus::PrometheusHandle;
use processor::Processor;
use std::error::Error;
use std::fs::Permissions;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic_health::ServingStatus;
use tonic_health::server::{HealthReporter, health_reporter};

/// How long requests in progress may take to end when the processor stops.
const GRACE: Duration = Duration::from_secs(10);

/// How often a silent connection from Envoy is pinged, and how long the answer may take.
const KEEPALIVE: Duration = Duration::from_secs(20);

type Failure = Box<dyn Error + Send + Sync>;

/// A running processor.
pub struct EnvoyProcessor {
    /// The address that Envoy connects to.
    pub address: Listen,
    /// The address of the status page.
    pub status_address: SocketAddr,
    engine: Arc<Engine>,
    health: HealthReporter,
    serving: JoinHandle<Result<(), tonic::transport::Error>>,
    watching: JoinHandle<()>,
}

impl EnvoyProcessor {
    /// Starts a processor with this configuration file. The health service (`grpc.health.v1`) says `SERVING` when all extensions are loaded
    /// and the pods of all routes are known.
    ///
    /// # Errors
    ///
    /// The file is not usable, or an address cannot be listened on.
    pub async fn start(file: &Path, compiler: Compiler, metrics: PrometheusHandle) -> Result<EnvoyProcessor, Failure> {
        let config = Config::read(file)?;
        let listen = config.listen.clone();
        let engine = Arc::new(Engine::start(file, config, compiler, metrics).await?);
        let (address, incoming) = listen_at(&listen).await.map_err(|e| match (&listen, e.kind()) {
            (Listen::Unix(_), ErrorKind::NotFound) => {
                format!("{listen}: its folder does not exist: create it, as this user's own")
            }
            _ => format!("{listen}: {e}"),
        })?;
        let (health, health_service) = health_reporter();
        health.set_service_status("", ServingStatus::NotServing).await;
        let server = server()
            .add_service(health_service)
            .add_service(ExternalProcessorServer::new(Processor(engine.clone())))
            .add_service(EndpointDiscoveryServiceServer::new(Endpoints(engine.clone())));
        let stopped = engine.clone();
        let stopped = async move { stopped.stopped().await };
        let serving = tokio::spawn(async move {
            match incoming {
                Either::Left(tcp) => server.serve_with_incoming_shutdown(tcp, stopped).await,
                Either::Right(unix) => server.serve_with_incoming_shutdown(unix, stopped).await,
            }
        });
        let watching = tokio::spawn(tell_health(engine.serving(), health.clone()));
        let status_address = engine.status_address;
        Ok(EnvoyProcessor { address, status_address, engine, health, serving, watching })
    }

    /// The engine, with the tenants, the routes and their current state.
    pub fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    /// Waits until the processor stops serving without having been told to. Returns why.
    pub async fn until_failed(&mut self) -> String {
        match (&mut self.serving).await {
            Ok(Ok(())) => "it has ended".into(),
            Ok(Err(error)) => error.to_string(),
            Err(error) => error.to_string(),
        }
    }

    /// Reports `NOT_SERVING`, takes no more requests, and waits for those in progress, for at most 10 s.
    pub async fn stop(mut self) {
        self.watching.abort();
        self.health.set_service_status("", ServingStatus::NotServing).await;
        self.engine.begin_to_stop();
        // A task that has failed was awaited already.
        if !self.serving.is_finished() && tokio::time::timeout(GRACE, &mut self.serving).await.is_err() {
            self.serving.abort();
        }
        self.engine.stop().await;
    }
}

fn server() -> Server {
    // If Envoy's machine fails, nothing closes the connection.
    Server::builder().http2_keepalive_interval(Some(KEEPALIVE)).http2_keepalive_timeout(Some(KEEPALIVE))
}

async fn tell_health(mut serving: watch::Receiver<Serving>, health: HealthReporter) {
    loop {
        let is_ready = *serving.borrow_and_update() == Serving::Ready;
        health.set_service_status("", if is_ready { ServingStatus::Serving } else { ServingStatus::NotServing }).await;
        if serving.changed().await.is_err() {
            return;
        }
    }
}

async fn listen_at(listen: &Listen) -> Result<(Listen, Either<TcpIncoming, UnixListenerStream>), std::io::Error> {
    match listen {
        Listen::Tcp(address) => {
            let listener = TcpListener::bind(address).await?;
            let address = Listen::Tcp(listener.local_addr()?);
            Ok((address, Either::Left(TcpIncoming::from(listener).with_nodelay(Some(true)))))
        }
        Listen::Unix(path) => {
            // An earlier process may have left its socket.
            if std::fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket()) {
                if UnixStream::connect(path).await.is_ok() {
                    return Err(std::io::Error::new(ErrorKind::AddrInUse, "another process listens there"));
                }
                std::fs::remove_file(path)?;
            }
            let listener = UnixListener::bind(path)?;
            // An Envoy that runs as another user has the same group; in a pod, `fsGroup` sets it.
            std::fs::set_permissions(path, Permissions::from_mode(0o660))?;
            Ok((listen.clone(), Either::Right(UnixListenerStream::new(listener))))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;
    use tokio::time::{Instant, timeout};

    /// The connection's first bytes (RFC 9113, 3.4), with empty SETTINGS.
    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

    #[tokio::test(start_paused = true)]
    async fn a_connection_whose_envoy_has_gone_silent_is_closed() {
        let (address, incoming) = listen_at(&Listen::Tcp("127.0.0.1:0".parse().unwrap())).await.unwrap();
        let (Listen::Tcp(address), Either::Left(incoming)) = (address, incoming) else { panic!("TCP") };
        let (_health, service) = health_reporter();
        tokio::spawn(server().add_service(service).serve_with_incoming(incoming));
        let mut envoy = TcpStream::connect(address).await.unwrap();
        envoy.write_all(PREFACE).await.unwrap();
        let begun = Instant::now();
        // It reads, but does not answer a PING.
        let _ = timeout(KEEPALIVE * 10, envoy.read_to_end(&mut Vec::new())).await.expect("the connection ends");
        assert!(begun.elapsed() >= KEEPALIVE * 2, "{:?}", begun.elapsed());
    }

    #[test]
    fn the_sample_configuration_is_valid_and_matches_envoys() {
        let sample = Config::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("envoy-routes.yaml")).unwrap();
        assert_eq!(sample.listen, Listen::Unix("/run/incluster/processor.sock".into()));
        assert_eq!(sample.routes[0].cluster.as_deref(), Some("web"));
        assert!(include_str!("../envoy.yaml").contains("pipe: {path: /run/incluster/processor.sock}"));
    }
}
