//! Over wasi:sockets, with TLS of the guest's own that trusts ca.crt and nothing else: for hosts that offer a network, and
//! cannot be told to trust the cluster's CA. Time comes from the guest's clocks, randomness from wasi:random.
//!
//! ```text
//!  hyper (HTTP/1.1) ──► connection.rs ──► tokio-rustls ──► tcp.rs ──► wasi:sockets
//! ```

mod connect;
mod connection;
mod provider;
mod tcp;

use super::trust::Trust;
use super::{Body, FIRST_BYTE_TIMEOUT, Phase, Times, USER_AGENT, detail, other};
use crate::SERVICE_ACCOUNT_DIR;
use crate::config::Server;
use crate::request::Request;
use crate::response::Head;
use crate::token::Token;
use crate::types::Error;
use bytes::Bytes;
use connect::{connect, failure};
use connection::Connection;
use http_body_util::Empty;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Response, body};
use provider::provider;
use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// A piece of a body.
pub type Chunk = Bytes;

/// An unused connection is kept for so long, as in the incluster host: a little less than load balancers keep theirs.
const IDLE_TIMEOUT: Duration = Duration::from_secs(50);

/// The way to an API server.
pub struct Transport {
    server: Server,
    trust: Trust,
    idle: Idle,
}

/// A connection whose answers have all been read, and since when it has had none to bring.
type Idle = Rc<RefCell<Option<(Connection, Instant)>>>;

/// A body, and the connection that it comes over.
pub struct Incoming {
    body: body::Incoming,
    connection: Option<Connection>,
    idle: Idle,
}

impl Transport {
    /// The way to this server.
    pub fn new(server: Server) -> Transport {
        let trust = Trust::new(format!("{SERVICE_ACCOUNT_DIR}/ca.crt"), provider(), &["http/1.1"]);
        Transport { server, trust, idle: Idle::default() }
    }

    /// The API server's address.
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// Sends a GET request, with the token, and returns the answer's head. Without an answer at the deadline, it gives up; so
    /// does the reading of the body, unless the answer is a watch, which may go on until `times.body`.
    pub fn get(&self, token: &Token, request: &Request, times: &Times) -> Result<(Head, Body), Error> {
        let headers = self.headers(token, request).map_err(|_| other("the request's headers are none of HTTP's"))?;
        let send = |connection: &mut Connection| {
            let mut outgoing = hyper::Request::new(Empty::new());
            *outgoing.uri_mut() = request.path_and_query.parse().map_err(|_| other("the request's path is none of HTTP's"))?;
            *outgoing.headers_mut() = headers.clone();
            let answer = connection.send(outgoing, &Phase::begin("first byte", FIRST_BYTE_TIMEOUT, Some(times.head))?)?;
            Ok(answer.map_err(|error| detail::of_http(&error)))
        };
        if let Some((mut connection, since)) = self.idle.take()
            && since.elapsed() < IDLE_TIMEOUT
            && connection.is_open()
        {
            match send(&mut connection)? {
                // The server ended it meanwhile, as it may; that is not the request's fault (RFC 9110, section 9.2.2).
                Err(detail) if detail.code == "connection-terminated" => {}
                Err(detail) => return Err(failure(&detail)),
                Ok(response) => return Ok(self.answer(response, connection, request, times)),
            }
        }
        let connected = connect(&self.server, &self.trust, times.head)?;
        let mut connection = Connection::new(connected, &Phase::begin("first byte", FIRST_BYTE_TIMEOUT, Some(times.head))?)?;
        match send(&mut connection)? {
            Err(detail) => Err(failure(&detail)),
            Ok(response) => Ok(self.answer(response, connection, request, times)),
        }
    }

    fn headers(&self, token: &Token, request: &Request) -> Result<HeaderMap, header::InvalidHeaderValue> {
        let mut authorization = HeaderValue::try_from(token.authorization())?;
        authorization.set_sensitive(true);
        Ok(HeaderMap::from_iter([
            (header::HOST, HeaderValue::try_from(self.server.authority())?),
            (header::ACCEPT, HeaderValue::from_static(request.accept)),
            (header::AUTHORIZATION, authorization),
            (header::USER_AGENT, HeaderValue::from_static(USER_AGENT)),
        ]))
    }

    fn answer(
        &self,
        response: Response<body::Incoming>,
        connection: Connection,
        request: &Request,
        times: &Times,
    ) -> (Head, Body) {
        let (parts, body) = response.into_parts();
        let header = |name: HeaderName| parts.headers.get(name).map(|v| String::from_utf8_lossy(v.as_bytes()).into_owned());
        let head = Head {
            status: parts.status.as_u16(),
            content_type: header(header::CONTENT_TYPE),
            content_encoding: header(header::CONTENT_ENCODING),
            retry_after: header(header::RETRY_AFTER),
            location: header(header::LOCATION),
            date: header(header::DATE),
        };
        let incoming = Incoming { body, connection: Some(connection), idle: self.idle.clone() };
        (head, Body::new(incoming, times, request.is_watch))
    }
}

impl Incoming {
    /// The next chunk, before the phase ends; `None` at the end.
    pub fn chunk(&mut self, phase: &Phase) -> Result<Option<Chunk>, Error> {
        while let Some(connection) = &mut self.connection {
            match connection.frame(&mut self.body, phase)? {
                Some(Ok(frame)) => {
                    // Trailers are of no use to the client.
                    if let Ok(bytes) = frame.into_data()
                        && !bytes.is_empty()
                    {
                        return Ok(Some(bytes));
                    }
                }
                Some(Err(error)) => return Err(failure(&detail::of_http(&error))),
                None => *self.idle.borrow_mut() = self.connection.take().map(|connection| (connection, Instant::now())),
            }
        }
        Ok(None)
    }
}
