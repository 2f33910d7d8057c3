use super::*;
use crate::types::{Container, ContainerStateTerminated, ObjectMeta, Pod};

#[test]
fn the_last_value_of_a_field_counts_but_a_list_has_all() {
    let container: Container = decode(b"\x0a\x01a\x12\x01i\x0a\x01b\x12\x00\x32\x00\x32\x00").unwrap();
    assert_eq!((&*container.name, container.image, container.ports.len()), ("b", None, 2));
}

#[test]
fn maps_are_sorted_and_the_last_entry_of_a_key_counts() {
    let entry = |key: &str, value: &str| [b"\x5a\x06\x0a\x01", key.as_bytes(), b"\x12\x01", value.as_bytes()].concat();
    let meta = [entry("b", "1"), entry("a", "2"), entry("b", "3"), entry("a", "4"), entry("c", "5")].concat();
    let meta: ObjectMeta = decode(&meta).unwrap();
    assert_eq!(meta.labels, [("a", "4"), ("b", "3"), ("c", "5")].map(|(k, v)| (k.into(), v.into())));
}

#[test]
fn text_that_was_cut_within_a_character_hides_nothing() {
    let terminated: ContainerStateTerminated = decode(b"\x22\x03ab\xc3\x1a\x03x\xffy").unwrap();
    assert_eq!((terminated.message.as_deref(), terminated.reason.as_deref()), (Some("ab\u{fffd}"), Some("x\u{fffd}y")));
    let meta: ObjectMeta = decode(b"\x5a\x07\x0a\x02k\xe2\x12\x01\xa4").unwrap();
    assert_eq!(meta.labels, [("k\u{fffd}".into(), "\u{fffd}".into())]);
}

#[test]
fn what_is_wrong_is_said_with_its_path() {
    let error = |bytes: &[u8]| decode::<Pod>(bytes).unwrap_err().to_string();
    assert_eq!(error(b"\x0a\x02\x08\x01"), "metadata.name is a number, not text or a message");
    assert_eq!(error(b"\x0a\x02\x3a\x00"), "metadata.generation is not a number");
    assert_eq!(error(b"\x12\x08\x12\x06\x32\x04\x18\x80\x80\x04"), "spec.containers.ports.containerPort 65536 is not a port");
    assert_eq!(error(b"\x12\x02\x12\x07"), "spec ends within a field");
    assert_eq!(error(b"\x12"), "ends within a field");
}

#[test]
fn without_a_list_of_addresses_the_main_one_is_the_list() {
    let addresses = |bytes: &[u8]| decode::<Pod>(bytes).map(|pod| (pod.status.pod_ips, pod.status.host_ips)).unwrap();
    let none = Vec::<String>::new;
    assert_eq!(addresses(b"\x1a\x03\x32\x01a"), (vec!["a".to_string()], none()));
    assert_eq!(addresses(b"\x1a\x05\x2a\x01h\x32\x00"), (none(), vec!["h".to_string()]));
    assert_eq!(addresses(b"\x1a\x0a\x32\x01a\x62\x03\x0a\x01b\x62\x00"), (vec!["b".to_string()], none()));
}
