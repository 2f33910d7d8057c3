//! A list of pods, page by page.

use crate::Client;
use crate::pager::Pager;
use crate::types::{Error, ListOptions, PagingOptions, PodList};

/// The pages of a list.
pub struct PodPages {
    client: Client,
    namespace: String,
    pager: Pager,
}

impl PodPages {
    /// Begins a list; nothing is asked for yet.
    pub fn new(client: &Client, namespace: &str, options: &ListOptions, paging: &PagingOptions) -> PodPages {
        PodPages { client: client.clone(), namespace: namespace.into(), pager: Pager::new(options, paging) }
    }

    /// The next page; `None` after the last one.
    pub fn next_page(&mut self) -> Result<Option<PodList>, Error> {
        while let Some(options) = self.pager.next()? {
            match self.client.list_namespaced_pods(&self.namespace, options) {
                Ok(mut page) => {
                    let place = self.pager.page(page.continue_token.as_deref())?;
                    (page.inconsistent, page.restarted) = (place.inconsistent, place.restarted);
                    return Ok(Some(page));
                }
                Err(Error::Api(status)) if status.code == 410 => self.pager.expired(status)?,
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }
}
