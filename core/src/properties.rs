//! Property tests: whatever files, variables and guests say, nothing panics, and what is accepted means what it says.

use crate::claims::Claims;
use crate::request_info::{RequestInfo, Target};
use crate::server::environment;
use crate::{Namespace, Server, Token, command_line, dns};
use percent_encoding::percent_decode_str;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

/// Paths made of pieces that have a meaning somewhere.
fn path() -> impl Strategy<Value = String> {
    const PIECES: [&str; 20] = [
        "/api/v1",
        "/apis/apps/v1",
        "/namespaces",
        "/shop",
        "/pods",
        "/web",
        "/log",
        "/proxy",
        "/watch",
        "/..",
        "/%2e%2e",
        "/a%2fb",
        "/%25",
        "/p%6fds",
        "/%61pi",
        "/system%3Anode",
        "/a%3Fb",
        "/a%23b",
        "?watch=1",
        "?w%61tch",
    ];
    vec(prop_oneof![6 => select(&PIECES).prop_map(Into::into), 1 => "/\\PC{0,3}"], 0..7).prop_map(|pieces| pieces.concat())
}

/// Text that often has the form that is asked for.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![any::<String>(), "[a-z0-9.:-]{0,12}", "\\[?[0-9a-f:%]{0,12}\\]?", "[0-9+ -]{0,6}"]
}

/// Command lines of words that have a meaning somewhere, and of others.
fn command_line() -> impl Strategy<Value = Vec<String>> {
    const WORDS: [&str; 40] = [
        "get",
        "pods",
        "pod",
        "po",
        "config",
        "completion",
        "bash",
        "help",
        "version",
        "kubectl",
        "log",
        "-A",
        "-n",
        "-l",
        "-o",
        "-w",
        "-h",
        "-nshop",
        "-ojson",
        "-wA",
        "--",
        "-",
        "--raw",
        "--raw=/version",
        "--namespace=",
        "--selector",
        "--field-selector",
        "--limit",
        "--chunk-size=0",
        "--attempts",
        "--timeout",
        "--timeout=1",
        "--no-headers",
        "--show-labels=false",
        "--watch-only",
        "--output",
        "=",
        "web-1",
        "*",
        "18446744073709551616",
    ];
    vec(prop_oneof![8 => select(&WORDS).prop_map(Into::into), 1 => any::<String>()], 0..8)
}

proptest! {
    #![proptest_config(cases(1024))]

    /// A host parses a command line, takes its own options out, and passes what the rest means to the component, which parses it again.
    #[test]
    fn a_command_line_means_the_same_when_it_is_parsed_again(words in command_line()) {
        let Ok(command) = command_line::parse(lexopt::Parser::from_args(&words)) else { return Ok(()) };
        prop_assert_eq!(command_line::parse(lexopt::Parser::from_args(command.to_args())).unwrap(), command);
    }

    /// The API server decodes a path before it reads it. What it reads then must be what was read here.
    #[test]
    fn a_request_that_is_taken_is_read_alike_when_it_was_decoded(path in path()) {
        let Ok(info) = RequestInfo::parse(&path) else { return Ok(()) };
        let (before, query) = path.split_once('?').unwrap_or((&path, ""));
        let decoded = percent_decode_str(before).decode_utf8().unwrap();
        prop_assert_eq!(decoded.split('/').count(), before.split('/').count());
        prop_assert!(!decoded.split('/').skip(2).any(|segment| matches!(segment, "" | "." | "..")), "{decoded}");
        if let Target::Resource { .. } = info.target {
            let again = format!("{}?{query}", decoded.replace(|c: char| !c.is_ascii_alphanumeric() && !"-._~:/".contains(c), "x"));
            prop_assert_eq!(RequestInfo::parse(&again), Ok(info));
        } else {
            prop_assert_eq!(&*decoded, before, "a path that is not a resource's has nothing encoded");
        }
    }

    #[test]
    fn a_server_that_is_taken_is_host_and_port(host in text(), port in text(), number in any::<u16>()) {
        _ = Server::from_environment(environment(Some(&host), Some(&port)));
        let port = number.to_string();
        let Ok(server) = Server::from_environment(environment(Some(&host), Some(&port))) else { return Ok(()) };
        let (host, port) = server.authority().rsplit_once(':').unwrap();
        prop_assert_eq!(port.parse(), Ok(number));
        prop_assert!(host.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_.[:]".contains(&b)), "{host}");
        prop_assert_eq!(host.contains(':'), host.starts_with('[') && host.ends_with(']'));
        let again = Server::from_environment(environment(Some(host), Some(port)));
        prop_assert_eq!(again, Ok(server.clone()));
        // A URL means the same server as the environment, and the server recognizes its own authority.
        prop_assert_eq!(&Server::parse(&server.to_string()).unwrap(), &server);
        prop_assert!(server.is(server.authority()));
    }

    #[test]
    fn files_are_taken_only_as_what_they_are(content in prop_oneof![vec(any::<u8>(), 0..80), text().prop_map(String::into_bytes)]) {
        if let Ok(namespace) = Namespace::of_file("/n", &content) {
            let host = format!("{namespace}.svc");
            prop_assert!(dns::is_label(namespace.as_str()) && dns::is_host_name(&host));
        }
        if let Ok(token) = Token::parse("/t", &content) {
            prop_assert!(token.authorization()["Bearer ".len()..].bytes().all(|b| b.is_ascii_graphic()));
            _ = Claims::of(&token);
        }
        let jwt = format!("a.{}.b", data_encoding::BASE64URL_NOPAD.encode(&content));
        _ = Claims::of(&Token::parse("/t", jwt.as_bytes()).unwrap());
        _ = dns::is_host_name(&String::from_utf8_lossy(&content));
    }

    #[test]
    fn claims_of_any_shape_do_not_panic(exp in any::<i64>(), aud in vec(any::<String>(), 0..3), cut_off in 0..40_usize) {
        let json = serde_json::json!({"exp": exp, "aud": aud, "sub": null}).to_string();
        let token = |json: &[u8]| Token::parse("/t", format!("a.{}.b", data_encoding::BASE64URL_NOPAD.encode(json)).as_bytes());
        let claims = Claims::of(&token(json.as_bytes()).unwrap()).unwrap();
        prop_assert_eq!((claims.exp, claims.aud, claims.sub), (Some(exp), aud, None));
        _ = Claims::of(&token(&json.as_bytes()[cut_off.min(json.len())..]).unwrap());
    }
}
