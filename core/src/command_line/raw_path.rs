//! The path of `get --raw`.

use crate::request_info::{RequestInfo, Verb};

/// A path, perhaps with a query, that can be read in one way only, and whose answer has an end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawPath(String);

impl RawPath {
    pub(super) fn parse(path_and_query: &str) -> Result<RawPath, String> {
        match RequestInfo::parse(path_and_query) {
            Ok(RequestInfo { verb: Verb::Watch, .. }) => {
                Err(format!("--raw {path_and_query:?}: it is a watch, which would not end: for pods, use pods --watch"))
            }
            Ok(_) if follows_a_log(path_and_query) => {
                Err(format!("--raw {path_and_query:?}: it follows a log, which would not end: leave out follow"))
            }
            Ok(_) => Ok(RawPath(path_and_query.into())),
            Err(malformed) => Err(format!("--raw {path_and_query:?}: {malformed}")),
        }
    }

    /// The path and query.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whether a path asks for a pod's log and the lines to come.
fn follows_a_log(path_and_query: &str) -> bool {
    let Some((path, query)) = path_and_query.split_once('?') else { return false };
    let follows = |pair: &str| pair.split_once('=').map_or(pair, |(name, _)| name).eq_ignore_ascii_case("follow");
    let is_no = |pair: &str| pair.split_once('=').is_some_and(|(_, value)| matches!(value, "false" | "0"));
    path.ends_with("/log") && query.split('&').any(|pair| follows(pair) && !is_no(pair))
}
