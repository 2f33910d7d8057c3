//! The name of a namespace.

use crate::{ConfigError, dns};
use std::fmt;

/// A namespace's name: a DNS-1123 label, so it can stand in a path unescaped.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Namespace(String);

/// One namespace, or all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Namespaces {
    /// All namespaces: `*`.
    All,
    /// One namespace.
    One(Namespace),
}

impl Namespaces {
    /// Parses a namespace's name, or `*`.
    pub fn parse(text: &str) -> Result<Namespaces, NotANamespace> {
        if text == ALL { Ok(Namespaces::All) } else { Namespace::parse(text).map(Namespaces::One) }
    }
}

/// The name that stands for all namespaces, in the contract and in policies.
const ALL: &str = "*";

/// The error for a text that is not a namespace's name. Its `Display` names the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotANamespace(String);

impl Namespace {
    /// Parses a name: 1 to 63 characters of `a-z`, `0-9` and `-`, with no `-` at either end (RFC 1123).
    pub fn parse(name: &str) -> Result<Namespace, NotANamespace> {
        if dns::is_label(name) { Ok(Namespace(name.into())) } else { Err(NotANamespace(name.into())) }
    }

    /// Parses the content of the service account's file `namespace`, which was read from `path`.
    pub fn of_file(path: &str, content: &[u8]) -> Result<Namespace, ConfigError> {
        let text = std::str::from_utf8(content).map_err(|_| ConfigError::FileNotText(path.into()))?.trim_ascii();
        match text {
            "" => Err(ConfigError::FileEmpty(path.into())),
            name => Namespace::parse(name).map_err(|_| ConfigError::InvalidNamespace(path.into())),
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for NotANamespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "namespace {:?} is not a DNS-1123 label (a-z, 0-9 and -, 1 to 63 characters)", self.0)?;
        f.write_str(if self.0.is_empty() { "; * stands for all namespaces" } else { "" })
    }
}

impl std::error::Error for NotANamespace {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_files() {
        assert_eq!(Namespace::parse("shop").unwrap().as_str(), "shop");
        assert_eq!(Namespaces::parse("shop").unwrap(), Namespaces::One(Namespace("shop".into())));
        assert_eq!(Namespaces::parse("*").unwrap(), Namespaces::All);
        assert!(Namespaces::parse("").unwrap_err().to_string().ends_with("* stands for all namespaces"));
        assert!(Namespaces::parse("**").is_err() && Namespace::parse("*").is_err());
        let of_file = |content| Namespace::of_file("/n", content).map(|namespace| namespace.to_string());
        assert_eq!(of_file(b"shop\n").unwrap(), "shop");
        assert_eq!(of_file(b" \n"), Err(ConfigError::FileEmpty("/n".into())));
        assert_eq!(of_file(b"\xff"), Err(ConfigError::FileNotText("/n".into())));
        for bad in ["../other", "a/b", "a\nb", "Shop"] {
            assert_eq!(of_file(bad.as_bytes()), Err(ConfigError::InvalidNamespace("/n".into())));
            let text = Namespace::parse(bad).unwrap_err().to_string();
            assert!(text.contains(&format!("{bad:?}")), "{text}");
        }
    }
}
