//! A list page by page: in several requests, or in parts while one answer arrives.

use crate::asking::Settings;
use crate::call::{Call, Items, Output, Receiving};
use crate::decode::{JsonObject, Listed, Object, malformed};
use crate::machine::{Do, Event, Machine, Todo};
use crate::pager::{Pager, Place};
use crate::request::{self, Collection, Request};
use crate::types::{Error, Failure, JsonPage, ListOptions, PagingOptions, Pod, PodPage, ResourceVersionMatch};
use incluster_core::credentials::Now;
use std::rc::Rc;

/// A part of a list.
#[derive(Debug)]
pub struct Page<O> {
    /// What the server sent.
    pub listed: Listed<O>,
    /// The part's place in the list.
    pub place: Place,
}

impl From<Page<Pod>> for PodPage {
    fn from(Page { listed, place: Place { inconsistent, restarted } }: Page<Pod>) -> PodPage {
        let Listed { items, metadata, .. } = listed;
        let (resource_version, remaining_item_count) = (metadata.resource_version, metadata.remaining_item_count);
        PodPage { items, resource_version, remaining_item_count, inconsistent, restarted }
    }
}

impl From<Page<JsonObject>> for JsonPage {
    fn from(Page { listed, place: Place { inconsistent, restarted } }: Page<JsonObject>) -> JsonPage {
        let Listed { items, api_version, kind, metadata, .. } = listed;
        let items = items.into_iter().map(|JsonObject(json)| json).collect();
        let (resource_version, remaining_item_count) = (metadata.resource_version, metadata.remaining_item_count);
        JsonPage { api_version, kind, items, resource_version, remaining_item_count, inconsistent, restarted }
    }
}

/// The next page; `None` after the last one.
type Next<O> = Result<Option<Page<O>>, Failure>;

/// The pages of a list, one request each.
pub struct Pages<O> {
    settings: Rc<Settings>,
    collection: Collection,
    pager: Pager,
    call: Option<Call<Items<O>>>,
}

impl<O> Pages<O> {
    /// Begins a list. Nothing is asked for yet.
    pub fn new(settings: Rc<Settings>, collection: Collection, options: &ListOptions, paging: &PagingOptions) -> Pages<O> {
        Pages { settings, collection, pager: Pager::new(options, paging), call: None }
    }
}

impl<B, O: Object> Machine<B> for Pages<O> {
    type Output = Next<O>;

    fn step(&mut self, now: Now, random: u64, mut event: Event<'_, B>) -> Do<B, Next<O>> {
        loop {
            let call = match &mut self.call {
                Some(call) => call,
                None => {
                    let options = match self.pager.next() {
                        Ok(Some(options)) => options,
                        Ok(None) => return Do::HandOut(Ok(None)),
                        Err(error) => return Do::HandOut(Err(error.into())),
                    };
                    let request = request::list(&self.collection, options, O::ACCEPT);
                    self.call.insert(Call::new(request, &self.settings, now))
                }
            };
            let listed = match call.step(now, random, event) {
                Do::HandOut(listed) => listed,
                Do::Next(todo) => return Do::Next(todo),
            };
            self.call = None;
            event = Event::Go;
            match listed {
                Ok(listed) => {
                    let place = self.pager.page(listed.metadata.continue_token.as_deref());
                    return Do::HandOut(place.map(|place| Some(Page { listed, place })).map_err(Failure::from));
                }
                Err(Failure { error: Error::Expired(expired), attempts, elapsed }) => {
                    if let Err(error) = self.pager.expired(expired) {
                        return Do::HandOut(Err(Failure { error, attempts, elapsed }));
                    }
                }
                Err(failure) => return Do::HandOut(Err(failure)),
            }
        }
    }
}

/// The number of objects after which a part is handed over. With the rest of what was read at once, a part is about a megabyte.
const PART: usize = 250;

/// The parts of one answer, as they arrive.
pub struct Parts<B, O> {
    settings: Rc<Settings>,
    collection: Collection,
    options: ListOptions,
    /// The resource version of the parts, once one has been handed over.
    version: Option<String>,
    state: State<B>,
    items: Items<O>,
}

enum State<B> {
    /// Nothing is under way.
    Idle,
    Receiving(Receiving),
    /// The rest is still to be read.
    PutOff(Receiving, B),
    Ended,
}

impl<B, O: Object> Parts<B, O> {
    /// Begins a list. Nothing is asked for yet.
    pub fn new(settings: Rc<Settings>, collection: Collection, options: &ListOptions) -> Result<Parts<B, O>, String> {
        if options.limit.is_some_and(|limit| limit > 0)
            || options.continue_token.as_deref().is_some_and(|token| !token.is_empty())
        {
            return Err("limit and continue-token are for lists that are read page by page".into());
        }
        let (options, items) = (options.clone(), Items::default());
        Ok(Parts { settings, collection, options, version: None, state: State::Idle, items })
    }

