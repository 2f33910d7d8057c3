//! What a tenant may request now, by its own policy and those of the tenants that it is derived from.

use super::answer::Answer;
use super::policy::Policy;
use super::quiet::Quiet;
use incluster_core::request_info::RequestInfo;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak};
use tokio_util::sync::CancellationToken;

/// A policy that can be replaced while requests are open. It permits only what the ones that it is derived from permit, too.
pub(crate) struct Permission {
    /// The permission's own policy; `None` if it has only that of `before`.
    policy: RwLock<Option<Arc<Policy>>>,
    before: Option<Arc<Permission>>,
    /// The requests under way of all permissions that are derived from the same first one.
    open: Arc<Mutex<Vec<Weak<OpenRequest>>>>,
}

impl Permission {
    pub(crate) fn new(policy: Policy) -> Permission {
        Permission { policy: RwLock::new(Some(Arc::new(policy))), before: None, open: Arc::default() }
    }

    /// A permission for whatever both this permission, now and later, and the given policy, if there is one, permit.
    pub(crate) fn derived(self: &Arc<Self>, policy: Option<Policy>) -> Permission {
        Permission { policy: RwLock::new(policy.map(Arc::new)), before: Some(self.clone()), open: self.open.clone() }
    }

    /// The permission's own policy, or else that of the one before.
    pub(crate) fn policy(&self) -> Arc<Policy> {
        let own = self.policy.read().unwrap_or_else(PoisonError::into_inner).clone();
        own.unwrap_or_else(|| self.before.as_ref().map(|before| before.policy()).unwrap_or_default())
    }

    /// Replaces the permission's own policy, and ends the requests under way that are not permitted any more.
    pub(crate) fn set(&self, policy: Policy) {
        *self.policy.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(policy));
        let open: Vec<_> = lock(&self.open).iter().filter_map(Weak::upgrade).collect();
        open.iter().for_each(|request| request.look());
    }

    pub(crate) fn permits(&self, request: &RequestInfo<'_>) -> bool {
        self.policy.read().unwrap_or_else(PoisonError::into_inner).as_ref().is_none_or(|policy| policy.permits(request))
            && self.before.as_ref().is_none_or(|before| before.permits(request))
    }

    /// Registers a permitted request that begins.
    pub(crate) fn open(self: &Arc<Self>, path_and_query: &str) -> Arc<OpenRequest> {
        let request = Arc::new(OpenRequest {
            permission: self.clone(),
            path_and_query: path_and_query.into(),
            withdrawn: CancellationToken::new(),
            body: Mutex::default(),
        });
        let mut open = lock(&self.open);
        // Requests that have ended are removed now and then.
        if open.len() == open.capacity() {
            open.retain(|request| request.strong_count() > 0);
        }
        open.push(Arc::downgrade(&request));
        drop(open);
        // The policy may have changed since it was checked.
        request.look();
        request
    }
}

/// A request under way. Once it is not permitted, it is over for good.
pub(crate) struct OpenRequest {
    permission: Arc<Permission>,
    path_and_query: String,
    withdrawn: CancellationToken,
    /// The body of the answer, once there is one.
    body: Mutex<Option<Quiet<Answer>>>,
}

impl OpenRequest {
    fn look(&self) {
        if RequestInfo::parse(&self.path_and_query).is_ok_and(|request| self.permission.permits(&request)) {
            return;
        }
        self.withdrawn.cancel();
        // The body is dropped even if nobody reads it.
        drop(lock(&self.body).take());
    }

    /// Keeps the answer's body, which ends with the permission.
    pub(crate) fn keep(&self, body: Quiet<Answer>) {
        let mut kept = lock(&self.body);
        if !self.is_withdrawn() {
            *kept = Some(body);
        }
    }

    pub(crate) fn body(&self) -> MutexGuard<'_, Option<Quiet<Answer>>> {
        lock(&self.body)
    }

    pub(crate) fn is_withdrawn(&self) -> bool {
        self.withdrawn.is_cancelled()
    }

    /// Waits until the request is not permitted any more.
    pub(crate) fn withdrawn(&self) -> impl Future<Output = ()> + Send + use<> {
        self.withdrawn.clone().cancelled_owned()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(namespace: &str) -> Policy {
        let rule =
            serde_json::json!({"verbs": ["list", "watch"], "apiGroups": [""], "resources": ["pods"], "namespaces": [namespace]});
        serde_json::from_value(serde_json::json!({"rules": [rule]})).unwrap()
    }

    fn permits(permission: &Permission, namespace: &str) -> bool {
        permission.permits(&RequestInfo::parse(&format!("/api/v1/namespaces/{namespace}/pods")).unwrap())
    }

    #[test]
    fn a_derived_permission_permits_no_more_than_its_origin() {
        let first = Arc::new(Permission::new(policy("shop")));
        let second = Arc::new(first.derived(Some(Policy::allow_all())));
        let third = second.derived(Some(policy("other")));
        assert!(permits(&second, "shop") && !permits(&second, "other"));
        assert!(!permits(&third, "shop") && !permits(&third, "other"));
        first.set(policy("other"));
        assert!(!permits(&second, "shop") && permits(&second, "other") && permits(&third, "other"));
    }

    /// The request stays over, even when the policy permits it again.
    #[test]
    fn a_request_is_over_once_it_is_not_permitted() {
        let first = Arc::new(Permission::new(policy("shop")));
        let derived = Arc::new(first.derived(None));
        assert_eq!(*derived.policy(), policy("shop"));
        let open = derived.open("/api/v1/namespaces/shop/pods");
        derived.set(policy("shop"));
        assert!(!open.is_withdrawn());
        first.set(policy("other"));
        first.set(policy("shop"));
        assert!(open.is_withdrawn());
        assert!(derived.open("/api/v1/namespaces/other/pods").is_withdrawn(), "it was permitted a moment ago");
    }

    #[test]
    fn requests_that_have_ended_are_forgotten() {
        let permission = Arc::new(Permission::new(Policy::allow_all()));
        for _ in 0..10_000 {
            permission.open("/api/v1/pods");
        }
        assert!(lock(&permission.open).capacity() < 100);
    }
}
