//! Calls by way of the host's own transport, for the tests of what every transport does.

use crate::faults::Call;
use crate::{answer, tenant, tenant_at};
use incluster::types::{Error, Failure, JsonEvent, ListOptions, PagingOptions, PodEvent, RetryPolicy, WatchOptions};
use incluster::{RequestLimits, Tenant};
use std::time::Duration;
use testbed::Testbed;

/// A phase's deadline, where that is tested.
const PHASE: Duration = Duration::from_millis(250);

/// Where the pods are.
const PODS: &str = "/api/v1/namespaces/shop/pods";

/// What calls one testbed.
pub struct Caller(Tenant);

impl Caller {
    /// One that sends each request once, to this URL.
    pub fn at(url: &str, testbed: &Testbed) -> Caller {
        Caller(tenant_at(url, testbed))
    }

    /// One for whom a phase may take [`PHASE`], and which tries twice.
    pub fn impatient(testbed: &Testbed) -> Caller {
        Caller::within(testbed, 10 * PHASE)
    }

    /// The same, for whom a call may take so long.
    pub fn within(testbed: &Testbed, call: Duration) -> Caller {
        let limits = RequestLimits {
            connect: PHASE,
            handshake: PHASE,
            // A head may come a byte at a time.
            first_byte: 3 * PHASE,
            between_bytes: PHASE,
            watch_pause: PHASE,
            ..RequestLimits::default()
        };
        let policy = RetryPolicy { attempts: Some(2), deadline: call.as_millis() as u32 };
        Caller(tenant(testbed).with_limits(limits).unwrap().with_retry_policy(policy))
    }

    /// How many pods the call found.
    pub async fn outcome(&self, call: Call) -> Result<usize, Error> {
        self.answer(call).await.map_err(|failure| failure.error)
    }

    /// How many pods the call found, or what was done about its failure.
    pub async fn answer(&self, call: Call) -> Result<usize, Failure> {
        let tenant = &self.0;
        let mut pods = 0;
        match call {
            // What the component's own list does, that of the host does another way.
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
