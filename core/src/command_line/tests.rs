//! Tables of command lines: what they are parsed into, or why they are refused.

use super::*;

fn parse_args(args: &[&str]) -> Result<Command, String> {
    parse(Parser::from_args(args)).map_err(|e| e.to_string())
}

/// Parses words that have no spaces in them.
fn parsed(line: &str) -> Result<Command, String> {
    parse_args(&line.split_whitespace().collect::<Vec<_>>())
}

fn pods_of(line: &str) -> Pods {
    match parsed(line) {
        Ok(Command::Pods(pods)) => pods,
        other => panic!("{line}: {other:?}"),
    }
}

fn some(text: &str) -> Option<String> {
    Some(text.into())
}

fn name(text: &str) -> Option<PodName> {
    Some(PodName(text.into()))
}

fn shop() -> Option<Namespaces> {
    Some(Namespaces::parse("shop").unwrap())
}

/// What `incluster pods` means.
const NO_OPTIONS: Pods = Pods {
    name: None,
    namespaces: None,
    label_selector: None,
    field_selector: None,
    limit: None,
    output: Output::Table,
    no_headers: false,
    show_labels: false,
    watch: Watch::No,
    retries: Retries { attempts: None, deadline_milliseconds: 90_000 },
    chunk_size: None,
};

/// Command lines for pods, and what they mean.
fn table() -> Vec<(&'static str, Pods)> {
    let seconds = |attempts, seconds: u32| Retries { attempts, deadline_milliseconds: seconds * 1000 };
    vec![
        ("pods", NO_OPTIONS),
        ("get pods", NO_OPTIONS),
        ("get pod", NO_OPTIONS),
        ("get po", NO_OPTIONS),
        ("get Pods", NO_OPTIONS),
        ("get pods -A", Pods { namespaces: Some(Namespaces::All), ..NO_OPTIONS }),
        ("-A get pods", Pods { namespaces: Some(Namespaces::All), ..NO_OPTIONS }),
        ("get -A pods -n shop", Pods { namespaces: Some(Namespaces::All), ..NO_OPTIONS }),
        ("pods --all-namespaces=true", Pods { namespaces: Some(Namespaces::All), ..NO_OPTIONS }),
        ("pods -A -w", Pods { namespaces: Some(Namespaces::All), watch: Watch::AfterList, ..NO_OPTIONS }),
        ("pods -Aw", Pods { namespaces: Some(Namespaces::All), watch: Watch::AfterList, ..NO_OPTIONS }),
        ("pods --all-namespaces=false -n shop", Pods { namespaces: shop(), ..NO_OPTIONS }),
        ("-n shop pods", Pods { namespaces: shop(), ..NO_OPTIONS }),
        ("-nshop get pods", Pods { namespaces: shop(), ..NO_OPTIONS }),
        ("get --namespace=shop pods", Pods { namespaces: shop(), ..NO_OPTIONS }),
        ("get pods -n=shop", Pods { namespaces: shop(), ..NO_OPTIONS }),
        ("pods web-0", Pods { name: name("web-0"), ..NO_OPTIONS }),
        ("get pod web-0", Pods { name: name("web-0"), ..NO_OPTIONS }),
        ("get pods/web-0", Pods { name: name("web-0"), ..NO_OPTIONS }),
        ("get pod/web-0 -n shop", Pods { name: name("web-0"), namespaces: shop(), ..NO_OPTIONS }),
        ("-o json get -n shop po/web.0", Pods { name: name("web.0"), namespaces: shop(), output: Output::Json, ..NO_OPTIONS }),
        ("pods -- web-0", Pods { name: name("web-0"), ..NO_OPTIONS }),
        ("pods web-0 -w", Pods { name: name("web-0"), watch: Watch::AfterList, ..NO_OPTIONS }),
        ("pods --watch-only", Pods { watch: Watch::Only, ..NO_OPTIONS }),
        ("pods --watch-only --watch", Pods { watch: Watch::Only, ..NO_OPTIONS }),
        ("pods --watch=false", NO_OPTIONS),
        ("pods -o name --watch", Pods { output: Output::Name, watch: Watch::AfterList, ..NO_OPTIONS }),
        ("--no-headers pods", Pods { no_headers: true, ..NO_OPTIONS }),
        ("pods --no-headers=T -ojson", Pods { no_headers: true, output: Output::Json, ..NO_OPTIONS }),
        ("pods --show-labels -o=wide", Pods { show_labels: true, output: Output::Wide, ..NO_OPTIONS }),
        (
            "pods -l app=web,tier!=edge --field-selector=a=b --limit 3",
            Pods { label_selector: some("app=web,tier!=edge"), field_selector: some("a=b"), limit: Some(3), ..NO_OPTIONS },
        ),
        ("pods -l -x", Pods { label_selector: some("-x"), ..NO_OPTIONS }),
        ("pods --selector --watch", Pods { label_selector: some("--watch"), ..NO_OPTIONS }),
        ("pods --attempts=2 --timeout 7", Pods { retries: seconds(Some(2), 7), ..NO_OPTIONS }),
        ("pods --timeout 4294967295", Pods { retries: seconds(None, 4_294_967), ..NO_OPTIONS }),
        ("pods --chunk-size 100 -o yaml", Pods { chunk_size: Some(100), output: Output::Yaml, ..NO_OPTIONS }),
    ]
}

