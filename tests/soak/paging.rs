//! Callers that list page by page.

use crate::callers::{Caller, is_in_order};
use crate::ledger::Call;
use incluster::Error;
use incluster::types::{ListOptions, OnExpired, PagingOptions, PodPage};
use std::time::Instant;

pub async fn pages(mut caller: Caller) {
    while !caller.is_stopping() {
        let on_expired = match caller.random.u8(..4) {
            0 => None,
            1 => Some(OnExpired::Fail),
            2 => Some(OnExpired::Resume),
            _ => Some(OnExpired::Restart),
        };
        let limit = caller.random.u32(caller.bed.pages_of.clone());
        let begun = Instant::now();
        match whole(&caller, limit, on_expired).await {
            Ok(()) => caller.ledger.count("paged lists"),
            Err(error) => caller.ledger.failed(Call::Page(on_expired), begun, &error),
        }
    }
}

/// Pages through one list to its end.
async fn whole(caller: &Caller, limit: u32, on_expired: Option<OnExpired>) -> Result<(), Error> {
    let options = ListOptions { limit: Some(limit), ..ListOptions::ALL };
    let paging = PagingOptions { on_expired, ..PagingOptions::DEFAULT };
    let mut pages = caller.tenant.page_namespaced_pods(caller.bed.namespace, &options, &paging).await?;
    let mut last: Option<PodPage> = None;
    while let Some(page) = pages.next().await? {
        if let Some(problem) = problem(last.as_ref(), &page, limit, on_expired) {
            caller.wrong(format!("a page with {on_expired:?} and limit {limit}: {problem}"));
        }
        caller.ledger.count("pages");
        if page.restarted {
            caller.ledger.count("lists restarted");
        }
        if page.inconsistent && last.is_none_or(|last| !last.inconsistent) {
            caller.ledger.count("lists resumed");
        }
        last = Some(page);
    }
    if last.is_none_or(|page| page.remaining_item_count.is_some()) {
        caller.wrong("a list ended before its last page".into());
    }
    Ok(())
}

/// Returns what is wrong with a page that follows `last`.
fn problem(last: Option<&PodPage>, page: &PodPage, limit: u32, on_expired: Option<OnExpired>) -> Option<String> {
    let name = |place: Option<&incluster::types::Pod>| place.map(|pod| pod.metadata.name.clone()).unwrap_or_default();
    if !is_in_order(&page.items) || page.items.is_empty() || page.items.len() > limit as usize {
        return Some(format!("{} pods, in order: {}", page.items.len(), is_in_order(&page.items)));
    }
    let Some(last) = last else {
        return (page.restarted || page.inconsistent).then(|| "the first page says that it is restarted or inconsistent".into());
    };
    if page.restarted {
        return (on_expired != Some(OnExpired::Restart)).then(|| "restarted without being asked to".into());
    }
    if name(last.items.last()) >= name(page.items.first()) {
        return Some(format!("goes on with {} after {}", name(page.items.first()), name(last.items.last())));
    }
    let same_state = page.resource_version == last.resource_version;
    if page.inconsistent && on_expired != Some(OnExpired::Resume) || last.inconsistent && !page.inconsistent {
        return Some(format!("inconsistent: {} after {}", page.inconsistent, last.inconsistent));
    }
    (!same_state && !page.inconsistent).then(|| format!("version {} after {}", page.resource_version, last.resource_version))
}
