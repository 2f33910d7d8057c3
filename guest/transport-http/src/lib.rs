//! The client over wasi:http: the host makes the connections, and trusts ca.crt.

use incluster_client::machine::Sending;
use incluster_client::response::Head;
use incluster_client::system::Waits;
use incluster_client::transport::{self, CHUNK_BYTES, Stopped, USER_AGENT, failed, other, too_large};
use incluster_client::types::{Error, TransportError};
use incluster_core::Server;
use incluster_core::failure::{ATTEMPT_HEADER, Code, Failure};
use incluster_core::limits::RequestLimits;
use std::rc::Rc;
use std::time::Instant;
use wasip2::http::outgoing_handler;
use wasip2::http::types::{ErrorCode, Fields, IncomingBody, IncomingResponse, Method, OutgoingRequest, Scheme, http_error_code};
use wasip2::io::poll::Pollable;
use wasip2::io::streams::{InputStream, StreamError};

/// The transport to an API server.
pub struct Http {
    authority: String,
    /// Whether the host counts attempts. Such a host does not pass the header with the attempt's number on.
    counts_attempts: bool,
    wants_warnings: bool,
}

/// A body, as the host hands it over.
pub struct Body {
    // Dropped in this order: WASI requires that a pollable goes before its stream, and a stream before its body.
    ready: Rc<Pollable>,
    stream: InputStream,
    _body: IncomingBody,
}

impl transport::Transport for Http {
    type Body = Body;

    /// The limits are not used: the host decides what a connection may take.
    fn to(server: &Server, _: RequestLimits, counts_attempts: bool) -> Http {
        Http { authority: server.authority().into(), counts_attempts, wants_warnings: false }
    }

    fn wants_warnings(&mut self) {
        self.wants_warnings = true;
    }

    async fn send(&self, sending: &Sending, waits: &Waits) -> Result<(Head, Body), Stopped> {
        let request = &sending.request;
        let mut headers: Vec<(String, Vec<u8>)> = vec![
            ("accept".into(), request.accept.into()),
            ("authorization".into(), sending.token.authorization().into()),
            ("user-agent".into(), USER_AGENT.into()),
        ];
        if sending.attempt > 1 && self.counts_attempts {
            headers.push((ATTEMPT_HEADER.into(), sending.attempt.to_string().into()));
        }
        let headers = Fields::from_list(&headers).map_err(|_| other("the host refuses the request's headers"))?;
        // No request options are set: wasmtime 48 keeps those of each request as long as the sandbox lives, so a sandbox that makes many
        // requests would run out of resources.
        let outgoing = OutgoingRequest::new(headers);
        let accepted = outgoing.set_method(&Method::Get).is_ok()
            && outgoing.set_scheme(Some(&Scheme::Https)).is_ok()
            && outgoing.set_authority(Some(&self.authority)).is_ok()
            && outgoing.set_path_with_query(Some(&request.path_and_query)).is_ok();
        if !accepted {
            return Err(other("the host refuses the request's URL").into());
        }
        let of_request = |code| match code {
            ErrorCode::HttpRequestDenied => {
                Stopped::Failed(Error::Denied(format!("the host does not permit GET {}", request.path())))
            }
            ErrorCode::InternalError(Some(text)) if text.starts_with(Code::CertificateChanged.name()) => {
                Stopped::NotTrustedAnyMore(of_code(ErrorCode::InternalError(Some(text))))
            }
            code => Stopped::Failed(of_code(code)),
        };
        let pending = outgoing_handler::handle(outgoing, None).map_err(of_request)?;
        let ready = Rc::new(pending.subscribe());
        let answer = loop {
            if !waits.wait(&[&ready], sending.until).await {
                return Err(Stopped::TimeOver);
            }
            if let Some(answer) = pending.get() {
                break answer;
            }
        };
        drop(ready);
        let response = answer.map_err(|()| other("the host gave no answer"))?.map_err(of_request)?;
        let head = head(&response, self.wants_warnings);
        let body = response.consume().map_err(|()| other("the host gave no body"))?;
        let stream = body.stream().map_err(|()| other("the host gave no body"))?;
        Ok((head, Body { ready: Rc::new(stream.subscribe()), stream, _body: body }))
    }
}

impl transport::Body for Body {
    type Chunk = Vec<u8>;