#[test]
fn pods_are_asked_for_in_kubectls_words() {
    for (line, pods) in table() {
        assert_eq!(parsed(line), Ok(Command::Pods(pods)), "{line}");
    }
}

#[test]
fn the_other_commands() {
    for (line, command) in [
        ("help", Command::Help),
        ("help pods", Command::Help),
        ("--help", Command::Help),
        ("-h", Command::Help),
        ("pods --help", Command::Help),
        ("config -h", Command::Help),
        ("get -h", Command::Help),
        ("version", Command::Version),
        ("-V", Command::Version),
        ("--version", Command::Version),
        ("config", Command::Config),
        ("completion bash", Command::Completion(Shell::Bash)),
        ("completion zsh", Command::Completion(Shell::Zsh)),
        ("completion fish", Command::Completion(Shell::Fish)),
    ] {
        assert_eq!(parsed(line), Ok(command), "{line}");
    }
}

#[test]
fn a_raw_path_is_taken_as_it_is() {
    for path in ["/version", "/", "/readyz?verbose", "/api/v1/namespaces/shop/pods/web-0/log?tailLines=5", "/apis/apps/v1"] {
        for args in [["get", "--raw", path], ["--raw", path, "get"]] {
            let Ok(Command::Raw(raw)) = parse_args(&args) else { panic!("{path}") };
            assert_eq!((raw.path.as_str(), raw.retries), (path, NO_OPTIONS.retries));
        }
    }
    let Ok(Command::Raw(raw)) = parsed("get --raw=/api?limit=1 --attempts 3 --timeout 5") else { panic!() };
    assert_eq!((raw.path.as_str(), raw.retries), ("/api?limit=1", Retries { attempts: Some(3), deadline_milliseconds: 5000 }));
}

#[test]
fn a_command_is_parsed_from_its_own_arguments() {
    let lines = table().into_iter().map(|(line, _)| line);
    for line in lines.chain(["help", "version", "config", "completion zsh", "get --raw /api?a=b --attempts 3 --timeout 5"]) {
        let command = parsed(line).unwrap();
        assert_eq!(parse(Parser::from_args(command.to_args())).unwrap(), command, "{line}: {:?}", command.to_args());
    }
}

