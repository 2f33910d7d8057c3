//! Servers that misbehave in TCP, TLS or HTTP.

mod due;
mod past_h2;
#[cfg(test)]
mod tests;

pub use due::Faults;

use crate::answer::{Answer, Chunk, PACE};
use crate::api::PodApi;
use crate::ca::Ca;
use crate::request::Request;
use crate::server::{Handler, Seen, Server, at_once, serve};
use crate::tls::{Protocol, Tls};
use crate::{TOKEN, Testbed, Volume};
use std::io;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

/// A fault of a server. Requests are HTTP/1.1 unless HTTP/2 is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Accepts, then resets the connection.
    Reset,
    /// Reads the request, then resets the connection.
    ResetAfterRequest,
    /// Reads the request, then closes TLS and the connection normally, without an answer.
    CloseAfterRequest,
    /// Answers the ClientHello with the fatal alert `handshake_failure`.
    TlsAlert,
    /// Accepts, and sends nothing.
    Silent,
    /// Sends half of the server's first flight of the handshake, then nothing.
    HalfHandshake,
    /// Reads the request, and sends nothing.
    NoHead,
    /// Reads the request, sends half of a response's head, then nothing.
    HalfHead,
    /// Reads the request, sends these bytes, then closes TLS and the connection normally.
    Raw(Vec<u8>),
    /// Reads the request, sends these bytes, then closes the connection without closing TLS, as an attacker in between would.
    Cut(Vec<u8>),
    /// Reads the request, sends these bytes, then nothing.
    RawThenStall(Vec<u8>),
    /// Reads the request, sends the first bytes, then the second ones again and again, as fast as the client reads, until the client
    /// closes the connection.
    Flood(Vec<u8>, Vec<u8>),
    /// Reads the request, sends these bytes one by one, 10 ms apart, then closes TLS and the connection normally.
    Drip(Vec<u8>),
    /// HTTP/2: answers the first request of a connection with a GOAWAY that says that no request was processed.
    GoAway,
    /// HTTP/2: reads the request, on stream 1, and sends the first frames. Then sends the second ones again and again, as fast as the client reads,
    /// until the client closes the connection; if there are none, closes TLS and the connection normally.
    Frames(Vec<u8>, Vec<u8>),
    /// HTTP/2: sends nothing, not even SETTINGS.
    SilentHttp2,
    /// HTTP/2: resets the stream with this code (RFC 9113, section 7), in place of an answer.
    StreamRefused(u32),
    /// HTTP/2: resets the stream with INTERNAL_ERROR after the head and half of the body.
    StreamReset,
    /// Does not answer the request, while others on the same connection are answered.
    NoAnswer,
    /// Answers the request with the head and half of the body, then nothing, while others on the same connection are answered.
    HalfAnswer,
}

impl Fault {
    /// Whether the fault applies to a request, not to a whole connection.
    fn is_of_a_request(&self) -> bool {
        matches!(self, Fault::StreamRefused(_) | Fault::StreamReset | Fault::NoAnswer | Fault::HalfAnswer)
    }
}

impl Testbed {
    /// Starts a testbed whose server commits this fault each time.
    pub async fn faulty(fault: Fault) -> Testbed {
        Testbed::faulty_at_first(fault, usize::MAX).await
    }

    /// Starts a testbed whose server commits this fault on its first `count` connections (or requests, if it is a fault of
    /// requests), and then serves the recorded pods.
    pub async fn faulty_at_first(fault: Fault, count: usize) -> Testbed {
        Testbed::faulty_then(fault, count, PodApi::answer).await
    }

