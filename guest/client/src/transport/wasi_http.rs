//! Over wasi:http: the host makes the connections.

use super::{Body, CHUNK_BYTES, FIRST_BYTE_TIMEOUT, Phase, Times, USER_AGENT, detailed, limit_exceeded, other};
use crate::config::Server;
use crate::request::Request;
use crate::response::Head;
use crate::token::Token;
use crate::types::{Error, TransportError};
use wasip2::http::outgoing_handler;
use wasip2::http::types::{ErrorCode, Fields, IncomingBody, IncomingResponse, Method, OutgoingRequest, Scheme, http_error_code};
use wasip2::io::poll::Pollable;
use wasip2::io::streams::{InputStream, StreamError};

/// A piece of a body.
pub type Chunk = Vec<u8>;

/// A body, as the host hands it over.
pub struct Incoming {
    // Dropped in this order: WASI wants a pollable to go before its stream, and a stream before its body.
    ready: Pollable,
    stream: InputStream,
    _body: IncomingBody,
}

/// The way to an API server.
pub struct Transport {
    server: Server,
}

impl Transport {
    /// The way to this server.
    pub fn new(server: Server) -> Transport {
        Transport { server }
    }

    /// The API server's address.
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// Sends a GET request, with the token, and returns the answer's head. Without an answer at the deadline, it gives up; so
    /// does the reading of the body, unless the answer is a watch, which may go on until `times.body`.
    pub fn get(&self, token: &Token, request: &Request, times: &Times) -> Result<(Head, Body), Error> {
        let headers = Fields::from_list(&[
            ("accept".into(), request.accept.into()),
            ("authorization".into(), token.authorization().into()),
            ("user-agent".into(), USER_AGENT.into()),
        ])
        .map_err(|_| other("the host does not take the request's headers"))?;

        let outgoing = OutgoingRequest::new(headers);
        let accepted = outgoing.set_method(&Method::Get).is_ok()
            && outgoing.set_scheme(Some(&Scheme::Https)).is_ok()
            && outgoing.set_authority(Some(self.server.authority())).is_ok()
            && outgoing.set_path_with_query(Some(&request.path_and_query)).is_ok();
        if !accepted {
            return Err(other("the host does not take the request's URL"));
        }
        let pending = outgoing_handler::handle(outgoing, None).map_err(|code| error(code, request))?;
        let ready = pending.subscribe();
        Phase::begin("first byte", FIRST_BYTE_TIMEOUT, Some(times.head))?.wait(&[&ready])?;
        drop(ready);
        let answer = pending.get().and_then(Result::ok).ok_or_else(|| other("the host gave no answer"))?;
        let response = answer.map_err(|code| error(code, request))?;
        let head = head(&response);
        let body = response.consume().map_err(|()| other("the host gave no body"))?;
        let stream = body.stream().map_err(|()| other("the host gave no body"))?;
        let incoming = Incoming { ready: stream.subscribe(), stream, _body: body };
        Ok((head, Body::new(incoming, times, request.is_watch)))
    }
}

impl Incoming {
    /// The next chunk, before the phase ends; `None` at the end.
    pub fn chunk(&mut self, phase: &Phase) -> Result<Option<Chunk>, Error> {
        loop {
            match self.stream.read(CHUNK_BYTES) {
                Ok(chunk) if !chunk.is_empty() => return Ok(Some(chunk)),
                Ok(_) => {}
                Err(StreamError::Closed) => return Ok(None),
                Err(StreamError::LastOperationFailed(e)) => {
                    return Err(match http_error_code(&e) {
                        Some(code) => transport_error(code),
                        None => stream_error(&e.to_debug_string()),
                    });
                }
            }
            phase.wait(&[&self.ready])?;
        }
    }
}

fn head(response: &IncomingResponse) -> Head {
    let headers = response.headers();
    let header = |name: &str| headers.get(name).into_iter().next().map(|v| String::from_utf8_lossy(&v).into_owned());
    Head {
        status: response.status(),
        content_type: header("content-type"),
        content_encoding: header("content-encoding"),
        retry_after: header("retry-after"),
        location: header("location"),
        date: header("date"),
    }
}

fn error(code: ErrorCode, request: &Request) -> Error {
    match code {
        ErrorCode::HttpRequestDenied => Error::Denied(format!("the host does not permit GET {}", request.path())),
        code => transport_error(code),
    }
}

