//! Tests of lists that are read page by page.

use crate::{kubernetes, tenant};
use incluster::types::{Error, ListOptions, OnExpired, PagingOptions, PodPage};
use incluster::{PodPages, Tenant};
use testbed::{Answer, PodStore, Testbed};

const PAGE: ListOptions = ListOptions { limit: Some(4), ..ListOptions::ALL };

async fn pages(tenant: &Tenant, on_expired: Option<OnExpired>) -> PodPages {
    tenant.page_namespaced_pods("shop", &PAGE, &PagingOptions { on_expired, ..PagingOptions::DEFAULT }).await.unwrap()
}

async fn next(pages: &mut PodPages) -> Result<Option<PodPage>, Error> {
    kubernetes(pages.next().await)
}

fn names(list: &PodPage) -> Vec<String> {
    list.items.iter().map(|pod| pod.metadata.name.clone()).collect()
}

#[tokio::test]
async fn pages_add_up_to_the_list() {
    let store = PodStore::with_pods(10);
    let testbed = Testbed::serving(store.handler()).await;
    let mut pages = pages(&tenant(&testbed), None).await;
    let mut all = Vec::new();
    let mut sizes = Vec::new();
    while let Some(page) = next(&mut pages).await.unwrap() {
        assert!(!page.inconsistent && !page.restarted);
        sizes.push((page.items.len(), page.remaining_item_count));
        all.extend(names(&page));
    }
    assert_eq!(sizes, [(4, Some(6)), (4, Some(2)), (2, None)]);
    assert_eq!(all, store.state().into_keys().collect::<Vec<_>>());
    assert_eq!(next(&mut pages).await, Ok(None));
    let requests = testbed.server.requests();
    assert_eq!(requests.len(), 3);
    assert!(requests.iter().all(|request| request.query("limit").as_deref() == Some("4")));
}

/// A sandbox may hold 64 resources at once, so no request may leave one behind.
#[tokio::test]
async fn a_long_list_holds_no_more_resources_than_a_short_one() {
    let testbed = Testbed::serving(PodStore::with_pods(800).handler()).await;
    let mut pages = pages(&tenant(&testbed), None).await;
    let mut pods = 0;
    while let Some(page) = next(&mut pages).await.unwrap() {
        pods += page.items.len();
    }
    assert_eq!((pods, testbed.server.requests().len()), (800, 200));
}

#[tokio::test]
async fn a_page_is_500_by_default_and_there_is_no_unlimited_list() {
    let store = PodStore::with_pods(501);
    let testbed = Testbed::serving(store.handler()).await;
    for limit in [None, Some(0)] {
        let options = ListOptions { limit, ..ListOptions::ALL };
        let mut pages = tenant(&testbed).page_namespaced_pods("shop", &options, &PagingOptions::DEFAULT).await.unwrap();
        assert_eq!(next(&mut pages).await.unwrap().unwrap().items.len(), 500);
        assert_eq!(next(&mut pages).await.unwrap().unwrap().items.len(), 1);
    }
    assert!(testbed.server.requests().iter().all(|request| request.query("limit").as_deref() == Some("500")));
}

#[tokio::test]
async fn nothing_is_sent_before_the_first_page() {
    let testbed = Testbed::serving(PodStore::recorded().handler()).await;
    drop(pages(&tenant(&testbed), None).await);
    assert_eq!(testbed.server.connections(), 0);
    let refused = tenant(&testbed).page_namespaced_pods("../x", &PAGE, &PagingOptions::DEFAULT).await;
    assert!(matches!(kubernetes(refused.map(drop)), Err(Error::InvalidArgument(_))));
}

#[tokio::test]
async fn an_expired_list_fails_by_default_and_says_how_to_go_on() {
    let store = PodStore::with_pods(10);
    let testbed = Testbed::serving(store.handler()).await;
    for on_expired in [None, Some(OnExpired::Fail)] {
        let mut pages = pages(&tenant(&testbed), on_expired).await;
        next(&mut pages).await.unwrap();
        store.compact();
        let Err(Error::Expired(expired)) = next(&mut pages).await else { panic!() };
        assert!(expired.continue_token.is_some());
    }
}

