//! Tests of watches.

use crate::{answer, kubernetes, tenant};
use incluster::types::{ChangeKind, Error, Expired, JsonEvent, ListOptions, PodEvent, RetryPolicy, WatchOptions};
use incluster::{PodWatch, Tenant};
use std::collections::BTreeMap;
use testbed::{Answer, PodStore, Request, Testbed};

fn patient(testbed: &Testbed) -> Tenant {
    tenant(testbed).with_retry_policy(RetryPolicy { attempts: Some(6), deadline: 20_000 })
}

async fn watch(testbed: &Testbed, from: Option<String>) -> PodWatch {
    let options = WatchOptions { resource_version: from, ..WatchOptions::ALL };
    patient(testbed).watch_namespaced_pods("shop", &options).await.unwrap()
}

async fn next(watch: &mut PodWatch) -> PodEvent {
    kubernetes(watch.next().await).unwrap().expect("an event")
}

/// A short text for an event.
fn short(event: &PodEvent) -> String {
    match event {
        PodEvent::Changed(change) => format!("{:?} {}", change.kind, change.pod.metadata.name),
        PodEvent::Synced(_) => "synced".into(),
        PodEvent::Bookmark(_) => "bookmark".into(),
        PodEvent::Ended => "ended".into(),
        PodEvent::Other(what) => what.clone(),
    }
}

/// A handler that answers from the store in JSON only.
fn json_only(store: &PodStore) -> impl Fn(&Request) -> Answer + Send + Sync + 'static {
    let store = store.clone();
    move |request| store.answer(&request.clone().with("accept", "application/json"))
}

#[tokio::test]
async fn changes_after_a_list_in_both_encodings() {
    for protobuf in [true, false] {
        let store = PodStore::with_pods(3);
        let testbed = match protobuf {
            true => Testbed::serving(store.handler()).await,
            false => Testbed::serving(json_only(&store)).await,
        };
        let list = kubernetes(tenant(&testbed).list_namespaced_pods("shop", &ListOptions::ALL).await).unwrap();
        let mut watch = watch(&testbed, Some(list.resource_version)).await;
        store.add("new");
        store.modify("new", "a", "b");
        store.delete("web-00001");
        let PodEvent::Changed(added) = next(&mut watch).await else { panic!() };
        assert_eq!((added.kind, &*added.pod.metadata.name), (ChangeKind::Added, "new"));
        let PodEvent::Changed(modified) = next(&mut watch).await else { panic!() };
        assert_eq!(modified.kind, ChangeKind::Modified);
        assert!(modified.pod.metadata.labels.contains(&("a".into(), "b".into())));
        let PodEvent::Changed(deleted) = next(&mut watch).await else { panic!() };
        assert_eq!((deleted.kind, &*deleted.pod.metadata.name), (ChangeKind::Deleted, "web-00001"));
        store.bookmark();
        assert_eq!(next(&mut watch).await, PodEvent::Bookmark(store.resource_version()));
        let request = testbed.server.requests().pop().unwrap();
        assert_eq!(request.query("allowWatchBookmarks").as_deref(), Some("true"));
    }
}

/// New servers send the existing pods as events; older ones are asked for a list.
#[tokio::test]
async fn the_existing_pods_come_first() {
    for knows in [true, false] {
        let store = PodStore::with_pods(3);
        store.know_initial_events(knows);
        let testbed = Testbed::serving(store.handler()).await;
        let mut watch = watch(&testbed, None).await;
        let mut events = Vec::new();
        for _ in 0..4 {
            events.push(short(&next(&mut watch).await));
        }
        assert_eq!(
            events,
            ["ChangeKind::Added web-00000", "ChangeKind::Added web-00001", "ChangeKind::Added web-00002", "synced"]
        );
        store.add("new");
        assert_eq!(short(&next(&mut watch).await), "ChangeKind::Added new");
        let lists = testbed.server.requests().iter().filter(|request| request.query("watch").is_none()).count();
        assert_eq!(lists, usize::from(!knows));
    }
}

