//! Tests of the standalone components against the testbed: lists, watches and refusals.

use crate::{FILES, Lines, Output, incluster, output, standalone, variable, wasmtime};
use incluster::SERVICE_ACCOUNT_DIR;
use testbed::{Ca, Identity, PodApi, PodStore, Protocol, Server, TOKEN, Testbed, Volume};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;
use tokio::sync::mpsc;

/// One of the recorded pods.
const POD: &str = "catalog-46f22f2a56-9e90c4";

async fn run(testbed: &Testbed, args: &[&str]) -> Output {
    let address = testbed.server.address();
    output(&mut standalone(&address.ip().to_string(), address.port(), testbed.volume.path(), args)).await
}

/// The standalone component prints the same as the binary.
#[tokio::test]
async fn every_output_equals_the_binarys() {
    let testbed = Testbed::serving(PodStore::recorded().handler()).await;
    for args in [
        &["config"][..],
        &["pods"],
        &["pods", "-n", "shop", "-o", "wide"],
        &["pods", "-o", "json"],
        &["pods", "-o", "yaml", "--chunk-size", "3"],
        &["pods", "-o", "name", "--limit", "5"],
        &["pods", "-n", "empty"],
        &["get", "pods", "-A"],
        &["-n", "shop", "get", "po", "--show-labels", "--no-headers"],
        &["get", "pod", POD, "-o", "wide"],
        &["get", &format!("pods/{POD}"), "-o", "json"],
        &["pods", "nope"],
        &["get", "--raw", "/api/v1/namespaces/shop/pods"],
        &["get", "--raw", "/version"],
        &["--help"],
        &["completion", "bash"],
        &["completion", "zsh"],
        &["completion", "fish"],
        &["--version"],
    ] {
        let (host, port) = (testbed.server.address().ip().to_string(), testbed.server.address().port());
        // Ages may change between the two runs.
        let mut pairs = Vec::new();
        for _ in 0..5 {
            let ours = run(&testbed, args).await;
            let theirs = output(&mut incluster(&host, port, testbed.volume.path(), args)).await;
            assert_eq!((ours.status, &ours.stderr), (theirs.status, &theirs.stderr), "{args:?}");
            pairs.push((ours.stdout, theirs.stdout));
            if pairs.last().is_some_and(|(ours, theirs)| ours == theirs) {
                break;
            }
        }
        // The binary has more options, so its help and its completion scripts are longer.
        let (ours, theirs) = pairs.pop().unwrap();
        let has_more = matches!(args[0], "--help" | "completion") && !ours.is_empty() && theirs.starts_with(&ours);
        assert!(ours == theirs || has_more, "{args:?}: {ours} {theirs}");
    }
}

