//! Lists the pods of a namespace, which the first argument names.

use incluster_extension::{Client, Error, Pod};

fn main() -> Result<(), Error> {
    let namespace = std::env::args().nth(1).unwrap_or_else(|| "default".into());
    let client = Client::in_cluster()?;
    for pod in client.pods(&namespace).list()? {
        println!("{}", line(&pod));
    }
    Ok(())
}

fn line(pod: &Pod) -> String {
    let address = pod.status.pod_ips.first().map_or("no address", |address| address);
    format!("{} {} {address}", pod.metadata.name, pod.status.phase.as_deref().unwrap_or("Unknown"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_without_an_address_is_listed() {
        let mut pod = Pod::default();
        pod.metadata.name = "web".into();
        assert_eq!(line(&pod), "web Unknown no address");
    }
}
