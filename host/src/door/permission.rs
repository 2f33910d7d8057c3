//! What a tenant may ask for now: its own policy, and those of the tenants that it is derived from.

use super::policy::Policy;
use incluster_core::request_info::RequestInfo;
use std::sync::{Arc, PoisonError, RwLock};
use tokio::sync::watch;

/// A policy that can be replaced while requests are open. It permits what all before it permit, too.
pub(crate) struct Permission {
    /// `None` where it is that of the one before.
    policy: RwLock<Option<Arc<Policy>>>,
    before: Option<Arc<Permission>>,
    /// Of all that have the first one in common.
    changes: Arc<watch::Sender<()>>,
}

impl Permission {
    pub(crate) fn new(policy: Policy) -> Permission {
        let changes = Arc::new(watch::Sender::new(()));
        Permission { policy: RwLock::new(Some(Arc::new(policy))), before: None, changes }
    }

    /// What it permits now and later, and, where there is one, this policy too.
    pub(crate) fn derived(self: &Arc<Self>, policy: Option<Policy>) -> Permission {
        Permission { policy: RwLock::new(policy.map(Arc::new)), before: Some(self.clone()), changes: self.changes.clone() }
    }

    /// Its own policy, or that of the one before.
    pub(crate) fn policy(&self) -> Arc<Policy> {
        let own = self.policy.read().unwrap_or_else(PoisonError::into_inner).clone();
        own.unwrap_or_else(|| self.before.as_ref().map(|before| before.policy()).unwrap_or_default())
    }

    /// Replaces its own policy, also for requests that are open.
    pub(crate) fn set(&self, policy: Policy) {
        *self.policy.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(policy));
        self.changes.send_replace(());
    }

    pub(crate) fn permits(&self, request: &RequestInfo<'_>) -> bool {
        self.policy.read().unwrap_or_else(PoisonError::into_inner).as_ref().is_none_or(|policy| policy.permits(request))
            && self.before.as_ref().is_none_or(|before| before.permits(request))
    }

    /// Waits until a request that was permitted is so no more.
    pub(crate) fn withdrawn(self: Arc<Self>, path_and_query: String) -> impl Future<Output = ()> {
        let mut changes = self.changes.subscribe();
        async move {
            // What has changed since it was admitted counts, too.
            while RequestInfo::parse(&path_and_query).is_ok_and(|request| self.permits(&request)) {
                if changes.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::{Context, Waker};

    fn policy(namespace: &str) -> Policy {
        let rule =
            serde_json::json!({"verbs": ["list", "watch"], "apiGroups": [""], "resources": ["pods"], "namespaces": [namespace]});
        serde_json::from_value(serde_json::json!({"rules": [rule]})).unwrap()
    }

    fn permits(permission: &Permission, namespace: &str) -> bool {
        permission.permits(&RequestInfo::parse(&format!("/api/v1/namespaces/{namespace}/pods")).unwrap())
    }

    #[test]
    fn what_is_derived_permits_no_more_than_what_it_is_derived_from() {
        let first = Arc::new(Permission::new(policy("shop")));
        let second = Arc::new(first.derived(Some(Policy::allow_all())));
        let third = second.derived(Some(policy("other")));
        assert!(permits(&second, "shop") && !permits(&second, "other"));
        assert!(!permits(&third, "shop") && !permits(&third, "other"));
        first.set(policy("other"));
        assert!(!permits(&second, "shop") && permits(&second, "other") && permits(&third, "other"));
    }

    #[test]
    fn a_request_is_withdrawn_when_nobody_permits_it_any_more() {
        let first = Arc::new(Permission::new(policy("shop")));
        let derived = Arc::new(first.derived(None));
        assert_eq!(*derived.policy(), policy("shop"));
        let mut open = std::pin::pin!(derived.clone().withdrawn("/api/v1/namespaces/shop/pods".into()));
        let mut is_withdrawn = || open.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready();
        assert!(!is_withdrawn());
        derived.set(policy("shop"));
        assert!(!is_withdrawn());
        first.set(policy("other"));
        assert!(is_withdrawn());
    }
}
