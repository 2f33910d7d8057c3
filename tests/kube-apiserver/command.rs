//! The command line, beside kubectl.

use crate::{changes, incluster, incluster_in, kubectl, namespace, variable, volume};
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// No line takes so long.
const PATIENCE: Duration = Duration::from_secs(30);

/// The ages in a table may move on between two commands: then both are asked again.
fn same_as_kubectl(ours: &[&str], theirs: &[&str]) {
    let namespace = namespace();
    let last = (0..20).map(|_| (incluster(ours), kubectl(&[theirs, &["-n", &namespace]].concat()))).find(|(a, b)| a == b);
    assert!(last.is_some(), "{}\nis not\n{}", incluster(ours), kubectl(&[theirs, &["-n", &namespace]].concat()));
}

#[test]
fn output_equals_kubectls() {
    same_as_kubectl(&["pods"], &["get", "pods"]);
    same_as_kubectl(&["pods", "-o", "wide"], &["get", "pods", "-o", "wide"]);
    same_as_kubectl(&["pods", "-o", "name"], &["get", "pods", "-o", "name"]);
    same_as_kubectl(
        &["pods", "-l", "tier=edge", "--field-selector", "status.phase=Running"],
        &["get", "pods", "-l", "tier=edge", "--field-selector", "status.phase=Running"],
    );
}

#[test]
fn documents_hold_what_kubectls_hold() {
    let parse = |text: String| serde_json::from_str::<Value>(&text).unwrap();
    let ours = parse(incluster(&["pods", "-o", "json"]));
    let theirs = parse(kubectl(&["get", "pods", "-o", "json", "-n", &namespace()]));
    assert_eq!(ours["items"].as_array().unwrap().len(), 60);
    assert_eq!(ours["items"], theirs["items"]);
}

#[test]
fn a_table_of_5000_pods_equals_kubectls_names() {
    let namespace = format!("{}-load", namespace());
    let theirs = kubectl(&["get", "pods", "-n", &namespace, "-o", "name"]);
    assert_eq!(theirs.lines().count(), 5000);
    assert_eq!(incluster(&["pods", "-n", &namespace, "-o", "name"]), theirs);
    let table = incluster(&["pods", "-n", &namespace]);
    let names = table.lines().skip(1).filter_map(|line| line.split(' ').next());
    assert!(names.eq(theirs.lines().filter_map(|line| line.strip_prefix("pod/"))));
}

/// Lines that a running command prints.
struct Running {
    child: Child,
    lines: mpsc::Receiver<String>,
    seen: Vec<String>,
}

impl Running {
    fn start(command: &mut Command) -> Running {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Running { child, lines, seen: vec![] }
    }

    /// Waits for a line that begins so.
    fn until(&mut self, start: &str) {
        while !self.seen.last().is_some_and(|line| line.starts_with(start)) {
            let line = self.lines.recv_timeout(PATIENCE);
            self.seen.push(line.unwrap_or_else(|_| panic!("no line {start:?} after {:#?}", self.seen)));
        }
    }

    /// Ends it. What it printed, without the ages: those are the last column.
    fn end(mut self) -> Vec<String> {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.seen.iter().map(|line| line.rsplit_once(' ').map_or("", |(rest, _)| rest.trim_end()).to_string()).collect()
    }
}

#[test]
fn a_watch_prints_what_kubectls_prints() {
    let (test, namespace) = ("beside", changes::namespace());
    for name in ["beside-a", "beside-b"] {
        changes::run(name, test);
    }
    let args = ["-n", &namespace, "-l", "test=beside", "--watch"];
    let volume = volume(&variable("REAL_TOKEN"));
    let mut ours = Running::start(incluster_in(&volume).arg("pods").args(args));
    let mut theirs = Running::start(Command::new(variable("KUBECTL")).args(["get", "pods"]).args(args));
    let mut until = |start: &str| {
        ours.until(start);
        theirs.until(start);
    };
    until("beside-b");
    changes::run("beside-a-name-that-is-longer", test);
    until("beside-a-name-that-is-longer");
    changes::label("beside-a", "color=blue");
    changes::delete("beside-b");
    changes::run("beside-z", test);
    until("beside-z");
    let (ours, theirs) = (ours.end(), theirs.end());
    assert_eq!(ours, theirs);
    assert!(ours.len() >= 7, "{ours:#?}");
    for name in ["beside-a", "beside-a-name-that-is-longer", "beside-z"] {
        changes::delete(name);
    }
}
