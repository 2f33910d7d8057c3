//! Answers to requests.

use bytes::Bytes;
use futures_util::stream::{self, StreamExt};
use http::{HeaderMap, HeaderName, HeaderValue, Response};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::mpsc::UnboundedReceiver;

/// The pause between the pieces of a dripping body, and the time for sent data to leave before a stream is broken.
pub(crate) const PACE: Duration = Duration::from_millis(10);

/// An answer to a request.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The HTTP status code.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, or its beginning.
    pub body: Bytes,
    /// Whether the body never ends: after these bytes, nothing more is sent.
    pub stalls: bool,
    /// Whether the body is sent slowly, in a hundred pieces 10 ms apart.
    pub drips: bool,
    /// The rest of a body that is not known beforehand.
    pub chunks: Option<Chunks>,
}

/// A piece of a streaming body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Chunk {
    /// Bytes.
    Data(Bytes),
    /// The stream breaks: HTTP/2 resets it, HTTP/1.1 closes the connection.
    Abort,
}

/// The receiving end of a streaming body. It can be used for one answer only, however many clones there are.
#[derive(Clone, Debug)]
pub struct Chunks(Arc<Mutex<Option<UnboundedReceiver<Chunk>>>>);

impl Answer {
    /// Creates an answer without headers.
    pub fn new(status: u16, body: impl Into<Bytes>) -> Answer {
        Answer { status, headers: HeaderMap::new(), body: body.into(), stalls: false, drips: false, chunks: None }
    }

    /// Creates an answer whose body is what the sender sends. The body ends when the sender is dropped, and the sender is closed
    /// when the client has gone.
    pub fn streaming(status: u16, receiver: UnboundedReceiver<Chunk>) -> Answer {
        let chunks = Some(Chunks(Arc::new(Mutex::new(Some(receiver)))));
        Answer { chunks, ..Answer::new(status, "") }
    }

    /// Adds a header.
    pub fn header(mut self, name: &str, value: &str) -> Answer {
        let name: HeaderName = name.parse().expect("a header's name");
        self.headers.append(name, HeaderValue::from_str(value).expect("a header's value"));
        self
    }

    pub(crate) fn into_response(self) -> Response<BoxBody<Bytes, io::Error>> {
        let body = match self.chunks {
            Some(chunks) => streamed(self.body, chunks.take()),
            None if self.stalls => BodyExt::boxed(StreamBody::new(beginning(self.body).chain(stream::pending()))),
            None if self.drips => dripped(&self.body),
            None => Full::new(self.body).map_err(|never| match never {}).boxed(),
        };
        let mut response = Response::new(body);
        *response.status_mut() = self.status.try_into().expect("a status");
        *response.headers_mut() = self.headers;
        response
    }
}

impl Chunks {
    /// Takes the receiver.
    ///
    /// # Panics
    ///
    /// Panics if the receiver was taken before: a stream can be sent only once.
    pub fn take(&self) -> UnboundedReceiver<Chunk> {
        self.0.lock().unwrap().take().expect("a streaming answer can be used only once")
    }
}

type Piece = io::Result<Frame<Bytes>>;

fn beginning(body: Bytes) -> impl stream::Stream<Item = Piece> + Send + Sync {
    stream::iter((!body.is_empty()).then(|| Ok(Frame::data(body))))
}

fn dripped(body: &Bytes) -> BoxBody<Bytes, io::Error> {
    let pieces: Vec<Bytes> = body.chunks(body.len() / 100 + 1).map(Bytes::copy_from_slice).collect();
    let drops = stream::unfold((tokio::time::interval(PACE), pieces.into_iter()), |(mut pace, mut pieces)| async {
        pace.tick().await;
        pieces.next().map(|piece| (Ok(Frame::data(piece)), (pace, pieces)))
    });
    BodyExt::boxed(StreamBody::new(Box::pin(drops)))
}

fn streamed(body: Bytes, receiver: UnboundedReceiver<Chunk>) -> BoxBody<Bytes, io::Error> {
    let pieces = stream::unfold(Some(receiver), |receiver| async {
        let mut receiver = receiver?;
        match receiver.recv().await? {
            Chunk::Data(data) => Some((Ok(Frame::data(data)), Some(receiver))),
            Chunk::Abort => {
                // A reset would discard data that has not been sent yet.
                tokio::time::sleep(PACE).await;
                Some((Err(io::Error::other("aborted on purpose")), None))
            }
        }
    });
    BodyExt::boxed(StreamBody::new(beginning(body).chain(Box::pin(pieces))))
}