#[test]
fn options_of_a_host_stand_anywhere() {
    let mut servers = Vec::new();
    let line = "get --server https://a -n shop pods --server=https://b web-0 -o name";
    let command = parse_with(Parser::from_args(line.split(' ')), &mut |name, parser| {
        if name == "server" {
            servers.push(parser.value()?.string()?);
        }
        Ok(name == "server")
    });
    let pods = Pods { name: name("web-0"), namespaces: shop(), output: Output::Name, ..NO_OPTIONS };
    assert_eq!((command.unwrap(), servers), (Command::Pods(pods), vec!["https://a".to_string(), "https://b".into()]));
}

#[test]
fn wrong_usage_says_what_is_wrong() {
    for (line, says) in [
        ("", "no command given"),
        ("-A", "no command given"),
        ("pod", "there is no command \"pod\""),
        ("nodes", "there is no command \"nodes\""),
        ("pods --all", "invalid option '--all'"),
        ("pods -n", "missing argument for option '-n'"),
        ("pods -n ../other", "--namespace takes a DNS-1123 label"),
        ("pods -o xml", "--output takes table, wide, json, yaml or name"),
        ("pods --limit 0", "--limit takes a number, 1 or more"),
        ("pods --chunk-size 0", "--chunk-size takes a number, 1 or more"),
        ("pods --attempts x", "--attempts takes a number, 1 or more"),
        ("pods --no-headers=maybe", "--no-headers takes true or false"),
        ("pods -w -o json", "--watch goes with --output table, wide and name (kubectl's also with json and yaml)"),
        ("pods --watch-only -o yaml", "--watch-only goes with --output table, wide and name"),
        ("pods -w --limit 1", "--watch shows all changes, and cannot go with --limit"),
        ("pods --show-labels -o name", "--show-labels goes with --output table and wide"),
        ("pods Web", "\"Web\" is not a pod's name"),
        ("pods ../web", "\"../web\" is not a pod's name"),
        ("get pods/", "\"\" is not a pod's name"),
        ("get pods/a/b", "\"a/b\" is not a pod's name"),
        ("pods web-0 -A", "NAME is one pod of one namespace"),
        ("pods web-0 -l a=b", "NAME is one pod of one namespace"),
        ("get pod web-0 --field-selector a=b", "NAME is one pod of one namespace"),
        ("pods web-0 --limit 1", "NAME is one pod of one namespace"),
        ("config view", "kubectl has config view, and incluster does not"),
        ("config view --minify", "kubectl has config view, and incluster does not"),
        ("config set-context --current --namespace=shop", "kubectl has config set-context, and incluster does not"),
        ("config use-context prod", "kubectl has config use-context, and incluster does not"),
        ("version x", "unexpected argument \"x\""),
        ("version -o json", "kubectl has version -o, and incluster does not"),
        ("version --client", "kubectl has --client, and incluster does not"),
        ("pods -A=maybe", "-A takes true or false"),
        ("get --raw /api/v1/namespaces/a/pods/b/log?tailLines=1&follow=true", "it follows a log, which would not end"),
        ("get --raw /api/v1/namespaces/a/pods/b/log?Follow", "it follows a log, which would not end"),
        ("config -n shop", "config takes no options, but has -n"),
        ("version --watch", "version takes no options, but has --watch"),
        ("completion", "completion takes the name of a shell: bash, zsh or fish"),
        ("completion tcsh", "completion takes the name of a shell: bash, zsh or fish"),
        ("get", "get takes pods, or --raw PATH"),
        ("get --raw /version -o json", "get --raw prints the answer as it is, and takes no -o"),
        ("get --raw /version -n shop", "takes no -n"),
        ("get pods --raw /version", "--raw goes with get alone"),
        ("pods --raw /version", "--raw goes with get alone"),
        ("get --raw version", "--raw \"version\": the request has no absolute path"),
        ("get --raw https://10.0.0.1/version", "the request has no absolute path"),
        ("get --raw /api//v1", "the request has a segment that is empty, `.` or `..`"),
        ("get --raw /api/v1/../secrets", "the request has a segment that is empty, `.` or `..`"),
        ("get --raw /api/v1/pods?watch=1", "it is a watch, which would not end: for pods, use pods --watch"),
        ("run x.wasm", "\"run\" is a command of the incluster binary"),
    ] {
        let error = parsed(line).unwrap_err();
        assert!(error.contains(says), "{line}: {error}");
    }
}

