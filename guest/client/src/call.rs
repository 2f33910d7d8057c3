//! A call whose answer is read to its end, with as many attempts as the policy allows.

use crate::asking::{Answer, Asking, Settings};
use crate::decode::{Encoding, ListDecoder, Listed, Object, json_alone};
use crate::machine::{Do, Event, Machine, Phase, Todo, out_of_turn};
use crate::request::Request;
use crate::transport::too_large;
use crate::types::{Error, Failure};
use incluster_core::credentials::Now;
use incluster_core::limits::RequestLimits;
use std::rc::Rc;

/// A receiver of an answer's body, piece by piece.
pub trait Sink {
    /// Begins, perhaps again, with a body in this encoding.
    fn begin(&mut self, encoding: Encoding, limits: &RequestLimits) -> Result<(), Error>;
    /// Takes the next piece of the body.
    fn push(&mut self, chunk: &[u8]) -> Result<(), Error>;
    /// Takes the end of the body.
    fn end(&mut self) -> Result<(), Error>;
}

/// A sink that makes a value from a body.
pub trait Output: Sink + Default {
    /// The value.
    type Output;

    /// Takes the value, after the body's end.
    fn take(&mut self) -> Self::Output;
}

/// One call.
pub struct Call<S> {
    receiving: Receiving,
    sink: S,
}

impl<S: Output> Call<S> {
    /// Makes a call that begins now.
    pub fn new(request: Request, settings: &Rc<Settings>, now: Now) -> Call<S> {
        Call { receiving: Receiving::new(request, settings, now), sink: S::default() }
    }
}

impl<B, S: Output> Machine<B> for Call<S> {
    type Output = Result<S::Output, Failure>;

    fn step(&mut self, now: Now, random: u64, event: Event<'_, B>) -> Do<B, Self::Output> {
        match self.receiving.step(now, random, event, &mut self.sink) {
            Do::Next(todo) => Do::Next(todo),
            Do::HandOut(ended) => Do::HandOut(ended.map(|()| self.sink.take())),
        }
    }
}

/// A call for any sink. (Its code is compiled only once for all of them: 4 KB.)
pub struct Receiving {
    asking: Asking,
    limits: RequestLimits,
    /// The number of bytes that may still come, and until when.
    reading: Option<(u64, Phase)>,
}

/// The next thing to do, or that the answer has been read.
type Step<B> = Do<B, Result<(), Failure>>;

impl Receiving {
    /// Makes a call that begins now.
    pub fn new(request: Request, settings: &Rc<Settings>, now: Now) -> Receiving {
        Receiving { asking: Asking::new(request, settings, now), limits: settings.limits, reading: None }
    }

    /// Takes an event, and says what to do next.
    pub fn step<B>(&mut self, now: Now, random: u64, event: Event<'_, B>, sink: &mut dyn Sink) -> Step<B> {
        let mut next = match self.reading.take() {
            Some((left, phase)) => match self.read_on(now, left, phase, event, sink) {
                Ok(next) => return next,
                Err(error) => self.asking.failed(now, random, error),
            },
            None => self.asking.step(now, random, event),
        };
        loop {
            match next {
                Do::Next(todo) => return Do::Next(todo),
                Do::HandOut(Err(failure)) => return Do::HandOut(Err(failure)),
                Do::HandOut(Ok(answer)) => match self.begin(now, answer, sink) {
                    Ok(next) => return next,
                    Err(error) => next = self.asking.failed(now, random, error),
                },
            }
        }
    }

    /// Goes on with a body whose reading was put off, as if the call began now. Another attempt sends this request.
    pub fn go_on<B>(&mut self, now: Now, body: B, request: Request) -> Step<B> {
        let left = self.reading.take().map_or(0, |(left, _)| left);
        self.asking.begin_anew(now);
        self.asking.ask_for(request);
        self.read(now, left, body).unwrap_or_else(|error| Do::HandOut(Err(error.into())))
    }

    fn begin<B>(&mut self, now: Now, answer: Answer<B>, sink: &mut dyn Sink) -> Result<Step<B>, Error> {
        sink.begin(answer.encoding, &self.limits)?;
        self.read(now, self.limits.response_bytes, answer.body)
    }