    /// Makes the request for the whole list: the first one, or one for the same state as the parts before.
    fn request(&self) -> Request {
        let options = match &self.version {
            None => &self.options,
            Some(version) => &ListOptions {
                resource_version: Some(version.clone()),
                resource_version_match: Some(ResourceVersionMatch::Exact),
                ..self.options.clone()
            },
        };
        request::list(&self.collection, options, O::ACCEPT)
    }

    /// Makes a page of a part that is to be handed over.
    fn page(&mut self, listed: Listed<O>) -> Result<Page<O>, Error> {
        if listed.metadata.continue_token.is_some() {
            return Err(malformed("the server sent a part of the list, but was asked for all of it"));
        }
        if listed.count < self.items.skip {
            return Err(malformed("the list has fewer objects than before, at the same resource version"));
        }
        let version = &listed.metadata.resource_version;
        match &self.version {
            Some(before) if before != version => {
                return Err(malformed(format!("the list of resource version {before:?} goes on at {version:?}")));
            }
            Some(_) => {}
            None => self.version = Some(version.clone()),
        }
        self.items.skip += listed.items.len();
        Ok(Page { listed, place: Place::default() })
    }

    /// Handles what has arrived of the answer.
    fn arrived(&mut self, receiving: Receiving, todo: Todo<B>) -> Do<B, Next<O>> {
        match (self.items.part(PART), todo) {
            (Ok(Some(listed)), Todo::Read(body, _)) => {
                let page = self.page(listed);
                self.state = if page.is_ok() { State::PutOff(receiving, body) } else { State::Idle };
                Do::HandOut(page.map(Some).map_err(Failure::from))
            }
            (Ok(_), todo) => {
                self.state = State::Receiving(receiving);
                Do::Next(todo)
            }
            (Err(error), _) => {
                self.state = State::Idle;
                Do::HandOut(Err(error.into()))
            }
        }
    }
}

impl<B, O: Object> Machine<B> for Parts<B, O> {
    type Output = Next<O>;

