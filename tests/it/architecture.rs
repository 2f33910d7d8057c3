//! Checks the dependencies between crates and modules that `ARCHITECTURE.md` describes.

use crate::tidy::files;

/// The manifest of each room (crate), and which of our crates it may depend on outside its tests.
const ROOMS: [(&str, &[&str]); 14] = [
    ("core/Cargo.toml", &[]),
    ("guest/client/Cargo.toml", &["incluster-core"]),
    ("guest/transport-http/Cargo.toml", &["incluster-core", "incluster-client"]),
    ("guest/transport-sockets/Cargo.toml", &["incluster-core", "incluster-client"]),
    ("guest/plugin/Cargo.toml", &["incluster-client", "incluster-transport-http"]),
    ("guest/plugin/over-sockets/Cargo.toml", &["incluster-client", "incluster-transport-sockets"]),
    (
        "guest/command/Cargo.toml",
        &["incluster-core", "incluster-client", "incluster-transport-http", "incluster-transport-sockets"],
    ),
    ("guest/components/Cargo.toml", &[]),
    ("guest/standalone/Cargo.toml", &["incluster-components"]),
    ("guest/extension/Cargo.toml", &["incluster-core"]),
    ("host/Cargo.toml", &["incluster-core", "incluster-components", "incluster-standalone"]),
    ("host/cli/Cargo.toml", &["incluster", "incluster-core"]),
    ("examples/gateway/Cargo.toml", &["incluster"]),
    ("examples/controller/Cargo.toml", &["incluster-extension"]),
];

/// Words that reach the system (files, network, clocks). A pure room's sources must not contain them, except in the listed files and in tests.
const SYSTEM: [&str; 8] =
    ["std::fs", "std::net::Tcp", "std::env::", "thread::sleep", "Instant::now", "SystemTime::now", "wasip2::", "tokio::"];
const PURE: [(&str, &[&str]); 2] =
    [("core/src/", &[]), ("guest/client/src/", &["guest/client/src/system.rs", "guest/client/src/client.rs"])];

/// The host's own rooms (modules) in order: each may use those before it and none after it.
const HOST: [&str; 3] = ["door", "sandbox", "tenant"];

/// The folders that hold the rooms.
const FOLDERS: [&str; 4] = ["core/", "guest/", "host/", "examples/"];

/// Returns our crates among a manifest's dependencies, without dev-dependencies.
fn ours(manifest: &str) -> Vec<&str> {
    let mut names = Vec::new();
    let mut counts = false;
    for line in manifest.lines() {
        if line.starts_with('[') {
            counts = line.contains("dependencies") && !line.contains("dev-dependencies");
        } else if let (true, Some(name)) = (counts, line.split(['.', ' ', '=']).next()) {
            let is_ours = name.starts_with("incluster") || ["gateway", "testbed", "extensions", "sticky"].contains(&name);
            names.extend(is_ours.then_some(name));
        }
    }
    names
}

/// Returns the dependencies of a room's manifest that are not allowed.
fn wrong_dependencies(manifest: &str, allowed: &[&str]) -> Vec<String> {
    ours(manifest).into_iter().filter(|name| !allowed.contains(name)).map(String::from).collect()
}

/// Returns a source without its test module.
fn without_tests(source: &str) -> &str {
    source.split("\n#[cfg(test)]\nmod tests").next().unwrap_or_default()
}

/// Returns what a source contains that reaches the system, or another crate's folder.
fn wrong_words(name: &str, source: &str) -> Vec<String> {
    let code = without_tests(source);
    let pure = PURE.iter().find(|(room, exempt)| name.starts_with(room) && !exempt.contains(&name));
    let is_for_tests = ["properties", "schedules", "fixtures"].iter().any(|part| name.contains(part));
    let asks = SYSTEM.iter().filter(|word| pure.is_some() && !is_for_tests && code.contains(*word)).map(ToString::to_string);
    let reaches = source.lines().filter(|line| line.contains("#[path = \"..")).map(ToString::to_string);
    let in_room = FOLDERS.iter().any(|folder| name.starts_with(folder))
        && !["benches", "demo", "/tests/"].iter().any(|part| name.contains(part));
    asks.chain(reaches.filter(|_| in_room)).collect()
}

