//! The API server's address.

use crate::{ConfigError, dns};
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

/// The environment variable with the API server's address: an IP address or a name.
pub const HOST_VARIABLE: &str = "KUBERNETES_SERVICE_HOST";
/// The environment variable with the API server's port.
pub const PORT_VARIABLE: &str = "KUBERNETES_SERVICE_PORT";

/// The port of a URL that names none (RFC 9110, section 4.2.2).
const HTTPS_PORT: u16 = 443;

/// The API server's address: an IP address or a DNS name, and a port. Its `Display` is the base URL, `https://host:port`.
#[derive(Clone, Debug, Eq)]
pub struct Server {
    host: String,
    /// Whether the name ended in a dot, which keeps a resolver from trying the domains of its search list.
    is_absolute: bool,
    port: u16,
    authority: String,
}

/// The error for a text that is not the address of an API server. Its `Display` names the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotAServer(String);

impl Server {
    /// Makes an address from its parts. `host` is an IP address (IPv6 with or without brackets) or a DNS name. The server's certificate
    /// must be for this host, without the dot that a name may end in.
    pub fn new(host: &str, port: u16) -> Result<Server, NotAServer> {
        let invalid = || NotAServer(format!("{host}:{port}"));
        Ok(Server::of(parse_host(host).ok_or_else(invalid)?, Some(port).filter(|port| *port > 0).ok_or_else(invalid)?))
    }

    /// Parses `https://host[:port]`, with or without a `/` at the end. The default port is 443.
    pub fn parse(url: &str) -> Result<Server, NotAServer> {
        let rest = url.split_at_checked("https://".len()).filter(|(scheme, _)| scheme.eq_ignore_ascii_case("https://"));
        let authority = rest.map(|(_, rest)| rest.strip_suffix('/').unwrap_or(rest));
        authority.and_then(Server::of_authority).ok_or_else(|| NotAServer(url.into()))
    }

    /// Reads the address from [`HOST_VARIABLE`] and [`PORT_VARIABLE`]. `variable` looks a variable up: `None` if it is not set.
    pub fn from_environment(variable: impl Fn(&str) -> Option<String>) -> Result<Server, ConfigError> {
        let host = present(HOST_VARIABLE, variable(HOST_VARIABLE))?;
        let host = parse_host(&host).ok_or(ConfigError::InvalidHost(host))?;
        let port = present(PORT_VARIABLE, variable(PORT_VARIABLE))?;
        let port = parse_port(&port).ok_or(ConfigError::InvalidPort(port))?;
        Ok(Server::of(host, port))
    }

    /// Whether a request's authority names this server.
    pub fn is(&self, authority: &str) -> bool {
        Server::of_authority(authority).is_some_and(|other| other == *self)
    }

    /// The host and the port, with an IPv6 address in brackets (RFC 3986, section 3.2.2).
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// The IP address or DNS name. An IPv6 address has no brackets, and a name has no dot at its end, because names in certificates and in
    /// TLS have none (RFC 6066, section 3).
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The name to ask a resolver for: the host, with a dot at its end if it was given with one.
    pub fn name_to_resolve(&self) -> String {
        if self.is_absolute { format!("{}.", self.host) } else { self.host.clone() }
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    fn of_authority(authority: &str) -> Option<Server> {
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, parse_port(port)?),
            _ => (authority, HTTPS_PORT),
        };
        // In an authority, the brackets separate an address's colons from the port's.
        let has_brackets = host.starts_with('[');
        parse_host(host).filter(|host| host.bare.contains(':') == has_brackets).map(|host| Server::of(host, port))
    }

    fn of(Host { bare: host, is_absolute }: Host, port: u16) -> Server {
        let authority = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
        Server { host, is_absolute, port, authority }
    }
}

/// Servers are equal even if only one of their names was given with a dot at its end.
impl PartialEq for Server {
    fn eq(&self, other: &Server) -> bool {
        self.authority == other.authority
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "https://{}", self.authority)
    }
}

impl fmt::Display for NotAServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is not the address of an API server: https://host[:port]", self.0)
    }
}

impl std::error::Error for NotAServer {}

fn present(variable: &str, value: Option<String>) -> Result<String, ConfigError> {
    match value {
        None => Err(ConfigError::EnvironmentMissing(variable.into())),
        Some(value) if value.is_empty() => Err(ConfigError::EnvironmentEmpty(variable.into())),
        Some(value) => Ok(value),
    }
}

/// An environment with these values, for tests.
#[cfg(test)]
pub(crate) fn environment(host: Option<&str>, port: Option<&str>) -> impl Fn(&str) -> Option<String> {
    let (host, port) = (host.map(String::from), port.map(String::from));
    move |name| if name == HOST_VARIABLE { host.clone() } else { port.clone() }
}

/// A host in its canonical spelling.
struct Host {
    bare: String,
    is_absolute: bool,
}

/// Parses a host into its canonical spelling: an IPv6 address has many spellings, and a name has two.
fn parse_host(host: &str) -> Option<Host> {
    let in_brackets = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    if let Ok(ip) = in_brackets.unwrap_or(host).parse::<Ipv6Addr>() {
        return Some(Host { bare: ip.to_string(), is_absolute: false });
    }
    if host.parse::<Ipv4Addr>().is_ok() {
        return Some(Host { bare: host.into(), is_absolute: false });
    }
    let name = host.strip_suffix('.').unwrap_or(host);
    dns::is_host_name(name).then(|| Host { bare: name.to_ascii_lowercase(), is_absolute: name != host })
}

