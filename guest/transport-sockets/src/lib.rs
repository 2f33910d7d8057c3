//! The client over wasi:sockets, with its own TLS, which trusts ca.crt and nothing else: for hosts that offer a network, and cannot be told
//! to trust the cluster's CA. Time comes from the guest's clocks, and randomness from wasi:random.
//!
//! ```text
//!  hyper (HTTP/1.1) ──► connection.rs ──► tokio-rustls ──► tcp.rs ──► wasi:sockets
//! ```

mod connect;
mod connection;
mod phase;
mod provider;
mod tcp;

use bytes::Bytes;
use connect::connect;
use connection::Connection;
use http_body_util::Empty;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Response, body};
use incluster_client::machine::Sending;
use incluster_client::response::Head;
use incluster_client::system::{Waits, read_file};
use incluster_client::transport::{self, Stopped, USER_AGENT, failed, other};
use incluster_core::Server;
use incluster_core::failure::Code;
use incluster_core::files::{self, mounted};
use incluster_core::limits::RequestLimits;
use incluster_core::set_back::SetBack;
use incluster_core::tls::{self, Trust};
use phase::Phase;
use provider::provider;
use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// How long an unused connection is kept, as in the incluster host: a little less than load balancers keep theirs.
const IDLE_TIMEOUT: Duration = Duration::from_secs(50);

/// The transport to an API server.
pub struct Sockets {
    server: Server,
    limits: RequestLimits,
    trust: Trust,
    set_back: SetBack,
    idle: Idle,
}

/// A connection whose answers have all been read, and since when it has been idle.
type Idle = Rc<RefCell<Option<(Connection, Instant)>>>;

/// A body, and the connection that it comes over.
pub struct Body {
    incoming: body::Incoming,
    connection: Option<Connection>,
    idle: Idle,
}

impl Sockets {
    fn headers(&self, sending: &Sending) -> Result<HeaderMap, header::InvalidHeaderValue> {
        let mut authorization = HeaderValue::try_from(sending.token.authorization())?;
        authorization.set_sensitive(true);
        Ok(HeaderMap::from_iter([
            (header::HOST, HeaderValue::try_from(self.server.authority())?),
            (header::ACCEPT, HeaderValue::from_static(sending.request.accept)),
            (header::AUTHORIZATION, authorization),
            (header::USER_AGENT, HeaderValue::from_static(USER_AGENT)),
        ]))
    }

    fn answer(&self, response: Response<body::Incoming>, connection: Connection) -> (Head, Body) {
        let (parts, incoming) = response.into_parts();
        let header = |name: HeaderName| parts.headers.get(name).map(|v| String::from_utf8_lossy(v.as_bytes()).into_owned());
        let head = Head {
            status: parts.status.as_u16(),
            content_type: header(header::CONTENT_TYPE),
            content_encoding: header(header::CONTENT_ENCODING),
            retry_after: header(header::RETRY_AFTER),
            location: header(header::LOCATION),
            date: header(header::DATE),
            warnings: parts
                .headers
                .get_all(header::WARNING)
                .iter()
                .map(|v| String::from_utf8_lossy(v.as_bytes()).into())
                .collect(),
        };
        (head, Body { incoming, connection: Some(connection), idle: self.idle.clone() })
    }
}

impl transport::Transport for Sockets {
    type Body = Body;

    fn to(server: &Server, limits: RequestLimits, _: bool) -> Sockets {
        let trust =
            Trust::new(mounted(files::CA), Box::new(|| files::read(read_file, &mounted(files::CA))), provider(), &["http/1.1"]);
        Sockets { server: server.clone(), limits, trust, set_back: SetBack::default(), idle: Idle::default() }
    }

    async fn send(&self, sending: &Sending, waits: &Waits) -> Result<(Head, Body), Stopped> {
        let headers = self.headers(sending).map_err(|_| other("the request has a header that HTTP does not allow"))?;
        let head = |time| Phase::of("first byte", time, sending.until, waits);
        let send = async |connection: &mut Connection, phase: &Phase<'_>| -> Result<_, Stopped> {
            let mut outgoing = hyper::Request::new(Empty::new());
            let path = &sending.request.path_and_query;
            *outgoing.uri_mut() = path.parse().map_err(|_| other("the request has a path that HTTP does not allow"))?;
            *outgoing.headers_mut() = headers.clone();
            let answer = connection.send(outgoing, phase).await?;
            Ok(answer.map_err(|error| tls::of_http(&error)))
        };
        if let Some((mut connection, since)) = self.idle.take()
            && since.elapsed() < IDLE_TIMEOUT
            && connection.is_open()
        {
            let phase = head(self.limits.first_byte / 2);
            match send(&mut connection, &phase).await {
                // The connection may have gone silent since its last answer: there are no pings. A new connection will show.
                Err(_) if phase.is_over() && Instant::now() < sending.until => {}
                Err(stopped) => return Err(stopped),
                // The server ended the connection meanwhile, as it may; that is not the request's fault (RFC 9110, section 9.2.2).
                Ok(Err(failure)) if failure.code == Code::ConnectionLost => {}
                Ok(Err(failure)) => return Err(failed(failure).into()),
                Ok(Ok(response)) => return Ok(self.answer(response, connection)),
            }
        }
        let connected = connect(&self.server, &self.trust, &self.limits, &self.set_back, sending.until, waits).await?;
        let phase = head(self.limits.first_byte);
        let mut connection = Connection::new(connected, &phase).await?;
        match send(&mut connection, &phase).await? {
            Err(failure) => Err(failed(failure).into()),
            Ok(response) => Ok(self.answer(response, connection)),
        }
    }
}

impl transport::Body for Body {
    type Chunk = Bytes;

    async fn chunk(&mut self, until: Instant, waits: &Waits) -> Result<Option<Bytes>, Stopped> {
        let phase = Phase::until_time(until, waits);
        while let Some(connection) = &mut self.connection {
            match connection.frame(&mut self.incoming, &phase).await? {
                Some(Ok(frame)) => {
                    // Trailers are of no use to the client.
                    if let Ok(bytes) = frame.into_data()
                        && !bytes.is_empty()
                    {
                        return Ok(Some(bytes));
                    }
                }
                Some(Err(error)) => return Err(failed(tls::of_http(&error)).into()),
                None => *self.idle.borrow_mut() = self.connection.take().map(|connection| (connection, Instant::now())),
            }
        }
        Ok(None)
    }
}
