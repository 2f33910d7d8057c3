//! Tests of the `incluster` binary's words and options that are kubectl's. (tests/kube-apiserver compares the output with kubectl's own.)

use crate::command::{Output, in_testbed};
use std::collections::BTreeSet;
use testbed::{Answer, PodApi, PodStore, Recording, Testbed};
use tokio::process::Command;

const POD: &str = "catalog-46f22f2a56-9e90c4";

async fn recorded() -> Testbed {
    Testbed::serving(PodStore::recorded().handler()).await
}

/// Runs a command that succeeds without a message.
async fn printed(testbed: &Testbed, line: &str) -> String {
    let Output { status, stdout, stderr } = in_testbed(testbed, &line.split(' ').collect::<Vec<_>>()).await;
    assert_eq!((status, &*stderr), (0, ""), "{line}");
    stdout
}

#[tokio::test]
async fn kubectls_words_and_orders_mean_the_same() {
    let testbed = recorded().await;
    let expected = printed(&testbed, "pods -n shop -o wide").await;
    for line in [
        "get pods -n shop -o wide",
        "get pod -owide -nshop",
        "-n shop get po --output=wide",
        "--namespace=shop -o wide pods",
        "get -o=wide pods --watch=false --no-headers=false",
    ] {
        assert_eq!(printed(&testbed, line).await, expected, "{line}");
    }
    // Options of the host's stand anywhere, too.
    let url = testbed.server.url();
    assert_eq!(printed(&testbed, &format!("get --server {url} pods -o wide --server={url}")).await, expected);
    for line in ["get pod POD", "get pods/POD", "pods POD -n shop", "-n shop get po/POD"] {
        assert_eq!(printed(&testbed, &line.replace("POD", POD)).await, printed(&testbed, &format!("pods {POD}")).await);
    }
    assert_eq!(printed(&testbed, "version").await, printed(&testbed, "--version").await);
    assert_eq!(printed(&testbed, "help").await, printed(&testbed, "pods --help").await);
}

#[tokio::test]
async fn columns_are_added_and_left_out() {
    let testbed = recorded().await;
    let table = printed(&testbed, "pods").await;
    let column = |line: &str| if line.starts_with("NAME") { "NAMESPACE   " } else { "shop        " };
    let expected: String = table.lines().map(|line| format!("{}{line}\n", column(line))).collect();
    assert_eq!(printed(&testbed, "get pods -A").await, expected);
    assert_eq!(printed(&testbed, "pods --all-namespaces -n other").await, expected);

    let bare = printed(&testbed, "pods --no-headers").await;
    assert!(bare.starts_with(&format!("{POD}    2/2   Running            4     ")), "{bare}");
    let words = |text: &str| text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect::<Vec<_>>();
    assert_eq!(words(&bare), words(&table)[1..]);

    // The last column is the one of kubectl for the same pods.
    let kubectl = include_str!("../fixtures/_kubectl-get-pods.txt").split("--show-labels\n").nth(1).unwrap();
    let last = |text: &str| text.lines().filter_map(|line| line.rsplit(' ').next()).map(String::from).collect::<Vec<_>>();
    let labels = printed(&testbed, "get pods --show-labels").await;
    assert_eq!(last(&labels), last(kubectl));
    assert_eq!(last(&printed(&testbed, "pods -A --show-labels -o wide --no-headers").await), last(&labels)[1..]);
    assert_eq!(printed(&testbed, "pods -A -o name --no-headers").await, printed(&testbed, "pods -o name").await);

    let asked: Vec<_> = testbed.server.requests().into_iter().map(|request| request.path_and_query).collect();
    assert_eq!(asked[0], "/api/v1/namespaces/shop/pods?limit=500&includeObject=None");
    assert_eq!(asked[1], "/api/v1/pods?limit=500&includeObject=Metadata");
    assert_eq!(asked[4], "/api/v1/namespaces/shop/pods?limit=500&includeObject=Metadata");
}

#[tokio::test]
async fn one_pod_is_printed_as_itself() {
    let testbed = recorded().await;
    let table = printed(&testbed, &format!("get pod {POD} -o wide --show-labels")).await;
    let (header, row) = table.split_once('\n').unwrap();
    assert!(header.starts_with("NAME                        READY   STATUS    RESTARTS   AGE ") && header.ends_with("   LABELS"));
    assert!(row.starts_with(&format!("{POD}   2/2     Running   4          ")) && row.ends_with(",tier=backend\n"), "{row}");
    assert_eq!(printed(&testbed, &format!("get pod {POD} -o name")).await, format!("pod/{POD}\n"));

    let json: serde_json::Value = serde_json::from_str(&printed(&testbed, &format!("get pod {POD} -o json")).await).unwrap();
    let list: serde_json::Value = serde_json::from_slice(&Recording::read("list-json").answer.body).unwrap();
    assert_eq!((&json["kind"], &json["spec"]), (&"Pod".into(), &list["items"][0]["spec"]));
    assert!(json["metadata"].get("managedFields").is_none());
    let yaml = printed(&testbed, &format!("pods {POD} -o yaml")).await;
    assert!(yaml.starts_with("apiVersion: v1\nkind: Pod\nmetadata:\n"), "{yaml}");

    let paths: Vec<_> = testbed.server.requests().into_iter().map(|request| request.path_and_query).collect();
    let pod = format!("/api/v1/namespaces/shop/pods/{POD}");
    assert_eq!(paths, [format!("{pod}?includeObject=Metadata"), format!("{pod}?includeObject=None"), pod.clone(), pod]);

    let absent = in_testbed(&testbed, &["get", "pod", "nope"]).await;
    let says = format!(
        "incluster: failed to get pod \"nope\" in namespace \"shop\": GET {}/api/v1/namespaces/shop/pods/nope: 404 NotFound: pods \"nope\" not found; check the name, and the namespace\n",
        testbed.server.url()
    );
    assert_eq!((absent.status, &*absent.stdout, absent.stderr), (1, "", says));
}

