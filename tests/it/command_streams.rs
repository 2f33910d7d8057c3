//! Tests of the `incluster` binary with output that comes in pieces: long lists and watches.

use crate::command::{command_in, in_testbed};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use testbed::{Answer, Ca, PodStore, Testbed};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::sync::Notify;

fn spawn(testbed: &Testbed, args: &[&str]) -> (Child, Lines<BufReader<ChildStdout>>) {
    let mut child = command_in(testbed, args).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    (child, lines)
}

async fn line(lines: &mut Lines<BufReader<ChildStdout>>) -> String {
    lines.next_line().await.unwrap().expect("a line")
}

fn names(store: &PodStore) -> String {
    store.state().keys().map(|name| format!("pod/{name}\n")).collect()
}

#[tokio::test]
async fn a_long_list_is_asked_for_page_by_page() {
    let store = PodStore::with_pods(1200);
    let testbed = Testbed::serving(store.handler()).await;
    let output = in_testbed(&testbed, &["pods", "-o", "name"]).await;
    assert_eq!((output.status, &*output.stderr), (0, ""));
    assert_eq!(output.stdout, names(&store));
    let limits: Vec<_> = testbed.server.requests().iter().map(|request| request.query("limit")).collect();
    assert_eq!(limits, vec![Some("500".to_string()); 3]);

    let output = in_testbed(&testbed, &["pods", "-o", "json", "--chunk-size", "1000"]).await;
    let json: serde_json::Value = serde_json::from_str(&output.stdout).unwrap();
    assert_eq!(json["items"].as_array().unwrap().len(), 1200);
    let table = in_testbed(&testbed, &["pods"]).await.stdout;
    assert_eq!(table.lines().count(), 1201);
    assert_eq!(table.lines().filter(|line| line.starts_with("NAME ")).count(), 1);
}

#[tokio::test]
async fn pages_are_printed_as_they_arrive() {
    let store = PodStore::with_pods(20);
    let release = Arc::new(Notify::new());
    let handler = {
        let (store, release) = (store.clone(), release.clone());
        move |request: testbed::Request| {
            let (store, release) = (store.clone(), release.clone());
            async move {
                if request.query("continue").is_some() {
                    release.notified().await;
                }
                store.answer(&request)
            }
        }
    };
    let testbed = Testbed::serving_async(handler).await;
    let (mut child, mut lines) = spawn(&testbed, &["pods", "--chunk-size", "12"]);
    for _ in 0..13 {
        line(&mut lines).await;
    }
    release.notify_one();
    for _ in 13..21 {
        line(&mut lines).await;
    }
    assert!(child.wait().await.unwrap().success());
}

#[tokio::test]
async fn a_list_that_expires_under_way_goes_on_and_says_so() {
    let store = PodStore::with_pods(20);
    let handler = {
        let store = store.clone();
        move |request: &testbed::Request| {
            if request.query("continue").is_some() && testbed_is_at_its_first_continue(&store) {
                store.compact();
            }
            store.answer(request)
        }
    };
    let testbed = Testbed::serving(handler).await;
    let output = in_testbed(&testbed, &["pods", "-o", "name", "--chunk-size", "8"]).await;
    assert_eq!((output.status, &*output.stdout), (0, &*names(&store)));
    assert_eq!(output.stderr.matches("the list expired while it was read").count(), 1, "{}", output.stderr);
}

/// Whether the store has not been compacted yet: only a compaction changes its resource version.
fn testbed_is_at_its_first_continue(store: &PodStore) -> bool {
    store.resource_version() == PodStore::with_pods(20).resource_version()
}

/// The binary on a terminal of its own, which shows both stdout and stderr.
fn on_terminal(testbed: &Testbed, args: &[&str]) -> Command {
    let plain = command_in(testbed, args);
    let words: Vec<_> = std::iter::once(plain.as_std().get_program()).chain(plain.as_std().get_args()).collect();
    let line = words.iter().map(|word| word.to_str().unwrap()).collect::<Vec<_>>().join(" ");
    let mut command = Command::new("script");
    command.args(["-qec", &line, "/dev/null"]).stdin(Stdio::null()).kill_on_drop(true);
    command
}

