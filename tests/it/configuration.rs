//! Configuration errors in a pod, through the real component.

use crate::{RUNTIME, list_shop, portable, tenant};
use incluster::types::{ConfigError, Error};
use incluster::{Server, Tenant};
use std::path::{Path, PathBuf};
use testbed::{TOKEN, Testbed};

/// A fixed name for the volume's folder in expected errors.
const DIR: &str = "/volume";

fn path(file: &str) -> String {
    format!("{DIR}/{file}")
}

/// Returns the error that a volume with this file causes. Nothing may be sent.
async fn with_file(name: &str, content: &[u8]) -> Shown {
    let testbed = Testbed::start().await;
    testbed.volume.set(name, content);
    let answer = list_shop(&tenant(&testbed)).await;
    assert_eq!(testbed.server.connections(), 0);
    config_error(answer, testbed.volume.path())
}

/// An error's debug text, with [`DIR`] in place of the volume's folder.
#[derive(Debug)]
struct Shown(String);

impl PartialEq<ConfigError> for Shown {
    fn eq(&self, other: &ConfigError) -> bool {
        self.0 == format!("{other:?}")
    }
}

fn config_error<T: std::fmt::Debug>(answer: Result<T, Error>, dir: &Path) -> Shown {
    match answer {
        Err(Error::Config(error)) => Shown(format!("{error:?}").replace(&dir.display().to_string(), DIR)),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn tokens() {
    for content in [&b""[..], b"\n", b" \t\n"] {
        assert_eq!(with_file("token", content).await, ConfigError::FileEmpty(path("token")));
    }
    for content in [&b"a\nb"[..], b"\x7fELF\x00", b"\xff\xfe", "tök".as_bytes()] {
        assert_eq!(with_file("token", content).await, ConfigError::InvalidToken(path("token")));
    }
    assert_eq!(with_file("token", &vec![b'a'; (1 << 20) + 1]).await, ConfigError::FileTooLarge(path("token")));
}

#[tokio::test]
async fn a_token_is_trimmed() {
    let testbed = Testbed::start().await;
    testbed.volume.set("token", format!(" {TOKEN}\r\n").as_bytes());
    assert_eq!(list_shop(&tenant(&testbed)).await.unwrap().items.len(), 7);
}

#[tokio::test]
async fn certificates() {
    assert_eq!(with_file("ca.crt", b"\n").await, ConfigError::FileEmpty(path("ca.crt")));
    for content in
        [&b"\xff"[..], b"text", b"-----BEGIN CERTIFICATE-----\nAA", b"-----BEGIN CERT-----\nAAAA\n-----END CERT-----\n"]
    {
        assert_eq!(with_file("ca.crt", content).await, ConfigError::NoCertificate(path("ca.crt")));
    }
    assert_eq!(with_file("ca.crt", &vec![b' '; (1 << 20) + 1]).await, ConfigError::FileTooLarge(path("ca.crt")));
}

#[tokio::test]
async fn namespaces() {
    assert_eq!(with_file("namespace", b"").await, ConfigError::FileEmpty(path("namespace")));
    assert_eq!(with_file("namespace", b"../other").await, ConfigError::InvalidNamespace(path("namespace")));
    assert_eq!(with_file("namespace", b"\xff").await, ConfigError::FileNotText(path("namespace")));
}

#[tokio::test]
async fn missing_files_and_folders_in_their_place() {
    for name in ["token", "ca.crt"] {
        let testbed = Testbed::start().await;
        testbed.volume.remove(name);
        assert_eq!(config_error(list_shop(&tenant(&testbed)).await, testbed.volume.path()), ConfigError::FileMissing(path(name)));
        std::fs::create_dir(testbed.volume.path().join(name)).unwrap();
        let Shown(error) = config_error(list_shop(&tenant(&testbed)).await, testbed.volume.path());
        assert!(error.contains("FileUnreadable") && error.contains(&format!("{:?}", path(name))), "{error}");
        assert_eq!(testbed.server.connections(), 0);
    }
}

#[tokio::test]
async fn no_folder_at_all() {
    let server = Server::new("127.0.0.1", 1).unwrap();
    let tenant = Tenant::builder(&RUNTIME, "test").server(server).service_account_dir("/no/such/folder").build().unwrap();
    assert_eq!(config_error(list_shop(&tenant).await, Path::new("/no/such/folder")), ConfigError::FileMissing(path("token")));
}

/// A link that leads out of the volume is not followed: the sandbox has only this folder.
#[tokio::test]
async fn links_that_lead_out_of_the_volume() {
    let testbed = Testbed::start().await;
    let outside = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(outside.path(), TOKEN).unwrap();
    testbed.volume.remove("token");
    for target in [outside.path().to_path_buf(), PathBuf::from("../../../../../../../../etc/hostname")] {
        std::os::unix::fs::symlink(target, testbed.volume.path().join("token")).unwrap();
        let Shown(error) = config_error(list_shop(&portable(&testbed)).await, testbed.volume.path());
        assert!(error.contains("FileUnreadable") && error.contains(&format!("{:?}", path("token"))), "{error}");
        std::fs::remove_file(testbed.volume.path().join("token")).unwrap();
    }
    assert_eq!(testbed.server.connections(), 0);
}
