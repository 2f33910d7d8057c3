//! What it does is its first argument's to say. Most of it is hostile.

wit_bindgen::generate!({
    path: "../../../wit",
    inline: "package example:program; world program { include incluster:kubernetes/extension@0.1.0; }",
    generate_all,
});

use incluster::kubernetes::client::{get_json, list_namespaced_pods, load_incluster_config, watch_namespaced_pods};
use incluster::kubernetes::types::{Error, Failure, ListOptions, WatchOptions};
use std::hint::black_box;
use std::time::Duration;

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let argument = |place: usize| args.get(place).map(String::as_str).unwrap_or_default();
    let done = match argument(1) {
        "list" => list(argument(2)),
        "get" => get(argument(2)),
        "flood" => flood(),
        "hold" => hold(),
        "read" => read(),
        "leak" => leak(),
        "configurations" => configurations(),
        "strings" => strings(),
        "spin" => loop {
            black_box(());
        },
        "allocate" => loop {
            std::mem::forget(black_box(vec![1_u8; 1 << 20]));
        },
        "print" => loop {
            println!("{}", "x".repeat(1000));
        },
        "sleep" => {
            std::thread::sleep(Duration::from_secs(3600));
            Ok(())
        }
        "recurse" => {
            black_box(recurse(black_box(0)));
            Ok(())
        }
        "trap" => std::process::abort(),
        other => panic!("there is no {other:?}"),
    };
    if let Err(error) = done {
        eprintln!("{error:?}");
        std::process::exit(1);
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Error {
        failure.error
    }
}

fn list(namespace: &str) -> Result<(), Error> {
    let config = load_incluster_config().map_err(Error::Config)?;
    for pod in list_namespaced_pods(&config, namespace, &all())?.items {
        println!("{}", pod.metadata.name);
    }
    Ok(())
}

fn get(path: &str) -> Result<(), Error> {
    let config = load_incluster_config().map_err(Error::Config)?;
    println!("{}", String::from_utf8_lossy(&get_json(&config, path)?));
    Ok(())
}

/// Asks as fast as it can.
fn flood() -> Result<(), Error> {
    let config = load_incluster_config().map_err(Error::Config)?;
    loop {
        get_json(&config, "/api/v1/namespaces/shop/pods?limit=1")?;
    }
}

/// Opens watches, and keeps them.
fn hold() -> Result<(), Error> {
    let config = load_incluster_config().map_err(Error::Config)?;
    let options = WatchOptions { label_selector: None, field_selector: None, resource_version: None, timeout_seconds: None };
    let mut held = Vec::new();
    loop {
        let watch = watch_namespaced_pods(&config, "shop", &options)?;
        watch.next(None)?;
        held.push(watch);
    }
}

/// Prints whatever it can read.
fn read() -> Result<(), Error> {
    for (name, value) in std::env::vars() {
        println!("{name}={value}");
    }
    let folder = "/var/run/secrets/kubernetes.io/serviceaccount";
    for name in ["token", "./token", "ca.crt", "namespace", "..data/token", "../token", "..data", ".", "", "token/", "TOKEN"] {
        println!("{name}: {:?}", std::fs::read_to_string(format!("{folder}/{name}")));
    }
    for path in ["/", "/etc/passwd", "/proc/self/environ", "/proc/self/fd/0", "token", "/var/run/secrets", folder] {
        println!("{path}: {:?}", std::fs::read_to_string(path));
        println!("{path}: {:?}", std::fs::read_dir(path).map(|entries| entries.flatten().map(|e| e.path()).collect::<Vec<_>>()));
    }
    for write in ["token", "new"] {
        println!("{write}: {:?}", std::fs::write(format!("{folder}/{write}"), "x").is_ok());
    }
    Ok(())
}

/// Makes resources of the host's, and forgets them.
fn leak() -> Result<(), Error> {
    loop {
        std::mem::forget(wasip2::http::types::Fields::new());
    }
}

/// Makes resources of the client's, and forgets them.
fn configurations() -> Result<(), Error> {
    loop {
        std::mem::forget(load_incluster_config().map_err(Error::Config)?);
    }
}

/// Hands over more at once than any request has.
fn strings() -> Result<(), Error> {
    let request = wasip2::http::types::OutgoingRequest::new(wasip2::http::types::Fields::new());
    black_box(request.set_path_with_query(Some(&"x".repeat(16 << 20))).is_ok());
    Ok(())
}

#[expect(unconditional_recursion, reason = "that is what it is for")]
fn recurse(depth: u64) -> u64 {
    black_box(recurse(depth + 1)) + black_box(depth)
}

fn all() -> ListOptions {
    ListOptions {
        label_selector: None,
        field_selector: None,
        limit: None,
        continue_token: None,
        resource_version: None,
        resource_version_match: None,
        timeout_seconds: None,
    }
}
