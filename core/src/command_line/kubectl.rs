//! The parts of kubectl's command line that incluster does not have, and what to use instead.

use lexopt::Error;

/// Options of `kubectl get` and of kubectl itself.
const OPTIONS: [(&[&str], &str); 15] = [
    (&["-f", "--filename", "-k", "--kustomize", "-R", "--recursive"], "it reads no files: give the pod's name, or a selector"),
    (&["--sort-by"], "the pods come by name; sort(1) sorts lines, and jq the items of -o json"),
    (&["-L", "--label-columns"], "use --show-labels, or -o json"),
    (&["--output-watch-events"], "--watch prints a line for each change, without its kind"),
    (&["--ignore-not-found"], "use --field-selector metadata.name=NAME, which does not fail if there is no such pod"),
    (&["--server-print"], "the server makes the columns of every table; -o json has all fields"),
    (&["--show-kind"], "every line is a pod; -o name has the kind"),
    (&["--show-managed-fields"], "use get --raw /api/v1/namespaces/NAMESPACE/pods"),
    (&["--subresource"], "use get --raw /api/v1/namespaces/NAMESPACE/pods/NAME/SUBRESOURCE"),
    (&["--template", "--allow-missing-template-keys"], "use -o json, and jq"),
    (
        &["--kubeconfig", "--context", "--cluster", "--user", "--kuberc"],
        "it acts as the pod's service account; outside a pod, the incluster binary takes --server and --service-account-dir",
    ),
    (
        &["-s", "--server", "--tls-server-name"],
        "in a pod, KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT name the server; elsewhere, the incluster binary takes --server",
    ),
    (
        &[
            "--token",
            "--username",
            "--password",
            "--client-certificate",
            "--client-key",
            "--as",
            "--as-group",
            "--as-uid",
            "--as-user-extra",
        ],
        "it sends the token of the pod's service account, and cannot act as anybody else",
    ),
    (
        &["--certificate-authority", "--insecure-skip-tls-verify"],
        "it trusts the ca.crt of the pod's service account, and nothing else",
    ),
    (&["--request-timeout"], "use --timeout SECONDS"),
];

/// Options of kubectl for which there is no replacement.
const OTHER_OPTIONS: [&str; 11] = [
    "--cache-dir",
    "--client",
    "--disable-compression",
    "--log-flush-frequency",
    "--match-server-version",
    "--profile",
    "--profile-output",
    "-v",
    "--v",
    "--vmodule",
    "--warnings-as-errors",
];

/// Commands of kubectl that read.
const COMMANDS: [(&str, &str); 8] = [
    ("logs", "use get --raw /api/v1/namespaces/NAMESPACE/pods/NAME/log"),
    ("describe", "use pods NAME -o yaml"),
    ("events", "use get --raw /api/v1/namespaces/NAMESPACE/events"),
    ("top", "use get --raw /apis/metrics.k8s.io/v1beta1/namespaces/NAMESPACE/pods"),
    ("api-resources", "use get --raw /api/v1, and get --raw /apis"),
    ("api-versions", "use get --raw /apis"),
    ("cluster-info", "use config"),
    ("wait", "use pods NAME --watch"),
];

/// Other commands of kubectl. Most of them change something.
const OTHER_COMMANDS: [&str; 33] = [
    "alpha",
    "annotate",
    "apply",
    "attach",
    "auth",
    "autoscale",
    "certificate",
    "cordon",
    "cp",
    "create",
    "debug",
    "delete",
    "diff",
    "drain",
    "edit",
    "exec",
    "explain",
    "expose",
    "kuberc",
    "kustomize",
    "label",
    "options",
    "patch",
    "plugin",
    "port-forward",
    "proxy",
    "replace",
    "rollout",
    "run",
    "scale",
    "set",
    "taint",
    "uncordon",
];

/// Commands of the incluster binary, which the component does not have.
const OF_BINARY: [&str; 6] = ["run", "new", "check", "compile", "compose", "wit"];

/// Formats of `kubectl get -o`.
const FORMATS: [(&str, &str); 10] = [
    ("jsonpath", JQ),
    ("jsonpath-as-json", JQ),
    ("jsonpath-file", JQ),
    ("go-template", JQ),
    ("go-template-file", JQ),
    ("template", JQ),
    ("templatefile", JQ),
    ("custom-columns", JQ),
    ("custom-columns-file", JQ),
    ("kyaml", "use -o yaml"),
];

const JQ: &str = "use -o json, and jq";

/// Returns the error for an option of kubectl; `None` if kubectl has no such option either.
pub fn option(option: &str) -> Option<Error> {
    let has = format!("kubectl has {option}, and incluster does not");
    let known = OPTIONS.iter().find(|(names, _)| names.contains(&option));
    match known {
        Some((_, instead)) => Some(format!("{has}: {instead}").into()),
        None => OTHER_OPTIONS.contains(&option).then(|| has.into()),
    }
}

/// Returns the error for a word after `config`.
pub fn config(word: &str) -> Error {
    format!("kubectl has config {word}, and incluster does not: config shows the server, the namespace and what the token says")
        .into()
}

/// Returns the error for an option of `version`.
pub fn version(option: &str) -> Error {
    format!("kubectl has version {option}, and incluster does not: version prints one line").into()
}

/// Returns the error for a command that is not one of the component's.
pub fn command(word: &str) -> Error {
    let has = format!("kubectl has the command {word:?}, and incluster does not");
    if OF_BINARY.contains(&word) {
        return format!("{word:?} is a command of the incluster binary, and its options come after it").into();
    }
    match COMMANDS.iter().find(|(name, _)| *name == word) {
        Some((_, instead)) => format!("{has}: {instead}").into(),
        None if OTHER_COMMANDS.contains(&word) => format!("{has}: it lists and watches pods, and sends a GET to any path").into(),
        None => format!("there is no command {word:?}").into(),
    }
}

/// Checks that this resource is `pods`, under one of its names.
pub fn only_pods(resource: &str) -> Result<(), Error> {
    if ["pods", "pod", "po"].iter().any(|name| resource.eq_ignore_ascii_case(name)) {
        return Ok(());
    }
    Err(format!(
        "kubectl gets {resource:?}, and incluster only pods: use get --raw PATH, for example /api/v1/namespaces/NAMESPACE/services or /apis/apps/v1/namespaces/NAMESPACE/deployments"
    )
    .into())
}

/// Returns the error for more than one name.
pub fn one_name() -> Error {
    "kubectl gets several pods by name, and incluster one: select them by a label, or run it once for each".into()
}

/// Returns the error for a format that incluster does not have.
pub fn output(format: &str) -> String {
    let kind = format.split('=').next().unwrap_or_default();
    match FORMATS.iter().find(|(name, _)| *name == kind) {
        Some((_, instead)) => format!("kubectl has --output {kind}, and incluster does not: {instead}"),
        None => "--output takes table, wide, json, yaml or name".into(),
    }
}

/// Returns the error for a shell that incluster has no script for.
pub fn powershell() -> Error {
    "kubectl has completion for powershell, and incluster does not: it has bash, zsh and fish".into()
}
