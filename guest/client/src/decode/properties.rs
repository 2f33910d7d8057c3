//! Properties of every body: how it is cut does not matter, both encodings say the same, and nothing panics.

use super::any_pod::Choices;
use super::fixtures::{self, Exchange};
use super::message::Message as _;
use super::test_pods::{self, Writer};
use super::{Encoding, Event, Frames, ListDecoder, pod_event};
use crate::types::{Error, Pod, PodList};
use k8s_openapi::api::core::v1 as core;
use k8s_openapi::apimachinery::pkg::apis::meta::v1 as meta;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::strategy::ValueTree as _;
use prost::Message as _;
use serde_json::{Value, json};
use std::sync::LazyLock;

const BOTH: [Encoding; 2] = [Encoding::Json, Encoding::Protobuf];

fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

/// Cuts a body into pieces, some of which may be empty.
fn cut<'a>(body: &'a [u8], places: &[Index]) -> Vec<&'a [u8]> {
    let mut places: Vec<_> = places.iter().map(|place| place.index(body.len() + 1)).collect();
    places.sort_unstable();
    let ends = places.iter().copied().chain([body.len()]);
    let begins = [0].into_iter().chain(places.iter().copied());
    begins.zip(ends).map(|(begin, end)| &body[begin..end]).collect()
}

fn list(encoding: Encoding, chunks: &[&[u8]]) -> Result<PodList, Error> {
    let mut decoder = ListDecoder::<Pod>::new(encoding);
    chunks.iter().try_for_each(|chunk| decoder.push(chunk))?;
    decoder.finish().map(PodList::from)
}

/// The events, and how the body ended.
type Events = (Vec<Result<Event<Pod>, Error>>, Result<(), Error>);

fn events(encoding: Encoding, chunks: &[&[u8]]) -> Events {
    let (mut frames, mut events) = (Frames::new(encoding), Vec::new());
    let end = chunks.iter().try_for_each(|chunk| frames.push(chunk, &mut |frame| events.push(pod_event(encoding, frame))));
    (events, end)
}

/// Removes an error's text: only the first of several malformed fields is named, and each encoding has an order of its own.
fn nameless<T>(decoded: Result<T, Error>) -> Result<T, Error> {
    decoded.map_err(|error| match error {
        Error::MalformedResponse(_) => Error::MalformedResponse(String::new()),
        other => other,
    })
}

/// Like `nameless`, for events.
fn nameless_event(decoded: Result<Event<Pod>, Error>) -> Result<Event<Pod>, Error> {
    nameless(decoded).map(|event| match event {
        Event::Unreadable { resource_version, .. } => {
            Event::Unreadable { error: Error::MalformedResponse(String::new()), resource_version }
        }
        other => other,
    })
}

/// The same pods in both encodings.
struct Bodies {
    lists: [Vec<u8>; 2],
    watches: [Vec<u8>; 2],
}

impl Bodies {
    fn new(choices: &[u8], writer: Writer) -> Bodies {
        let mut choices = Choices(choices);
        let (metadata, pods) = (choices.list_meta(), choices.pods());
        let mut json_of = |pod: &core::Pod| {
            let mut pod = serde_json::to_value(pod).unwrap();
            choices.vary(&mut pod, Pod::FIELDS);
            pod
        };
        let in_json: Vec<Value> = pods.iter().map(&mut json_of).collect();
        let list = json!({"metadata": list_meta(&metadata), "apiVersion": "v1", "items": in_json, "kind": "PodList"});
        let (mut json_watch, mut protobuf_watch) = (String::new(), Vec::new());
        for (name, (pod, in_json)) in ["ADDED", "BOOKMARK", "DELETED"].iter().zip(pods.iter().zip(in_json)) {
            json_watch += &format!("{}\n", json!({"type": name, "object": in_json}));
            let raw = writer.pod(pod).encode_to_vec();
            protobuf_watch.extend(test_pods::event(name, test_pods::body("Pod", raw)));
        }
        Bodies {
            lists: [serde_json::to_vec_pretty(&list).unwrap(), writer.list(&metadata, &pods)],
            watches: [json_watch.into_bytes(), protobuf_watch],
        }
    }
}

fn list_meta(metadata: &meta::ListMeta) -> Value {
    serde_json::to_value(metadata).unwrap()
}

fn writer() -> impl Strategy<Value = Writer> {
    prop_oneof![Just(Writer::Go), Just(Writer::Terse)]
}

fn places() -> impl Strategy<Value = Vec<Index>> {
    vec(any::<Index>(), 0..20)
}

proptest! {
    #![proptest_config(cases(1024))]

    #[test]
    fn both_encodings_say_the_same(choices in vec(any::<u8>(), 0..800), writer in writer()) {
        let Bodies { lists, watches } = Bodies::new(&choices, writer);
        let [json, protobuf] = [0, 1].map(|n| nameless(list(BOTH[n], &[&lists[n]])));
        prop_assert_eq!(json, protobuf);
        let [json, protobuf] = [0, 1].map(|n| {
            let (events, end) = events(BOTH[n], &[&watches[n]]);
            (events.into_iter().map(nameless_event).collect::<Vec<_>>(), nameless(end))
        });
        prop_assert_eq!(json, protobuf);
    }

    #[test]
    fn how_a_body_is_cut_does_not_matter(choices in vec(any::<u8>(), 0..800), writer in writer(), places in places()) {
        let Bodies { lists, watches } = Bodies::new(&choices, writer);
        for (n, encoding) in BOTH.into_iter().enumerate() {
            prop_assert_eq!(list(encoding, &cut(&lists[n], &places)), list(encoding, &[&lists[n]]));
            prop_assert_eq!(events(encoding, &cut(&watches[n], &places)), events(encoding, &[&watches[n]]));
        }
    }
}

