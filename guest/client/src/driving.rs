//! Runs a machine as far as it can go without waiting.

use crate::client::Client;
use crate::machine::{Do, Event, Machine, Todo};
use crate::system::{self, Waits, wait};
use crate::transport::{Body, Stopped, Transport};
use incluster_core::credentials::Now;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

/// A machine, and the task that is being done for it.
pub struct Driven<T: Transport, M: Machine<T::Body>> {
    client: Client<T>,
    machine: M,
    work: Option<Work<T::Body>>,
    /// An output that was handed out, and has not been asked for yet.
    handed_out: Option<M::Output>,
}

impl<T: Transport, M: Machine<T::Body>> Driven<T, M> {
    /// Wraps a machine for which nothing has been done yet.
    pub fn new(client: Client<T>, machine: M) -> Driven<T, M> {
        Driven { client, machine, work: None, handed_out: None }
    }

    /// Returns what the machine hands out next. Waits for it until `until` at the latest.
    pub fn next(&mut self, until: Option<Instant>) -> Option<M::Output> {
        let mut is_over = false;
        while !self.go_on() {
            if is_over {
                return None;
            }
            wait(&[self.waits()?], until);
            is_over = until.is_some_and(|until| until <= system::instant());
        }
        self.handed_out.take()
    }

    /// What the machine waits for, if it waits.
    pub fn waits(&self) -> Option<&Waits> {
        self.work.as_ref().map(|work| &*work.waits)
    }

    /// Goes on without waiting. Returns whether something has been handed out.
    pub fn go_on(&mut self) -> bool {
        while self.handed_out.is_none() {
            let done = match &mut self.work {
                None => Done::Nothing,
                Some(work) => match work.go_on() {
                    Poll::Ready(done) => done,
                    Poll::Pending => return false,
                },
            };
            self.work = None;
            let chunk;
            let event = match done {
                Done::Nothing => Event::Go,
                Done::Event(event) => event,
                Done::Chunk(body, read) => {
                    chunk = read;
                    Event::Chunk(body, chunk.as_ref())
                }
            };
            let now = system::now();
            match self.machine.step(now, system::random(), event) {
                Do::Next(todo) => self.work = Some(self.client.begin(now, todo)),
                Do::HandOut(output) => self.handed_out = Some(output),
            }
        }
        true
    }
}

/// A machine's task that is being done.
pub struct Work<B: Body> {
    waits: Rc<Waits>,
    doing: Pin<Box<dyn Future<Output = Done<B>>>>,
}

/// The result of a task.
pub enum Done<B: Body> {
    /// There was nothing to do.
    Nothing,
    /// A piece of a body came.
    Chunk(B, B::Chunk),
    /// Any other event.
    Event(Event<'static, B>),
}

impl<B: Body> Work<B> {
    /// Begins a task.
    pub fn new<F: Future<Output = Done<B>> + 'static>(begin: impl FnOnce(Rc<Waits>) -> F) -> Work<B> {
        let waits = Rc::new(Waits::default());
        Work { doing: Box::pin(begin(waits.clone())), waits }
    }

    fn go_on(&mut self) -> Poll<Done<B>> {
        self.doing.as_mut().poll(&mut Context::from_waker(Waker::noop()))
    }
}

impl<B: Body> Drop for Work<B> {
    fn drop(&mut self) {
        self.waits.clear();
    }
}

impl<B: Body> From<Stopped> for Done<B> {
    fn from(stopped: Stopped) -> Self {
        Done::Event(match stopped {
            Stopped::TimeOver => Event::TimeOver,
            Stopped::Failed(error) | Stopped::NotTrustedAnyMore(error) => Event::Failed(error),
        })
    }
}

/// Begins the tasks of machines.
impl<T: Transport> Client<T> {
    #[inline(never)]
    fn begin(&self, now: Now, todo: Todo<T::Body>) -> Work<T::Body> {
        let client = self.clone();
        Work::new(async move |waits| match todo {
            Todo::Token { afresh } => Done::Event(Event::Token(client.token(now, afresh))),
            Todo::Send(sending) => match client.transport().send(&sending, &waits).await {
                Ok((head, body)) => Done::Event(Event::Head(head, body)),
                Err(stopped) => {
                    if matches!(stopped, Stopped::NotTrustedAnyMore(_)) {
                        client.settings().was_trusted.set(true);
                    }
                    stopped.into()
                }
            },
            Todo::Read(mut body, until) => match body.chunk(until, &waits).await {
                Ok(Some(chunk)) => Done::Chunk(body, chunk),
                Ok(None) => Done::Event(Event::End),
                Err(stopped) => stopped.into(),
            },
            Todo::Wait(until) => {
                while waits.wait(&[], until).await {}
                Done::Event(Event::TimeOver)
            }
        })
    }
}
