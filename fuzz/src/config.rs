//! What a pod is told: its service account's token and namespace, and where the API server is.

use crate::texts;
use data_encoding::BASE64URL_NOPAD;
use http::HeaderValue;
use http::uri::Authority;
use incluster_core::claims::Claims;
use incluster_core::server::HOST_VARIABLE;
use incluster_core::{Namespace, Server, Token, dns};

/// A token's file, and a token whose claims are the input.
pub fn token(data: &[u8]) {
    if let Ok(token) = Token::parse("/token", data) {
        let authorization = token.authorization();
        HeaderValue::from_str(&authorization).expect("a header can carry it");
        assert!(!authorization["Bearer ".len()..].contains(char::is_whitespace));
        assert_eq!(format!("{token:?}"), "Token(redacted)");
        _ = Claims::of(&token);
    }
    let jwt = format!("e30.{}.c2ln", BASE64URL_NOPAD.encode(data));
    let token = Token::parse("/token", jwt.as_bytes()).expect("it is visible ASCII");
    if Claims::of(&token).is_some() {
        assert!(serde_json::from_slice::<serde::de::IgnoredAny>(data).is_ok(), "it is no JSON, and was taken");
    }
}

/// The environment's host and port, then the namespace's file.
pub fn namespace_and_server(data: &[u8]) {
    let [host, port, _] = texts(data);
    let read = |host: &str| Server::from_environment(|name| Some(if name == HOST_VARIABLE { host } else { &port }.into()));
    if let Ok(server) = read(&host) {
        let authority: Authority = server.authority().parse().expect("it is an authority");
        assert_eq!(authority.as_str(), server.authority());
        assert_eq!(authority.port_u16().map(|port| port.to_string()).as_deref(), Some(port.trim_start_matches('0')));
        let again = read(authority.host());
        assert_eq!(again, Ok(server), "it is in its final form");
    }
    let content = data.splitn(3, |byte| *byte == 0).nth(2).unwrap_or_default();
    if let Ok(namespace) = Namespace::of_file("/namespace", content) {
        assert!(dns::is_label(namespace.as_str()) && dns::is_host_name(&format!("{namespace}.svc")));
    }
}
