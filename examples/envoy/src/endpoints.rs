//! Envoy's endpoint discovery (EDS): the pods of each route, with their readiness as health.

use envoy_types::pb::envoy::config::core::v3::address::Address as Kind;
use envoy_types::pb::envoy::config::core::v3::socket_address::PortSpecifier;
use envoy_types::pb::envoy::config::core::v3::{Address, HealthStatus, SocketAddress};
use envoy_types::pb::envoy::config::endpoint::v3::lb_endpoint::HostIdentifier;
use envoy_types::pb::envoy::config::endpoint::v3::{ClusterLoadAssignment, Endpoint, LbEndpoint, LocalityLbEndpoints};
use envoy_types::pb::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
};
use envoy_types::pb::envoy::service::endpoint::v3::endpoint_discovery_service_server::EndpointDiscoveryService;
use envoy_types::pb::google::protobuf::Any;
use futures_util::future::{BoxFuture, FutureExt, pending, select_all};
use futures_util::stream::{BoxStream, StreamExt};
use gateway::{Engine, Health, PodEndpoint};
use prost::Message;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

const TYPE_URL: &str = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment";

/// The shortest time between two responses: while a Deployment is rolled out, changes come by the hundred.
const GATHER: Duration = Duration::from_millis(50);

/// The endpoint discovery service.
pub(crate) struct Endpoints(pub(crate) Arc<Engine>);

type Responses<T> = BoxStream<'static, Result<T, Status>>;

#[tonic::async_trait]
impl EndpointDiscoveryService for Endpoints {
    type StreamEndpointsStream = Responses<DiscoveryResponse>;
    type DeltaEndpointsStream = Responses<DeltaDiscoveryResponse>;

    async fn stream_endpoints(
        &self,
        request: Request<Streaming<DiscoveryRequest>>,
    ) -> Result<Response<Self::StreamEndpointsStream>, Status> {
        let (sender, receiver) = mpsc::channel(1);
        tokio::spawn(serve(self.0.clone(), request.into_inner(), sender));
        Ok(Response::new(ReceiverStream::new(receiver).boxed()))
    }

    async fn delta_endpoints(
        &self,
        _request: Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<Response<Self::DeltaEndpointsStream>, Status> {
        Err(Status::unimplemented("endpoints come by StreamEndpoints: set api_type to GRPC"))
    }

    async fn fetch_endpoints(&self, _request: Request<DiscoveryRequest>) -> Result<Response<DiscoveryResponse>, Status> {
        Err(Status::unimplemented("endpoints come by StreamEndpoints: set api_type to GRPC"))
    }
}

/// Sends one Envoy the endpoints of the clusters that it asks for, until it disconnects or this process ends.
async fn serve(
    engine: Arc<Engine>,
    mut requests: Streaming<DiscoveryRequest>,
    sender: mpsc::Sender<Result<DiscoveryResponse, Status>>,
) {
    let mut subscription = Subscription::default();
    let mut routes = engine.subscribe();
    // The last generation that was sent, by cluster.
    let mut generations = BTreeMap::new();
    let mut sent_at = None;
    loop {
        let now = routes.borrow_and_update().clone();
        generations.retain(|name, _| subscription.sent.contains_key(name));
        let endpoints = |cluster: &str| {
            let known = generations.get(cluster).copied().unwrap_or_default();
            let (generation, pods) = now.endpoints(cluster, known)?;
            generations.insert(cluster.to_owned(), generation);
            Some(pods)
        };
        if let Some(response) = subscription.response(endpoints) {
            let is_taken = tokio::select! {
                sent = sender.send(Ok(response)) => sent.is_ok(),
                () = engine.stopped() => false,
            };
            if !is_taken {
                return;
            }
            sent_at = Some(Instant::now());
        }
        let changes: Vec<BoxFuture<'_, ()>> = {
            let changed = |name: &String| Some(now.changed(name, generations.get(name).copied().unwrap_or_default())?.boxed());
            subscription.clusters.iter().filter_map(changed).collect()
        };
        let change = if changes.is_empty() { pending().boxed() } else { select_all(changes).map(drop).boxed() };
        tokio::select! {
            request = requests.next() => match request {
                Some(Ok(request)) => subscription.take(request),
                _ => return,
            },
            // The first change is sent at once, and those that follow soon after it are sent together.
            () = change => if let Some(sent_at) = sent_at {
                sleep_until(sent_at + GATHER).await;
            },
            _ = routes.changed() => {}
            () = engine.stopped() => return,
        }
    }
}

/// What an Envoy asked for, and what it was sent.
#[derive(Default)]
struct Subscription {
    clusters: BTreeSet<String>,
    sent: BTreeMap<String, ClusterLoadAssignment>,
    version: u64,
}