/// Most pods are valid, so the properties above do not merely hold because both encodings fail.
#[test]
fn most_of_the_pods_are_valid() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let choices = vec(any::<u8>(), 0..800);
    let good = (0..100).filter(|_| {
        let choices = choices.new_tree(&mut runner).unwrap().current();
        list(Encoding::Json, &[&Bodies::new(&choices, Writer::Go).lists[0]]).is_ok_and(|list| !list.items.is_empty())
    });
    let good = good.count();
    assert!(good > 30, "{good} of 100");
}

/// A change to some bytes of a body.
#[derive(Clone, Debug)]
enum Change {
    Flip(Index, u8),
    Insert(Index, Vec<u8>),
    Delete(Index, Index),
    Repeat(Index, Index),
}

impl Change {
    fn apply(&self, body: &mut Vec<u8>) {
        let place = |index: &Index| index.index(body.len() + 1);
        let range = |a: &Index, b: &Index| place(a).min(place(b))..place(a).max(place(b)).min(place(a).min(place(b)) + 64);
        match self {
            Change::Flip(at, bits) => {
                let at = place(at);
                body.get_mut(at).into_iter().for_each(|byte| *byte ^= bits);
            }
            Change::Insert(at, bytes) => drop(body.splice(place(at)..place(at), bytes.iter().copied())),
            Change::Delete(a, b) => drop(body.drain(range(a, b))),
            Change::Repeat(a, b) => {
                let bytes = body[range(a, b)].to_vec();
                drop(body.splice(place(b)..place(b), bytes));
            }
        }
    }
}

fn change() -> impl Strategy<Value = Change> {
    const TOKENS: [&[u8]; 8] = [b"null", b"{", b"]", b"\"", b"\\", b",\"items\":[]", b"\xff\xff\xff\xff\x0f", b"\0"];
    prop_oneof![
        (any::<Index>(), 1..=255_u8).prop_map(|(at, bits)| Change::Flip(at, bits)),
        (any::<Index>(), vec(any::<u8>(), 1..5)).prop_map(|(at, bytes)| Change::Insert(at, bytes)),
        (any::<Index>(), select(&TOKENS)).prop_map(|(at, bytes)| Change::Insert(at, bytes.to_vec())),
        (any::<Index>(), any::<Index>()).prop_map(|(a, b)| Change::Delete(a, b)),
        (any::<Index>(), any::<Index>()).prop_map(|(a, b)| Change::Repeat(a, b)),
    ]
}

/// The beginnings of bodies, more or less.
const BEGINNINGS: [&[u8]; 5] = [b"", b"k8s\0", b"{", b"\0\0\0\x09", b"{\"items\":["];

/// Good bodies: a list and a watch in each encoding.
static GOOD: LazyLock<[Vec<u8>; 5]> = LazyLock::new(|| {
    let mut watch = Exchange::read("watch-initial-protobuf").body;
    watch.truncate(12_000);
    let pods = test_pods::event("ADDED", test_pods::body("Pod", Vec::new()));
    let watch_json = Exchange::read("watch-changes").body;
    [fixtures::full_pod_json().into_bytes(), fixtures::full_pod_protobuf(), watch, watch_json, pods]
});

proptest! {
    #![proptest_config(cases(1024))]

    #[test]
    fn a_changed_body_does_not_panic_however_it_is_cut(
        which in any::<Index>(), changes in vec(change(), 1..6), places in places()
    ) {
        let mut body = GOOD[which.index(GOOD.len())].clone();
        changes.iter().for_each(|change| change.apply(&mut body));
        for encoding in BOTH {
            prop_assert_eq!(list(encoding, &cut(&body, &places)), list(encoding, &[&body]));
            prop_assert_eq!(events(encoding, &cut(&body, &places)), events(encoding, &[&body]));
        }
    }

    #[test]
    fn bytes_do_not_panic(
        begin in select(&BEGINNINGS),
        bytes in vec(any::<u8>(), 0..200),
        places in places(),
    ) {
        let body = [begin, &bytes].concat();
        for encoding in BOTH {
            prop_assert_eq!(list(encoding, &cut(&body, &places)), list(encoding, &[&body]));
            prop_assert_eq!(events(encoding, &cut(&body, &places)), events(encoding, &[&body]));
            _ = pod_event(encoding, &body);
        }
    }
}

/// Bodies that fuzzing found, each of which was once accepted.
#[test]
fn a_list_in_what_is_almost_json_is_refused() {
    for body in ["\x0c{\"kind\":\"PodList\"}", "{\"kind\":PodList}", "{\"kind\":\"PodList\",\"a\x01b\":7}"] {
        for size in [1, 3, 100] {
            let chunks: Vec<_> = body.as_bytes().chunks(size).collect();
            assert!(matches!(list(Encoding::Json, &chunks), Err(Error::MalformedResponse(_))), "{body:?}");
        }
    }
}
