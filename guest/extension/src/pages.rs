//! A list, page by page.

use crate::Error;
use crate::object::Object;
use std::fmt;

/// A part of a list.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Page<T> {
    /// The objects after those of the page before (`items`). There may be none.
    pub items: Vec<T>,
    /// The resource version of this page (`metadata.resourceVersion`). After the last page, a watch can begin with it, unless the page is
    /// inconsistent.
    pub resource_version: String,
    /// How many objects follow (`metadata.remainingItemCount`); `None` if the server does not say, as with selectors.
    pub remaining_item_count: Option<u64>,
    /// Whether this page and those before it are not of one state. This happens only with [`OnExpired::Resume`](crate::OnExpired::Resume).
    pub is_inconsistent: bool,
    /// Whether the list begins again with this page: forget all pages before it.
    pub is_restarted: bool,
}

/// The pages of a list: an iterator that ends after the last page, and after a failure.
///
/// The pages can still be read after the client is dropped.
pub struct Pages<T: Object> {
    pages: T::Pages,
    doing: String,
    is_over: bool,
}

impl<T: Object> Pages<T> {
    pub(crate) fn new(pages: T::Pages, doing: String) -> Pages<T> {
        Pages { pages, doing, is_over: false }
    }

    /// Returns the next page; `None` after the last one. After a failed call, it may be called again, and asks for the same page.
    ///
    /// # Errors
    ///
    /// The call failed, or an object cannot be read as a `T` ([`Error::is_unexpected_type`]). In the second case, the page is lost, and the
    /// next call asks for the page after it. Read objects as [`Json`](crate::Json) if some may be of another type.
    pub fn next_page(&mut self) -> Result<Option<Page<T>>, Error> {
        T::next_page(&self.pages, &self.doing)
    }
}

impl<T: Object> Iterator for Pages<T> {
    type Item = Result<Page<T>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_over {
            return None;
        }
        let page = self.next_page().transpose();
        self.is_over = !matches!(page, Some(Ok(_)));
        page
    }
}

impl<T: Object> fmt::Debug for Pages<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pages").field("doing", &self.doing).field("is_over", &self.is_over).finish_non_exhaustive()
    }
}
