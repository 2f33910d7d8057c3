//! A program whose first argument selects what it does. Most modes are hostile.

use incluster_extension::{Client, Error, Json};
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
        other => panic!("unknown mode {other:?}"),
    };
    if let Err(error) = done {
        eprintln!("{:?}: {error}", error.kubernetes());
        std::process::exit(1);
    }
}

fn list(namespace: &str) -> Result<(), Error> {
    for pod in Client::in_cluster()?.pods(namespace).list()? {
        println!("{}", pod.metadata.name);
    }
    Ok(())
}

fn get(path: &str) -> Result<(), Error> {
    println!("{}", String::from_utf8_lossy(&Client::in_cluster()?.get_at::<Json>(path)?.0));
    Ok(())
}

/// Sends requests as fast as it can.
fn flood() -> Result<(), Error> {
    let client = Client::in_cluster()?;
    loop {
        client.get_at::<Json>("/api/v1/namespaces/shop/pods?limit=1")?;
    }
}

/// Opens watches and keeps them open.
fn hold() -> Result<(), Error> {
    let client = Client::in_cluster()?;
    let mut held = Vec::new();
    loop {
        let mut watch = client.pods("shop").watch()?;
        watch.next_event(None)?;
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

/// Creates resources of the host without dropping them.
fn leak() -> Result<(), Error> {
    loop {
        std::mem::forget(wasip2::http::types::Fields::new());
    }
}

/// Creates resources of the client without dropping them.
fn configurations() -> Result<(), Error> {
    loop {
        std::mem::forget(Client::in_cluster()?);
    }
}

/// Passes a string to the host that is larger than any request's path.
fn strings() -> Result<(), Error> {
    let request = wasip2::http::types::OutgoingRequest::new(wasip2::http::types::Fields::new());
    black_box(request.set_path_with_query(Some(&"x".repeat(16 << 20))).is_ok());
    Ok(())
}

#[expect(unconditional_recursion, reason = "that is what it is for")]
fn recurse(depth: u64) -> u64 {
    black_box(recurse(depth + 1)) + black_box(depth)
}
