//! Certificates that ring cannot make.

use crate::ca::Identity;
use std::fs;
use std::path::Path;
use std::process::Command;

impl Identity {
    /// Creates a CA with a key on this curve, and a server's certificate for 127.0.0.1, signed with this hash. Returns the CA in PEM first.
    pub fn signed_by(curve: &str, hash: &str) -> (String, Identity) {
        let folder = tempfile::tempdir().expect("a folder");
        let run = |arguments: &str| openssl(folder.path(), arguments);
        let key = |curve: &str| format!("-newkey ec -pkeyopt ec_paramgen_curve:{curve} -nodes");
        run(&format!("req -x509 {} -{hash} -keyout ca.key -out ca.pem -subj /CN=kubernetes-ca", key(curve)));
        run(&format!("req {} -keyout server.key -out server.csr -subj /CN=kube-apiserver", key("P-256")));
        fs::write(folder.path().join("names"), "subjectAltName=IP:127.0.0.1\n").expect("a file");
        run(&format!("x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -{hash} -extfile names -out server.pem"));
        let read = |name: &str| fs::read_to_string(folder.path().join(name)).expect("a file");
        (read("ca.pem"), Identity::from_pem(&read("server.pem"), &read("server.key")))
    }

    /// Creates a self-signed certificate of X.509 version 1, which has no extensions, and so no address.
    pub fn of_version_1() -> Identity {
        let folder = tempfile::tempdir().expect("a folder");
        let run = |arguments: &str| openssl(folder.path(), arguments);
        run("req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout server.key -out server.csr -subj /CN=kube-apiserver");
        run("x509 -req -in server.csr -signkey server.key -days 1 -out server.pem");
        let read = |name: &str| fs::read_to_string(folder.path().join(name)).expect("a file");
        Identity::from_pem(&read("server.pem"), &read("server.key"))
    }
}

fn openssl(folder: &Path, arguments: &str) {
    let done = Command::new("openssl").args(arguments.split(' ')).current_dir(folder).output().expect("openssl");
    assert!(done.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&done.stderr));
}