impl Subscription {
    fn take(&mut self, request: DiscoveryRequest) {
        if let Some(error) = request.error_detail {
            tracing::warn!(error = error.message, "Envoy has refused endpoints");
        }
        self.clusters = request.resource_names.into_iter().collect();
        // A cluster that was dropped and is asked for again is sent again.
        self.sent.retain(|name, _| self.clusters.contains(name));
    }

    /// Makes a response with the clusters that differ from what was sent. One whose pods are not known yet is left out: Envoy waits.
    fn response(&mut self, mut endpoints: impl FnMut(&str) -> Option<Vec<PodEndpoint>>) -> Option<DiscoveryResponse> {
        let mut resources = Vec::new();
        for name in &self.clusters {
            let Some(assignment) = endpoints(name).map(|pods| assignment(name, &pods)) else { continue };
            if self.sent.get(name) != Some(&assignment) {
                resources.push(Any { type_url: TYPE_URL.into(), value: assignment.encode_to_vec() });
                self.sent.insert(name.clone(), assignment);
            }
        }
        if resources.is_empty() {
            return None;
        }
        self.version += 1;
        let version = self.version.to_string();
        Some(DiscoveryResponse {
            version_info: version.clone(),
            nonce: version,
            type_url: TYPE_URL.into(),
            resources,
            ..DiscoveryResponse::default()
        })
    }
}

fn assignment(cluster: &str, pods: &[PodEndpoint]) -> ClusterLoadAssignment {
    let endpoint = |pod: &PodEndpoint| {
        let port_specifier = Some(PortSpecifier::PortValue(pod.address.port().into()));
        let socket = SocketAddress { address: pod.address.ip().to_string(), port_specifier, ..SocketAddress::default() };
        let address = Some(Address { address: Some(Kind::SocketAddress(socket)) });
        let health = match pod.health {
            Health::Ready => HealthStatus::Healthy,
            Health::Unready => HealthStatus::Unhealthy,
            Health::Terminating => HealthStatus::Draining,
        };
        LbEndpoint {
            health_status: health.into(),
            host_identifier: Some(HostIdentifier::Endpoint(Endpoint { address, ..Endpoint::default() })),
            ..LbEndpoint::default()
        }
    };
    let group = LocalityLbEndpoints { lb_endpoints: pods.iter().map(endpoint).collect(), ..LocalityLbEndpoints::default() };
    ClusterLoadAssignment { cluster_name: cluster.into(), endpoints: vec![group], ..ClusterLoadAssignment::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(names: &[&str]) -> DiscoveryRequest {
        DiscoveryRequest { resource_names: names.iter().map(ToString::to_string).collect(), ..DiscoveryRequest::default() }
    }

    fn pod(last: u8, health: Health) -> PodEndpoint {
        PodEndpoint { address: ([10, 0, 0, last], 80).into(), health }
    }

    fn sent(response: Option<DiscoveryResponse>) -> Vec<(String, Vec<i32>)> {
        let resources = response.map_or_else(Vec::new, |response| response.resources);
        let read = |resource: &Any| {
            let assignment = ClusterLoadAssignment::decode(&*resource.value).unwrap();
            let health = assignment.endpoints[0].lb_endpoints.iter().map(|endpoint| endpoint.health_status).collect();
            (assignment.cluster_name, health)
        };
        resources.iter().map(read).collect()
    }

    #[test]
    fn only_what_has_changed_is_sent_and_only_what_was_asked_for() {
        let mut subscription = Subscription::default();
        let first = |name: &str| {
            (name != "later").then(|| vec![pod(1, Health::Ready), pod(2, Health::Unready), pod(3, Health::Terminating)])
        };
        assert!(subscription.response(first).is_none(), "nothing was asked for");
        subscription.take(request(&["a", "later"]));
        assert_eq!(sent(subscription.response(first)), [("a".into(), vec![1, 2, 3])]);
        assert!(subscription.response(first).is_none());
        // An acknowledgement names the same clusters again.
        subscription.take(request(&["a", "later"]));
        assert!(subscription.response(first).is_none());
        let second = |name: &str| Some(if name == "a" { vec![pod(1, Health::Ready)] } else { vec![] });
        assert_eq!(sent(subscription.response(second)), [("a".into(), vec![1]), ("later".into(), vec![])]);
        subscription.take(request(&["later"]));
        assert!(subscription.response(second).is_none());
        subscription.take(request(&["a", "later"]));
        assert_eq!(sent(subscription.response(second)), [("a".into(), vec![1])]);
    }
}