/// Wherever the connection breaks, no event is lost and none comes twice.
#[tokio::test]
async fn a_connection_that_ends_anywhere_loses_and_repeats_nothing() {
    for protobuf in [true, false] {
        let store = PodStore::with_pods(2);
        let testbed = match protobuf {
            true => Testbed::serving(store.handler()).await,
            false => Testbed::serving(json_only(&store)).await,
        };
        let mut known = BTreeMap::new();
        for round in 0..60 {
            // A new watch each time: a single one would wait longer and longer before it connects again.
            let mut watch = watch(&testbed, Some(store.resource_version())).await;
            // Within a frame's length, at a frame's end, and anywhere in between.
            store.cut_watches_after(round * 311);
            let name = format!("pod-{round}");
            store.add(&name);
            store.modify(&name, "round", "1");
            for kind in [ChangeKind::Added, ChangeKind::Modified] {
                let PodEvent::Changed(change) = next(&mut watch).await else { panic!() };
                assert_eq!((change.kind, &change.pod.metadata.name), (kind, &name));
                known.insert(name.clone(), change.pod.metadata.resource_version);
            }
            match round % 3 {
                0 => store.drop_watches(),
                1 => store.close_watches(),
                _ => testbed.server.hang_up(),
            }
        }
        let mut state = store.state();
        state.retain(|name, _| name.starts_with("pod-"));
        assert_eq!(known, state);
    }
}

#[tokio::test]
async fn a_watch_that_the_server_has_forgotten_says_so_and_ends() {
    let store = PodStore::with_pods(3);
    let testbed = Testbed::serving(store.handler()).await;
    let old = store.resource_version();
    store.compact();
    let mut watch = watch(&testbed, Some(old)).await;
    let Err(Error::Expired(Expired { message, .. })) = kubernetes(watch.next().await) else { panic!() };
    assert!(message.contains("too old resource version"), "{message}");
    assert_eq!(kubernetes(watch.next().await), Ok(None));
    assert_eq!(testbed.server.requests().len(), 1);
}

/// Within the initial events, a watch has no version to go on from: the caller is told to begin again.
#[tokio::test]
async fn a_watch_that_breaks_before_it_is_synced_expires() {
    let store = PodStore::with_pods(3);
    let testbed = Testbed::serving(store.handler()).await;
    store.cut_watches_after(30_000);
    let mut watch = watch(&testbed, None).await;
    let mut last = kubernetes(watch.next().await);
    while let Ok(Some(PodEvent::Changed(_))) = last {
        last = kubernetes(watch.next().await);
    }
    assert!(matches!(last, Err(Error::Expired(_))), "{last:?}");
    assert_eq!(kubernetes(watch.next().await), Ok(None));
}

#[tokio::test]
async fn a_watch_ends_when_its_time_is_over() {
    let store = PodStore::with_pods(1);
    let testbed = Testbed::serving(store.handler()).await;
    let options = WatchOptions {
        timeout_seconds: Some(1),
        resource_version: Some(store.resource_version()),
        label_selector: Some("a=b".into()),
        ..WatchOptions::ALL
    };
    let mut watch = patient(&testbed).watch_namespaced_pods("shop", &options).await.unwrap();
    assert_eq!(kubernetes(watch.next().await), Ok(None));
    assert_eq!(kubernetes(watch.next().await), Ok(None));
    let requests = testbed.server.requests();
    assert_eq!(requests[0].query("timeoutSeconds").as_deref(), Some("1"));
    assert_eq!(requests[0].query("labelSelector").as_deref(), Some("a=b"));
}

