//! The text of the help.

/// What `--help` prints.
pub const HELP: &str = "\
Lists pods from inside a Kubernetes pod, in a WebAssembly sandbox.

Usage: incluster pods [NAME] [OPTIONS]
       incluster get pods [NAME] [OPTIONS]
       incluster get --raw PATH [OPTIONS]
       incluster config
       incluster completion bash|zsh|fish

Commands:
  pods [NAME]                List the pods of a namespace, or print one of them
  get pods [NAME]            The same in kubectl's words: get pod, get po, get pods/NAME
  get --raw PATH             Print the answer to a GET as it is. PATH is an API path, such as /version,
                             /apis/apps/v1/namespaces/shop/deployments or /api/v1/namespaces/shop/pods/web-0/log
  config                     Show the API server, the namespace, and what the token and ca.crt say of themselves; no secrets
  completion SHELL           Print a script that completes command lines in bash, zsh or fish
  help, version              Show this help, or the version

Options that select pods:
  -n, --namespace NAMESPACE  The namespace [default: the pod's own, else \"default\"]
  -A, --all-namespaces       The pods of all namespaces, whatever -n says
  -l, --selector SELECTOR    Only pods with these labels, for example app=web,tier!=edge
      --field-selector S     Only pods with these fields, for example status.phase=Running
      --limit N              At most N pods, 1 or more; a note says how many were left out
      --chunk-size N         Ask for N pods at a time [default: 500]

Options that print pods:
  -o, --output FORMAT        table, wide, json, yaml or name [default: table]
      --no-headers           No line with the names of the columns; for table and wide
      --show-labels          The labels in the last column; for table and wide
  -w, --watch                Then print the pods that change, until interrupted, or until the server is unavailable
                             for longer than --timeout; for table, wide and name
      --watch-only           Like --watch, but do not print the pods that are there at first

Options of requests:
      --attempts N           Send a request at most N times while the server is busy or unavailable [default: no maximum]
      --timeout SECONDS      Give up a request, with all its attempts, after this time [default: 90]

Other options:
  -h, --help                 Show this help
  -V, --version              Show the version

Options may stand before and after the command. Commands, options, tables and names are kubectl's where kubectl has them; what only
kubectl has is refused, with what to use instead. Messages are incluster's own: where kubectl prints `Error from server (NotFound):`,
incluster prints what failed, the request, the server's words and what to check. It prints no colours, with or without NO_COLOR.

Exit status: 0 done, 1 failed, 2 wrong usage
";
