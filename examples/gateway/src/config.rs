//! The configuration file.

use crate::headers;
use http::HeaderName;
use http::uri::Authority;
use incluster::policy::Policy;
use incluster::{Limits, LoadLimits, Pool, Reuse, input};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The maximum length of a path.
const MAX_PATH: usize = 1024;

/// The content of the configuration file.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Config {
    /// The address to listen on: `IP:PORT`, or for Envoy also `unix:PATH`. A reload does not change it.
    pub listen: Listen,
    /// The address of the status page and the metrics, which only operators should reach. A reload does not change it.
    pub status: SocketAddr,
    /// How long the program goes on serving after SIGTERM while it reports that it is not ready, so that clients stop
    /// sending requests before it stops accepting them. 5 s by default.
    #[serde(default = "five_seconds", deserialize_with = "duration")]
    pub drain_time: Duration,
    /// The limits on extensions' files. A reload does not change them.
    #[serde(default)]
    pub load_limits: LoadLimits,
    /// The folder for compiled extensions, which a restart loads in milliseconds. It must belong to this user, and nobody else may
    /// write to it. It is made if it does not exist. By default, each start compiles them. A reload does not change it.
    pub cache: Option<PathBuf>,
    /// The tenants, by name.
    #[serde(default)]
    pub tenants: BTreeMap<String, TenantConfig>,
    /// The routes. Among those that match a request, one with a host takes precedence, and then the one with the longest prefix.
    #[serde(default)]
    pub routes: Vec<RouteConfig>,
}

/// A tenant: whose extensions run, and what they may ask for and use.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TenantConfig {
    /// The API server's URL, for example `https://10.96.0.1:443`. By default, that of the pod's API server.
    pub server: Option<String>,
    /// The folder with `token`, `ca.crt` and `namespace`. By default, the pod's own.
    pub service_account_dir: Option<PathBuf>,
    /// The service account that sends the tenant's requests, if it is not the folder's own. The folder's account requests its tokens.
    pub service_account: Option<ServiceAccountConfig>,
    /// The requests that are permitted. Each of the tenant's routes needs at least to watch pods in the route's namespace.
    pub policy: Policy,
    /// The resources that the tenant may use.
    #[serde(default)]
    pub limits: Limits,
    /// Whether an extension's sandboxes serve more than one request. By default, none does.
    #[serde(default)]
    pub reuse: Reuse,
}

/// A service account of the same cluster.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ServiceAccountConfig {
    /// The account's namespace.
    pub namespace: String,
    /// The account's name.
    pub name: String,
}

/// A route: which requests go to which pods.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RouteConfig {
    /// The host of the requests, without a port. By default, any host.
    pub host: Option<String>,
    /// The prefix of the requests' paths, in whole segments: `/shop` is for `/shop` and `/shop/cart`. `/` by default.
    #[serde(default = "root")]
    pub path_prefix: String,
    /// The name of the route's tenant.
    pub tenant: String,
    /// The pods' namespace.
    pub namespace: String,
    /// The pods' label selector. By default, all pods of the namespace.
    pub label_selector: Option<String>,
    /// The port at which the pods serve HTTP without TLS.
    pub port: u16,
    /// The component that picks the pod: a path relative to the configuration file's folder. By default, pods take turns.
    pub extension: Option<PathBuf>,
    /// How long the extension may take to pick. 1 s by default.
    #[serde(default = "second", deserialize_with = "duration")]
    pub pick_timeout: Duration,
    /// Whether requests go to the pods in turn if the extension fails, takes too long or is not loaded. By default, they fail,
    /// because the extension may decide who may reach which pod.
    #[serde(default)]
    pub fail_open: bool,
    /// The headers that the extension sees. By default, all but those with credentials: `authorization`, `cookie`, `proxy-authorization`.
    pub request_headers: Option<Vec<String>>,
    /// The headers that the extension may set on requests; none by default. A client's own headers of these names are removed.
    #[serde(default)]
    pub set_headers: Vec<String>,
    /// The settings that the extension reads by `wasi:config/store`, for example `{threshold: "0.5"}`. Empty by default.
    #[serde(default)]
    pub settings: BTreeMap<String, String>,
    /// The name of the Envoy cluster whose endpoints (EDS) are the pods. Routes with the same pods and port may share one.
    pub cluster: Option<String>,
}