    /// Starts a testbed like [`Testbed::faulty_at_first`] that afterwards answers with `answer`.
    pub async fn faulty_then(fault: Fault, count: usize, answer: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Testbed {
        let faults = Faults::default();
        faults.commit(fault, count);
        Testbed::disturbed(&faults, answer).await
    }

    /// Starts a testbed whose server commits the queued faults, and otherwise answers with `answer`.
    pub async fn disturbed(faults: &Faults, answer: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Testbed {
        let ca = Ca::new("kubernetes-ca");
        let tls = Tls::new(ca.identity(&["127.0.0.1"]));
        let handler = faulty_handler(faults.clone(), at_once(answer));
        let (serving, faults) = (tls.clone(), faults.clone());
        let server = Server::accepting("127.0.0.1:0", Some(tls), move |seen, stream| {
            let (faults, tls, handler) = (faults.clone(), serving.clone(), handler.clone());
            async move {
                match faults.next_of_connections() {
                    // It is no failure if the client closes the connection.
                    Some(fault) => drop(commit(fault, &tls, &seen, stream).await),
                    None => serve(seen, stream, tls, faults.protocol(), handler).await,
                }
            }
        })
        .await;
        let volume = Volume::new(TOKEN, &ca.pem(), "shop");
        Testbed { ca, server, volume }
    }
}

fn faulty_handler(faults: Faults, handler: Handler) -> Handler {
    Arc::new(move |request| {
        let said = handler(request);
        match faults.next_of_requests() {
            None => said,
            Some(Fault::StreamRefused(code)) => Box::pin(std::future::ready(Err(code.into()))),
            Some(Fault::NoAnswer) => Box::pin(std::future::pending()),
            Some(Fault::HalfAnswer) => Box::pin(async move { said.await.map(|answer| half(answer, None)) }),
            Some(_) => Box::pin(async move { said.await.map(|answer| half(answer, Some(Chunk::Abort))) }),
        }
    })
}

/// Cuts the answer to half of its body, followed by this chunk, or by nothing forever.
fn half(mut answer: Answer, then: Option<Chunk>) -> Answer {
    answer.body.truncate(answer.body.len() / 2);
    let Some(then) = then else { return Answer { chunks: None, stalls: true, ..answer } };
    let (sender, receiver) = mpsc::unbounded_channel();
    let _ = sender.send(then);
    Answer { chunks: Answer::streaming(answer.status, receiver).chunks, ..answer }
}

async fn commit(fault: Fault, tls: &Tls, seen: &Seen, mut stream: TcpStream) -> io::Result<()> {
    let (bytes, stalls) = match fault {
        Fault::Reset => return stream.set_zero_linger(),
        Fault::Silent => return drain(&mut stream).await,
        Fault::TlsAlert => {
            read_record(&mut stream).await?;
            // A TLS 1.2 record of type alert with two bytes: fatal, handshake_failure.
            stream.write_all(&[21, 3, 3, 0, 2, 2, 40]).await?;
            return close(&mut stream).await;
        }
        Fault::HalfHandshake => {
            let flight = first_flight(tls, &read_record(&mut stream).await?)?;
            stream.write_all(&flight[..flight.len() / 2]).await?;
            return drain(&mut stream).await;
        }
        Fault::GoAway => {
            let stream = tls.accept(stream, Protocol::Http2).await?;
            return past_h2::write(stream, seen, &past_h2::GOAWAY, &[]).await;
        }
        Fault::SilentHttp2 => return drain(&mut tls.accept(stream, Protocol::Http2).await?).await,
        Fault::Frames(first, again) => {
            let stream = tls.accept(stream, Protocol::Http2).await?;
            return past_h2::write(stream, seen, &first, &again).await;
        }
        Fault::ResetAfterRequest => {
            let mut stream = tls.accept(stream, Protocol::Http1).await?;
            read_request(&mut stream, seen).await?;
            return stream.get_ref().0.set_zero_linger();
        }
        Fault::Flood(first, again) => {
            let mut stream = tls.accept(stream, Protocol::Http1).await?;
            read_request(&mut stream, seen).await?;
            stream.write_all(&first).await?;
            let many = again.repeat(65536 / again.len());
            loop {
                stream.write_all(&many).await?;
            }
        }
        Fault::Cut(bytes) => {
            let mut stream = tls.accept(stream, Protocol::Http1).await?;
            read_request(&mut stream, seen).await?;
            stream.write_all(&bytes).await?;
            stream.flush().await?;
            return close(stream.get_mut().0).await;
        }
        Fault::Drip(bytes) => {
            let mut stream = tls.accept(stream, Protocol::Http1).await?;
            read_request(&mut stream, seen).await?;
            return drip(&mut stream, &bytes).await;
        }
        Fault::CloseAfterRequest => (vec![], false),
        Fault::NoHead => (vec![], true),
        Fault::HalfHead => (b"HTTP/1.1 200 OK\r\nContent-Type: applica".to_vec(), true),
        Fault::Raw(bytes) => (bytes, false),
        Fault::RawThenStall(bytes) => (bytes, true),
        Fault::StreamRefused(_) | Fault::StreamReset | Fault::NoAnswer | Fault::HalfAnswer => {
            unreachable!("faults of requests are committed by the handler")
        }
    };
    let mut stream = tls.accept(stream, Protocol::Http1).await?;
    read_request(&mut stream, seen).await?;
    stream.write_all(&bytes).await?;
    stream.flush().await?;
    if stalls { drain(&mut stream).await } else { close(&mut stream).await }
}

async fn drip(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), bytes: &[u8]) -> io::Result<()> {
    let mut pace = tokio::time::interval(PACE);
    for byte in bytes {
        pace.tick().await;
        stream.write_all(&[*byte]).await?;
        stream.flush().await?;
    }
    close(stream).await
}

/// Shuts down writing, and waits for the client to close: closing with unread bytes would reset the connection.
async fn close(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> io::Result<()> {
    stream.shutdown().await?;
    drain(stream).await
}

async fn drain(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<()> {
    tokio::io::copy(stream, &mut tokio::io::sink()).await.map(drop)
}

/// Reads one TLS record: a type, a version, a length, and that many bytes.
async fn read_record(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut record = vec![0; 5];
    stream.read_exact(&mut record).await?;
    let length = usize::from(u16::from_be_bytes([record[3], record[4]]));
    record.resize(5 + length, 0);
    stream.read_exact(&mut record[5..]).await?;
    Ok(record)
}

/// Returns a server's first flight for this ClientHello.
fn first_flight(tls: &Tls, client_hello: &[u8]) -> io::Result<Vec<u8>> {
    let mut connection = rustls::ServerConnection::new(tls.config(Protocol::Any)).map_err(io::Error::other)?;
    connection.read_tls(&mut &*client_hello)?;
    connection.process_new_packets().map_err(io::Error::other)?;
    let mut flight = Vec::new();
    while connection.wants_write() {
        connection.write_tls(&mut flight)?;
    }
    Ok(flight)
}

/// Reads the head of a request, which has no body.
async fn read_request(stream: &mut (impl AsyncRead + Unpin), seen: &Seen) -> io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    seen.request(Request::parse(&String::from_utf8_lossy(&head)).expect("a request"));
    Ok(())
}
