//! Composes a component with the client, so that the remaining imports are WASI's, or allowed by the embedder.

use super::inventory::{Import, Inventory};
use crate::extension_error::ExtensionError;
use incluster_core::text;
use serde::{Deserialize, Serialize};
use std::error::Error as StdError;
use std::fmt;
use wac_graph::types::{Package, are_semver_compatible};
use wac_graph::{CompositionGraph, EncodeOptions, PackageId};

/// The beginning of the names of the client's interfaces.
const CLIENT: &str = "incluster:kubernetes/";

/// The beginning of the name of the interface `types`.
const TYPES: &str = "incluster:kubernetes/types@";

/// The client that a component is composed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Client {
    /// The client whose host does TLS, by wasi:http.
    HostTls,
    /// The client with TLS of its own, over wasi:sockets.
    #[cfg(feature = "standalone")]
    OwnTls,
}

impl Client {
    fn component(self) -> &'static [u8] {
        match self {
            Client::HostTls => super::super::runtime::PLUGIN,
            #[cfg(feature = "standalone")]
            Client::OwnTls => incluster_standalone::PLUGIN,
        }
    }
}

/// What an import of an extension gives access to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Access {
    /// The import is provided.
    Permitted,
    /// The import is provided, but every use is denied: toolchains import it for every component, whether or not the component uses it.
    Closed,
    /// A component with this import is not loaded: it is neither the client's nor WASI's, and the embedder does not allow it by name; or the
    /// embedder refuses it by name.
    Refused,
}

use Access::{Closed, Permitted};

/// What every extension may import: the client, and the ordinary world of WASI 0.2. In that world, wasi:filesystem can read only the service
/// account's folder, where a placeholder is in the token's place, except with [`TokenAccess::Portable`](crate::TokenAccess::Portable); wasi:http
/// reaches only the API server, by the same policy as the client; and wasi:sockets reaches nothing.
const ORDINARY: [(&str, Access); 31] = [
    ("incluster:kubernetes/client", Permitted),
    ("incluster:kubernetes/types", Permitted),
    ("wasi:cli/environment", Permitted),
    ("wasi:cli/exit", Permitted),
    ("wasi:cli/stderr", Permitted),
    ("wasi:cli/stdin", Permitted),
    ("wasi:cli/stdout", Permitted),
    ("wasi:cli/terminal-input", Permitted),
    ("wasi:cli/terminal-output", Permitted),
    ("wasi:cli/terminal-stderr", Permitted),
    ("wasi:cli/terminal-stdin", Permitted),
    ("wasi:cli/terminal-stdout", Permitted),
    ("wasi:clocks/monotonic-clock", Permitted),
    ("wasi:clocks/wall-clock", Permitted),
    ("wasi:filesystem/preopens", Permitted),
    ("wasi:filesystem/types", Permitted),
    ("wasi:io/error", Permitted),
    ("wasi:io/poll", Permitted),
    ("wasi:io/streams", Permitted),
    ("wasi:random/insecure", Permitted),
    ("wasi:random/insecure-seed", Permitted),
    ("wasi:random/random", Permitted),
    ("wasi:http/outgoing-handler", Permitted),
    ("wasi:http/types", Permitted),
    ("wasi:sockets/instance-network", Closed),
    ("wasi:sockets/ip-name-lookup", Closed),
    ("wasi:sockets/network", Closed),
    ("wasi:sockets/tcp", Closed),
    ("wasi:sockets/tcp-create-socket", Closed),
    ("wasi:sockets/udp", Closed),
    ("wasi:sockets/udp-create-socket", Closed),
];

/// The imports that an embedder allows or refuses, by their names with or without a version.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Imports {
    /// The imports beyond the ordinary ones that the component may have.
    pub(crate) allowed: Vec<String>,
    /// The imports that no component may have; the name of a package refuses all of its interfaces.
    pub(crate) refused: Vec<String>,
}

