//! Makes calls with the host's own transport, for the tests that all transports share.

use crate::faults::Call;
use crate::{answer, tenant, tenant_at};
use incluster::types::{Error, Failure, JsonEvent, ListOptions, PagingOptions, PodEvent, RetryPolicy, WatchOptions};
use incluster::{RequestLimits, Tenant};
use std::time::Duration;
use testbed::Testbed;

/// The time limit of a phase, in tests of time limits.
const PHASE: Duration = Duration::from_millis(250);

/// The path of the pods.
const PODS: &str = "/api/v1/namespaces/shop/pods";

/// A caller of one testbed.
pub struct Caller(Tenant);

impl Caller {
    /// A caller that sends each request once, to this URL.
    pub fn at(url: &str, testbed: &Testbed) -> Caller {
        Caller(tenant_at(url, testbed))
    }

    /// A caller with the time limit [`PHASE`] for each phase, which tries twice.
    pub fn impatient(testbed: &Testbed) -> Caller {
        Caller::within(testbed, 10 * PHASE)
    }

    /// An impatient caller with this time limit for a call.
    pub fn within(testbed: &Testbed, call: Duration) -> Caller {
        let limits = RequestLimits {
            connect: PHASE,
            handshake: PHASE,
            // The head may arrive byte by byte.
            first_byte: 3 * PHASE,
            between_bytes: PHASE,
            watch_pause: PHASE,
            ..RequestLimits::default()
        };
        let policy = RetryPolicy { attempts: Some(2), deadline: call.as_millis() as u32 };
        Caller(tenant(testbed).with_limits(limits).unwrap().with_retry_policy(policy))
    }

    /// Makes a call. Returns the number of pods.
    pub async fn outcome(&self, call: Call) -> Result<usize, Error> {
        self.answer(call).await.map_err(|failure| failure.error)
    }

    /// Makes a call. Returns the number of pods, or the failure with its number of attempts.
    pub async fn answer(&self, call: Call) -> Result<usize, Failure> {
        let tenant = &self.0;
        let mut pods = 0;
        match call {
            // The limit makes the host use the component's own list function instead of the stream.
            Call::List => {
                let options = ListOptions { limit: Some(1000), ..ListOptions::ALL };
                pods = answer(tenant.list_namespaced_pods("shop", &options).await)?.items.len();
            }
            Call::Stream => pods = answer(tenant.list_namespaced_pods("shop", &ListOptions::ALL).await)?.items.len(),
            Call::JsonPage => {
                let options = ListOptions { limit: Some(3), ..ListOptions::ALL };
                let mut pages = tenant.page_json(PODS, &options, &PagingOptions::DEFAULT).await.unwrap();
                while let Some(page) = answer(pages.next().await)? {
                    pods += page.items.len();
                }
            }
            Call::JsonWatch => {
                let mut watch = tenant.watch_json(PODS, &WatchOptions::ALL).await.unwrap();
                while let Some(JsonEvent::Changed(_)) = answer(watch.next().await)? {
                    pods += 1;
                }
            }
            Call::Page => {
                let options = ListOptions { limit: Some(3), ..ListOptions::ALL };
                let mut pages = tenant.page_namespaced_pods("shop", &options, &PagingOptions::DEFAULT).await.unwrap();
                while let Some(page) = answer(pages.next().await)? {
                    pods += page.items.len();
                }
            }
            Call::Watch => {
                let mut watch = tenant.watch_namespaced_pods("shop", &WatchOptions::ALL).await.unwrap();
                while let Some(PodEvent::Changed(_)) = answer(watch.next().await)? {
                    pods += 1;
                }
            }
            Call::BriefWatch => {
                let options = WatchOptions { timeout_seconds: Some(1), resource_version: Some("1".into()), ..WatchOptions::ALL };
                let mut watch = tenant.watch_namespaced_pods("shop", &options).await.unwrap();
                while answer(watch.next().await)?.is_some() {
                    pods += 1;
                }
            }
        }
        Ok(pods)
    }
}