#[tokio::test]
async fn a_server_that_ends_every_watch_at_once_is_not_asked_for_ever() {
    let testbed = Testbed::serving(|_| Answer::new(200, "").header("content-type", "application/json")).await;
    let options = WatchOptions { resource_version: Some("1".into()), ..WatchOptions::ALL };
    let tenant = tenant(&testbed).with_retry_policy(RetryPolicy { attempts: Some(3), deadline: 9000 });
    let mut watch = tenant.watch_namespaced_pods("shop", &options).await.unwrap();
    let failure = answer(watch.next().await).unwrap_err();
    assert_eq!(failure.attempts, 3, "{failure:?}");
    assert!(format!("{failure:?}").contains("again and again without an event"), "{failure:?}");
    assert_eq!(testbed.server.requests().len(), 3);
    // The server seems to have forgotten the version without saying so.
    let failure = answer(watch.next().await).unwrap_err();
    assert!(matches!(&failure.error, Error::Expired(expired) if expired.message.contains("\"1\"")), "{failure:?}");
    assert_eq!(testbed.server.requests().len(), 5);
    assert!(matches!(answer(watch.next().await), Ok(None)));
}

#[tokio::test]
async fn a_refusal_is_an_error_and_the_watch_can_go_on() {
    let store = PodStore::with_pods(1);
    let testbed = Testbed::serving(store.handler()).await;
    let mut refused = patient(&testbed).watch_namespaced_pods("other", &WatchOptions::ALL).await.unwrap();
    assert!(matches!(kubernetes(refused.next().await), Err(Error::Api(status)) if status.code == 403));

    let mut watch = watch(&testbed, Some(store.resource_version())).await;
    let forbidden = Answer::new(403, "no");
    store.fail_next(1, forbidden);
    assert!(matches!(kubernetes(watch.next().await), Err(Error::Api(status)) if status.code == 403));
    store.add("new");
    assert_eq!(short(&next(&mut watch).await), "ChangeKind::Added new");
}

/// Dropping `next`, as a `select!` does, loses no event.
#[tokio::test]
async fn a_call_that_is_dropped_loses_no_event() {
    let store = PodStore::with_pods(1);
    let testbed = Testbed::serving(store.handler()).await;
    let mut watch = watch(&testbed, Some(store.resource_version())).await;
    tokio::select! {
        biased;
        event = watch.next() => panic!("{event:?}"),
        () = store.until_open_watches(1) => {}
    }
    store.add("new");
    assert_eq!(short(&next(&mut watch).await), "ChangeKind::Added new");
    assert_eq!(testbed.server.requests().len(), 1);
}

/// Version "0" means any state of the server. Its objects come in no particular order, so a broken watch cannot go on from one of them.
#[tokio::test]
async fn a_watch_from_any_state_expires_when_it_breaks() {
    let body = |order: &[(&str, u32)]| -> Vec<u8> {
        let added = |(name, version): &(&str, u32)| {
            format!(
                "{{\"type\":\"ADDED\",\"object\":{{\"kind\":\"Pod\",\"metadata\":{{\"name\":\"{name}\",\"resourceVersion\":\"{version}\"}}}}}}\n"
            )
        };
        order.iter().map(added).collect::<String>().into()
    };
    let events = body(&[("a", 900), ("b", 20)]);
    let testbed = Testbed::serving(move |_| Answer::new(200, events.clone()).header("content-type", "application/json")).await;
    for json in [false, true] {
        let options = WatchOptions { resource_version: Some("0".into()), ..WatchOptions::ALL };
        let mut names = Vec::new();
        let failure = if json {
            let mut watch = patient(&testbed).watch_json("/api/v1/namespaces/shop/pods", &options).await.unwrap();
            loop {
                match kubernetes(watch.next().await) {
                    Ok(Some(JsonEvent::Changed(change))) => names.push(String::from_utf8(change.object).unwrap()),
                    other => break other.unwrap_err(),
                }
            }
        } else {
            let mut watch = patient(&testbed).watch_namespaced_pods("shop", &options).await.unwrap();
            loop {
                match kubernetes(watch.next().await) {
                    Ok(Some(PodEvent::Changed(change))) => names.push(change.pod.metadata.name),
                    other => break other.unwrap_err(),
                }
            }
        };
        assert!(names.len() == 2 && names[0].contains('a') && names[1].contains('b'), "{names:?} {failure:?}");
        assert!(matches!(failure, Error::Expired(_)), "{failure:?}");
    }
    // No request went on from the version of one of these objects.
    let requests = testbed.server.requests();
    assert!(
        requests.len() == 2
            && requests.iter().all(|request| request.query("resourceVersion").is_none_or(|version| version.is_empty()))
    );
}