/// The case of a wasi:http error code.
fn transport_error(code: ErrorCode) -> Error {
    use TransportError::*;
    let none = String::new();
    Error::Transport(match code {
        ErrorCode::DnsTimeout => NameNotResolved("the name server did not answer in time".into()),
        ErrorCode::DnsError(payload) => NameNotResolved(payload.rcode.unwrap_or_default()),
        ErrorCode::DestinationNotFound => NameNotResolved(none),
        ErrorCode::ConnectionRefused => ConnectionRefused(none),
        ErrorCode::DestinationUnavailable | ErrorCode::DestinationIpUnroutable => Unreachable(none),
        ErrorCode::DestinationIpProhibited => Unreachable("the host prohibits the address".into()),
        ErrorCode::ConnectionTimeout => Timeout("connecting".into()),
        ErrorCode::HttpResponseTimeout => Timeout("first byte".into()),
        ErrorCode::ConnectionReadTimeout => Timeout("between bytes".into()),
        ErrorCode::ConnectionWriteTimeout => Timeout("sending".into()),
        ErrorCode::ConnectionTerminated | ErrorCode::HttpResponseIncomplete => ConnectionLost(none),
        ErrorCode::TlsCertificateError => Certificate(none),
        ErrorCode::TlsProtocolError => Tls(none),
        ErrorCode::TlsAlertReceived(alert) => Tls(alert.alert_message.unwrap_or_default()),
        ErrorCode::HttpProtocolError
        | ErrorCode::HttpUpgradeFailed
        | ErrorCode::HttpResponseContentCoding(_)
        | ErrorCode::HttpResponseTransferCoding(_) => HttpProtocol(none),
        ErrorCode::HttpResponseBodySize(limit) => return limit_exceeded("the body", limit),
        ErrorCode::HttpResponseHeaderSectionSize(limit) | ErrorCode::HttpResponseTrailerSectionSize(limit) => {
            return limit_exceeded("the header section", limit.map(u64::from));
        }
        ErrorCode::HttpResponseHeaderSize(field) | ErrorCode::HttpResponseTrailerSize(field) => {
            return limit_exceeded("a header", field.field_size.map(u64::from));
        }
        ErrorCode::InternalError(Some(text)) => return detailed_text(&text).unwrap_or_else(|| other(&text)),
        ErrorCode::InternalError(None) => Other("an error inside the host".into()),
        ErrorCode::ConnectionLimitReached => Other("the host's limit of connections is reached".into()),
        ErrorCode::ConfigurationError => Other("the host's configuration is wrong".into()),
        ErrorCode::LoopDetected => Other("the request went in a loop".into()),
        ErrorCode::HttpRequestDenied
        | ErrorCode::HttpRequestLengthRequired
        | ErrorCode::HttpRequestBodySize(_)
        | ErrorCode::HttpRequestMethodInvalid
        | ErrorCode::HttpRequestUriInvalid
        | ErrorCode::HttpRequestUriTooLong
        | ErrorCode::HttpRequestHeaderSectionSize(_)
        | ErrorCode::HttpRequestHeaderSize(_)
        | ErrorCode::HttpRequestTrailerSectionSize(_)
        | ErrorCode::HttpRequestTrailerSize(_) => Other("the host does not take the request".into()),
    })
}

/// `internal-error` is the only code with room for a text of the host's: the incluster host uses it for details, which it
/// begins with the name of the code that applies.
fn detailed_text(text: &str) -> Option<Error> {
    let (code, detail) = text.split_once(": ")?;
    detailed(code, detail)
}

/// A body's error for which the host has no code: wasmtime 48 never has one. What it says begins as its `internal-error`s do.
fn stream_error(text: &str) -> Error {
    let detailed = text.strip_prefix("internal error: ").and_then(detailed_text);
    detailed.unwrap_or_else(|| Error::Transport(TransportError::ConnectionLost(text.into())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::ConfigError;

    #[test]
    fn the_hosts_details_find_their_case() {
        let internal = |text: &str| transport_error(ErrorCode::InternalError(Some(text.into())));
        assert_eq!(
            internal("TLS-certificate-error: expired: since yesterday"),
            Error::Transport(TransportError::Certificate("expired: since yesterday".into()))
        );
        assert_eq!(internal("HTTP-request-denied: list secrets"), Error::Denied("list secrets".into()));
        assert_eq!(internal("limit-exceeded: 5 a second"), Error::LimitExceeded("5 a second".into()));
        assert!(matches!(internal("token-expired: gone"), Error::Config(ConfigError::TokenExpired(f)) if f.reason == "gone"));
        assert_eq!(internal("out of memory"), Error::Transport(TransportError::Other("out of memory".into())));
        let pause = Error::Transport(TransportError::Timeout("between bytes".into()));
        assert_eq!(stream_error("internal error: connection-read-timeout: between bytes"), pause);
        let lost = Error::Transport(TransportError::ConnectionLost("hyper error: x".into()));
        assert_eq!(stream_error("hyper error: x"), lost);
    }

    #[test]
    fn a_denial_is_not_a_transport_error() {
        let request = Request { path_and_query: "/api/v1/secrets?limit=1".into(), accept: "", is_watch: false };
        let denied = error(ErrorCode::HttpRequestDenied, &request);
        assert_eq!(denied, Error::Denied("the host does not permit GET /api/v1/secrets".into()));
    }

    #[test]
    fn a_limit_says_which() {
        let Error::LimitExceeded(text) = transport_error(ErrorCode::HttpResponseBodySize(Some(1000))) else { panic!() };
        assert!(text.contains("1000 bytes"), "{text}");
    }
}
