//! Tests of the standalone component against a real kube-apiserver, compared with kubectl.

use crate::{Lines, output, standalone, variable};
use serde_json::Value;
use std::net::Ipv6Addr;
use testbed::Volume;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;

/// A selector of the pods that exist when the tests begin.
const SEEDED: [&str; 2] = ["-l", "test!=cli"];

fn host() -> String {
    variable("REAL_HOST")
}

fn port() -> u16 {
    variable("REAL_PORT").parse().unwrap()
}

fn volume() -> Volume {
    Volume::new(&variable("REAL_TOKEN"), &std::fs::read_to_string(variable("REAL_CA")).unwrap(), "shop")
}

async fn kubectl(args: &[&str]) -> String {
    let done = output(Command::new(variable("KUBECTL")).args(args).args(["-n", "shop"])).await;
    assert_eq!(done.status, 0, "{}", done.stderr);
    done.stdout
}

/// Relays connections from a port of ::1, because the API server listens only on IPv4. Its certificate is also for ::1.
async fn on_ipv6() -> Option<u16> {
    let listener = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).await.ok()?;
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut server = TcpStream::connect((host(), port())).await.unwrap();
                copy_bidirectional(&mut client, &mut server).await
            });
        }
    });
    Some(address.port())
}

#[tokio::test]
async fn lists_are_kubectls() {
    for (host, port) in [(&*host(), Some(port())), ("::1", on_ipv6().await)] {
        let Some(port) = port else {
            eprintln!("not tested: this machine has no {host}");
            continue;
        };
        let volume = volume();
        let run =
            async |args: &[&str]| output(&mut standalone(host, port, volume.path(), &[args, &SEEDED].concat())).await.stdout;
        let theirs = async |args: &[&str]| kubectl(&[&["get", "pods"], args, &SEEDED].concat()).await;
        for args in [&["-o", "name"][..], &[], &["-o", "wide", "--field-selector", "status.phase=Running"]] {
            // Ages may change between the two runs.
            let mut last = (String::new(), "none".into());
            for _ in 0..20 {
                last = (run(&[&["pods", "--chunk-size", "25"], args].concat()).await, theirs(args).await);
                if last.0 == last.1 {
                    break;
                }
            }
            assert_eq!(last.0, last.1, "{host} {args:?}");
        }
        let parse = |text: String| serde_json::from_str::<Value>(&text).unwrap();
        let (ours, theirs) = (parse(run(&["pods", "-o", "json"]).await), parse(theirs(&["-o", "json"]).await));
        assert_eq!(ours["items"].as_array().unwrap().len(), 60);
        assert_eq!(ours["items"], theirs["items"]);
    }
}

/// These command lines are kubectl's, word for word.
#[tokio::test]
async fn one_pod_and_raw_answers_are_kubectls() {
    let volume = volume();
    let names = kubectl(&[&["get", "pods", "-o", "name"], &SEEDED[..]].concat()).await;
    let name = names.lines().next().and_then(|line| line.strip_prefix("pod/")).unwrap();
    for line in [
        "get pod NAME",
        "get pods/NAME --no-headers --show-labels",
        "get po NAME -o wide",
        "get pod NAME -o json",
        "get pod NAME -o name",
        "get --raw /version",
        "get --raw /readyz",
        "get --raw /apis",
        "get --raw /api/v1/namespaces/shop/pods/NAME",
    ] {
        let line = line.replace("NAME", name);
        let words: Vec<&str> = line.split(' ').collect();
        // Ages may change between the two runs.
        let mut last = (String::new(), "none".into());
        for _ in 0..20 {
            let ours = output(&mut standalone(&host(), port(), volume.path(), &words)).await;
            assert_eq!((ours.status, &*ours.stderr), (0, ""), "{line}");
            last = (ours.stdout, kubectl(&words).await);
            if last.0 == last.1 {
                break;
            }
        }
        assert_eq!(last.0, last.1, "{line}");
    }
}

#[tokio::test]
async fn a_watch_prints_changes_as_they_happen() {
    let volume = volume();
    // No scheduler touches these pods, so that only this test changes them.
    let nobody = r#"--overrides={"spec":{"schedulerName":"nobody"}}"#;
    let run = async |name: &str| kubectl(&["run", name, "--image=none", "--labels=test=cli", "--restart=Never", nobody]).await;
    run("watched-a").await;
    let args = ["pods", "-o", "name", "-l", "test=cli", "--watch"];
    let mut lines = Lines::of(&mut standalone(&host(), port(), volume.path(), &args));
    assert_eq!(lines.next().await, "pod/watched-a");
    run("watched-b").await;
    assert_eq!(lines.next().await, "pod/watched-b");
    kubectl(&["delete", "pod", "watched-a", "--grace-period=0", "--force"]).await;
    assert_eq!(lines.next().await, "pod/watched-a");
    kubectl(&["delete", "pod", "watched-b", "--grace-period=0", "--force"]).await;
}

#[tokio::test]
async fn a_forbidden_list_is_reported() {
    let volume = volume();
    let denied = output(&mut standalone(&host(), port(), volume.path(), &["pods", "-n", "default"])).await;
    assert_eq!(denied.status, 1);
    let role = "bind a Role that allows verb \"list\" on \"pods\" in namespace \"default\" to system:serviceaccount:shop:lister";
    assert!(denied.stderr.contains(role), "{}", denied.stderr);
}

#[tokio::test]
async fn another_ca_is_not_trusted() {
    let volume = volume();
    volume.set("ca.crt", testbed::Ca::new("kubernetes-ca").pem().as_bytes());
    let refused = output(&mut standalone(&host(), port(), volume.path(), &["pods"])).await;
    assert_eq!(refused.status, 1);
    assert!(refused.stderr.contains("was not issued by a CA in ca.crt"), "{}", refused.stderr);
}
