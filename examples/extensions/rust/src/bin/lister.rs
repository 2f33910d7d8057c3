//! Prints the pods of a namespace, page by page; its services; the address of one; or what changes, until a pod is called `last`.

use incluster_extension::{Client, Error, Event, Json, Page};
use serde_json::Value;
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let command = args.next().unwrap_or_default();
    if !["list", "services", "watch", "address"].contains(&&*command) {
        eprintln!("usage: lister list|services|watch|address [NAMESPACE]");
        return ExitCode::FAILURE;
    }
    let namespace = args.next().unwrap_or_else(|| "default".into());
    match run(&command, &namespace) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let advice = if error.is_retryable() { "try again" } else { "trying again does not help" };
            eprintln!("{error} ({advice})");
            ExitCode::FAILURE
        }
    }
}

fn run(command: &str, namespace: &str) -> Result<(), Error> {
    let client = Client::in_cluster()?;
    match command {
        "list" => list(&client, namespace),
        "services" => services(&client, namespace),
        "watch" => watch(&client, namespace),
        _ => address(&client, namespace),
    }
}

fn list(client: &Client, namespace: &str) -> Result<(), Error> {
    let mut pages = client.pods(namespace).limit(3).pages()?;
    while let Some(Page { items, .. }) = pages.next_page()? {
        for pod in items {
            println!("{} {}", pod.metadata.name, pod.status.phase.unwrap_or_default());
        }
    }
    Ok(())
}

fn services(client: &Client, namespace: &str) -> Result<(), Error> {
    let mut pages = client.collection::<Json>(&format!("/api/v1/namespaces/{namespace}/services")).pages()?;
    while let Some(Page { items, .. }) = pages.next_page()? {
        for Json(service) in items {
            println!("{}", field(&service, "/metadata/name"));
        }
    }
    Ok(())
}

fn watch(client: &Client, namespace: &str) -> Result<(), Error> {
    for event in client.pods(namespace).watch()? {
        let (kind, pod) = match event? {
            Event::Added(pod) => ("added", pod),
            Event::Modified(pod) => ("modified", pod),
            Event::Deleted(pod) => ("deleted", pod),
            _ => continue,
        };
        println!("{kind} {}", pod.metadata.name);
        if pod.metadata.name == "last" {
            break;
        }
    }
    Ok(())
}

fn address(client: &Client, namespace: &str) -> Result<(), Error> {
    let Json(service) = client.get_at(&format!("/api/v1/namespaces/{namespace}/services/web"))?;
    println!("{}", field(&service, "/spec/clusterIP"));
    Ok(())
}

/// A text in an object. A type of your own, by the crate's feature `serde`, is the other way.
fn field(json: &[u8], place: &str) -> String {
    let object: Value = serde_json::from_slice(json).unwrap_or_default();
    object.pointer(place).and_then(Value::as_str).unwrap_or("(none)").into()
}