#[test]
fn what_only_kubectl_has_is_refused_with_what_to_use_instead() {
    for (line, says) in [
        ("get pods -f pod.yaml", "kubectl has -f, and incluster does not: it reads no files"),
        ("get --filename=pod.yaml", "kubectl has --filename, and incluster does not: it reads no files"),
        ("get pods -R", "kubectl has -R, and incluster does not"),
        ("get pods --sort-by=.metadata.name", "kubectl has --sort-by, and incluster does not: the pods come by name"),
        ("get pods -L app", "kubectl has -L, and incluster does not: use --show-labels"),
        ("get pods --ignore-not-found", "use --field-selector metadata.name=NAME"),
        ("get pods --output-watch-events -w", "kubectl has --output-watch-events, and incluster does not"),
        ("get pods --server-print=false", "kubectl has --server-print, and incluster does not"),
        ("get pod web --subresource status", "use get --raw /api/v1/namespaces/NAMESPACE/pods/NAME/SUBRESOURCE"),
        ("--context prod get pods", "kubectl has --context, and incluster does not: it acts as the pod's service account"),
        ("--kubeconfig=x get pods", "kubectl has --kubeconfig, and incluster does not"),
        ("get pods -s https://a", "kubectl has -s, and incluster does not: in a pod"),
        ("get pods --server https://a", "the incluster binary takes --server"),
        ("get pods --as admin", "kubectl has --as, and incluster does not: it sends the token"),
        ("get pods --insecure-skip-tls-verify", "it trusts the ca.crt"),
        ("get pods --request-timeout 5s", "use --timeout SECONDS"),
        ("get pods -v=6", "kubectl has -v, and incluster does not"),
        ("get pods -o jsonpath={.items}", "kubectl has --output jsonpath, and incluster does not: use -o json, and jq"),
        ("get pods -o custom-columns=A:.b", "kubectl has --output custom-columns, and incluster does not"),
        ("get pods -o go-template=x", "kubectl has --output go-template, and incluster does not"),
        ("get pods -o kyaml", "kubectl has --output kyaml, and incluster does not: use -o yaml"),
        ("get pods a b", "kubectl gets several pods by name, and incluster one"),
        ("get pods/a pods/b", "kubectl gets several pods by name, and incluster one"),
        ("pods a b", "kubectl gets several pods by name, and incluster one"),
        ("get deployments", "kubectl gets \"deployments\", and incluster only pods: use get --raw PATH"),
        ("get deployment/web", "kubectl gets \"deployment\", and incluster only pods"),
        ("get nodes a b", "kubectl gets \"nodes\", and incluster only pods"),
        ("get pods,services", "kubectl gets \"pods,services\", and incluster only pods"),
        ("logs web-0 -f", "kubectl has the command \"logs\", and incluster does not: use get --raw"),
        ("delete pod web-0", "kubectl has the command \"delete\", and incluster does not: it lists and watches pods"),
        ("completion powershell", "kubectl has completion for powershell, and incluster does not"),
    ] {
        let error = parsed(line).unwrap_err();
        assert!(error.contains(says), "{line}: {error}");
    }
}

#[test]
fn the_help_names_every_option_that_is_taken() {
    for option in ["namespace", "all-namespaces", "selector", "field-selector", "limit", "chunk-size", "output", "no-headers"]
        .into_iter()
        .chain(["show-labels", "watch", "watch-only", "attempts", "timeout", "help", "version", "raw"])
    {
        assert!(HELP.contains(&format!("--{option} ")) || HELP.contains(&format!("--{option},")), "{option}");
    }
    assert!(HELP.lines().all(|line| line.len() <= 135), "a line of the help is long");
    assert_eq!(pods_of("pods"), NO_OPTIONS);
}