#[tokio::test]
async fn an_expired_list_begins_anew_and_says_so() {
    let store = PodStore::with_pods(10);
    let testbed = Testbed::serving(store.handler()).await;
    let mut pages = pages(&tenant(&testbed), Some(OnExpired::Restart)).await;
    let first = next(&mut pages).await.unwrap().unwrap();
    store.delete(&first.items[0].metadata.name);
    store.compact();
    let mut all = Vec::new();
    while let Some(page) = next(&mut pages).await.unwrap() {
        assert_eq!((page.restarted, page.inconsistent), (all.is_empty(), false));
        all.extend(names(&page));
    }
    assert_eq!(all, store.state().into_keys().collect::<Vec<_>>());
}

#[tokio::test]
async fn an_expired_list_goes_on_with_the_servers_token_and_is_inconsistent() {
    let store = PodStore::with_pods(10);
    let testbed = Testbed::serving(store.handler()).await;
    let mut pages = pages(&tenant(&testbed), Some(OnExpired::Resume)).await;
    let mut all = names(&next(&mut pages).await.unwrap().unwrap());
    store.compact();
    while let Some(page) = next(&mut pages).await.unwrap() {
        assert_eq!((page.restarted, page.inconsistent), (false, true));
        all.extend(names(&page));
    }
    assert_eq!(all, store.state().into_keys().collect::<Vec<_>>());
    store.compact_without_token();
}

#[tokio::test]
async fn an_expired_token_before_the_first_page_is_no_failure() {
    let store = PodStore::with_pods(10);
    let testbed = Testbed::serving(store.handler()).await;
    let tenant = tenant(&testbed);
    let old = kubernetes(tenant.list_namespaced_pods("shop", &PAGE).await).unwrap().continue_token;
    store.compact_without_token();
    let options = ListOptions { continue_token: old, ..PAGE };
    let mut pages = tenant.page_namespaced_pods("shop", &options, &PagingOptions::DEFAULT).await.unwrap();
    let first = next(&mut pages).await.unwrap().unwrap();
    assert_eq!((first.restarted, first.inconsistent, &*first.items[0].metadata.name), (false, false, "web-00000"));
}

#[tokio::test]
async fn a_page_that_failed_can_be_requested_again() {
    let store = PodStore::with_pods(10);
    let testbed = Testbed::serving(store.handler()).await;
    let mut pages = pages(&tenant(&testbed), None).await;
    let mut all = names(&next(&mut pages).await.unwrap().unwrap());
    store.fail_next(1, Answer::new(503, "busy"));
    assert!(matches!(next(&mut pages).await, Err(Error::Api(status)) if status.code == 503));
    while let Some(page) = next(&mut pages).await.unwrap() {
        all.extend(names(&page));
    }
    assert_eq!(all, store.state().into_keys().collect::<Vec<_>>());
}

/// An empty page with a continue token.
fn endless(token: String) -> Answer {
    let body = format!(r#"{{"kind":"PodList","metadata":{{"continue":"{token}"}},"items":[]}}"#);
    Answer::new(200, body).header("content-type", "application/json")
}

#[tokio::test]
async fn empty_pages_are_pages_and_an_endless_list_is_cut_off() {
    let testbed = Testbed::serving(|request| {
        let page: u32 = request.query("continue").map_or(0, |token| token.parse().unwrap());
        endless((page + 1).to_string())
    })
    .await;
    let paging = PagingOptions { max_pages: Some(20), ..PagingOptions::DEFAULT };
    let mut pages = tenant(&testbed).page_namespaced_pods("shop", &PAGE, &paging).await.unwrap();
    for _ in 0..20 {
        assert!(next(&mut pages).await.unwrap().unwrap().items.is_empty());
    }
    assert!(matches!(next(&mut pages).await, Err(Error::LimitExceeded(text)) if text.contains("20 pages")));
    assert_eq!(testbed.server.requests().len(), 20);
}

#[tokio::test]
async fn a_list_that_goes_in_a_circle_is_noticed() {
    let testbed = Testbed::serving(|_| endless("same".into())).await;
    let mut pages = pages(&tenant(&testbed), None).await;
    next(&mut pages).await.unwrap();
    assert!(matches!(next(&mut pages).await, Err(Error::MalformedResponse(_))));
}
