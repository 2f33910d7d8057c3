//! Lists that expire between two pages, because etcd has compacted the revision that they began with.

use crate::{changes, kubernetes, list, namespace, tenant, variable, volume};
use incluster::PodPages;
use incluster::types::{Error as Kubernetes, ListOptions, OnExpired, PagingOptions, PodPage};
use testbed::Volume;

/// Reads the first page of 60 pods, 25 a page, then makes the server forget the list's state.
async fn expired(test: &str, on_expired: Option<OnExpired>) -> (PodPages, PodPage, Volume) {
    let volume = volume(&variable("REAL_TOKEN"));
    let options = ListOptions { limit: Some(25), ..ListOptions::ALL };
    let paging = PagingOptions { on_expired, ..PagingOptions::DEFAULT };
    let mut pages = tenant(&volume).page_namespaced_pods(&namespace(), &options, &paging).await.unwrap();
    let first = pages.next().await.unwrap().unwrap();
    assert_eq!((first.items.len(), first.remaining_item_count), (25, Some(35)));
    changes::forget(test);
    (pages, first, volume)
}

fn names(pages: &[PodPage]) -> Vec<String> {
    pages.iter().flat_map(|page| &page.items).map(|pod| pod.metadata.name.clone()).collect()
}

async fn all_names() -> Vec<String> {
    list(ListOptions::ALL).await.unwrap().items.into_iter().map(|pod| pod.metadata.name).collect()
}

async fn rest(pages: &mut PodPages) -> Vec<PodPage> {
    let mut rest = Vec::new();
    while let Some(page) = pages.next().await.unwrap() {
        rest.push(page);
    }
    rest
}

#[tokio::test]
async fn pages_of_one_state_add_up() {
    let volume = volume(&variable("REAL_TOKEN"));
    let options = ListOptions { limit: Some(25), ..ListOptions::ALL };
    let tenant = tenant(&volume);
    let mut pages = tenant.page_namespaced_pods(&namespace(), &options, &PagingOptions::DEFAULT).await.unwrap();
    let pages = rest(&mut pages).await;
    assert_eq!(pages.iter().map(|page| page.items.len()).collect::<Vec<_>>(), [25, 25, 10]);
    assert!(pages.iter().all(|page| page.resource_version == pages[0].resource_version));
    assert_eq!(names(&pages), all_names().await);
}

#[tokio::test]
#[ignore = "it restarts the API server: not that of KUBECONFIG"]
async fn a_list_that_expires_fails_by_default_and_says_how_to_go_on() {
    let (mut pages, _, _volume) = expired("on-expired-default", None).await;
    let Err(Kubernetes::Expired(expired)) = kubernetes(pages.next().await) else { panic!("the list has not expired") };
    let options = ListOptions { limit: Some(25), continue_token: expired.continue_token, ..ListOptions::ALL };
    assert!(options.continue_token.is_some(), "{}", expired.message);
    assert_eq!(list(options).await.unwrap().items.len(), 25);
}

#[tokio::test]
#[ignore = "it restarts the API server: not that of KUBECONFIG"]
async fn a_list_that_expires_begins_again_if_that_was_asked_for() {
    let (mut pages, first, _volume) = expired("on-expired-restart", Some(OnExpired::Restart)).await;
    let rest = rest(&mut pages).await;
    assert_eq!(
        rest.iter().map(|page| (page.restarted, page.items.len())).collect::<Vec<_>>(),
        [(true, 25), (false, 25), (false, 10)]
    );
    assert!(rest.iter().all(|page| !page.inconsistent && page.resource_version != first.resource_version));
    assert_eq!(names(&rest), all_names().await);
}

#[tokio::test]
#[ignore = "it restarts the API server: not that of KUBECONFIG"]
async fn a_list_that_expires_goes_on_if_that_was_asked_for() {
    let (mut pages, first, _volume) = expired("on-expired-resume", Some(OnExpired::Resume)).await;
    let rest = rest(&mut pages).await;
    assert_eq!(rest.iter().map(|page| (page.inconsistent, page.items.len())).collect::<Vec<_>>(), [(true, 25), (true, 10)]);
    assert!(rest.iter().all(|page| !page.restarted));
    assert_eq!([names(&[first]), names(&rest)].concat(), all_names().await);
}