#[tokio::test]
async fn all_namespaces_may_be_empty_or_forbidden() {
    let empty = r#"{"kind":"Table","apiVersion":"meta.k8s.io/v1","metadata":{},"columnDefinitions":[],"rows":[]}"#;
    let testbed = Testbed::serving(move |_| Answer::new(200, empty).header("content-type", "application/json")).await;
    let output = in_testbed(&testbed, &["get", "pods", "-A"]).await;
    assert_eq!((output.status, &*output.stdout, &*output.stderr), (0, "", "No resources found\n"));
    let testbed = Testbed::serving(|_| Recording::read("list-all-namespaces-forbidden").answer).await;
    let output = in_testbed(&testbed, &["get", "pods", "-A"]).await;
    assert_eq!((output.status, &*output.stdout), (1, ""));
    let role =
        "bind a ClusterRole that allows verb \"list\" on \"pods\" in all namespaces to system:serviceaccount:shop:lister\n";
    assert!(output.stderr.starts_with("incluster: failed to list pods in all namespaces: ") && output.stderr.ends_with(role));
}

#[tokio::test]
async fn get_raw_prints_the_answer_as_it_is() {
    let log = "first\n\tsecond without an end";
    let testbed = Testbed::serving(move |request| match request.path() {
        "/readyz" => Answer::new(200, "ok").header("content-type", "text/plain; charset=utf-8"),
        "/api/v1/namespaces/shop/pods/web-0/log" => Answer::new(200, log),
        "/metrics" => Answer::new(403, "no\nmetrics").header("content-type", "text/plain"),
        _ => PodApi::answer(request),
    })
    .await;
    assert_eq!(printed(&testbed, "get --raw /readyz").await, "ok");
    assert_eq!(printed(&testbed, "--raw /api/v1/namespaces/shop/pods/web-0/log?tailLines=2 get").await, log);
    let list = printed(&testbed, "get --raw=/api/v1/namespaces/shop/pods").await;
    assert_eq!(list.as_bytes(), &*Recording::read("list-json").answer.body);
    let requests = testbed.server.requests();
    assert_eq!(requests[1].query("tailLines").as_deref(), Some("2"));
    assert!(requests.iter().all(|it| it.method == "GET" && it.header("accept") == Some("application/json, */*")), "{requests:?}");

    for (path, says) in [
        ("/metrics", "403: no metrics; bind a ClusterRole that allows `get /metrics` to system:serviceaccount:shop:lister\n"),
        (
            "/version",
            "404 NotFound: the server could not find the requested resource; check the path, and that the server knows this API\n",
        ),
    ] {
        let output = in_testbed(&testbed, &["get", "--raw", path]).await;
        let begins = format!("incluster: failed to get {path}: GET {}{path}: ", testbed.server.url());
        assert_eq!((output.status, &*output.stdout), (1, ""));
        assert!(output.stderr.starts_with(&begins) && output.stderr.ends_with(says), "{}", output.stderr);
    }
}

/// The request is sent again while the server is busy, as often as the options say.
#[tokio::test]
async fn get_raw_is_repeated() {
    let store = PodStore::recorded();
    let testbed = Testbed::serving(store.handler()).await;
    let whole = printed(&testbed, "get --raw /api/v1/namespaces/shop/pods").await;
    store.fail_next(2, Answer::new(503, "busy"));
    assert_eq!(printed(&testbed, "get --raw /api/v1/namespaces/shop/pods").await, whole);
    assert_eq!(testbed.server.requests().len(), 4);
    store.fail_next(2, Answer::new(503, "busy"));
    let output = in_testbed(&testbed, &["get", "--raw", "/api", "--attempts", "2"]).await;
    assert!(output.status == 1 && output.stderr.contains("503: busy; tried 2 times"), "{}", output.stderr);
}