    async fn chunk(&mut self, until: Instant, waits: &Waits) -> Result<Option<Vec<u8>>, Stopped> {
        loop {
            match self.stream.read(CHUNK_BYTES) {
                Ok(chunk) if !chunk.is_empty() => return Ok(Some(chunk)),
                Ok(_) => {}
                Err(StreamError::Closed) => return Ok(None),
                Err(StreamError::LastOperationFailed(e)) => {
                    return Err(Stopped::Failed(match http_error_code(&e) {
                        Some(code) => of_code(code),
                        None => of_stream(&e.to_debug_string()),
                    }));
                }
            }
            if !waits.wait(&[&self.ready], until).await {
                return Err(Stopped::TimeOver);
            }
        }
    }
}

fn head(response: &IncomingResponse, wants_warnings: bool) -> Head {
    let headers = response.headers();
    let text = |value: Vec<u8>| String::from_utf8_lossy(&value).into_owned();
    let header = |name: &str| headers.get(name).into_iter().next().map(text);
    Head {
        status: response.status(),
        content_type: header("content-type"),
        content_encoding: header("content-encoding"),
        retry_after: header("retry-after"),
        location: header("location"),
        date: header("date"),
        // The warnings take another host call, which would slow each answer down.
        warnings: if wants_warnings { headers.get("warning").into_iter().map(text).collect() } else { Vec::new() },
    }
}

/// Converts an error code of wasi:http.
fn of_code(code: ErrorCode) -> Error {
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
        ErrorCode::HttpResponseBodySize(limit) => return too_large("the body", limit),
        ErrorCode::HttpResponseHeaderSectionSize(limit) | ErrorCode::HttpResponseTrailerSectionSize(limit) => {
            return too_large("the header section", limit.map(u64::from));
        }
        ErrorCode::HttpResponseHeaderSize(field) | ErrorCode::HttpResponseTrailerSize(field) => {
            return too_large("a header", field.field_size.map(u64::from));
        }
        ErrorCode::InternalError(Some(text)) => return text.parse::<Failure>().map_or_else(|_| other(&text), failed),
        ErrorCode::InternalError(None) => Other("an error inside the host".into()),
        ErrorCode::ConnectionLimitReached => Other("the host's connection limit is reached".into()),
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
        | ErrorCode::HttpRequestTrailerSize(_) => Other("the host refuses the request".into()),
    })
}

/// Converts a body's error for which the host has no code: wasmtime 48 never has one. Its text begins like those of its `internal-error`s.
fn of_stream(text: &str) -> Error {
    let failure = text.strip_prefix("internal error: ").and_then(|text| text.parse::<Failure>().ok());
    failure.map_or_else(|| Error::Transport(TransportError::ConnectionLost(text.into())), failed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use incluster_client::types::ConfigError;

    #[test]
    fn the_hosts_details_find_their_case() {
        let internal = |text: &str| of_code(ErrorCode::InternalError(Some(text.into())));
        assert_eq!(
            internal("TLS-certificate-error: expired: since yesterday"),
            Error::Transport(TransportError::Certificate("expired: since yesterday".into()))
        );
        assert_eq!(internal("HTTP-request-denied: list secrets"), Error::Denied("list secrets".into()));
        assert_eq!(internal("limit-exceeded: 5 a second"), Error::LimitExceeded("5 a second".into()));
        assert!(matches!(internal("token-expired: gone"), Error::Config(ConfigError::TokenExpired(f)) if f.reason == "gone"));
        let failed = internal("connection-failed: too many open files");
        assert_eq!(failed, Error::Transport(TransportError::Unreachable("too many open files".into())));
        assert!(incluster_client::retry::worth_it(&failed).is_some());
        assert_eq!(internal("out of memory"), other("out of memory"));
        let pause = Error::Transport(TransportError::Timeout("between bytes".into()));
        assert_eq!(of_stream("internal error: connection-read-timeout: between bytes"), pause);
        let lost = Error::Transport(TransportError::ConnectionLost("hyper error: x".into()));
        assert_eq!(of_stream("hyper error: x"), lost);
    }

    #[test]
    fn a_limit_says_which() {
        let Error::LimitExceeded(text) = of_code(ErrorCode::HttpResponseBodySize(Some(1000))) else { panic!() };
        assert!(text.contains("1000 bytes"), "{text}");
    }
}
