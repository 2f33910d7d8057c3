//! Where the API server is.

use crate::Error;
use rustls_pki_types::ServerName;
use std::fmt;
use std::net::IpAddr;

/// The API server's address: an IP address or a DNS name, and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    host: String,
    port: u16,
    name: ServerName<'static>,
}

impl Server {
    /// An address in parts. `host` is an IP address, IPv6 with or without brackets, or a DNS name; it is also what the
    /// server's certificate must be for.
    pub fn new(host: &str, port: u16) -> Result<Server, Error> {
        let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
        // An address has many spellings; the guest sends this one.
        let host = host.parse::<IpAddr>().map_or_else(|_| host.to_ascii_lowercase(), |ip| ip.to_string());
        match ServerName::try_from(host.clone()) {
            Ok(name) if port != 0 => Ok(Server { host, port, name }),
            _ => Err(Error::Server(format!("{host}:{port}"))),
        }
    }

    /// Reads `https://host[:port]`, with nothing after it. The port is 443 unless it is given.
    pub fn parse(url: &str) -> Result<Server, Error> {
        let invalid = || Error::Server(url.into());
        let uri: http::Uri = url.parse().map_err(|_| invalid())?;
        let authority = uri.authority().filter(|a| !a.as_str().contains('@')).ok_or_else(invalid)?;
        let is_base = uri.scheme_str() == Some("https") && matches!(uri.path(), "" | "/") && uri.query().is_none();
        if !is_base {
            return Err(invalid());
        }
        let port = match authority.as_str().rsplit_once(':') {
            Some((_, port)) if !port.ends_with(']') => parse_port(port).ok_or_else(invalid)?,
            _ => 443,
        };
        Server::new(authority.host(), port).map_err(|_| invalid())
    }

    /// The values of `KUBERNETES_SERVICE_HOST` and `KUBERNETES_SERVICE_PORT`.
    pub fn from_environment() -> Result<Server, Error> {
        let variable = |name: &'static str| match std::env::var(name) {
            Ok(value) if !value.is_empty() => Ok(value),
            Ok(_) => Err(Error::Environment { variable: name, problem: "is empty" }),
            Err(_) => Err(Error::Environment { variable: name, problem: "is not set" }),
        };
        let host = variable("KUBERNETES_SERVICE_HOST")?;
        let port = variable("KUBERNETES_SERVICE_PORT")?;
        let invalid = |name, problem| Error::Environment { variable: name, problem };
        let port = parse_port(&port).ok_or(invalid("KUBERNETES_SERVICE_PORT", "is not a port"))?;
        Server::new(&host, port).map_err(|_| invalid("KUBERNETES_SERVICE_HOST", "is neither an IP address nor a DNS name"))
    }

    /// The IP address or DNS name, an IPv6 address without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What the server's certificate must be for.
    pub(crate) fn name(&self) -> &ServerName<'static> {
        &self.name
    }

    /// Whether a request's authority means this server.
    pub(crate) fn is(&self, authority: &str) -> bool {
        Server::parse(&format!("https://{authority}")).is_ok_and(|other| other == *self)
    }
}

/// 1 to 65535, in digits alone.
fn parse_port(text: &str) -> Option<u16> {
    let digits = !text.starts_with('0') && text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|_| digits)
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (host, port) = (&self.host, self.port);
        if host.contains(':') { write!(f, "https://[{host}]:{port}") } else { write!(f, "https://{host}:{port}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        for (url, shown) in [
            ("https://10.0.0.1", "https://10.0.0.1:443"),
            ("https://10.0.0.1:6443/", "https://10.0.0.1:6443"),
            ("https://[FD00::1]:6443", "https://[fd00::1]:6443"),
            ("https://[::1]", "https://[::1]:443"),
            ("https://[0:0:0:0:0:0:0:1]", "https://[::1]:443"),
            ("https://Kubernetes.default.svc", "https://kubernetes.default.svc:443"),
        ] {
            assert_eq!(Server::parse(url).unwrap().to_string(), shown);
        }
        for bad in [
            "",
            "10.0.0.1",
            "http://10.0.0.1",
            "https://",
            "https://:443",
            "https://a:0",
            "https://a:+443",
            "https://a:0443",
            "https://a:65536",
            "https://a:x",
            "https://a/b",
            "https://a?b",
            "https://u@a",
            "https://u:p@a",
            "https://a b",
            "https://fe80::1",
            "https://[fe80::1%25eth0]",
            "https://a:",
        ] {
            assert!(matches!(Server::parse(bad), Err(Error::Server(_))), "{bad}");
        }
    }

    #[test]
    fn only_the_same_authority_is_the_same_server() {
        let server = Server::new("10.0.0.1", 443).unwrap();
        for same in ["10.0.0.1", "10.0.0.1:443"] {
            assert!(server.is(same), "{same}");
        }
        for other in
            ["10.0.0.2", "10.0.0.1:80", "10.0.0.1:4430", "x@10.0.0.1", "10.0.0.1@evil", "10.0.0.1.evil", "", "[::ffff:10.0.0.1]"]
        {
            assert!(!server.is(other), "{other}");
        }
        assert!(Server::new("[::1]", 6443).unwrap().is("[::1]:6443"));
    }
}