    fn read<B>(&mut self, now: Now, left: u64, body: B) -> Result<Step<B>, Error> {
        let phase = Phase::begin("between bytes", self.limits.between_bytes, now.instant, Some(self.asking.deadline()))?;
        self.reading = Some((left, phase));
        Ok(Do::Next(Todo::Read(body, phase.until)))
    }

    /// Handles an event while the body is read.
    fn read_on<B>(
        &mut self,
        now: Now,
        left: u64,
        phase: Phase,
        event: Event<'_, B>,
        sink: &mut dyn Sink,
    ) -> Result<Step<B>, Error> {
        match event {
            Event::Chunk(body, chunk) => {
                let left = left
                    .checked_sub(chunk.len() as u64)
                    .ok_or_else(|| too_large("the body", Some(self.limits.response_bytes)))?;
                sink.push(chunk)?;
                self.read(now, left, body)
            }
            Event::End => Ok(Do::HandOut(Ok(sink.end()?))),
            Event::Failed(error) => Err(error),
            Event::TimeOver => Err(phase.late()),
            Event::Go | Event::Token(_) | Event::Head(..) => Ok(out_of_turn()),
        }
    }
}

/// The sink for a list.
pub struct Items<O> {
    decoder: Option<ListDecoder<O>>,
    listed: Listed<O>,
    /// The number of objects at the beginning that are not wanted.
    pub skip: usize,
}

impl<O> Default for Items<O> {
    fn default() -> Self {
        Items { decoder: None, listed: Listed::default(), skip: 0 }
    }
}

impl<O: Object> Items<O> {
    /// Takes the objects that have come so far, once there are at least this many.
    pub fn part(&mut self, least: usize) -> Result<Option<Listed<O>>, Error> {
        self.decoder.as_mut().map_or(Ok(None), |decoder| decoder.part(least))
    }
}

impl<O: Object> Sink for Items<O> {
    fn begin(&mut self, encoding: Encoding, _: &RequestLimits) -> Result<(), Error> {
        self.decoder = Some(ListDecoder::new(encoding).skipping(self.skip));
        O::takes(encoding)
    }

    fn push(&mut self, chunk: &[u8]) -> Result<(), Error> {
        self.decoder.as_mut().map_or(Ok(()), |decoder| decoder.push(chunk))
    }

    fn end(&mut self) -> Result<(), Error> {
        if let Some(decoder) = self.decoder.take() {
            self.listed = decoder.finish()?;
        }
        Ok(())
    }
}

impl<O: Object> Output for Items<O> {
    type Output = Listed<O>;

    fn take(&mut self) -> Listed<O> {
        std::mem::take(&mut self.listed)
    }
}

/// The size of a JSON body that is accepted even if it is more than half of [`RequestLimits::response_bytes`]: half of a sandbox's
/// default memory.
/// If a body of almost this size is handed over to an extension, whose copy is in the same sandbox, the limit on memory may end the
/// call.
const SMALL_JSON_BYTES: u64 = 128 << 20;

/// The sink for a JSON body, which is kept as it came.
#[derive(Default)]
pub struct Json {
    whole: Vec<u8>,
    most: usize,
}

impl Sink for Json {
    fn begin(&mut self, encoding: Encoding, limits: &RequestLimits) -> Result<(), Error> {
        // The body is held as a whole, and copied once to hand it over: half of the limit, unless that is small.
        let most = (limits.response_bytes / 2).max(limits.response_bytes.min(SMALL_JSON_BYTES));
        *self = Json { whole: Vec::new(), most: usize::try_from(most).unwrap_or(usize::MAX) };
        json_alone(encoding)
    }

    fn push(&mut self, chunk: &[u8]) -> Result<(), Error> {
        if chunk.len() > self.most - self.whole.len() {
            let most = self.most;
            return Err(Error::LimitExceeded(format!("the answer has more than {most} bytes; ask for less with limit")));
        }
        self.whole.extend_from_slice(chunk);
        Ok(())
    }

    fn end(&mut self) -> Result<(), Error> {
        Ok(())
    }
}

impl Output for Json {
    type Output = Vec<u8>;

    fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.whole)
    }
}