    fn step(&mut self, now: Now, random: u64, event: Event<'_, B>) -> Do<B, Next<O>> {
        let (receiving, step) = match std::mem::replace(&mut self.state, State::Idle) {
            State::Ended => {
                self.state = State::Ended;
                return Do::HandOut(Ok(None));
            }
            State::Idle => {
                let mut receiving = Receiving::new(self.request(), &self.settings, now);
                let step = receiving.step(now, random, event, &mut self.items);
                (receiving, step)
            }
            State::PutOff(mut receiving, body) => {
                let step = receiving.go_on(now, body, self.request());
                (receiving, step)
            }
            State::Receiving(mut receiving) => {
                let step = receiving.step(now, random, event, &mut self.items);
                (receiving, step)
            }
        };
        match step {
            Do::Next(todo) => self.arrived(receiving, todo),
            Do::HandOut(Err(failure)) => Do::HandOut(Err(failure)),
            Do::HandOut(Ok(())) => {
                let listed = self.items.take();
                // The last part may be empty, because everything has been handed over before.
                let is_over = listed.items.is_empty() && self.version.is_some();
                let page = self.page(listed);
                if page.is_ok() {
                    self.state = State::Ended;
                }
                Do::HandOut(page.map(|page| (!is_over).then_some(page)).map_err(Failure::from))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::response::Head;
    use crate::types::{RetryPolicy, TransportError};
    use incluster_core::limits::RequestLimits;
    use incluster_core::{Namespaces, Token};
    use std::sync::Arc;
    use std::time::{Instant, SystemTime};

    /// A list of the pods with these numbers.
    fn list(version: &str, pods: std::ops::Range<usize>) -> String {
        let pods = pods.map(|pod| format!(r#"{{"metadata":{{"name":"{pod}"}}}}"#)).collect::<Vec<_>>().join(",");
        format!(r#"{{"kind":"PodList","metadata":{{"resourceVersion":"{version}"}},"items":[{pods}]}}"#)
    }

    /// The answer of a server: pieces of a body, after which it ends or the connection breaks.
    struct Answer {
        status: u16,
        pieces: Vec<String>,
        breaks: bool,
    }

    impl Answer {
        fn whole(version: &str, pods: usize, pieces: usize) -> Answer {
            let body = list(version, 0..pods);
            let pieces = body.as_bytes().chunks(body.len().div_ceil(pieces)).map(|piece| String::from_utf8_lossy(piece).into());
            Answer { status: 200, pieces: pieces.collect(), breaks: false }
        }

        /// Keeps only the first pieces, after which the connection breaks.
        fn broken(self, pieces: usize) -> Answer {
            Answer { pieces: self.pieces.into_iter().take(pieces).collect(), breaks: true, ..self }
        }
    }

    /// The parts that these answers make: names, or why there are no more. Also returns what was asked for.
    fn parts(answers: Vec<Answer>) -> (Vec<Result<Vec<String>, Error>>, Vec<String>) {
        let (mut answers, mut parts, mut asked) = (answers.into_iter(), Vec::new(), Vec::new());
        let now = Now { instant: Instant::now(), wall: SystemTime::UNIX_EPOCH };
        let settings = Settings::new(RetryPolicy::DEFAULT, RequestLimits::DEFAULT);
        let shop = Collection::pods(&Namespaces::parse("shop").unwrap());
        let mut machine = Parts::<Answer, Pod>::new(settings, shop, &ListOptions::ALL).unwrap();
        let mut chunk;
        let mut event = Event::Go;
        loop {
            event = match machine.step(now, 0, event) {
                Do::Next(Todo::Token { .. }) => Event::Token(Ok(Arc::new(Token::parse("/token", b"token").unwrap()))),
                Do::Next(Todo::Wait(_)) => Event::TimeOver,
                Do::Next(Todo::Send(sending)) => {
                    asked.push(sending.request.path_and_query.clone());
                    let answer = answers.next().expect("another answer");
                    Event::Head(
                        Head { status: answer.status, content_type: Some("application/json".into()), ..Head::default() },
                        answer,
                    )
                }
                Do::Next(Todo::Read(mut answer, _)) => match answer.pieces.is_empty() {
                    true if answer.breaks => Event::Failed(Error::Transport(TransportError::ConnectionLost(String::new()))),
                    true => Event::End,
                    false => {
                        chunk = answer.pieces.remove(0);
                        Event::Chunk(answer, chunk.as_bytes())
                    }
                },
                Do::HandOut(Ok(None)) => return (parts, asked),
                Do::HandOut(Ok(Some(page))) => {
                    parts.push(Ok(page.listed.items.into_iter().map(|pod| pod.metadata.name).collect()));
                    Event::Go
                }
                Do::HandOut(Err(failure)) => {
                    parts.push(Err(failure.error));
                    return (parts, asked);
                }
            }
        }
    }

    fn names(parts: &[Result<Vec<String>, Error>]) -> Vec<String> {
        parts.iter().flatten().flatten().cloned().collect()
    }

    fn numbers(count: usize) -> Vec<String> {
        (0..count).map(|number| number.to_string()).collect()
    }

    #[test]
    fn parts_come_as_the_answer_arrives() {
        let (found, asked) = parts(vec![Answer::whole("7", 1000, 10)]);
        assert_eq!((names(&found), asked), (numbers(1000), vec!["/api/v1/namespaces/shop/pods".to_string()]));
        let sizes: Vec<_> = found.iter().flatten().map(Vec::len).collect();
        assert!(sizes.iter().all(|size| (1..400).contains(size)) && sizes.len() > 2, "{sizes:?}");
        // One page says that the list is empty, and at which resource version.
        assert_eq!(parts(vec![Answer::whole("7", 0, 1)]).0, [Ok(vec![])]);
    }

    #[test]
    fn a_broken_list_goes_on_after_the_last_pod_in_the_same_state() {
        for broken_after in 0..10 {
            let (found, asked) = parts(vec![Answer::whole("7", 1000, 10).broken(broken_after), Answer::whole("7", 1000, 3)]);
            assert_eq!(names(&found), numbers(1000), "{broken_after}");
            let again = if broken_after < 3 { "" } else { "?resourceVersion=7&resourceVersionMatch=Exact" };
            assert_eq!(asked[1], format!("/api/v1/namespaces/shop/pods{again}"));
        }
        // All pods have come, but the end of the list has not.
        let mut cut = Answer::whole("7", 1000, 1);
        cut.pieces[0].pop();
        let (found, _) = parts(vec![cut.broken(1), Answer::whole("7", 1000, 1)]);
        assert_eq!((names(&found), found.len()), (numbers(1000), 1));
    }

    #[test]
    fn what_cannot_go_on_says_so() {
        let begun = || Answer::whole("7", 1000, 10).broken(5);
        let gone = Answer { status: 410, pieces: vec!["gone".into()], breaks: false };
        let (found, _) = parts(vec![begun(), gone]);
        assert!(matches!(found.last(), Some(Err(Error::Expired(_)))), "{found:?}");
        let (found, _) = parts(vec![begun(), Answer::whole("8", 1000, 1)]);
        for answer in [Answer::whole("8", 300, 1), Answer::whole("7", 100, 1)] {
            assert!(matches!(parts(vec![begun(), answer]).0.last(), Some(Err(Error::MalformedResponse(_)))));
        }
        let says = r#"the list of resource version "7" goes on at "8""#;
        assert_eq!(found.last(), Some(&Err(Error::MalformedResponse(says.into()))));
        let mut part = Answer::whole("7", 3, 1);
        part.pieces[0] = part.pieces[0].replace("\"resourceVersion\"", "\"continue\":\"a\",\"resourceVersion\"");
        assert!(matches!(&parts(vec![part]).0[..], [Err(Error::MalformedResponse(_))]));
        let refused = |options| {
            Parts::<(), Pod>::new(
                Settings::new(RetryPolicy::DEFAULT, RequestLimits::DEFAULT),
                Collection::pods(&Namespaces::All),
                &options,
            )
            .err()
        };
        assert!(refused(ListOptions { limit: Some(1), ..ListOptions::ALL }).is_some());
        assert!(refused(ListOptions { continue_token: Some("a".into()), ..ListOptions::ALL }).is_some());
        assert!(refused(ListOptions { limit: Some(0), ..ListOptions::ALL }).is_none());
    }
}
