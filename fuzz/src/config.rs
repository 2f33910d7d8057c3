//! Fuzz targets for a pod's in-cluster configuration: the token, the namespace, and the address of the API server.

use crate::texts;
use data_encoding::BASE64URL_NOPAD;
use http::HeaderValue;
use http::uri::Authority;
use incluster_core::claims::Claims;
use incluster_core::server::HOST_VARIABLE;
use incluster_core::{Namespace, Server, Token, dns};

/// Parses the input as a token's file, and as the claims of a token.
pub fn token(data: &[u8]) {
    if let Ok(token) = Token::parse("/token", data) {
        let authorization = token.authorization();
        HeaderValue::from_str(&authorization).expect("a token that a header cannot carry was accepted");
        assert!(!authorization["Bearer ".len()..].contains(char::is_whitespace));
        assert_eq!(format!("{token:?}"), "Token(redacted)");
        _ = Claims::of(&token);
    }
    let jwt = format!("e30.{}.c2ln", BASE64URL_NOPAD.encode(data));
    let token = Token::parse("/token", jwt.as_bytes()).expect("a token of visible ASCII was refused");
    if Claims::of(&token).is_some() {
        assert!(serde_json::from_slice::<serde::de::IgnoredAny>(data).is_ok(), "claims that are not JSON were accepted");
    }
}

/// Parses the host and the port from the environment, and the namespace's file.
pub fn namespace_and_server(data: &[u8]) {
    let [host, port, _] = texts(data);
    let read = |host: &str| Server::from_environment(|name| Some(if name == HOST_VARIABLE { host } else { &port }.into()));
    if let Ok(server) = read(&host) {
        let authority: Authority = server.authority().parse().expect("an accepted server is not a valid authority");
        assert_eq!(authority.as_str(), server.authority());
        assert_eq!(authority.port_u16().map(|port| port.to_string()).as_deref(), Some(port.trim_start_matches('0')));
        let again = read(authority.host());
        assert_eq!(again, Ok(server), "parsing an accepted server again changes it");
    }
    let content = data.splitn(3, |byte| *byte == 0).nth(2).unwrap_or_default();
    if let Ok(namespace) = Namespace::of_file("/namespace", content) {
        assert!(dns::is_label(namespace.as_str()) && dns::is_host_name(&format!("{namespace}.svc")));
    }
}
