//! Checks of names by the rules of Kubernetes and DNS.

/// Whether `text` is a DNS-1123 label, as a namespace's name must be: 1 to 63 characters of `a-z`, `0-9` and `-`, with no `-` at either
/// end.
pub fn is_label(text: &str) -> bool {
    let bytes = text.as_bytes();
    (1..=63).contains(&bytes.len())
        && bytes.iter().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'))
        && bytes[0] != b'-'
        && bytes[bytes.len() - 1] != b'-'
}

/// Whether `text` is a DNS-1123 subdomain, as a pod's name must be: parts like labels, of any length, with a `.` between them, and at most 253
/// characters in all.
pub fn is_subdomain(text: &str) -> bool {
    let part = |part: &str| {
        !part.is_empty()
            && part.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'))
            && !part.starts_with('-')
            && !part.ends_with('-')
    };
    text.len() <= 253 && text.split('.').all(part)
}

/// Whether `text` is a host name: labels of letters, digits, `-` and `_`, at most 253 characters in all. The last label must not be all
/// digits, because that would be a malformed IPv4 address.
pub fn is_host_name(text: &str) -> bool {
    let label = |l: &str| {
        (1..=63).contains(&l.len())
            && l.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
            && !l.starts_with('-')
            && !l.ends_with('-')
    };
    let last = text.rsplit('.').next().unwrap_or_default();
    text.len() <= 253 && text.split('.').all(label) && !last.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels() {
        let longest = "a".repeat(63);
        for good in ["default", "kube-system", "a", "0", "x--y", &longest] {
            assert!(is_label(good), "{good}");
        }
        let too_long = "a".repeat(64);
        for bad in
            ["", "../other", "a/b", "a%2Fb", "a.b", "A", "-a", "a-", "a b", "a\n", "a\0", "ä", ".", "a?b", "a#b", &too_long]
        {
            assert!(!is_label(bad), "{bad:?}");
        }
    }

    #[test]
    fn subdomains() {
        let longest = "a".repeat(253);
        for good in ["web-0", "a", "0", "a.b", "web.example.com", "10.0.0.1", &longest] {
            assert!(is_subdomain(good), "{good}");
        }
        let too_long = "a".repeat(254);
        for bad in
            ["", ".", "..", "a..b", ".a", "a.", "-a", "a-", "a.-b", "Web", "a_b", "a/b", "a%2f", "a b", "a?b", "ä", &too_long]
        {
            assert!(!is_subdomain(bad), "{bad:?}");
        }
    }

    #[test]
    fn host_names() {
        for good in ["localhost", "kubernetes.default.svc", "api_1.example.com", "10.example"] {
            assert!(is_host_name(good), "{good}");
        }
        for bad in ["", ".", "a..b", "a.", "10.0.0", "1.2.3.4.5", "a b", "a/b", "a:b", "user@host", "-a", "a%25eth0", "host\n"] {
            assert!(!is_host_name(bad), "{bad:?}");
        }
    }
}
