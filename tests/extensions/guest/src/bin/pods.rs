//! The first program in the README of `incluster-extension`.

fn main() -> Result<(), incluster_extension::Error> {
    for pod in incluster_extension::Client::in_cluster()?.pods("shop").labels("tier=edge").list()? {
        println!("{} {}", pod.metadata.name, pod.status.phase.unwrap_or_default());
    }
    Ok(())
}
