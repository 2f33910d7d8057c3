//! Lists a namespace's pods, as an embedder would, inside a pod or outside: `list [NAMESPACE [SERVER SERVICE-ACCOUNT-DIR]]`.

use incluster::policy::Policy;
use incluster::types::ListOptions;
use incluster::{Error, Runtime, Server, Tenant};

#[tokio::main]
async fn main() -> Result<(), Error> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let tenant = match &args[..] {
        [_, server, dir] => {
            let tenant = Tenant::builder(&Runtime::new()?, "example").server(Server::parse(server)?).service_account_dir(dir);
            tenant.policy(Policy::allow_all()).build()?
        }
        _ => Tenant::in_cluster()?,
    };
    let namespace = args.first().map_or("default", String::as_str);
    let list = tenant.list_namespaced_pods(namespace, &ListOptions::ALL).await?;
    for pod in &list.items {
        println!("{} {}", pod.metadata.name, pod.status.pod_ips.join(","));
    }
    // The peak memory of this process, to help size a container.
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    eprintln!("{} pods; {}", list.items.len(), status.lines().find(|l| l.starts_with("VmHWM")).unwrap_or_default());
    Ok(())
}