#[tokio::test]
async fn a_terminal_shows_how_far_a_long_list_is() {
    let testbed = Testbed::serving(PodStore::with_pods(1200).handler()).await;
    let output = on_terminal(&testbed, &["pods", "-o", "name"]).output().await.unwrap();
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    for part in ["500 of 1200 pods (41 %)\r\u{1b}[K", "1000 of 1200 pods (83 %)\r\u{1b}[K", "pod/web-01199"] {
        assert!(shown.contains(part), "{part:?} in {shown:?}");
    }
}

/// The terminal shows what the command waits for, and the text is erased once the answer comes.
#[tokio::test]
async fn a_terminal_shows_what_is_waited_for() {
    let (answer, store) = (Arc::new(Notify::new()), PodStore::with_pods(1));
    let answering = answer.clone();
    let handler = move |request: testbed::Request| {
        let (answering, store) = (answering.clone(), store.clone());
        async move {
            answering.notified().await;
            store.answer(&request)
        }
    };
    let testbed = Testbed::serving_async(handler).await;
    let mut terminal = on_terminal(&testbed, &["pods", "-o", "name"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut output = terminal.stdout.take().unwrap();
    let mut shown = String::new();
    let waiting = format!("waiting for {} for ", testbed.server.url());
    while !shown.contains("no answer yet") {
        let mut bytes = [0; 1000];
        let count = output.read(&mut bytes).await.unwrap();
        assert!(count > 0, "{shown}");
        shown.push_str(&String::from_utf8_lossy(&bytes[..count]));
    }
    assert!(shown.starts_with(&waiting), "{shown}");
    answer.notify_one();
    output.read_to_string(&mut shown).await.unwrap();
    assert!(shown.ends_with("s: no answer yet\r\u{1b}[Kpod/web-00000\r\n"), "{shown:?}");
}

/// When the server presents a certificate of a new CA before ca.crt has it, a watch says why it waits, and goes on once ca.crt has it.
#[tokio::test]
async fn a_watch_reports_a_certificate_that_is_no_longer_trusted() {
    let store = PodStore::with_pods(1);
    let testbed = Testbed::serving(store.handler()).await;
    let (mut child, mut lines) = spawn(&testbed, &["pods", "--watch", "-o", "name"]);
    let mut errors = BufReader::new(child.stderr.take().unwrap()).lines();
    assert_eq!(line(&mut lines).await, "pod/web-00000");
    store.until_open_watches(1).await;
    let new = Ca::new("kubernetes-ca");
    testbed.server.rotate(new.identity(&["127.0.0.1"]));
    testbed.server.hang_up();
    let told = errors.next_line().await.unwrap().unwrap();
    assert!(
        told.starts_with("incluster: the API server's certificate was not accepted: ")
            && told.ends_with("ca.crt may follow: trying again"),
        "{told}"
    );
    testbed.volume.set("ca.crt", new.pem().as_bytes());
    store.add("new");
    assert_eq!(line(&mut lines).await, "pod/new");
    child.start_kill().unwrap();
    assert_eq!(errors.next_line().await.unwrap(), None);
}

/// When the token's file becomes unreadable, the watch goes on with the last token.
#[tokio::test]
async fn a_token_that_becomes_unreadable() {
    let store = PodStore::with_pods(1);
    let testbed = Testbed::serving(store.handler()).await;
    let set = |path: &Path, mode| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    set(testbed.volume.path(), 0o755);
    let mut command = command_in(&testbed, &["pods", "--watch", "-o", "name"]);
    if rustix::process::geteuid().is_root() {
        command.uid(65_534);
    }
    let mut child = command.stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert_eq!(line(&mut lines).await, "pod/web-00000");
    store.until_open_watches(1).await;
    set(&testbed.volume.path().join("token"), 0);
    // A 401 makes the client read the file at once.
    store.fail_next(1, Answer::new(401, "no"));
    store.drop_watches();
    store.add("new");
    assert_eq!(line(&mut lines).await, "pod/new");
    assert!(testbed.server.requests().len() >= 4);
}

#[tokio::test]
async fn a_watch_prints_what_changes_in_columns_that_stay() {
    let store = PodStore::recorded();
    let testbed = Testbed::serving(store.handler()).await;
    let (_child, mut lines) = spawn(&testbed, &["pods", "--watch"]);
    let header = line(&mut lines).await;
    for _ in 0..7 {
        line(&mut lines).await;
    }
    store.until_open_watches(1).await;
    store.add("a");
    let added = line(&mut lines).await;
    assert_eq!(added.find("0/").or(added.find("1/")).or(added.find("2/")), header.find("READY"), "{header}\n{added}");
    store.set_phase("a", "Failed");
    assert!(line(&mut lines).await.contains("Failed"));
    store.bookmark();
    store.drop_watches();
    store.delete("a");
    assert!(line(&mut lines).await.starts_with("a "));
    let watches = testbed.server.requests().into_iter().filter(|request| request.query("watch").is_some());
    assert!(watches.clone().count() >= 2);
    assert!(watches.into_iter().all(|request| request.query("includeObject").as_deref() == Some("None")));
}

/// The list is asked for, because a watch begins with its resource version, and not printed.
#[tokio::test]
async fn a_watch_without_a_list_prints_only_what_changes() {
    let store = PodStore::recorded();
    let testbed = Testbed::serving(store.handler()).await;
    let (_child, mut lines) = spawn(&testbed, &["get", "pods", "--watch-only"]);
    store.until_open_watches(1).await;
    store.add("a-name-that-is-far-longer-than-the-header");
    let (header, added) = (line(&mut lines).await, line(&mut lines).await);
    assert!(
        header.starts_with("NAME  ") && added.starts_with("a-name-that-is-far-longer-than-the-header   "),
        "{header}\n{added}"
    );
    store.modify("search-06a943c59f-93bc72", "color", "blue");
    assert!(line(&mut lines).await.starts_with("search-06a943c59f-93bc72  "));
    let limits: Vec<_> = testbed.server.requests().iter().map(|request| request.query("limit")).collect();
    assert_eq!(limits, [Some("1".to_string()), None]);

    // What the server has forgotten is not printed, and the command says so.
    let (mut child, mut lines) = spawn(&testbed, &["pods", "--watch-only", "-o", "name"]);
    let mut errors = BufReader::new(child.stderr.take().unwrap()).lines();
    store.until_open_watches(2).await;
    store.compact();
    store.drop_watches();
    let told = errors.next_line().await.unwrap().unwrap();
    assert_eq!(told, "incluster: the server no longer has the next changes: changes up to now are missing");
    store.until_open_watches(2).await;
    store.add("new");
    assert_eq!(line(&mut lines).await, "pod/new");
}

#[tokio::test]
async fn one_pod_is_watched() {
    let store = PodStore::with_pods(3);
    let testbed = Testbed::serving(store.handler()).await;
    let (_child, mut lines) = spawn(&testbed, &["get", "pod", "web-00001", "-w", "--no-headers", "--show-labels"]);
    let listed = line(&mut lines).await;
    assert!(listed.starts_with("web-00001   ") && listed.ends_with(",tier=edge"), "{listed}");
    store.until_open_watches(1).await;
    store.modify("web-00002", "color", "red");
    store.modify("web-00001", "color", "blue");
    let changed = line(&mut lines).await;
    assert!(changed.starts_with("web-00001   ") && changed.contains(",color=blue,"), "{changed}");
    store.delete("web-00001");
    assert!(line(&mut lines).await.starts_with("web-00001   "));
    for args in [["pods", "web-00001", "--watch"], ["pods", "web-00001", "--watch-only"]] {
        let output = in_testbed(&testbed, &args).await;
        let says = "404 NotFound: pods \"web-00001\" not found; check the name, and the namespace\n";
        assert!(output.status == 1 && output.stdout.is_empty() && output.stderr.ends_with(says), "{}", output.stderr);
    }
}

/// The only sequence that a terminal acts on erases a line.
#[tokio::test]
async fn nothing_has_colours() {
    let testbed = Testbed::serving(PodStore::with_pods(1200).handler()).await;
    for (args, says) in [
        (&["pods"][..], "500 of 1200 pods"),
        (&["pods", "-o", "yaml", "--limit", "1"], "apiVersion: v1"),
        (&["pods", "-n", "other"], "incluster: failed to list pods"),
        (&["pods", "--sort-by", "x"], "kubectl has --sort-by"),
        (&["--help"], "no colours, with or without NO_COLOR"),
    ] {
        for variables in [&[][..], &[("NO_COLOR", "1")], &[("NO_COLOR", ""), ("CLICOLOR_FORCE", "1"), ("TERM", "xterm-256color")]]
        {
            let mut command = on_terminal(&testbed, args);
            let output = command.env_remove("NO_COLOR").envs(variables.iter().copied()).output().await.unwrap();
            let shown = String::from_utf8_lossy(&output.stdout).replace("\r\u{1b}[K", "");
            assert!(shown.contains(says) && !shown.contains('\u{1b}'), "{args:?} {variables:?}: {shown:?}");
        }
    }
}

#[tokio::test]
async fn a_watch_that_expires_lists_again() {
    let store = PodStore::with_pods(2);
    let testbed = Testbed::serving(store.handler()).await;
    let (_child, mut lines) = spawn(&testbed, &["pods", "--watch", "-o", "name"]);
    assert_eq!(line(&mut lines).await, "pod/web-00000");
    assert_eq!(line(&mut lines).await, "pod/web-00001");
    store.until_open_watches(1).await;
    store.compact();
    store.drop_watches();
    assert_eq!(line(&mut lines).await, "pod/web-00000");
    assert_eq!(line(&mut lines).await, "pod/web-00001");
    store.until_open_watches(1).await;
    store.add("new");
    assert_eq!(line(&mut lines).await, "pod/new");
}

#[tokio::test]
async fn a_busy_server_is_retried_as_the_options_say() {
    let testbed = Testbed::serving(|_| Answer::new(503, "busy")).await;
    let output = in_testbed(&testbed, &["pods", "--attempts", "2"]).await;
    assert!(output.stderr.contains("503: busy; tried 2 times in 0."), "{}", output.stderr);
    assert_eq!((output.status, testbed.server.requests().len()), (1, 2));
    let busy = Testbed::serving(|_| Answer::new(429, "busy").header("retry-after", "5")).await;
    let output = in_testbed(&busy, &["pods", "--timeout", "3"]).await;
    assert_eq!((output.status, busy.server.requests().len()), (1, 1));
}

/// A watch runs until a signal ends it.
#[tokio::test]
async fn a_signal_ends_a_watch() {
    let store = PodStore::recorded();
    let testbed = Testbed::serving(store.handler()).await;
    for (signal, status) in [("TERM", 143), ("INT", 130)] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_incluster"));
        command.args(["--server", &testbed.server.url(), "--service-account-dir"]).arg(testbed.volume.path());
        let mut running = command.args(["pods", "--watch", "-n", "shop"]).stdout(Stdio::piped()).spawn().unwrap();
        store.until_open_watches(1).await;
        let kill = format!("kill -{signal} {}", running.id().unwrap());
        assert!(Command::new("sh").args(["-c", &kill]).status().await.unwrap().success());
        assert_eq!(running.wait().await.unwrap().code(), Some(status));
        store.until_open_watches(0).await;
    }
}
