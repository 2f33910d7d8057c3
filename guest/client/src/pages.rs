//! A list of pods, page by page.

use crate::asking::Settings;
use crate::call::{Call, Pods};
use crate::machine::{Do, Event, Machine};
use crate::pager::Pager;
use crate::request::{self, PROTOBUF_OR_JSON};
use crate::types::{Error, ListOptions, PagingOptions, PodList};
use incluster_core::Namespace;
use incluster_core::credentials::Now;
use std::rc::Rc;

/// The pages of a list.
pub struct PodPages {
    settings: Rc<Settings>,
    namespace: Namespace,
    pager: Pager,
    call: Option<Call<Pods>>,
}

impl PodPages {
    /// Begins a list; nothing is asked for yet.
    pub fn new(settings: Rc<Settings>, namespace: Namespace, options: &ListOptions, paging: &PagingOptions) -> PodPages {
        PodPages { settings, namespace, pager: Pager::new(options, paging), call: None }
    }
}

impl<B> Machine<B> for PodPages {
    /// The next page; `None` after the last one.
    type Output = Result<Option<PodList>, Error>;

    fn step(&mut self, now: Now, random: u64, mut event: Event<'_, B>) -> Do<B, Self::Output> {
        loop {
            let call = match &mut self.call {
                Some(call) => call,
                None => {
                    let options = match self.pager.next() {
                        Ok(Some(options)) => options,
                        Ok(None) => return Do::HandOut(Ok(None)),
                        Err(error) => return Do::HandOut(Err(error)),
                    };
                    let request = request::list_namespaced_pods(&self.namespace, options, PROTOBUF_OR_JSON);
                    self.call.insert(Call::new(request, &self.settings, now))
                }
            };
            let page = match call.step(now, random, event) {
                Do::HandOut(page) => page,
                Do::Next(todo) => return Do::Next(todo),
            };
            self.call = None;
            event = Event::Go;
            let page = page.map(|mut page| {
                let place = self.pager.page(page.continue_token.as_deref())?;
                (page.inconsistent, page.restarted) = (place.inconsistent, place.restarted);
                Ok(Some(page))
            });
            match page {
                Ok(page) => return Do::HandOut(page),
                Err(Error::Api(status)) if status.code == 410 => {
                    if let Err(error) = self.pager.expired(status) {
                        return Do::HandOut(Err(error));
                    }
                }
                Err(error) => return Do::HandOut(Err(error)),
            }
        }
    }
}
