//! Checks that the memory for listing page by page does not depend on the length of the list.
//!
//! There are three processes: this one compares, one serves pods, and one lists them and reports its peak memory.

use crate::gauge::of_status;
use incluster::policy::Policy;
use incluster::types::{ListOptions, PagingOptions};
use incluster::{Runtime, Server, Tenant};
use std::process::{ExitCode, Stdio};
use testbed::{PodStore, Request, Testbed};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::Command;

const FEW: usize = 5_000;
const MANY: usize = 50_000;

const RUNS: usize = 2;

/// How much more memory the longer list may need than the shorter one, in percent.
const PERCENT: u64 = 10;

pub async fn compare() -> ExitCode {
    let mut problems = Vec::new();
    for encoding in ["protobuf", "json"] {
        let (few, many) = (least_peak_kb(FEW, encoding).await, least_peak_kb(MANY, encoding).await);
        println!("paging through {FEW} pods in {encoding}: peak memory {few} kB; {MANY} pods: {many} kB");
        if many * 100 > few * (100 + PERCENT) {
            problems.push(format!("{encoding}: {MANY} pods need more than {PERCENT} % more memory than {FEW}"));
        }
    }
    crate::verdict(problems)
}

/// The peak memory of a process that pages through this many pods, in kB: the smaller of two runs, to leave out chance.
async fn least_peak_kb(pods: usize, encoding: &str) -> u64 {
    let program = std::env::current_exe().expect("this program");
    let mut server = Command::new(&program)
        .args(["serve-pods", &pods.to_string(), encoding])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("a server");
    let mut lines = BufReader::new(server.stdout.take().expect("its output")).lines();
    let mut line = async || lines.next_line().await.expect("a line").expect("a line");
    let (url, service_account_dir) = (line().await, line().await);
    let mut least = u64::MAX;
    for _ in 0..RUNS {
        let mut list = Command::new(&program);
        list.args(["list-pages", &url, &service_account_dir]);
        // Without this, glibc keeps free memory for each thread, and which threads handle a page is chance.
        let output = list.env("MALLOC_ARENA_MAX", "1").output().await.expect("a list");
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        let (listed, peak) = said.trim().split_once(' ').unwrap_or_else(|| panic!("the list failed: {said}"));
        assert_eq!(listed, pods.to_string(), "the list is incomplete: {said}");
        least = least.min(peak.parse().unwrap_or_else(|_| panic!("the list failed: {said}")));
    }
    // Closing its input ends the server.
    drop(server.stdin.take());
    server.wait().await.expect("the server's end");
    least
}

/// Serves pods until the input ends. Prints the URL and the service account's folder.
pub async fn serve(count: usize, encoding: &str) -> ExitCode {
    let store = PodStore::with_pods(count);
    let is_json = encoding == "json";
    let testbed = Testbed::serving(move |request| match is_json {
        true => store.answer(&in_json(request)),
        false => store.answer(request),
    })
    .await;
    println!("{}\n{}", testbed.server.url(), testbed.volume.path().display());
    tokio::io::stdin().read_to_end(&mut Vec::new()).await.expect("the input");
    ExitCode::SUCCESS
}

/// Rewrites the request's `Accept`, so that the answer is JSON.
fn in_json(request: &Request) -> Request {
    let mut request = request.clone();
    request.headers.insert("accept", "application/json".parse().expect("a header"));
    request
}

/// Pages through all pods. Prints their number and this process's peak memory in kB.
pub async fn list(url: &str, service_account_dir: &str) -> ExitCode {
    let server = Server::parse(url).expect("a URL");
    let tenant = Tenant::builder(&Runtime::new().expect("a runtime"), "soak")
        .server(server)
        .service_account_dir(service_account_dir)
        .policy(Policy::allow_all())
        .build()
        .expect("a tenant");
    let mut pages = tenant.page_namespaced_pods("shop", &ListOptions::ALL, &PagingOptions::DEFAULT).await.expect("a list");
    let mut pods = 0;
    while let Some(page) = pages.next().await.expect("a page") {
        pods += page.items.len();
    }
    let status = std::fs::read_to_string("/proc/self/status").expect("/proc");
    println!("{pods} {}", of_status(&status, "VmHWM:"));
    ExitCode::SUCCESS
}
