//! Uses `incluster-extension` in the namespace `shop` as the first argument says, and prints the results.

use incluster_extension::{Client, Collection, Error, Event, Json, OnExpired, Page, RetryPolicy, wait};
use k8s_openapi::api::core::v1::{Node, Pod};
use std::time::Duration;

const PODS: &str = "/api/v1/namespaces/shop/pods";

fn main() -> Result<(), Error> {
    let what = std::env::args().nth(1).unwrap_or_default();
    let client = Client::in_cluster()?;
    match what.as_str() {
        "pages" => pages(client.pods("shop").limit(3).pages()?)?,
        "stream" => pages(client.pods("shop").stream()?)?,
        "resume" => pages(client.pods("shop").limit(3).on_expired(OnExpired::Resume).pages()?)?,
        "list" => names(client.pods("shop").limit(3).list()?.items.into_iter().map(|pod| Some(pod.metadata.name))),
        "options" => {
            let two_seconds = Duration::from_millis(1500);
            let pods: Collection<Json> = client.collection(PODS).labels("a=b").labels("c").fields("d=e").timeout(two_seconds);
            println!("{} pods", pods.resource_version("1").list()?.items.len());
        }
        "typed" => {
            names(client.list::<Pod>("shop")?.into_iter().map(|pod| pod.metadata.name));
            println!("{:?}", client.get::<Pod>("shop", "web-00000")?.metadata.name);
            for event in client.watch::<Pod>("shop")? {
                match event? {
                    Event::Added(pod) => println!("added {:?}", pod.metadata.name),
                    Event::Synced(_) => break,
                    other => println!("{other:?}"),
                }
            }
        }
        "failures" => {
            client.set_retry_policy(RetryPolicy::NEVER);
            let failures = [
                client.get::<Pod>("shop", "none").err(),
                client.get::<Pod>("*", "web-00000").err(),
                client.cluster_get::<Node>("none").err(),
                client.collection::<u32>(PODS).list().err(),
                client.pods("shop").limit(3).stream().err(),
            ];
            for error in failures {
                let error = error.expect("a failure");
                println!("{} {} {}: {error}", error.is_not_found(), error.is_unexpected_type(), error.attempts());
            }
        }
        "wait" => {
            let (mut pods, all) = (client.pods("shop").watch()?, client.resource::<Pod>("*").watch()?);
            while !matches!(pods.next_event(None)?, Some(Event::Synced(_))) {}
            println!("{:?}", wait([pods.source(), all.source()], None));
            println!("{:?} {:?}", wait([pods.source()], Some(Duration::ZERO)), wait([], None));
            let short = client.pods("shop").timeout(Duration::ZERO).watch()?;
            println!("{} events, and an end", short.filter_map(Result::ok).count());
        }
        other => panic!("unknown mode {other:?}"),
    }
    Ok(())
}

fn pages(pages: impl Iterator<Item = Result<Page<incluster_extension::Pod>, Error>>) -> Result<(), Error> {
    for page in pages {
        let page = page?;
        println!("{} {} {}", page.items.len(), page.is_restarted, page.is_inconsistent);
    }
    Ok(())
}

fn names(names: impl Iterator<Item = Option<String>>) {
    println!("{}", names.flatten().collect::<Vec<_>>().join(" "));
}
