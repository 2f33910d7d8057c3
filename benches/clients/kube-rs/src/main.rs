//! Lists a namespace's pods with kube-rs: `list-with-kube-rs NAMESPACE SERVER SERVICE-ACCOUNT-DIR [LIMIT]`, in pages of
//! LIMIT if it is given.

use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams};
use kube::{Client, Config};
use std::error::Error;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [namespace, server, dir, limit @ ..] = &args[..] else {
        return Err("usage: list-with-kube-rs NAMESPACE SERVER SERVICE-ACCOUNT-DIR [LIMIT]".into());
    };
    let mut config = Config::new(server.parse()?);
    config.root_cert = Some(certificates(&std::fs::read_to_string(format!("{dir}/ca.crt"))?)?);
    config.auth_info.token_file = Some(format!("{dir}/token"));
    let pods: Api<Pod> = Api::namespaced(Client::try_from(config)?, namespace);
    let mut options = ListParams::default();
    if let [limit] = limit {
        options = options.limit(limit.parse()?);
    }
    let mut count = 0;
    loop {
        let page = pods.list(&options).await?;
        for pod in &page.items {
            let ips = pod.status.as_ref().and_then(|status| status.pod_ips.as_ref());
            let ips: Vec<_> = ips.into_iter().flatten().map(|ip| &*ip.ip).collect();
            println!("{} {}", pod.metadata.name.as_deref().unwrap_or_default(), ips.join(","));
        }
        count += page.items.len();
        match page.metadata.continue_ {
            Some(token) if !token.is_empty() => options = options.continue_token(&token),
            _ => break,
        }
    }
    eprintln!("{count} pods");
    Ok(())
}

/// Converts the certificates of a PEM file to DER, as the client takes them.
fn certificates(pem: &str) -> Result<Vec<Vec<u8>>, Box<dyn Error>> {
    use rustls_pki_types::CertificateDer;
    use rustls_pki_types::pem::PemObject;
    let certificates = CertificateDer::pem_slice_iter(pem.as_bytes());
    Ok(certificates.map(|certificate| certificate.map(|der| der.to_vec())).collect::<Result<_, _>>()?)
}
