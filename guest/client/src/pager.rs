//! Decides which page to ask for next: the rules of `limit` and `continue`, without any I/O.

use crate::decode::malformed;
use crate::types::{Error, Expired, ListOptions, OnExpired, PagingOptions, ResourceVersionMatch};

/// The page size of kubectl and client-go.
const PAGE: u32 = 500;

/// The default maximum number of pages: five million pods, at 500 a page.
const MAX_PAGES: u32 = 10_000;

/// The position in a list that is read page by page.
pub struct Pager {
    /// The options to ask for the first page with.
    first: ListOptions,
    /// The options to ask for the next page with; `None` after the last page.
    next: Option<ListOptions>,
    on_expired: Option<OnExpired>,
    max_pages: u32,
    pages: u32,
    inconsistent: bool,
    restarted: bool,
    /// Whether the list has expired since the last page.
    has_expired: bool,
}

/// A page's place in its list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The list goes on from an expired one.
    pub inconsistent: bool,
    /// The list begins again with this page.
    pub restarted: bool,
}

impl Pager {
    /// Begins a list. A limit in `options` is the size of a page. The resource version `0` is left out: it asks for any state, and a server
    /// that has one in its watch cache would send it whole, whatever the limit.
    pub fn new(options: &ListOptions, paging: &PagingOptions) -> Pager {
        let or = |given: Option<u32>, default| given.filter(|n| *n > 0).unwrap_or(default);
        let continue_token = options.continue_token.clone().filter(|token| !token.is_empty());
        let mut first = ListOptions { limit: Some(or(options.limit, PAGE)), continue_token, ..options.clone() };
        if first.resource_version.as_deref() == Some("0") && first.resource_version_match != Some(ResourceVersionMatch::Exact) {
            (first.resource_version, first.resource_version_match) = (None, None);
        }
        Pager {
            next: Some(first.clone()),
            first,
            on_expired: paging.on_expired,
            max_pages: or(paging.max_pages, MAX_PAGES),
            pages: 0,
            inconsistent: false,
            restarted: false,
            has_expired: false,
        }
    }

    /// Returns what to ask for; `None` after the last page.
    pub fn next(&self) -> Result<Option<&ListOptions>, Error> {
        if self.next.is_some() && self.pages >= self.max_pages {
            let max = self.max_pages;
            return Err(Error::LimitExceeded(format!("the list has no end after {max} pages")));
        }
        Ok(self.next.as_ref())
    }

    /// Takes a page's token for the next page, before the page is handed out.
    pub fn page(&mut self, continue_token: Option<&str>) -> Result<Place, Error> {
        let Some(asked) = &self.next else { return Ok(Place::default()) };
        if continue_token.is_some() && asked.continue_token.as_deref() == continue_token {
            return Err(malformed("the server repeats the continue token, so the list would not end"));
        }
        self.next = continue_token.map(|token| self.after(token.into()));
        self.pages += 1;
        self.has_expired = false;
        Ok(Place { inconsistent: self.inconsistent, restarted: std::mem::take(&mut self.restarted) })
    }

    /// Decides what to do about a list that has expired. Returns the error if the list must fail.
    pub fn expired(&mut self, expired: Expired) -> Result<(), Error> {
        let asked_to_continue = self.next.as_ref().is_some_and(|options| options.continue_token.is_some());
        // A list that expires again, before there is another page, would do so for ever.
        if std::mem::replace(&mut self.has_expired, true) {
            return Err(Error::Expired(expired));
        }
        let default = if self.pages == 0 { OnExpired::Restart } else { OnExpired::Fail };
        match (self.on_expired.unwrap_or(default), &expired.continue_token) {
            // Without a token, the state that the caller named has expired: there is no other to begin with.
            (OnExpired::Restart, _) if asked_to_continue => {
                self.restarted = self.pages > 0;
                self.inconsistent = false;
                self.next = Some(ListOptions { continue_token: None, ..self.first.clone() });
                Ok(())
            }
            (OnExpired::Resume, Some(token)) if asked_to_continue => {
                self.inconsistent = true;
                self.next = Some(self.after(token.clone()));
                Ok(())
            }
            _ => Err(Error::Expired(expired)),
        }
    }

