//! Service accounts and roles that go away during a watch.

use crate::kubectl::{api_server_is_back, component, kubectl, says};
use crate::watchers::{KINDS, Namespace, WATCHERS};
use crate::{alone, undisturbed};
use serde_json::json;

/// A watch that runs goes on; what begins anew is refused, with a text that says what to check.
#[test]
fn a_role_is_taken_away_and_given_back() {
    let _undisturbed = undisturbed();
    let namespace = Namespace::new("role");
    namespace.watch();
    kubectl(&["delete", "rolebinding", "lister", "--namespace=role"]);
    namespace.is_permitted(false);
    namespace.change(1);
    namespace.pod("refused", "incluster:0.1.0", &["pods", "-n", "role"], &json!({}));
    let log = says("role", "refused", "cannot list resource");
    assert!(log.contains("bind a Role that allows verb \"list\" on \"pods\" in namespace \"role\""), "{log}");
    kubectl(&["delete", "role", "lister", "--namespace=role"]);
    namespace.grant();
    namespace.step(2);
    namespace.all_were_seen(3, 0);
    namespace.pod("allowed", "incluster:0.1.0", &["pods", "-n", "role"], &json!({}));
    says("role", "allowed", "NAME ");
}

#[test]
fn a_namespace_is_deleted_during_a_watch() {
    let _undisturbed = undisturbed();
    let namespace = Namespace::new("deleted");
    let watching = Namespace::new("watching");
    kubectl(&["create", "rolebinding", "other", "--namespace=deleted", "--role=lister", "--serviceaccount=watching:lister"]);
    watching.pod("watcher", "incluster:0.1.0", &["pods", "-n", "deleted", "--watch", "-o", "name"], &json!({}));
    namespace.step(0);
    says("watching", "watcher", "pod/step-000\n");
    kubectl(&["delete", "namespace", "deleted"]);
    // The pod's end is told, too.
    says("watching", "watcher", "pod/step-000\npod/step-000\n");
}

/// The kubelet keeps the tokens of the old account in the pods that have them. What is made anew has tokens of the new one.
#[test]
fn a_service_account_is_deleted_and_made_anew() {
    let _alone = alone();
    let namespace = Namespace::new("anew");
    namespace.watch();
    kubectl(&["delete", "serviceaccount", "lister", "--namespace=anew"]);
    kubectl(&["create", "serviceaccount", "lister", "--namespace=anew"]);
    // Watches go on, and pods that list have the new account.
    namespace.step(1);
    namespace.all_were_seen(2, 0);
    component("restart", "apiserver");
    api_server_is_back();
    for (kind, ..) in KINDS {
        let log = says("anew", kind, "401");
        println!("{kind}: {}", log.trim());
    }
    // The gateway serves what it knew, and says why it may be out of date.
    namespace.gateway_says("401");
    namespace.gateway_knows(2);
    kubectl(&[&["delete", "pod", "--namespace=anew"], &WATCHERS[..]].concat());
    namespace.watchers(&json!({}));
    namespace.step(2);
    namespace.all_were_seen(3, 0);
}
