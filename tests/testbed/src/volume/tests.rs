//! Tests of what a reader of a volume sees.

use super::*;

fn read(volume: &Volume, name: &str) -> std::io::Result<String> {
    fs::read_to_string(volume.path().join(name))
}

#[test]
fn contents_change() {
    let volume = Volume::new("one", "ca", "shop");
    volume.set_many(&[("token", b"two"), ("ca.crt", b"other")]);
    let all = ["token", "ca.crt", "namespace"].map(|name| read(&volume, name).unwrap());
    assert_eq!(all, ["two", "other", "shop"]);
    let before = fs::read_link(volume.path().join("..data")).unwrap();
    volume.write_in_place("token", b"three");
    assert_eq!(read(&volume, "token").unwrap(), "three");
    assert_eq!(fs::read_link(volume.path().join("..data")).unwrap(), before);
}

#[test]
fn links_break_and_come_back() {
    let volume = Volume::new("one", "ca", "shop");
    for breaks in [Volume::replace_by_directory, Volume::replace_by_dangling_link] {
        breaks(&volume, "token");
        assert!(read(&volume, "token").is_err());
        volume.set("namespace", b"other");
        volume.restore_link("token");
        assert_eq!(read(&volume, "token").unwrap(), "one");
    }
}

#[test]
fn swaps_from_many_threads() {
    let volume = Volume::new("one", "ca", "shop");
    std::thread::scope(|scope| {
        for name in ["token", "ca.crt", "namespace"] {
            let volume = &volume;
            scope.spawn(move || (0..50).for_each(|number| volume.set(name, number.to_string().as_bytes())));
        }
    });
    assert!(["token", "ca.crt", "namespace"].iter().all(|name| read(&volume, name).unwrap() == "49"));
}