/// Parses a port: 1 to 65535, in digits alone.
fn parse_port(port: &str) -> Option<u16> {
    let is_number = port.bytes().all(|b| b.is_ascii_digit());
    port.parse().ok().filter(|port| is_number && *port > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(host: &str, port: &str) -> Result<String, ConfigError> {
        Server::from_environment(environment(Some(host), Some(port))).map(|server| server.to_string())
    }

    #[test]
    fn hosts_of_every_kind() {
        assert_eq!(server("10.96.0.1", "443").unwrap(), "https://10.96.0.1:443");
        assert_eq!(server("fd00::1", "6443").unwrap(), "https://[fd00::1]:6443");
        assert_eq!(server("[fd00::1]", "443").unwrap(), "https://[fd00::1]:443");
        assert_eq!(server("Kubernetes.default.svc", "443").unwrap(), "https://kubernetes.default.svc:443");
        let server = Server::from_environment(environment(Some("[fd00::1]"), Some("6443"))).unwrap();
        assert_eq!((server.host(), server.port()), ("fd00::1", 6443));
    }

    #[test]
    fn a_name_may_end_in_a_dot() {
        let absolute = Server::from_environment(environment(Some("Kubernetes.default.svc.cluster.local."), Some("443"))).unwrap();
        assert_eq!(absolute.to_string(), "https://kubernetes.default.svc.cluster.local:443");
        assert_eq!(absolute.host(), "kubernetes.default.svc.cluster.local");
        assert_eq!(absolute.name_to_resolve(), "kubernetes.default.svc.cluster.local.");
        let relative = Server::parse("https://kubernetes.default.svc.cluster.local").unwrap();
        assert_eq!(relative.name_to_resolve(), "kubernetes.default.svc.cluster.local");
        for server in [&absolute, &relative] {
            assert!(server.is("kubernetes.default.svc.cluster.local") && server.is("kubernetes.default.svc.cluster.local.:443"));
        }
        assert_eq!(Server::parse("https://a.:6443/").unwrap(), Server::new("A.", 6443).unwrap());
        let longest = ["a".repeat(63), "b".repeat(63), "c".repeat(63), "d".repeat(61)].join(".");
        assert_eq!(server(&format!("{longest}."), "443").unwrap(), format!("https://{longest}:443"));
        let too_long = format!("{longest}d.");
        for host in [".", "..", "a..", ".a", ".a.", "a..b.", "10.0.0.1.", "[::1].", "[::1.]", "::1.", "[a.]", "1.", &too_long] {
            assert_eq!(server(host, "443"), Err(ConfigError::InvalidHost(host.into())));
        }
    }

    #[test]
    fn a_missing_variable_differs_from_an_empty_one() {
        let missing = |variable: &str| Err(ConfigError::EnvironmentMissing(variable.into()));
        assert_eq!(Server::from_environment(environment(None, Some("1"))), missing("KUBERNETES_SERVICE_HOST"));
        assert_eq!(Server::from_environment(environment(Some("a"), None)), missing("KUBERNETES_SERVICE_PORT"));
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

    /// Ports in the environment and in URLs follow the same rules.
    #[test]
    fn ports() {
        for (port, number) in [("65535", 65535), ("443", 443), ("0443", 443)] {
            assert_eq!(server("a", port).unwrap(), format!("https://a:{number}"));
            assert_eq!(Server::parse(&format!("https://a:{port}")).unwrap().port(), number);
            assert!(Server::new("a", number).unwrap().is(&format!("a:{port}")));
        }
        for port in ["0", "65536", "-1", "+443", " 443", "443 ", "tcp://10.0.0.1:443", "4_3", "0x1bb"] {
            assert_eq!(server("a", port), Err(ConfigError::InvalidPort(port.into())));
            assert!(Server::parse(&format!("https://a:{port}")).is_err());
        }
    }

    #[test]
    fn urls() {
        for (url, shown) in [
            ("https://10.0.0.1", "https://10.0.0.1:443"),
            ("https://10.0.0.1:6443/", "https://10.0.0.1:6443"),
            ("https://[FD00::1]:6443", "https://[fd00::1]:6443"),
            ("https://[::1]", "https://[::1]:443"),
            ("https://[0:0:0:0:0:0:0:1]", "https://[::1]:443"),
            ("HTTPS://Kubernetes.default.svc", "https://kubernetes.default.svc:443"),
        ] {
            assert_eq!(Server::parse(url).unwrap().to_string(), shown);
        }
        for bad in [
            "",
            "10.0.0.1",
            "http://10.0.0.1",
            "https://",
            "https://:443",
            "https://a/b",
            "https://a//",
            "https://a?b",
            "https://a#b",
            "https://u@a",
            "https://u:p@a",
            "https://a b",
            "https://fe80::1",
            "https://[fe80::1%25eth0]",
            "https://[10.0.0.1]",
            "https://a:",
        ] {
            assert_eq!(Server::parse(bad), Err(NotAServer(bad.into())));
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
        assert!(!Server::new("[::1]", 6443).unwrap().is("::1:6443"));
    }
}