impl TenantConfig {
    /// The API server and the account there. Two configurations with the same values see the same pods.
    pub(crate) fn account(&self) -> (Option<&str>, Option<&Path>, Option<&ServiceAccountConfig>) {
        (self.server.as_deref(), self.service_account_dir.as_deref(), self.service_account.as_ref())
    }
}

impl RouteConfig {
    /// Whether the route's extension sees a header of this name, which is in lower case.
    pub fn shows(&self, name: &str) -> bool {
        match &self.request_headers {
            Some(names) => names.iter().any(|shown| shown.eq_ignore_ascii_case(name)),
            None => !headers::CREDENTIALS.contains(&name),
        }
    }

    /// Whether the route's extension may set a header of this name.
    pub fn may_set(&self, name: &HeaderName) -> bool {
        self.set_headers.iter().any(|permitted| permitted.eq_ignore_ascii_case(name.as_str()))
    }

    /// What identifies the route's pods. Routes with the same values share them.
    pub(crate) fn pods(&self) -> (&str, &str, Option<&str>) {
        (&self.tenant, &self.namespace, self.label_selector.as_deref())
    }
}

/// The address that a front end listens on.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Listen {
    /// An address: `127.0.0.1:8080`.
    Tcp(SocketAddr),
    /// A socket in the file system: `unix:/run/incluster/processor.sock`.
    Unix(PathBuf),
}

impl TryFrom<String> for Listen {
    type Error = String;