impl Imports {
    /// What an import of this name gives access to.
    pub(crate) fn access(&self, import: &str) -> Access {
        let name = import.split('@').next().unwrap_or(import);
        let package = name.split('/').next().unwrap_or(name);
        // A refusal's error prints the name with its version, so that form is accepted here, too.
        let is_among = |names: &[String]| names.iter().any(|listed| listed == name || listed == import);
        if is_among(&self.refused) || self.refused.iter().any(|refused| refused == package) {
            return Access::Refused;
        }
        let ordinary = ORDINARY.iter().find(|(ordinary, _)| *ordinary == name).map(|(_, access)| *access);
        match ordinary {
            // Allowing a closed interface does not open it.
            Some(access) => access,
            None if is_among(&self.allowed) => Permitted,
            None => Access::Refused,
        }
    }
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Permitted => "permitted",
            Closed => "closed",
            Access::Refused => "refused",
        })
    }
}

/// Refuses imports that an extension may not have.
pub(crate) fn check(found: &Inventory, imports: &Imports) -> Result<(), ExtensionError> {
    let refused = |import: &&Import| imports.access(&import.name) == Access::Refused;
    let refused: Vec<_> = found.imports.iter().filter(refused).map(|import| &*import.name).collect();
    if !refused.is_empty() {
        return Err(ExtensionError::imports(&refused));
    }
    match found.imports.iter().find(|import| !import.is_instance) {
        Some(import) => Err(ExtensionError::NotAnInterface(text::name(&import.name))),
        None => Ok(()),
    }
}

/// Composes a component with the client. The component must have been counted and validated, and its imports checked.
pub(crate) fn compose(component: &[u8], client: Client, found: &Inventory) -> Result<Vec<u8>, ExtensionError> {
    compose_with(component, client.component(), found)
}

/// Composes a component with this client. The versions of an import and of the client may differ, as long as they are compatible and the client
/// has what the component uses.
fn compose_with(component: &[u8], client: &[u8], found: &Inventory) -> Result<Vec<u8>, ExtensionError> {
    let ours = || found.imports.iter().map(|import| &*import.name).filter(|name| name.starts_with(CLIENT));
    if ours().next().is_none() {
        return Ok(component.into());
    }
    let mut graph = CompositionGraph::new();
    let (extension, plugin) = (register(&mut graph, "extension", component)?, register(&mut graph, "plugin", client)?);
    let (extension_instance, plugin_instance) = (graph.instantiate(extension), graph.instantiate(plugin));
    let offered: Vec<String> = graph.types()[graph[plugin].ty()].exports.keys().cloned().collect();
    for import in ours() {
        let misfit = |reason: String| ExtensionError::DoesNotFit { import: text::name(import), reason };
        let offer = offered.iter().find(|offer| are_semver_compatible(offer, import));
        let offer = offer.ok_or_else(|| misfit(format!("this host has {}", offered.join(" and "))))?;
        let unfit = |e: &dyn StdError| misfit(format!("{}, which its {} does not have", chain(e), text::name(offer)));
        let export = graph.alias_instance_export(plugin_instance, offer).map_err(|e| unfit(&e))?;
        graph.set_instantiation_argument(extension_instance, import, export).map_err(|e| unfit(&e))?;
    }
    let malformed = |e: &dyn StdError| ExtensionError::Malformed(chain(e));
    // The extension's exports may use the contract's types, and a component's exports may only use types that it exports or imports by
    // name. The programs and handlers of WASI use none.
    if found.exports.iter().any(|name| !name.starts_with("wasi:")) {
        for name in offered.iter().filter(|name| name.starts_with(TYPES)) {
            let types = graph.alias_instance_export(plugin_instance, name).map_err(|e| malformed(&e))?;
            graph.export(types, name).map_err(|e| malformed(&e))?;
        }
    }
    for name in &found.exports {
        let export = graph.alias_instance_export(extension_instance, name).map_err(|e| malformed(&e))?;
        graph.export(export, name).map_err(|e| malformed(&e))?;
    }
    graph.encode(EncodeOptions::default()).map_err(|e| malformed(&e))
}

fn register(graph: &mut CompositionGraph, name: &str, component: &[u8]) -> Result<PackageId, ExtensionError> {
    let malformed = |text: String| ExtensionError::Malformed(text);
    let package = Package::from_bytes(name, None, component, graph.types_mut()).map_err(|e| malformed(text::error(&e)))?;
    graph.register_package(package).map_err(|e| malformed(chain(&e)))
}