/// Returns what a source of the host uses of rooms after its own, also by names that the crate's root re-exports.
fn wrong_rooms(name: &str, source: &str, root: &str) -> Vec<String> {
    let Some(own) = HOST.iter().position(|room| name.starts_with(&format!("host/src/{room}/"))) else {
        // A file outside the rooms serves all of them, so it must use none; only the root may.
        let is_used = |room: &&&str| {
            name.starts_with("host/src/") && name != "host/src/lib.rs" && uses(source, &format!("crate::{room}::"))
        };
        return HOST.iter().filter(is_used).map(ToString::to_string).collect();
    };
    let after = || HOST[own + 1..].iter();
    let names = after().flat_map(|room| {
        let lines = root.lines().filter(move |line| line.starts_with(&format!("pub use {room}::")));
        lines.flat_map(|line| line.split(['{', '}', ',', ':', ';', ' '])).filter(|word| word.starts_with(char::is_uppercase))
    });
    let by_room = after().map(|room| format!("crate::{room}::")).filter(|path| uses(source, path));
    by_room.chain(names.map(|name| format!("crate::{name}")).filter(|path| uses(source, path))).collect()
}

/// Whether the code, comments aside, contains this path.
fn uses(source: &str, path: &str) -> bool {
    let is_whole = |rest: &str| path.ends_with("::") || !rest.starts_with(|c: char| c.is_alphanumeric());
    let code = source.lines().filter(|line| !line.trim_start().starts_with("//"));
    code.filter_map(|line| line.split_once(path)).any(|(_, rest)| is_whole(rest))
}

#[test]
fn the_hosts_rooms_have_an_order() {
    let sources = files(".rs");
    let (_, root) = sources.iter().find(|(name, _)| name == "host/src/lib.rs").expect("the root");
    for (name, source) in &sources {
        assert_eq!(wrong_rooms(name, source, root), Vec::<String>::new(), "{name}");
    }
    for (room, planted) in [("door", "crate::sandbox::ctx::Ctx"), ("sandbox", "crate::Tenant"), ("door", "crate::Runtime")] {
        let found = wrong_rooms(&format!("host/src/{room}/planted.rs"), &format!("use {planted};\n"), root);
        assert_eq!(found.len(), 1, "{room} {planted}");
    }
    assert_eq!(wrong_rooms("host/src/files.rs", "use crate::door::Door;\n", root), ["door"]);
    assert_eq!(wrong_rooms("host/src/tenant/planted.rs", "use crate::door::Door;\n", root), Vec::<String>::new());
}

#[test]
fn imports_go_one_way() {
    let manifests = files("Cargo.toml");
    for (path, allowed) in ROOMS {
        let (_, manifest) = manifests.iter().find(|(name, _)| name == path).unwrap_or_else(|| panic!("{path}"));
        assert_eq!(wrong_dependencies(manifest, allowed), Vec::<String>::new(), "{path}");
        // The check finds a planted violation.
        let planted = manifest.replacen("[dependencies]\n", "[dependencies]\nincluster-other.workspace = true\n", 1);
        let planted =
            if planted == *manifest { format!("{manifest}\n[dependencies]\nincluster-other = \"1\"\n") } else { planted };
        assert_eq!(wrong_dependencies(&planted, allowed), ["incluster-other"], "{path}");
    }
}

#[test]
fn knowledge_is_pure() {
    let sources = files(".rs");
    for (name, source) in &sources {
        assert_eq!(wrong_words(name, source), Vec::<String>::new(), "{name}");
    }
    for (room, _) in PURE {
        for word in SYSTEM {
            let planted = format!("fn planted() {{ let _ = {word}(); }}\n");
            assert_eq!(wrong_words(&format!("{room}planted.rs"), &planted), [word], "{room}");
        }
    }
    for room in FOLDERS {
        let planted = "#[path = \"../../other/src/lib.rs\"]\nmod other;\n";
        assert_eq!(wrong_words(&format!("{room}src/planted.rs"), planted).len(), 1, "{room}");
    }
}
