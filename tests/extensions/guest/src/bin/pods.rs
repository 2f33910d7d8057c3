//! The first program in the README of `incluster-extension`.

fn main() -> Result<(), incluster_extension::Error> {
    let client = incluster_extension::Client::in_cluster()?;
    for pod in client.pods("shop").labels("tier=edge").list()? {
        println!("{} {}", pod.metadata.name, pod.status.phase.unwrap_or_default());
    }
    Ok(())
}
