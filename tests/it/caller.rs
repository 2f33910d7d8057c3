//! Calls by way of the host's own transport, for the tests of what every transport does.

use crate::faults::Call;
use crate::{kubernetes, tenant, tenant_at};
use incluster::types::{Error, ListOptions, PagingOptions, PodEvent, RetryPolicy, WatchOptions};
use incluster::{RequestLimits, Tenant};
use std::time::Duration;
use testbed::Testbed;

/// A phase's deadline, where that is tested.
const PHASE: Duration = Duration::from_millis(250);

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
            first_byte: PHASE,
            between_bytes: PHASE,
            watch_pause: PHASE,
            ..RequestLimits::default()
        };
        let policy = RetryPolicy { attempts: 2, deadline_milliseconds: call.as_millis() as u32 };
        Caller(tenant(testbed).with_limits(limits).unwrap().with_retry_policy(policy))
    }

    /// How many pods the call found.
    pub async fn outcome(&self, call: Call) -> Result<usize, Error> {
        let tenant = &self.0;
        let mut pods = 0;
        match call {
            Call::List => pods = kubernetes(tenant.list_namespaced_pods("shop", &ListOptions::ALL).await)?.items.len(),
            Call::Page => {
                let options = ListOptions { limit: Some(3), ..ListOptions::ALL };
                let mut pages = tenant.page_namespaced_pods("shop", &options, &PagingOptions::DEFAULT).await.unwrap();
                while let Some(page) = kubernetes(pages.next().await)? {
                    pods += page.items.len();
                }
            }
            Call::Watch => {
                let mut watch = tenant.watch_namespaced_pods("shop", &WatchOptions::ALL).await.unwrap();
                while let Some(PodEvent::Changed(_)) = kubernetes(watch.next().await)? {
                    pods += 1;
                }
            }
            Call::BriefWatch => {
                let options = WatchOptions { timeout_seconds: Some(1), resource_version: Some("1".into()), ..WatchOptions::ALL };
                let mut watch = tenant.watch_namespaced_pods("shop", &options).await.unwrap();
                while kubernetes(watch.next().await)?.is_some() {
                    pods += 1;
                }
            }
        }
        Ok(pods)
    }
}
