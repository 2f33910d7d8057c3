//! Requests that a server has received.

use http::{HeaderMap, HeaderName, HeaderValue, Method, Version};

/// A request that a server has received. Its body is not kept.
#[derive(Clone, Debug)]
pub struct Request {
    /// The HTTP method.
    pub method: Method,
    /// The path and query, as sent.
    pub path_and_query: String,
    /// The headers.
    pub headers: HeaderMap,
    /// The HTTP version.
    pub version: Version,
}

impl Request {
    /// Creates a GET request, to call a handler directly.
    pub fn get(path_and_query: &str) -> Request {
        Request {
            method: Method::GET,
            path_and_query: path_and_query.into(),
            headers: HeaderMap::new(),
            version: Version::HTTP_11,
        }
    }

    /// Adds a header.
    pub fn with(mut self, name: &str, value: &str) -> Request {
        let name: HeaderName = name.parse().expect("a header's name");
        self.headers.append(name, HeaderValue::from_str(value).expect("a header's value"));
        self
    }

    /// Returns the path.
    pub fn path(&self) -> &str {
        self.path_and_query.split('?').next().unwrap_or_default()
    }

    /// Returns the first value of a query parameter, decoded.
    pub fn query(&self, name: &str) -> Option<String> {
        let (_, query) = self.path_and_query.split_once('?')?;
        let mut pairs = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        pairs.find(|(key, _)| decoded(key) == name).map(|(_, value)| decoded(value))
    }

    /// Returns the first value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    pub(crate) fn of<B>(request: &http::Request<B>) -> Request {
        Request {
            method: request.method().clone(),
            path_and_query: request.uri().path_and_query().map(ToString::to_string).unwrap_or_default(),
            headers: request.headers().clone(),
            version: request.version(),
        }
    }

    /// Parses the head of an HTTP/1.1 request.
    pub(crate) fn parse(head: &str) -> Option<Request> {
        let mut lines = head.split("\r\n");
        let mut first = lines.next()?.split(' ');
        let mut request = Request { method: first.next()?.parse().ok()?, ..Request::get(first.next()?) };
        for (name, value) in lines.filter_map(|line| line.split_once(':')) {
            request = request.with(name, value.trim());
        }
        Some(request)
    }
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let hex = after.get(..2).filter(|_| *first == b'%').and_then(|hex| std::str::from_utf8(hex).ok());
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(if *first == b'+' { b' ' } else { *first });
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
