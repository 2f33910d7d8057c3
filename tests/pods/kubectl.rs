//! The cluster administrator's commands.

use crate::{asked, until, variable};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

/// Runs kubectl. Returns its output if it succeeds, else its error output.
pub fn tried(args: &[&str]) -> Result<String, String> {
    text(Command::new("kubectl").args(args).output().unwrap())
}

fn text(output: Output) -> Result<String, String> {
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

pub fn kubectl(args: &[&str]) -> String {
    tried(args).unwrap_or_else(|error| panic!("kubectl {args:?}: {error}"))
}

/// Creates or changes an object.
pub fn apply(object: &Value) {
    applied(object).unwrap_or_else(|error| panic!("{object}: {error}"));
}

/// Creates or changes an object, or returns why the API server is unreachable or refuses.
pub fn applied(object: &Value) -> Result<String, String> {
    let mut command = Command::new("kubectl");
    let command = command.args(["apply", "-f", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut running = command.spawn().unwrap();
    running.stdin.take().unwrap().write_all(object.to_string().as_bytes()).unwrap();
    text(running.wait_with_output().unwrap())
}

/// Stops, starts or restarts a component of the cluster.
pub fn component(verb: &str, name: &str) {
    text(Command::new(variable("CLUSTER")).args([verb, name]).output().unwrap()).unwrap();
}

/// Waits until the API server answers, then restarts the scheduler: a starting API server, which had not read its roles yet, may have
/// refused it, and it would try again only after half a minute.
pub fn api_server_is_back() {
    until("the API server", || tried(&["get", "--raw", "/readyz"]).ok());
    component("restart", "scheduler");
}

pub fn logs(namespace: &str, of: &str) -> String {
    tried(&["logs", "--namespace", namespace, of, "--tail=-1"]).unwrap_or_default()
}

/// Waits until a pod or job has printed this text. Returns its log.
pub fn says(namespace: &str, of: &str, text: &str) -> String {
    asked(|| {
        let log = logs(namespace, of);
        if log.contains(text) { Ok(log) } else { Err(format!("{of} says {text:?}, and not {log}")) }
    })
}

/// Reads a field of an object by its JSONPath.
pub fn field(namespace: &str, object: &str, path: &str) -> String {
    tried(&["get", "--namespace", namespace, object, &format!("--output=jsonpath={{{path}}}")]).unwrap_or_default()
}

/// Sends a GET request. Returns the status and the body.
pub fn get(host: &str, port: u16, path: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect((host, port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n\r\n").as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    Some((head.split(' ').nth(1)?.parse().ok()?, body.into()))
}