/// The standalone component reads warnings from its own connection; the binary gets them from its host.
#[tokio::test]
async fn warnings_of_the_servers_are_printed_once() {
    let store = PodStore::with_pods(9);
    let testbed =
        Testbed::serving(move |request| store.answer(request).header("warning", r#"299 - "v1 is old", 299 - "x""#)).await;
    let output = run(&testbed, &["pods", "-o", "name", "--chunk-size", "3"]).await;
    assert_eq!((output.status, &*output.stderr), (0, "Warning: v1 is old\nWarning: x\n"));
    assert_eq!(output.stdout.lines().count(), 9);
}

#[tokio::test]
async fn a_watch_prints_changes_as_they_happen() {
    let store = PodStore::with_pods(3);
    let testbed = Testbed::serving(store.handler()).await;
    let address = testbed.server.address();
    let args = ["pods", "-o", "name", "--watch"];
    let mut lines = Lines::of(&mut standalone(&address.ip().to_string(), address.port(), testbed.volume.path(), &args));
    for name in ["web-00000", "web-00001", "web-00002"] {
        assert_eq!(lines.next().await, format!("pod/{name}"));
    }
    store.add("new");
    assert_eq!(lines.next().await, "pod/new");
    store.delete("web-00001");
    assert_eq!(lines.next().await, "pod/web-00001");
}

#[tokio::test]
async fn certificates_and_addresses_of_every_kind() {
    for (keys, ca) in [("ECDSA", Ca::new("kubernetes-ca")), ("RSA", Ca::rsa("kubernetes-ca"))] {
        for (listen, ip) in [("127.0.0.1:0", "127.0.0.1"), ("[::1]:0", "::1")] {
            if std::net::TcpListener::bind(listen).is_err() {
                eprintln!("not tested: this machine has no {ip}");
                continue;
            }
            for protocol in [Protocol::Any, Protocol::Http1] {
                let server = Server::start_at(listen, ca.identity(&[ip]), protocol, PodApi::answer).await;
                let volume = Volume::new(TOKEN, &ca.pem(), "shop");
                let list = output(&mut standalone(ip, server.address().port(), volume.path(), &["pods", "-o", "name"])).await;
                assert_eq!((list.status, &*list.stderr, list.stdout.lines().count()), (0, "", 7), "{keys} {ip} {protocol:?}");
            }
        }
    }
}

/// Checks that a pod with this ca.crt refuses a server with this identity, with this text, and sends it no request.
async fn refused(ca: &str, identity: Identity, says: &str) {
    let server = Server::start(identity, Protocol::Any, PodApi::answer).await;
    let volume = Volume::new(TOKEN, ca, "shop");
    let list = output(&mut standalone("127.0.0.1", server.address().port(), volume.path(), &["pods"])).await;
    assert_eq!((list.status, &*list.stdout), (1, ""));
    assert!(list.stderr.contains(says) && list.stderr.lines().count() == 1, "{}", list.stderr);
    assert_eq!(server.requests().len(), 0);
}

#[tokio::test]
async fn invalid_certificates_are_refused_and_the_error_says_why() {
    for ca in [Ca::new("kubernetes-ca"), Ca::rsa("kubernetes-ca")] {
        let here = &["127.0.0.1"];
        refused(&ca.pem(), Ca::new("another").identity(here), "was not issued by a CA in ca.crt").await;
        refused(&ca.pem(), Ca::rsa("kubernetes-ca").identity(here), "was not issued by a CA in ca.crt").await;
        refused(&ca.pem(), ca.expired_identity(here), "expired at 20").await;
        refused(&ca.pem(), ca.future_identity(here), "is not valid before 20").await;
        refused(&ca.pem(), ca.identity(&["10.0.0.1", "kubernetes"]), "is not for 127.0.0.1, but for").await;
    }
}

#[tokio::test]
async fn a_plain_http_server_gets_no_request() {
    let (heard, mut hearing) = mpsc::unbounded_channel();
    let server = Server::start_raw(move |mut stream| {
        let heard = heard.clone();
        async move {
            let mut first = vec![0; 65536];
            let count = stream.read(&mut first).await.unwrap_or(0);
            let _ = heard.send(first[..count].to_vec());
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}").await;
        }
    })
    .await;
    let volume = Volume::new(TOKEN, &Ca::new("ca").pem(), "shop");
    let list = output(&mut standalone("127.0.0.1", server.address().port(), volume.path(), &["pods"])).await;
    assert_eq!(list.status, 1);
    assert!(list.stderr.contains("the TLS handshake failed"), "{}", list.stderr);
    let heard = hearing.recv().await.unwrap();
    assert_eq!(heard[0], 0x16, "not a TLS handshake");
    for secret in [TOKEN.as_bytes(), b"GET ", b"Bearer"] {
        assert!(!heard.windows(secret.len()).any(|part| part == secret));
    }
}

#[tokio::test]
async fn a_denial_names_the_cli_option_that_permits_it() {
    let testbed = Testbed::start().await;
    let (port, volume) = (testbed.server.address().port(), testbed.volume.path());
    let without = |host: &str, args: &[&str]| wasmtime(&[], host, port, volume, "incluster-standalone.cwasm", args);
    let unconnected = output(&mut without("127.0.0.1", &["pods"])).await;
    assert!(unconnected.stderr.contains("-S inherit-network permits it"), "{}", unconnected.stderr);
    let nameless = output(&mut without("localhost", &["pods", "--attempts", "1"])).await;
    assert!(nameless.stderr.contains("-S allow-ip-name-lookup"), "{}", nameless.stderr);
    assert_eq!((unconnected.status, nameless.status, testbed.server.connections()), (1, 1, 0));
}

/// `incluster.wasm` uses the host's TLS. The CLI's TLS trusts only public CAs, not the API server, and the error says what to use.
#[tokio::test]
async fn incluster_wasm_runs_as_far_as_it_goes() {
    let testbed = Testbed::start().await;
    let run = |args: &[&str]| {
        let (port, volume) = (testbed.server.address().port(), testbed.volume.path());
        wasmtime(&["-S", "http"], "127.0.0.1", port, volume, "incluster.cwasm", args)
    };
    let config = output(&mut run(&["config"])).await;
    assert_eq!((config.status, &*config.stderr), (0, ""));
    for line in
        ["Namespace:  shop\n", "Subject:    system:serviceaccount:shop:lister\n", "CA:         CN=kubernetes-ca, expires "]
    {
        assert!(config.stdout.contains(line), "{}", config.stdout);
    }
    let list = output(&mut run(&["pods"])).await;
    assert_eq!((list.status, &*list.stdout), (1, ""));
    assert!(
        list.stderr.contains("the TLS handshake failed") && list.stderr.contains("incluster-standalone.wasm"),
        "{}",
        list.stderr
    );
    assert_eq!(testbed.server.requests().len(), 0);
}

/// A program that is composed with the standalone client lists pods in the CLI.
#[tokio::test]
async fn an_extension_that_is_composed_to_stand_alone_lists_pods() {
    let testbed = Testbed::start().await;
    let (port, volume) = (testbed.server.address().port(), testbed.volume.path());
    std::fs::write(FILES.path("program.wasm"), extensions::PROGRAM).unwrap();
    let mut compose = Command::new(variable("INCLUSTER"));
    compose.args(["compose", "--standalone"]).arg(FILES.path("program.wasm")).arg("-o").arg(FILES.path("composed.wasm"));
    let composed = output(&mut compose).await;
    assert_eq!((composed.status, &*composed.stderr), (0, ""));
    // The sample program imports types of wasi:http.
    let options = ["-S", "inherit-network", "-S", "http"];
    let run = |volume| wasmtime(&options, "127.0.0.1", port, volume, "composed.wasm", &["list", "shop"]);
    let listed = output(&mut run(volume)).await;
    assert_eq!((listed.status, listed.stdout.lines().count(), &*listed.stderr), (0, 7, ""));
    let other = Volume::new(TOKEN, &Ca::new("kubernetes-ca").pem(), "shop");
    let refused = output(&mut run(other.path())).await;
    assert!(refused.status != 0 && refused.stderr.contains("was not issued by a CA in ca.crt"), "{}", refused.stderr);
}

/// Runs the commands of the README and of the guide, with only the paths of this test's files replaced.
#[tokio::test]
async fn the_readmes_commands_work() {
    let testbed = Testbed::start().await;
    let readme = concat!(include_str!("../../README.md"), include_str!("../../docs/guides/wasmtime-cli.md")).replace("\\\n", " ");
    std::fs::write(FILES.path("extension.wasm"), extensions::PROGRAM).unwrap();
    let compose = readme.lines().find_map(|line| line.strip_prefix("$ incluster compose --standalone ")).unwrap();
    let mut composing = Command::new(variable("INCLUSTER"));
    composing.args(["compose", "--standalone"]).args(compose.split_whitespace()).current_dir(FILES.path(""));
    assert_eq!(output(&mut composing).await.status, 0);
    let commands = readme.lines().filter_map(|line| line.strip_prefix("$ wasmtime "));
    for line in commands {
        let mut command = Command::new(variable("WASMTIME"));
        command.env_clear().env("HOME", FILES.path("")).current_dir(FILES.path(""));
        let (folder, port) = (testbed.volume.path().display(), testbed.server.address().port().to_string());
        command.env("KUBERNETES_SERVICE_HOST", "127.0.0.1").env("KUBERNETES_SERVICE_PORT", &port);
        for word in line.split_whitespace() {
            match word {
                SERVICE_ACCOUNT_DIR => command.arg(format!("{folder}::{word}")),
                "KUBERNETES_SERVICE_PORT=PORT" => command.arg(format!("KUBERNETES_SERVICE_PORT={port}")),
                word if word.starts_with("FOLDER::") => command.arg(word.replacen("FOLDER", &folder.to_string(), 1)),
                "default" => command.arg("shop"),
                // The sample program needs arguments, and imports types of wasi:http.
                "out.wasm" => command.args(["-S", "http", word, "list", "shop"]),
                word => command.arg(word),
            };
        }
        let done = output(&mut command).await;
        assert_eq!((done.status, &*done.stderr), (0, ""), "{line}");
    }
    assert!(!testbed.server.requests().is_empty());
}
