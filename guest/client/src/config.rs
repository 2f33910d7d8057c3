//! Where the API server is, from what Kubernetes tells a pod.

use crate::SERVICE_ACCOUNT_DIR;
use crate::dns;
use crate::types::{ConfigError, UnreadableFile};
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

/// The environment variable with the API server's address: an IP address or a name.
pub const HOST_VARIABLE: &str = "KUBERNETES_SERVICE_HOST";
/// The environment variable with the API server's port.
pub const PORT_VARIABLE: &str = "KUBERNETES_SERVICE_PORT";

/// The API server's address. Its `Display` is the base URL, `https://host:port`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    host: String,
    port: u16,
    authority: String,
}

impl Server {
    /// Reads the values of [`HOST_VARIABLE`] and [`PORT_VARIABLE`]; `None` where one is not set.
    pub fn from_environment(host: Option<&str>, port: Option<&str>) -> Result<Server, ConfigError> {
        let host = parse_host(present(HOST_VARIABLE, host)?)?;
        let port = parse_port(present(PORT_VARIABLE, port)?)?;
        let authority = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
        Ok(Server { host, port, authority })
    }

    /// Host and port, an IPv6 address in brackets (RFC 3986, section 3.2.2).
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// The IP address or the name; an IPv6 address without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "https://{}", self.authority)
    }
}

/// Reads the content of the service account's file `namespace` at `path`.
pub fn namespace(path: &str, content: &[u8]) -> Result<String, ConfigError> {
    let text = std::str::from_utf8(content).map_err(|_| ConfigError::FileNotText(path.into()))?.trim_ascii();
    match text {
        "" => Err(ConfigError::FileEmpty(path.into())),
        label if dns::is_label(label) => Ok(label.into()),
        _ => Err(ConfigError::InvalidNamespace(path.into())),
    }
}

/// What is wrong with a file that the host reads for us, by the name of its case in `wit/`: with ca.crt, or with the token,
/// when that does not enter the sandbox.
pub fn host_error(case: &str, reason: &str) -> Option<ConfigError> {
    let path = format!("{SERVICE_ACCOUNT_DIR}/ca.crt");
    Some(match case {
        "token-expired" => {
            ConfigError::TokenExpired(UnreadableFile { path: format!("{SERVICE_ACCOUNT_DIR}/token"), reason: reason.into() })
        }
        "file-missing" => ConfigError::FileMissing(path),
        "file-empty" => ConfigError::FileEmpty(path),
        "file-unreadable" => ConfigError::FileUnreadable(UnreadableFile { path, reason: reason.into() }),
        "file-too-large" => ConfigError::FileTooLarge(path),
        "no-certificate" => ConfigError::NoCertificate(path),
        _ => return None,
    })
}

fn present<'a>(variable: &str, value: Option<&'a str>) -> Result<&'a str, ConfigError> {
    match value {
        None => Err(ConfigError::EnvironmentMissing(variable.into())),
        Some("") => Err(ConfigError::EnvironmentEmpty(variable.into())),
        Some(value) => Ok(value),
    }
}

fn parse_host(host: &str) -> Result<String, ConfigError> {
    let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
    if let Ok(ip) = bare.unwrap_or(host).parse::<Ipv6Addr>() {
        return Ok(ip.to_string());
    }
    if host.parse::<Ipv4Addr>().is_ok() || dns::is_host_name(host) {
        return Ok(host.to_ascii_lowercase());
    }
    Err(ConfigError::InvalidHost(host.into()))
}

fn parse_port(port: &str) -> Result<u16, ConfigError> {
    let invalid = || ConfigError::InvalidPort(port.into());
    if !port.bytes().all(|b| b.is_ascii_digit()) {
        return Err(invalid());
    }
    match port.parse() {
        Ok(0) | Err(_) => Err(invalid()),
        Ok(port) => Ok(port),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(host: &str, port: &str) -> Result<String, ConfigError> {
        Server::from_environment(Some(host), Some(port)).map(|s| s.to_string())
    }

    #[test]
    fn hosts_of_every_kind() {
        assert_eq!(server("10.96.0.1", "443").unwrap(), "https://10.96.0.1:443");
        assert_eq!(server("fd00::1", "6443").unwrap(), "https://[fd00::1]:6443");
        assert_eq!(server("[fd00::1]", "443").unwrap(), "https://[fd00::1]:443");
        assert_eq!(server("Kubernetes.default.svc", "443").unwrap(), "https://kubernetes.default.svc:443");
        let server = Server::from_environment(Some("[fd00::1]"), Some("6443")).unwrap();
        assert_eq!((server.host(), server.port()), ("fd00::1", 6443));
    }

    #[test]
    fn a_missing_variable_is_told_from_an_empty_one() {
        assert_eq!(
            Server::from_environment(None, Some("1")),
            Err(ConfigError::EnvironmentMissing("KUBERNETES_SERVICE_HOST".into()))
        );
        assert_eq!(
            Server::from_environment(Some("a"), None),
            Err(ConfigError::EnvironmentMissing("KUBERNETES_SERVICE_PORT".into()))
        );
        assert_eq!(server("", "1"), Err(ConfigError::EnvironmentEmpty("KUBERNETES_SERVICE_HOST".into())));
        assert_eq!(server("a", ""), Err(ConfigError::EnvironmentEmpty("KUBERNETES_SERVICE_PORT".into())));
    }

    #[test]
    fn no_other_host_can_be_smuggled_in() {
        for host in
            ["fe80::1%eth0", "[fe80::1%25eth0]", "[10.0.0.1]", "a/b", "a@b", "a:1", "a b", "[::1", "::1]", "a#", "a?", "10.0.0"]
        {
            assert_eq!(server(host, "443"), Err(ConfigError::InvalidHost(host.into())));
        }
    }

    #[test]
    fn ports() {
        assert_eq!(server("a", "65535").unwrap(), "https://a:65535");
        for port in ["0", "65536", "-1", "+443", " 443", "443 ", "tcp://10.0.0.1:443", "4_3", "0x1bb"] {
            assert_eq!(server("a", port), Err(ConfigError::InvalidPort(port.into())));
        }
    }

    #[test]
    fn namespaces() {
        assert_eq!(namespace("/n", b"shop\n").unwrap(), "shop");
        assert_eq!(namespace("/n", b" \n"), Err(ConfigError::FileEmpty("/n".into())));
        assert_eq!(namespace("/n", b"\xff"), Err(ConfigError::FileNotText("/n".into())));
        for bad in ["../other", "a/b", "a\nb", "Shop"] {
            assert_eq!(namespace("/n", bad.as_bytes()), Err(ConfigError::InvalidNamespace("/n".into())));
        }
    }
}