/// Each watch of a tenant is a new client, so the host must remember that the server does not end the initial events.
#[tokio::test]
async fn a_server_that_does_not_end_the_initial_objects_is_listed_by_the_tenants_next_watch() {
    let store = PodStore::with_pods(3);
    store.end_initial_events(false);
    let testbed = Testbed::serving(store.handler()).await;
    let tenant = patient(&testbed);
    let path = "/api/v1/namespaces/shop/pods";
    let mut first = tenant.watch_json(path, &WatchOptions::ALL).await.unwrap();
    for _ in 0..3 {
        assert!(matches!(kubernetes(first.next().await).unwrap(), Some(JsonEvent::Changed(_))));
    }
    let Err(Error::Expired(Expired { message, .. })) = kubernetes(first.next().await) else { panic!() };
    assert!(message.contains("sendInitialEvents"), "{message}");
    for tenant in [tenant.clone(), tenant] {
        let mut watch = tenant.watch_namespaced_pods("shop", &WatchOptions::ALL).await.unwrap();
        let mut events = Vec::new();
        for _ in 0..4 {
            events.push(short(&next(&mut watch).await));
        }
        assert_eq!(events.last().unwrap(), "synced", "{events:?}");
        store.add("new");
        assert_eq!(short(&next(&mut watch).await), "ChangeKind::Added new");
        store.delete("new");
    }
    let requests = testbed.server.requests();
    assert_eq!(requests.iter().filter(|request| request.query("sendInitialEvents").is_some()).count(), 1);
    // A tenant with another identity may be talking to another server, so the finding does not apply to it.
    assert!(matches!(next(&mut watch(&testbed, None).await).await, PodEvent::Changed(_)));
}

/// An object that cannot be read is reported as an error, and the watch goes on with the next one.
#[tokio::test]
async fn an_unreadable_object_is_reported_and_skipped() {
    let event = |kind: &str, name: &str, version: u32, created: &str| {
        format!(
            r#"{{"type":"{kind}","object":{{"kind":"Pod","metadata":{{"name":"{name}","resourceVersion":"{version}","creationTimestamp":"{created}"}}}}}}"#
        )
    };
    let events = [
        event("ADDED", "web-0", 5, "2025-08-23T12:02:32Z"),
        event("MODIFIED", "web-1", 6, "2025-08-2312:02:32Z"),
        event("ADDED", "web-2", 7, "2025-08-23T12:02:32Z"),
    ];
    let body = events.join("\n") + "\n";
    let testbed = Testbed::serving(move |_| Answer::new(200, body.clone()).header("content-type", "application/json")).await;
    let mut watch = watch(&testbed, Some("1".into())).await;
    assert_eq!(short(&next(&mut watch).await), "ChangeKind::Added web-0");
    let error = kubernetes(watch.next().await).unwrap_err();
    assert!(matches!(&error, Error::MalformedResponse(message) if message.contains("\"web-1\"")), "{error:?}");
    assert_eq!(short(&next(&mut watch).await), "ChangeKind::Added web-2");
    assert_eq!(testbed.server.requests().len(), 1);
}

/// A server may be behind for a moment. One that is behind twice was probably restored from an older backup.
#[tokio::test]
async fn a_server_that_is_behind_twice_has_forgotten() {
    const TOO_LARGE: &str = r#"{"type":"ERROR","object":{"kind":"Status","status":"Failure","code":504,"reason":"Timeout","message":"Too large resource version: 1200, current: 1000","details":{"causes":[{"reason":"ResourceVersionTooLarge"}]}}}"#;
    let testbed =
        Testbed::serving(move |_| Answer::new(200, format!("{TOO_LARGE}\n")).header("content-type", "application/json")).await;
    let mut watch = watch(&testbed, Some("1200".into())).await;
    let error = kubernetes(watch.next().await).unwrap_err();
    assert!(matches!(&error, Error::Expired(expired) if expired.message.contains("1200")), "{error:?}");
    assert_eq!(testbed.server.requests().len(), 2);
}