    /// Makes the options to go on with. The server refuses a resource version beside a token, which has one already.
    fn after(&self, token: String) -> ListOptions {
        ListOptions { continue_token: Some(token), resource_version: None, resource_version_match: None, ..self.first.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEFAULT: PagingOptions = PagingOptions { on_expired: None, max_pages: None };

    fn expired(token: Option<&str>) -> Expired {
        Expired { message: String::new(), continue_token: token.map(Into::into) }
    }

    fn on_expired(on_expired: OnExpired) -> PagingOptions {
        PagingOptions { on_expired: Some(on_expired), ..DEFAULT }
    }

    /// The limit and the token that the next page is asked for with.
    fn asks(pager: &Pager) -> Option<(Option<u32>, Option<&str>)> {
        pager.next().unwrap().map(|options| (options.limit, options.continue_token.as_deref()))
    }

    #[test]
    fn pages_follow_each_other_until_there_is_no_token() {
        let mut pager = Pager::new(&ListOptions::ALL, &DEFAULT);
        assert_eq!(asks(&pager), Some((Some(500), None)));
        assert_eq!(pager.page(Some("a")).unwrap(), Place::default());
        assert_eq!(asks(&pager), Some((Some(500), Some("a"))));
        assert_eq!(pager.page(None).unwrap(), Place::default());
        assert_eq!(asks(&pager), None);
    }

    #[test]
    fn only_the_first_page_names_a_resource_version() {
        let options = ListOptions {
            label_selector: Some("a=b".into()),
            limit: Some(3),
            resource_version: Some("7".into()),
            resource_version_match: Some(ResourceVersionMatch::Exact),
            timeout_seconds: Some(9),
            ..ListOptions::ALL
        };
        let mut pager = Pager::new(&options, &DEFAULT);
        assert_eq!(pager.next().unwrap(), Some(&options));
        pager.page(Some("a")).unwrap();
        let next =
            ListOptions { continue_token: Some("a".into()), resource_version: None, resource_version_match: None, ..options };
        assert_eq!(pager.next().unwrap(), Some(&next));
    }

    /// A server's watch cache has no pages: 120,000 pods came at once.
    #[test]
    fn a_list_of_any_state_is_asked_for_without_a_version() {
        for versions in [None, Some(ResourceVersionMatch::NotOlderThan)] {
            let zero = Some("0".to_string());
            let options = ListOptions { resource_version: zero, resource_version_match: versions, ..ListOptions::ALL };
            let pager = Pager::new(&options, &DEFAULT);
            assert_eq!(pager.next().unwrap(), Some(&ListOptions { limit: Some(500), ..ListOptions::ALL }));
        }
        // A server refuses these options.
        let exact = Some(ResourceVersionMatch::Exact);
        let options = ListOptions { resource_version: Some("0".into()), resource_version_match: exact, ..ListOptions::ALL };
        assert_eq!(Pager::new(&options, &DEFAULT).next().unwrap().unwrap().resource_version.as_deref(), Some("0"));
    }

    #[test]
    fn a_list_that_does_not_end_is_cut_off() {
        let mut pager = Pager::new(&ListOptions::ALL, &PagingOptions { max_pages: Some(2), ..DEFAULT });
        pager.page(Some("a")).unwrap();
        pager.page(Some("b")).unwrap();
        assert!(matches!(pager.next(), Err(Error::LimitExceeded(text)) if text.contains("2 pages")));
        let mut pager = Pager::new(&ListOptions::ALL, &DEFAULT);
        pager.page(Some("a")).unwrap();
        assert!(matches!(pager.page(Some("a")), Err(Error::MalformedResponse(_))));
    }

    #[test]
    fn before_the_first_page_an_expired_list_begins_anew() {
        let mut pager = Pager::new(&ListOptions { continue_token: Some("old".into()), ..ListOptions::ALL }, &DEFAULT);
        pager.expired(expired(Some("new"))).unwrap();
        assert_eq!(asks(&pager), Some((Some(500), None)));
        assert_eq!(pager.page(None).unwrap(), Place::default());
    }

    #[test]
    fn after_it_the_caller_decides() {
        let begun = |paging: &PagingOptions| {
            let mut pager = Pager::new(&ListOptions::ALL, paging);
            pager.page(Some("a")).unwrap();
            pager
        };
        assert_eq!(begun(&DEFAULT).expired(expired(Some("b"))), Err(Error::Expired(expired(Some("b")))));
        assert!(begun(&on_expired(OnExpired::Fail)).expired(expired(Some("b"))).is_err());

        let mut restarts = begun(&on_expired(OnExpired::Restart));
        restarts.expired(expired(Some("b"))).unwrap();
        assert_eq!(asks(&restarts), Some((Some(500), None)));
        assert_eq!(restarts.page(Some("c")).unwrap(), Place { inconsistent: false, restarted: true });
        assert_eq!(restarts.page(None).unwrap(), Place::default());

        let mut resumes = begun(&on_expired(OnExpired::Resume));
        resumes.expired(expired(Some("b"))).unwrap();
        assert_eq!(asks(&resumes), Some((Some(500), Some("b"))));
        assert_eq!(resumes.page(Some("c")).unwrap(), Place { inconsistent: true, restarted: false });
        assert!(resumes.page(None).unwrap().inconsistent);
        assert!(begun(&on_expired(OnExpired::Resume)).expired(expired(None)).is_err());
    }

    #[test]
    fn a_state_that_the_caller_named_is_not_replaced_by_another() {
        let exact = ListOptions {
            resource_version: Some("3".into()),
            resource_version_match: Some(ResourceVersionMatch::Exact),
            ..ListOptions::ALL
        };
        assert!(Pager::new(&exact, &on_expired(OnExpired::Restart)).expired(expired(None)).is_err());
    }
}