/// These are refused before anything is sent.
#[tokio::test]
async fn what_incluster_does_not_have_is_refused_with_what_it_has() {
    let testbed = recorded().await;
    for (line, says) in [
        ("get pods -f pod.yaml", "kubectl has -f, and incluster does not: it reads no files"),
        ("get pods --sort-by=.metadata.name", "kubectl has --sort-by, and incluster does not"),
        ("get pods -o jsonpath={.items}", "kubectl has --output jsonpath, and incluster does not: use -o json, and jq"),
        ("--context prod get pods", "kubectl has --context, and incluster does not"),
        ("get deployments -n shop", "incluster only pods: use get --raw PATH"),
        ("get pods a b", "kubectl gets several pods by name, and incluster one"),
        ("logs web-0", "use get --raw /api/v1/namespaces/NAMESPACE/pods/NAME/log"),
        ("delete pod web-0", "kubectl has the command \"delete\", and incluster does not"),
        ("get pod ../secrets", "is not a pod's name"),
        ("get --raw /api/v1/pods?watch=true", "it is a watch, which would not end"),
        ("get --raw /api/v1/../secrets", "the request has a segment that is empty, `.` or `..`"),
        ("get --raw https://10.0.0.1/api", "the request has no absolute path"),
        ("-n shop check x.wasm", "\"check\" is a command of the incluster binary, and its options come after it"),
    ] {
        let output = in_testbed(&testbed, &line.split(' ').collect::<Vec<_>>()).await;
        assert_eq!((output.status, &*output.stdout), (2, ""), "{line}");
        assert!(output.stderr.contains(says) && output.stderr.ends_with("; see incluster --help\n"), "{line}: {}", output.stderr);
    }
    assert_eq!(testbed.server.connections(), 0);
}

/// Returns the long options in a text, each after a mark, without their dashes.
fn long_options(text: &str, mark: &str) -> BTreeSet<String> {
    let is_of_name = |c: &char| c.is_ascii_lowercase() || *c == '-';
    let names = text.split(mark).skip(1).map(|rest| rest.chars().take_while(is_of_name).collect::<String>());
    names.filter(|name| !name.is_empty()).collect()
}

/// Returns the options in a script's lists of options, which end with this character.
fn listed_options(script: &str, end: &str) -> BTreeSet<String> {
    let lists =
        script.split("\n_incluster_options").skip(1).filter_map(|list| list.split_once('=')?.1.get(1..)?.split(end).next());
    lists.flat_map(|list| long_options(list, "--")).collect()
}

/// The scripts complete the long options that the help has and no others, also the host's, and Bash can run the one for it.
#[tokio::test]
async fn completion_scripts_know_every_option() {
    let testbed = recorded().await;
    let help = long_options(&printed(&testbed, "--help").await, "--");
    assert!(help.contains("load-limits") && help.contains("show-labels"), "{help:?}");
    let script = printed(&testbed, "completion bash").await;
    assert_eq!(listed_options(&script, "'"), help);
    assert_eq!(listed_options(&printed(&testbed, "completion zsh").await, ")"), help);
    let fish = printed(&testbed, "completion fish").await;
    let completed: Vec<_> = fish.lines().filter(|line| line.starts_with("complete ")).collect();
    assert_eq!(long_options(&completed.join("\n"), " -l "), help);

    let files = tempfile::tempdir().unwrap();
    std::fs::write(files.path().join("two words.wasm"), "").unwrap();
    let ask = r#"COMP_WORDS=(incluster "$@"); COMP_CWORD=$#; _incluster; printf '%s,' "${COMPREPLY[@]}""#;
    for (words, expected) in [
        (&["run", "--pol"][..], "--policy,"),
        (&["get", "pods", "--show"], "--show-labels,"),
        (&["--server", "https://a", "co"], "config,completion,compile,compose,"),
        (&["--server", "=", "https", ":", "//run", "co"], "config,completion,compile,compose,"),
        (&["--namespace", "=", "run", "--wat"], "--watch,--watch-only,"),
        (&["config", "--se"], "--server,--service-account-dir,"),
        (&["pods", "-o", ""], "table,wide,json,yaml,name,"),
        (&["check", "-o", ""], "text,json,"),
        (&["check", "--output", "=", "j"], "json,"),
        (&["compile", "x.wasm", "-o", ""], "two words.wasm,"),
        (&["compose", "x.wasm", "--output", "=", "t"], "two words.wasm,"),
        (&["run", "two"], "two words.wasm,"),
        (&["run", "--policy", ""], "two words.wasm,"),
        (&["new", "--language", ""], "rust,javascript,python,go,"),
    ] {
        let mut bash = Command::new("bash");
        bash.args(["-c", &format!("{script}\n{ask}"), "bash"]).args(words).current_dir(files.path());
        let output = Output::of(&mut bash).await;
        assert_eq!((output.status, &*output.stdout, &*output.stderr), (0, expected, ""), "{words:?}");
    }
}

/// Each of these needs no pod, and no cluster.
#[tokio::test]
async fn completion_and_help_work_anywhere() {
    for args in [&["completion", "bash"][..], &["completion", "fish"], &["help"], &["version"]] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_incluster"));
        let output = Output::of(command.args(args).env_clear()).await;
        assert_eq!((output.status, &*output.stderr), (0, ""), "{args:?}");
        assert!(!output.stdout.is_empty());
    }
}