    fn try_from(text: String) -> Result<Listen, String> {
        match text.strip_prefix("unix:") {
            Some(path) if path.starts_with('/') => Ok(Listen::Unix(path.into())),
            Some(_) => Err(format!("`{text}`: after `unix:`, give a path that begins with /")),
            None => text.parse().map(Listen::Tcp).map_err(|_| format!("`{text}` is neither IP:PORT nor unix:PATH")),
        }
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Listen::Tcp(address) => address.fmt(f),
            Listen::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

fn root() -> String {
    "/".into()
}

fn five_seconds() -> Duration {
    Duration::from_secs(5)
}

fn second() -> Duration {
    Duration::from_secs(1)
}

fn duration<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    humantime::parse_duration(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
}

/// Why a configuration is refused: the file, and what is wrong with it.
#[derive(Debug)]
pub struct ConfigError {
    text: String,
    /// Whether the same files may be accepted later, because the cause is this machine and not the files.
    pub(crate) may_pass: bool,
}

impl ConfigError {
    pub(crate) fn new(file: &Path, problem: impl fmt::Display) -> ConfigError {
        ConfigError { text: input::printable(&format_args!("{}: {problem}", file.display())), may_pass: false }
    }

    pub(crate) fn that_may_pass(self, may_pass: bool) -> ConfigError {
        ConfigError { may_pass, ..self }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for ConfigError {}

impl Config {
    /// Reads and checks a file.
    ///
    /// # Errors
    ///
    /// The file cannot be read, is not YAML, has unknown or missing fields, or contradicts itself.
    pub fn read(file: &Path) -> Result<Config, ConfigError> {
        let text = input::read(file, input::MAX_DOCUMENT).map_err(|e| ConfigError::new(file, e))?;
        Config::parse(&text).map_err(|problem| ConfigError::new(file, problem))
    }

    pub(crate) fn parse(text: &[u8]) -> Result<Config, String> {
        let config: Config = input::yaml(text).map_err(|e| e.to_string())?;
        for name in config.tenants.keys() {
            if !is_name(name) {
                return Err(format!("tenant `{name}`: a name has at most 63 characters, of a-z, 0-9 and -"));
            }
        }
        let mut seen = BTreeSet::new();
        for (place, route) in config.routes.iter().enumerate() {
            let problem = |problem: String| format!("route {place} ({route}): {problem}");
            config.check(route).map_err(problem)?;
            if !seen.insert((route.host.as_ref().map(|host| host.to_ascii_lowercase()), route.path_prefix.trim_end_matches('/')))
            {
                return Err(problem("another route has the same host and pathPrefix".into()));
            }
        }
        for (name, tenant) in &config.tenants {
            tenant.limits.check(Pool::default().table_elements).map_err(|e| format!("tenant `{name}`: {e}"))?;
            let of_tenant = config.routes.iter().filter(|route| route.tenant == *name);
            let collections = of_tenant.map(RouteConfig::pods).collect::<BTreeSet<_>>().len();
            // Each collection takes a sandbox and a stream to watch it.
            let most = tenant.limits.tenant.open_streams.min(tenant.limits.tenant.instances) as usize;
            if collections > most {
                return Err(format!(
                    "tenant `{name}` has {collections} collections of pods, and its limits permit {most} watches: raise \
                     limits.tenant.openStreams and instances"
                ));
            }
        }
        Ok(config)
    }

    fn check(&self, route: &RouteConfig) -> Result<(), String> {
        if route.pick_timeout.is_zero() {
            return Err("pickTimeout is zero: no extension could pick".into());
        }
        if route.cluster.as_deref() == Some("") {
            return Err("the name of the cluster is empty".into());
        }
        let tenant = self.tenants.get(&route.tenant).ok_or_else(|| format!("there is no tenant `{}`", route.tenant))?;
        let is_path = |c: char| c.is_ascii_graphic() && !matches!(c, '?' | '#');
        if !route.path_prefix.starts_with('/') || !route.path_prefix.chars().all(is_path) || route.path_prefix.len() > MAX_PATH {
            return Err(format!(
                "pathPrefix is not a path that begins with `/`, percent-encoded, of at most {MAX_PATH} characters"
            ));
        }
        let is_host = |host: &String| host.parse::<Authority>().is_ok_and(|authority| authority.host() == host);
        if !route.host.as_ref().is_none_or(is_host) {
            return Err("host is not the name or the address of a host, without a port".into());
        }
        if route.port == 0 {
            return Err("port is 0".into());
        }
        for name in &route.set_headers {
            headers::check_settable(name).map_err(|why| format!("setHeaders: {why}"))?;
        }
        let is_other = |other: &&RouteConfig| {
            route.cluster.is_some() && other.cluster == route.cluster && (other.pods(), other.port) != (route.pods(), route.port)
        };
        if let Some(other) = self.routes.iter().find(is_other) {
            return Err(format!("route {other} has the same cluster, but other pods"));
        }
        if !is_name(&route.namespace) {
            return Err(format!("`{}` is not a namespace's name", route.namespace));
        }
        let watch = format!("/api/v1/namespaces/{}/pods?watch=true", route.namespace);
        tenant.policy.check(&watch).map_err(|denied| format!("tenant `{}`: {denied}", route.tenant))
    }
}

/// Whether a text is an RFC 1123 label, as names of namespaces are.
fn is_name(name: &str) -> bool {
    let is_inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    (1..=63).contains(&name.len()) && name.chars().all(is_inner) && !name.starts_with('-') && !name.ends_with('-')
}

impl fmt::Display for RouteConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = format_args!("{}{}", self.host.as_deref().unwrap_or("*"), self.path_prefix);
        // The text is also a label of metrics, and in lines of the log.
        f.write_str(&input::printable(&name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
listen: 127.0.0.1:0
status: 127.0.0.1:0
tenants:
  shop:
    policy: {rules: [{verbs: [watch], apiGroups: [""], resources: [pods], namespaces: [shop]}]}
    limits: {tenant: {requestsPerSecond: 10}, call: {wallTime: 2s}}
    reuse: {kept: 2, memory: 64Mi, calls: 100, idleTime: 1m}
routes:
  - {tenant: shop, namespace: shop, port: 80, pathPrefix: /cart, pickTimeout: 20ms}
"#;

    #[test]
    fn a_file_says_what_it_means() {
        let config = Config::parse(GOOD.as_bytes()).unwrap();
        let (tenant, route) = (&config.tenants["shop"], &config.routes[0]);
        assert_eq!((tenant.limits.tenant.requests_per_second, tenant.limits.call.wall_time), (10, Duration::from_secs(2)));
        assert_eq!(tenant.reuse, Reuse { kept: 2, memory: 64 << 20, calls: 100, idle_time: Duration::from_secs(60) });
        assert_eq!((route.to_string().as_str(), route.pick_timeout), ("*/cart", Duration::from_millis(20)));
    }

    #[test]
    fn an_extension_sees_no_credentials_unless_its_route_shows_them() {
        let shown = |more: &str| {
            let config = Config::parse(GOOD.replacen("pathPrefix", &format!("{more}pathPrefix"), 1).as_bytes()).unwrap();
            ["accept", "authorization", "cookie", "proxy-authorization", "x-session"].map(|name| config.routes[0].shows(name))
        };
        assert_eq!(shown(""), [true, false, false, false, true]);
        assert_eq!(shown("requestHeaders: [X-Session, cookie], "), [false, false, true, false, true]);
        assert_eq!(shown("requestHeaders: [], "), [false; 5]);
    }

    #[test]
    fn the_sample_configuration_is_valid() {
        let sample = Config::parse(include_bytes!("../gateway.yaml")).unwrap();
        assert_eq!(sample.routes.iter().map(ToString::to_string).collect::<Vec<_>>(), ["shop.example/cart", "*/"]);
    }

    #[test]
    fn what_is_wrong_with_a_file_is_said() {
        for (from, to, says) in [
            ("port: 80", "prot: 80", "unknown field `prot`"),
            ("port: 80", "port: 0", "route 0 (*/cart): port is 0"),
            ("tenant: shop,", "tenant: shops,", "there is no tenant `shops`"),
            ("pathPrefix: /cart", "pathPrefix: cart", "route 0 (*cart): pathPrefix is not a path that begins with `/`"),
            ("pathPrefix: /cart", "pathPrefix: \"/\\e[2J\"", "route 0 (*/\\u{1b}[2J): pathPrefix is not a path"),
            ("port: 80", "port: 80, host: \"a\\nb\"", "route 0 (a\\nb/cart): host is not the name"),
            ("port: 80", "port: 80, host: \"a:80\"", "host is not the name"),
            ("namespace: shop,", "namespace: bank,", "the policy does not permit `watch pods` in namespace `bank`"),
            ("namespace: shop,", "namespace: ../x,", "`../x` is not a namespace's name"),
            ("verbs: [watch]", "verbs: [delete]", "unknown variant `delete`"),
            ("wallTime: 2s", "wallTime: soon", "`soon` is not a time"),
            ("  shop:\n", "  Shop:\n", "tenant `Shop`"),
            ("port: 80", "port: 80, setHeaders: [\"a b\"]", "setHeaders: `a b` is not the name of a header"),
            ("port: 80", "port: 80, setHeaders: [Host]", "setHeaders: no extension may set `host`"),
            ("port: 80", "port: 80, setHeaders: [X-Envoy-Retry-On]", "setHeaders: no extension may set `x-envoy-retry-on`"),
            ("listen: 127.0.0.1:0", "drainTime: soon\nlisten: 127.0.0.1:0", "expected number"),
            ("listen: 127.0.0.1:0", "listen: here", "`here` is neither IP:PORT nor unix:PATH"),
            ("listen: 127.0.0.1:0", "listen: unix:here", "after `unix:`, give a path that begins with /"),
        ] {
            let text = GOOD.replacen(from, to, 1);
            assert_ne!(text, GOOD, "{from}");
            let error = Config::parse(text.as_bytes()).unwrap_err();
            assert!(error.contains(says), "{to}: {error}");
        }
        let twice = format!("{GOOD}  - {{tenant: shop, namespace: shop, port: 81, pathPrefix: /cart}}\n");
        assert!(Config::parse(twice.as_bytes()).unwrap_err().contains("another route"));
        let many: String = (0..65)
            .map(|n| format!("  - {{tenant: shop, namespace: shop, port: 80, pathPrefix: /{n}, labelSelector: app=a{n}}}\n"))
            .collect();
        let error = Config::parse(format!("{GOOD}{many}").as_bytes()).unwrap_err();
        assert!(error.contains("tenant `shop` has 66 collections of pods, and its limits permit 64 watches"), "{error}");
        let clusters = |port: u16| {
            let route = |path: &str, port: u16| {
                format!("  - {{tenant: shop, namespace: shop, port: {port}, pathPrefix: {path}, cluster: web}}\n")
            };
            Config::parse(format!("{GOOD}{}{}", route("/a", 80), route("/b", port)).as_bytes())
        };
        assert!(clusters(80).is_ok());
        assert!(clusters(81).unwrap_err().contains("route */b has the same cluster, but other pods"));
    }
}
