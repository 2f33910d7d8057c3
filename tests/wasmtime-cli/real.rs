//! Against a real kube-apiserver, beside kubectl.

use crate::{Lines, output, standalone, variable};
use serde_json::Value;
use std::net::Ipv6Addr;
use testbed::Volume;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;

/// The pods that are there when the tests begin.
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

/// The API server listens on IPv4 alone. Its certificate is for ::1, too.
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
            // Ages may move on between the two.
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

#[tokio::test]
async fn a_watch_prints_changes_as_they_happen() {
    let volume = volume();
    // No scheduler touches them: what happens to them is what this test does.
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
async fn what_is_forbidden_is_said() {
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
