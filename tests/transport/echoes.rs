//! Servers that echo the token in every place that an HTTP/1.1 answer has for it. Each transport's tests compile this file, with a `crate::caller`
//! that makes calls with that transport.

use crate::caller::Caller;
use crate::faults::CALLS;
use testbed::{Ca, Fault, PodApi, Protocol, Server, TOKEN, Testbed, Volume};

/// How many consecutive characters of the token's signature count as a leak.
const PART: usize = 16;

fn signature() -> &'static str {
    TOKEN.rsplit('.').next().unwrap()
}

/// Whether a text contains a useful part of the token's signature.
pub fn leaks(text: &str) -> bool {
    signature().as_bytes().windows(PART).any(|part| text.contains(std::str::from_utf8(part).unwrap()))
}

/// Faults that echo the token by HTTP/1.1, with a name for each.
pub fn http_1() -> Vec<(&'static str, Fault)> {
    let cut = &TOKEN[..TOKEN.len() - 1];
    let json = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n";
    let chunked = format!("{json}Transfer-Encoding: chunked\r\n\r\n");
    let failure = format!(
        r#"{{"kind":"Status","status":"Failure","message":"saw {TOKEN}","reason":"{TOKEN}","metadata":{{"continue":"{TOKEN}"}}}}"#
    );
    let ways = [
        ("a status text", format!("HTTP/1.1 403 {TOKEN}\r\nContent-Length: 0\r\n\r\n")),
        ("a status", format!("HTTP/1.1 {TOKEN}\r\n\r\n")),
        ("a version", format!("HTTP/{TOKEN} 200 OK\r\n\r\n")),
        ("not HTTP", format!("{TOKEN}\r\n\r\n")),
        ("a header's name", format!("{json}{TOKEN}: 1\r\nContent-Length: 2\r\n\r\n{{}}")),
        ("an invalid header", format!("{json}Bearer {TOKEN}\r\n\r\n")),
        ("a warning", format!("{json}Warning: 299 - \"{TOKEN}\"\r\nContent-Length: 2\r\n\r\n{{}}")),
        ("a type", format!("HTTP/1.1 200 OK\r\nContent-Type: {TOKEN}\r\nContent-Length: 0\r\n\r\n")),
        ("a truncated type", format!("HTTP/1.1 200 OK\r\nContent-Type: {cut}\r\nContent-Length: 0\r\n\r\n")),
        ("an encoding", format!("{json}Content-Encoding: {TOKEN}\r\nContent-Length: 0\r\n\r\n")),
        ("a length", format!("{json}Content-Length: {TOKEN}\r\n\r\n")),
        ("a redirect", format!("HTTP/1.1 302 Found\r\nLocation: https://evil/?{TOKEN}\r\nContent-Length: 0\r\n\r\n")),
        ("a wait", format!("HTTP/1.1 503 No\r\nRetry-After: {TOKEN}\r\nContent-Length: 0\r\n\r\n")),
        ("early hints", format!("HTTP/1.1 103 Early\r\nLink: {TOKEN}\r\n\r\nHTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n")),
        ("an upgrade", format!("HTTP/1.1 101 {TOKEN}\r\nUpgrade: {TOKEN}\r\nConnection: upgrade\r\n\r\n")),
        ("a chunk's size", format!("{chunked}{TOKEN}\r\n")),
        ("a chunk's extension", format!("{chunked}2;{TOKEN}\r\n{{}}\r\n0\r\n\r\n")),
        ("a trailer", format!("{chunked}2\r\n{{}}\r\n0\r\nX-Sent: {TOKEN}\r\n\r\n")),
        ("an invalid trailer", format!("{chunked}2\r\n{{}}\r\n0\r\nBearer {TOKEN}\r\n\r\n")),
        ("a body", format!("HTTP/1.1 403 No\r\nContent-Type: text/plain\r\n\r\nyou sent Bearer {TOKEN}")),
        ("a failure", format!("HTTP/1.1 500 No\r\nContent-Type: application/json\r\n\r\n{failure}")),
        ("a failure with 410", format!("HTTP/1.1 410 No\r\nContent-Type: application/json\r\n\r\n{failure}")),
        ("an event", format!(r#"{json}{}{{"type":"ERROR","object":{failure}}}"#, "\r\n")),
        ("an event's type", format!(r#"{json}{}{{"type":"{TOKEN}","object":{{"kind":"Pod"}}}}"#, "\r\n")),
        ("a list's kind", format!(r#"{json}{}{{"kind":"{TOKEN}"}}"#, "\r\n")),
        ("a time", format!(r#"{json}{}{{"kind":"PodList","items":[{{"metadata":{{"creationTimestamp":"{TOKEN}"}}}}]}}"#, "\r\n")),
        ("a truncated body", format!("{json}Content-Length: 9999\r\n\r\n{{\"kind\":\"{cut}")),
    ];
    ways.map(|(way, said)| (way, Fault::Raw(said.into_bytes()))).into()
}

/// A testbed whose server's certificate has the token among its names.
pub async fn certificate() -> Testbed {
    let ca = Ca::new("kubernetes-ca");
    let names = [TOKEN.to_string(), format!("{}.example", signature()), signature().into()];
    let identity = ca.identity(&names.each_ref().map(String::as_str));
    let server = Server::start(identity, Protocol::Any, PodApi::answer).await;
    let volume = Volume::new(TOKEN, &ca.pem(), "shop");
    Testbed { ca, server, volume }
}

/// A testbed whose ca.crt contains the token by mistake.
pub async fn volume() -> Testbed {
    let testbed = Testbed::start().await;
    let pem = format!("-----BEGIN CERTIFICATE-----\n{TOKEN}\n-----END {TOKEN}-----\n-----BEGIN {TOKEN}\n");
    testbed.volume.set("ca.crt", pem.as_bytes());
    testbed
}

#[tokio::test]
async fn no_error_has_the_token() {
    let mut testbeds = vec![("a certificate", certificate().await), ("ca.crt", volume().await)];
    for (way, fault) in http_1() {
        testbeds.push((way, Testbed::faulty(fault).await));
    }
    for (way, testbed) in testbeds {
        for call in CALLS {
            let outcome = Caller::at(&testbed.server.url(), &testbed).answer(call).await;
            let told = match &outcome {
                Ok(found) => format!("{found}"),
                Err(failure) => format!("{failure:?} {failure}"),
            };
            assert!(!leaks(&told), "{way}, {call:?}: {told}");
        }
    }
}
