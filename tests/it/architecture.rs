//! Who imports whom: `ARCHITECTURE.md`.

use crate::tidy::files;

/// Each room's manifest, and what of ours it may depend on, but for its tests.
const ROOMS: [(&str, &[&str]); 11] = [
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
    ("host/Cargo.toml", &["incluster-core", "incluster-components", "incluster-standalone"]),
    ("examples/gateway/Cargo.toml", &["incluster"]),
];

/// What asks a system, and may not be in a room's sources, but for these files and for tests.
const SYSTEM: [&str; 8] =
    ["std::fs", "std::net::Tcp", "std::env::", "thread::sleep", "Instant::now", "SystemTime::now", "wasip2::", "tokio::"];
const PURE: [(&str, &[&str]); 2] =
    [("core/src/", &[]), ("guest/client/src/", &["guest/client/src/system.rs", "guest/client/src/client.rs"])];

/// Rooms by their folders.
const FOLDERS: [&str; 4] = ["core/", "guest/", "host/", "examples/"];

/// Our crates that a manifest names beside its dev-dependencies.
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

/// What a room's manifest depends on and may not.
fn wrong_dependencies(manifest: &str, allowed: &[&str]) -> Vec<String> {
    ours(manifest).into_iter().filter(|name| !allowed.contains(name)).map(String::from).collect()
}

/// The part of a source that is not for tests.
fn without_tests(source: &str) -> &str {
    source.split("\n#[cfg(test)]\nmod tests").next().unwrap_or_default()
}

/// What a source has that asks a system, or reaches into another crate's folder.
fn wrong_words(name: &str, source: &str) -> Vec<String> {
    let code = without_tests(source);
    let pure = PURE.iter().find(|(room, exempt)| name.starts_with(room) && !exempt.contains(&name));
    let is_for_tests = ["properties", "schedules", "fixtures"].iter().any(|part| name.contains(part));
    let asks = SYSTEM.iter().filter(|word| pure.is_some() && !is_for_tests && code.contains(*word)).map(ToString::to_string);
    let reaches = source.lines().filter(|line| line.contains("#[path = \"..")).map(ToString::to_string);
    let in_room = FOLDERS.iter().any(|folder| name.starts_with(folder)) && !name.contains("benches") && !name.contains("demo");
    asks.chain(reaches.filter(|_| in_room)).collect()
}

#[test]
fn imports_go_one_way() {
    let manifests = files("Cargo.toml");
    for (path, allowed) in ROOMS {
        let (_, manifest) = manifests.iter().find(|(name, _)| name == path).unwrap_or_else(|| panic!("{path}"));
        assert_eq!(wrong_dependencies(manifest, allowed), Vec::<String>::new(), "{path}");
        // Planted, a wrong one is found.
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
