//! The defaults of list options. The host compiles this file, too, for its own types.

use crate::types::ListOptions;

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
