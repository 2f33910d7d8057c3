//! Answers to lists, page by page.

use super::State;
use super::encoding::{Page, go_json};
use super::error_status::ErrorStatus;
use super::pod::Pod;
use crate::request::Request;
use serde_json::Value;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

const TOO_OLD: &str = "The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter";
const OR_GO_ON: &str = ", or use the continue token in this response to retrieve the remainder of the results. Continuing with the provided token results in an inconsistent list - objects that were created, modified, or deleted between the time the first chunk was returned and now may show up in the list.";

impl State {
    pub(super) fn list(&self, request: &Request) -> Result<Page, ErrorStatus> {
        let version = request.query("resourceVersion").unwrap_or_default();
        let limit = match request.query("limit").unwrap_or_default() {
            // A list of version "0" comes from the cache, which ignores limits.
            _ if version == "0" => 0,
            text if text.is_empty() => 0,
            text => text
                .parse()
                .map_err(|_| ErrorStatus::bad_request(format!("strconv.ParseInt: parsing \"{text}\": invalid syntax")))?,
        };
        let (version, start) = match request.query("continue").filter(|token| !token.is_empty()) {
            Some(_) if !matches!(&*version, "" | "0") => {
                return Err(ErrorStatus::bad_request("specifying resource version is not allowed when using continue"));
            }
            Some(token) => self.continued(&token)?,
            None if request.query("resourceVersionMatch").as_deref() == Some("Exact") => {
                let version = number(&version)?;
                if version < self.oldest {
                    return Err(ErrorStatus::expired("The resourceVersion for the provided list is too old."));
                }
                (version, String::new())
            }
            None => (self.version, String::new()),
        };
        let pods = self.at(version);
        let selected = request.selected_name();
        let mut rest = pods.range(start..).filter(|(name, _)| selected.as_ref().is_none_or(|selected| selected == *name));
        let limit = if limit == 0 { usize::MAX } else { limit };
        let pods: Vec<Arc<Pod>> = rest.by_ref().take(limit).map(|(_, pod)| pod.clone()).collect();
        let next = match (rest.count(), pods.last()) {
            (remaining @ 1.., Some(last)) => Some((token(Some(version), &format!("{}\0", last.name)), remaining as i64)),
            _ => None,
        };
        Ok(Page { version, pods, next })
    }

    /// Decodes a token: the version, and the name to continue from.
    fn continued(&self, text: &str) -> Result<(u64, String), ErrorStatus> {
        let malformed = || ErrorStatus::bad_request("invalid continue token: continue key is not valid");
        let json = data_encoding::BASE64URL_NOPAD.decode(text.as_bytes()).map_err(|_| malformed())?;
        let value: Value = serde_json::from_slice(&json).map_err(|_| malformed())?;
        let start = value["start"].as_str().ok_or_else(malformed)?;
        match value["rv"].as_i64().ok_or_else(malformed)? {
            -1 => Ok((self.version, start.into())),
            version if version < self.oldest as i64 && self.resumable => {
                Err(ErrorStatus::expired_at(format!("{TOO_OLD}{OR_GO_ON}"), token(None, start)))
            }
            version if version < self.oldest as i64 => Err(ErrorStatus::expired(format!("{TOO_OLD}."))),
            version if version > self.version as i64 => Err(malformed()),
            version => Ok((version as u64, start.into())),
        }
    }

    /// Returns the pods as they were at this version.
    fn at(&self, version: u64) -> Cow<'_, BTreeMap<String, Arc<Pod>>> {
        let mut pods = Cow::Borrowed(&self.pods);
        for past in self.history.iter().rev().take_while(|past| past.pod.version > version) {
            match &past.before {
                Some(before) => pods.to_mut().insert(before.name.clone(), before.clone()),
                None => pods.to_mut().remove(&past.pod.name),
            };
        }
        pods
    }
}

/// Parses a resource version.
pub(super) fn number(text: &str) -> Result<u64, ErrorStatus> {
    text.parse().map_err(|_| ErrorStatus::bad_request(format!("Invalid value: \"{text}\": invalid resource version")))
}

/// Encodes a token for a version, or for the latest one.
fn token(version: Option<u64>, start: &str) -> String {
    let version = version.map_or(-1, |version| version as i64);
    let json = format!(r#"{{"v":"meta.k8s.io/v1","rv":{version},"start":{}}}"#, go_json(start));
    data_encoding::BASE64URL_NOPAD.encode(json.as_bytes())
}
