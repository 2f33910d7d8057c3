//! Tests of replacing the cluster's CA.

use crate::kubectl::{api_server_is_back, component, field, says};
use crate::watchers::{KINDS, Namespace, WATCHERS};
use crate::{alone, until, variable};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const TRUSTED: &str = "ca.crt";

/// A new CA with a certificate for the API server, not yet in use.
struct Authority(tempfile::TempDir);

impl Authority {
    fn new() -> Authority {
        let folder = tempfile::tempdir().unwrap();
        let made = Command::new(variable("CLUSTER")).args(["certificates", "--key", "ecdsa", "--ca"]).arg(folder.path()).status();
        assert!(made.unwrap().success());
        Authority(folder)
    }

    fn certificate(&self) -> String {
        fs::read_to_string(self.0.path().join(TRUSTED)).unwrap()
    }

    /// Restarts the API server with this CA's certificate.
    fn signs(&self) {
        for name in ["apiserver.key", "apiserver.crt"] {
            install(name, &fs::read(self.0.path().join(name)).unwrap());
        }
        component("restart", "apiserver");
        api_server_is_back();
    }
}

fn in_cluster(name: &str) -> PathBuf {
    Path::new(&variable("CLUSTER_DIR")).join(name)
}

/// Replaces a file atomically: a concurrent reader sees the old content or the new one.
fn install(name: &str, content: &[u8]) {
    let part = in_cluster(&format!("{name}.part"));
    fs::write(&part, content).unwrap();
    fs::rename(part, in_cluster(name)).unwrap();
}

/// Makes the cluster's own clients trust these certificates.
fn trust(certificates: &str) {
    install(TRUSTED, certificates.as_bytes());
    for name in ["scheduler", "proxy", "kubelet"] {
        component("restart", name);
    }
}

/// Puts these certificates into the pods' volumes: the controllers write them to ConfigMaps, and a restarted kubelet copies them to volumes at once.
fn publish(namespace: &Namespace, pods: &[&str], certificates: &str) {
    component("restart", "controllers");
    for pod in pods {
        let uid = field(&namespace.0, &format!("pod/{pod}"), ".metadata.uid");
        component("restart", "kubelet");
        until("the volume has what is trusted", || (volume(&uid)? == certificates).then_some(()));
    }
}

/// Reads ca.crt in the volume of a pod.
fn volume(uid: &str) -> Option<String> {
    let node = fs::read_to_string(in_cluster("node.pid")).unwrap();
    let volumes = format!("/proc/{}/root/var/lib/kubelet/pods/{uid}/volumes/kubernetes.io~projected", node.trim());
    let account = fs::read_dir(volumes).ok()?.flatten().find(|entry| entry.path().join(TRUSTED).exists())?;
    fs::read_to_string(account.path().join(TRUSTED)).ok()
}

/// Both CAs are trusted, then the API server's certificate is replaced, then the old CA is no longer trusted.
#[test]
#[ignore = "it takes minutes, and is a part of `just release-check`"]
fn a_ca_is_replaced_as_administrators_do() {
    let _alone = alone();
    let namespace = Namespace::new("both-trusted");
    namespace.watch();
    let (old, new) = (fs::read_to_string(in_cluster(TRUSTED)).unwrap(), Authority::new());
    let both = format!("{old}{}", new.certificate());
    trust(&both);
    publish(&namespace, &WATCHERS, &both);
    namespace.step(1);
    new.signs();
    namespace.step(2);
    namespace.all_have_listed();
    trust(&new.certificate());
    publish(&namespace, &WATCHERS, &new.certificate());
    component("restart", "apiserver");
    api_server_is_back();
    namespace.step(3);
    namespace.all_were_seen(4, 2);
}

/// The API server gets a certificate of a CA that no pod trusts yet.
#[test]
#[ignore = "it takes minutes, and is a part of `just release-check`"]
fn a_ca_is_replaced_with_the_servers_certificate_first() {
    let _alone = alone();
    let namespace = Namespace::new("not-trusted");
    namespace.watch();
    let new = Authority::new();
    // The node and the administrator's client trust the new CA, so that the Service leads to the API server again; pods do not.
    install(TRUSTED, new.certificate().as_bytes());
    new.signs();
    trust(&new.certificate());
    for (kind, ..) in KINDS {
        let log = says("not-trusted", kind, "was not issued by a CA in ca.crt");
        println!("{kind}: {}", log.trim());
    }
    // The gateway serves the pods that it knew.
    namespace.gateway_says("was not issued by a CA in ca.crt");
    namespace.gateway_knows(1);
    publish(&namespace, &["gateway"], &new.certificate());
    // The gateway goes on by itself; the other watchers have ended.
    namespace.step(1);
    namespace.gateway_knows(2);
}
