//! Lists a namespace's pods page by page, in bounded memory: `pages NAMESPACE SERVER SERVICE-ACCOUNT-DIR`.

use incluster::policy::Policy;
use incluster::types::{ListOptions, PagingOptions};
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
    let options = ListOptions { limit: Some(500), ..ListOptions::ALL };
    let mut pages = tenant.page_namespaced_pods(namespace, &options, &PagingOptions::DEFAULT).await?;
    let mut count = 0;
    while let Some(page) = pages.next().await? {
        for pod in &page.items {
            println!("{} {}", pod.metadata.name, pod.status.pod_ips.join(","));
        }
        count += page.items.len();
    }
    eprintln!("{count} pods");
    Ok(())
}
