//! Tests of service accounts and roles that are removed during a watch.

use crate::kubectl::{api_server_is_back, component, kubectl, says};
use crate::watchers::{KINDS, Namespace, WATCHERS};
use crate::{alone, undisturbed};
use serde_json::json;

/// An open watch goes on without the role; a new request is refused, and the error says what to check.
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
    // The deletion of the pod is printed too.
    says("watching", "watcher", "pod/step-000\npod/step-000\n");
}

/// Existing pods keep the deleted account's tokens. New pods have the new account's tokens.
#[test]
fn a_service_account_is_deleted_and_made_anew() {
    let _alone = alone();
    let namespace = Namespace::new("anew");
    namespace.watch();
    kubectl(&["delete", "serviceaccount", "lister", "--namespace=anew"]);
    kubectl(&["create", "serviceaccount", "lister", "--namespace=anew"]);
    // Open watches go on, and the listing pods have the new account.
    namespace.step(1);
    namespace.all_were_seen(2, 0);
    component("restart", "apiserver");
    api_server_is_back();
    for (kind, ..) in KINDS {
        let log = says("anew", kind, "401");
        println!("{kind}: {}", log.trim());
    }
    // The gateway serves the pods that it knew, and says why they may be out of date.
    namespace.gateway_says("401");
    namespace.gateway_knows(2);
    kubectl(&[&["delete", "pod", "--namespace=anew"], &WATCHERS[..]].concat());
    namespace.watchers(&json!({}));
    namespace.step(2);
    namespace.all_were_seen(3, 0);
}