/// An error with its causes.
fn chain(error: &dyn StdError) -> String {
    let causes = std::iter::successors(Some(error), |&e| e.source());
    text::error(&causes.map(ToString::to_string).collect::<Vec<_>>().join(": "))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Composes an extension that imports the functions `imports.1` of the client in version `imports.0` with a client that `has` others.
    fn linked(imports: (&str, &[&str]), has: (&str, &[&str])) -> Result<(), ExtensionError> {
        let (version, functions) = imports;
        let name = format!("incluster:kubernetes/client@{version}");
        let functions: String = functions.iter().map(|function| format!(r#"(export "{function}" (func))"#)).collect();
        let extension = format!(r#"(component (import "{name}" (instance {functions})))"#);
        let (version, functions) = has;
        let exports: String = functions.iter().map(|function| format!(r#"(export "{function}" (func $f))"#)).collect();
        let client = format!(
            r#"(component
                (core module $m (func (export "f")))
                (core instance $i (instantiate $m))
                (func $f (canon lift (core func $i "f")))
                (instance $c {exports})
                (export "incluster:kubernetes/client@{version}" (instance $c)))"#
        );
        let imports = vec![Import { name, is_instance: true }];
        let found = Inventory { imports, ..Inventory::default() };
        compose_with(&wat::parse_str(extension).unwrap(), &wat::parse_str(client).unwrap(), &found).map(drop)
    }

    #[test]
    fn compatible_versions_link_as_long_as_nothing_that_is_used_is_missing() {
        // A newer host has one function more; an older host has all that a newer extension uses.
        assert_eq!(linked(("0.1.0", &["list"]), ("0.1.1", &["list", "patch"])), Ok(()));
        assert_eq!(linked(("0.1.1", &["list"]), ("0.1.0", &["list"])), Ok(()));
        assert_eq!(linked(("0.1.0", &["list"]), ("0.1.0", &["list"])), Ok(()));
        let refused = |imports, has| match linked(imports, has) {
            Err(ExtensionError::DoesNotFit { import, reason }) => (import, reason),
            other => panic!("{other:?}"),
        };
        let (import, reason) = refused(("0.1.1", &["list", "patch"]), ("0.1.0", &["list"]));
        assert_eq!(import, "incluster:kubernetes/client@0.1.1");
        assert!(reason.contains("`patch`") && reason.contains("incluster:kubernetes/client@0.1.0"), "{reason}");
        for incompatible in ["0.2.0", "1.1.0"] {
            let (_, reason) = refused((incompatible, &["list"]), ("0.1.0", &["list"]));
            assert!(reason.contains("incluster:kubernetes/client@0.1.0"), "{reason}");
        }
    }

    #[test]
    fn an_interface_is_allowed_by_its_name_with_or_without_the_version() {
        for (allowed, access) in
            [("a:b/c", Permitted), ("a:b/c@0.1.0", Permitted), ("a:b/c@0.2.0", Access::Refused), ("a:b/d", Access::Refused)]
        {
            let imports = Imports { allowed: vec![allowed.into()], refused: Vec::new() };
            assert_eq!(imports.access("a:b/c@0.1.0"), access, "{allowed}");
        }
    }

    #[test]
    fn the_ordinary_world_is_there_unless_it_is_refused_by_name() {
        let ordinary = Imports { allowed: vec!["wasi:sockets/tcp".into()], refused: Vec::new() };
        for (import, access) in [
            ("wasi:http/types@0.2.0", Permitted),
            ("wasi:http/outgoing-handler@0.2.12", Permitted),
            ("wasi:io/poll", Permitted),
            ("wasi:sockets/tcp@0.2.0", Closed),
            ("wasi:sockets/tls@0.2.0", Access::Refused),
            ("wasi:keyvalue/store@0.2.0", Access::Refused),
            ("wasi:http/types-of-another", Access::Refused),
        ] {
            assert_eq!(ordinary.access(import), access, "{import}");
        }
        for refused in ["wasi:sockets", "wasi:sockets/tcp", "wasi:sockets/tcp@0.2.0"] {
            let imports = Imports { allowed: vec!["wasi:sockets/tcp".into()], refused: vec![refused.into()] };
            assert_eq!(imports.access("wasi:sockets/tcp@0.2.0"), Access::Refused, "{refused}");
            assert_eq!(imports.access("wasi:io/poll@0.2.0"), Permitted);
        }
    }
}
