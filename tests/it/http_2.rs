//! HTTP/2 answers that echo the token, in every place that a frame has for it.

use testbed::{Fault, TOKEN};

/// Encodes an HTTP/2 frame (RFC 9113, section 4.1).
pub fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let [_, high, middle, low] = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&[high, middle, low, kind, flags, 0, 0, 0, stream], payload].concat()
}

/// Encodes a header field without indexing (RFC 7541, section 6.2.2).
fn field(name: &str, value: &str) -> Vec<u8> {
    let string = |text: &str| {
        let length = match u8::try_from(text.len()) {
            Ok(short) if short < 127 => vec![short],
            // An integer with a 7-bit prefix (RFC 7541, section 5.1).
            _ => {
                let rest = text.len() - 127;
                vec![127, (rest % 128) as u8 | 128, (rest / 128) as u8]
            }
        };
        [length, text.into()].concat()
    };
    [vec![0], string(name), string(value)].concat()
}

/// Faults that echo the token by HTTP/2, with a name for each.
pub fn http_2() -> Vec<(&'static str, Fault)> {
    const END_HEADERS: u8 = 4;
    const END: u8 = END_HEADERS | 1;
    let headers = |flags: u8, fields: &[(&str, &str)]| {
        frame(1, flags, 1, &fields.iter().flat_map(|(name, value)| field(name, value)).collect::<Vec<_>>())
    };
    let json = headers(END_HEADERS, &[(":status", "200"), ("content-type", "application/json")]);
    let goes = |stream: u8, reason: u8| {
        frame(7, 0, 0, &[&[0, 0, 0, stream, 0, 0, 0, reason], format!("you sent Bearer {TOKEN}").as_bytes()].concat())
    };
    let name = format!("x-{}", TOKEN.to_lowercase());
    let data = |flags: u8, text: &str| frame(0, flags, 1, text.as_bytes());
    let ways = [
        ("GOAWAY", goes(0, 0xb)),
        ("GOAWAY with NO_ERROR", goes(0, 0)),
        ("GOAWAY after the request", goes(1, 0xb)),
        ("GOAWAY in the body", [&*json, &data(0, "{\"kind\":"), &goes(1, 0xb)].concat()),
        ("GOAWAY in the body, with NO_ERROR", [&*json, &data(0, "{\"kind\":"), &goes(0, 0)].concat()),
        ("a reset", [&*json, &data(0, TOKEN), &frame(3, 0, 1, &[0, 0, 0, 2])].concat()),
        ("a header", headers(END, &[(":status", "200"), ("warning", TOKEN)])),
        ("a header's name", headers(END, &[(":status", "200"), (&name, "1")])),
        ("an invalid name", headers(END, &[(":status", "200"), (TOKEN, "1")])),
        ("a status", headers(END, &[(":status", TOKEN)])),
        ("a pseudo-header", headers(END, &[(":status", "200"), (&format!(":{name}"), "1")])),
        (
            "early hints",
            [headers(END_HEADERS, &[(":status", "103"), ("link", TOKEN)]), headers(END, &[(":status", "403")])].concat(),
        ),
        ("a trailer", [&*json, &data(0, "{}"), &headers(END, &[("x-sent", TOKEN)])].concat()),
        ("a length", [headers(END_HEADERS, &[(":status", "200"), ("content-length", TOKEN)]), data(1, "{}")].concat()),
        ("a promise", frame(5, END_HEADERS, 1, &[&[0, 0, 0, 2][..], &field(":path", TOKEN)].concat())),
        ("invalid HPACK", frame(1, END, 1, &[b"\xff\xff\xff\xff\xff", TOKEN.as_bytes()].concat())),
        ("an unknown frame", [frame(0xbe, 0, 0, TOKEN.as_bytes()), goes(0, 0)].concat()),
        ("another origin", [frame(0xa, 0, 0, &[&[0, 0], TOKEN.as_bytes()].concat()), goes(0, 0)].concat()),
        ("a body", [headers(END_HEADERS, &[(":status", "403"), ("content-type", "text/plain")]), data(1, TOKEN)].concat()),
        ("a body in pieces", [&*json, &data(0, &TOKEN[..60]), &data(1, &TOKEN[60..])].concat()),
        ("a truncated body", [&*json, &data(1, &format!("{{\"kind\":\"{}", &TOKEN[..TOKEN.len() - 1]))].concat()),
        ("padding", [&*json, &frame(0, 9, 1, &[&[100], &b"{}"[..], &TOKEN.as_bytes()[..100]].concat())].concat()),
        ("not HTTP/2", TOKEN.as_bytes().to_vec()),
    ];
    ways.map(|(way, frames)| (way, Fault::Frames(frames, Vec::new()))).into()
}
