//! The defaults of options. The host compiles this file, too, for its own types.

use crate::types::{ListOptions, PagingOptions, RetryPolicy, WatchOptions};

impl ListOptions {
    /// All that there is, as of now.
    pub const ALL: ListOptions = ListOptions {
        label_selector: None,
        field_selector: None,
        limit: None,
        continue_token: None,
        resource_version: None,
        resource_version_match: None,
        timeout_seconds: None,
    };
}

impl Default for ListOptions {
    fn default() -> Self {
        ListOptions::ALL
    }
}

impl PagingOptions {
    /// What is safe: a list that expires under way is not silently another.
    pub const DEFAULT: PagingOptions = PagingOptions { on_expired: None, max_pages: None };
}

impl Default for PagingOptions {
    fn default() -> Self {
        PagingOptions::DEFAULT
    }
}

impl WatchOptions {
    /// All pods, those that there are first, without end.
    pub const ALL: WatchOptions =
        WatchOptions { label_selector: None, field_selector: None, resource_version: None, timeout_seconds: None };
}

impl Default for WatchOptions {
    fn default() -> Self {
        WatchOptions::ALL
    }
}

impl RetryPolicy {
    /// Rides out the restart of one API server among several.
    pub const DEFAULT: RetryPolicy = RetryPolicy { attempts: 6, deadline_milliseconds: 90_000 };

    /// One attempt, for callers that try again themselves.
    pub const NEVER: RetryPolicy = RetryPolicy { attempts: 1, ..RetryPolicy::DEFAULT };
}

impl Default for RetryPolicy {
    fn default() -> Self {
        RetryPolicy::DEFAULT
    }
}
