//! Host names and session names: checked once, then carried as types that can't be confused.

use std::fmt;

use crate::suggest::CLAUSES;

/// Longest DNS label (RFC 1035).
const MAX_LABEL: usize = 63;
/// Longest DNS name in text form, without the final dot (RFC 1035).
const MAX_NAME: usize = 253;

/// Why a text is not a name; completes the sentence "expected …".
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidName(&'static str);

/// A DNS name that has to be looked up, e.g. `laptop.corp.example`. A final dot is kept: it says that search
/// domains do not apply.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HostName(Box<str>);

impl HostName {
    /// Checks `name`. A name that a resolver might take for an IPv4 address is refused.
    pub fn new(name: &str) -> Result<Self, InvalidName> {
        let labels = name.strip_suffix('.').unwrap_or(name);
        if labels.is_empty() {
            return Err(InvalidName("a host name or an IP address"));
        }
        if labels.len() > MAX_NAME {
            return Err(InvalidName("a host name of at most 253 characters"));
        }
        for label in labels.split('.') {
            if label.is_empty() {
                return Err(InvalidName("a host name without empty parts between its dots"));
            }
            if label.len() > MAX_LABEL {
                return Err(InvalidName("a host name whose parts have at most 63 characters each"));
            }
            // `_` is not a host name by the book, but container networks hand such names out.
            if !label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_') {
                return Err(InvalidName("a host name of letters, digits, `-`, `_` and `.`"));
            }
            if label.starts_with('-') || label.ends_with('-') {
                return Err(InvalidName("a host name whose parts do not begin or end with `-`"));
            }
        }
        if looks_like_ipv4(labels) {
            return Err(InvalidName(
                "an IPv4 address of four numbers from 0 to 255, without leading zeros",
            ));
        }
        Ok(Self(name.into()))
    }

    /// The name as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// `inet_aton` and URL parsers read a name that ends in a number (`10.1`, `0x7f000001`) as an address.
fn looks_like_ipv4(labels: &str) -> bool {
    let last = labels.rsplit('.').next().unwrap_or(labels);
    let hex = last.strip_prefix("0x").or_else(|| last.strip_prefix("0X"));
    last.bytes().all(|b| b.is_ascii_digit())
        || hex.is_some_and(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()))
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The name of a developer's session in the tunnel: a DNS label with at least one letter.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SessionName(Box<str>);

impl SessionName {
    /// Checks `name`. A name of digits alone is refused, because it would read like a port.
    pub fn new(name: &str) -> Result<Self, InvalidName> {
        if name.is_empty() {
            return Err(InvalidName("a session name"));
        }
        if name.len() > MAX_LABEL {
            return Err(InvalidName("a session name of at most 63 characters"));
        }
        if !name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-') {
            return Err(InvalidName("a session name of lower-case letters, digits and `-`"));
        }
        if name.starts_with('-') || name.ends_with('-') {
            return Err(InvalidName("a session name that does not begin or end with `-`"));
        }
        if name.bytes().all(|b| b.is_ascii_digit() || b == b'-') {
            return Err(InvalidName("a session name with at least one letter"));
        }
        if CLAUSES.contains(&name) {
            return Err(InvalidName("a session name that is not the beginning of a clause"));
        }
        Ok(Self(name.into()))
    }

    /// The name as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SessionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("a")]
    #[case("laptop.corp.example")]
    #[case("laptop.corp.example.")]
    #[case("my_app-1")]
    #[case("3com.example")]
    #[case("0xcafe.0xzz")]
    fn host_names(#[case] name: &str) {
        assert_eq!(HostName::new(name).expect("is a host name").as_str(), name);
    }

    #[rstest]
    #[case("", "a host name or an IP address")]
    #[case(".", "a host name or an IP address")]
    #[case("a..b", "a host name without empty parts between its dots")]
    #[case("-a.b", "a host name whose parts do not begin or end with `-`")]
    #[case("a-.b", "a host name whose parts do not begin or end with `-`")]
    #[case("a/b", "a host name of letters, digits, `-`, `_` and `.`")]
    #[case("bücher.example", "a host name of letters, digits, `-`, `_` and `.`")]
    #[case("10.0.0.300", "an IPv4 address of four numbers from 0 to 255, without leading zeros")]
    #[case("10.1", "an IPv4 address of four numbers from 0 to 255, without leading zeros")]
    #[case("0x7f000001", "an IPv4 address of four numbers from 0 to 255, without leading zeros")]
    #[case("2130706433.", "an IPv4 address of four numbers from 0 to 255, without leading zeros")]
    fn not_host_names(#[case] name: &str, #[case] expected: &str) {
        assert_eq!(HostName::new(name).expect_err("is no host name").to_string(), expected);
    }

    #[test]
    fn lengths_of_host_names() {
        let label = "a".repeat(MAX_LABEL);
        HostName::new(&label).expect("63 is fine");
        HostName::new(&format!("{label}a")).expect_err("64 is too long");
        let name = format!("{label}.{label}.{label}.{}", "a".repeat(61));
        assert_eq!(name.len(), MAX_NAME);
        HostName::new(&name).expect("253 is fine");
        HostName::new(&format!("{name}.")).expect("the final dot does not count");
        HostName::new(&format!("{name}a")).expect_err("254 is too long");
    }

    #[rstest]
    #[case("alice", true)]
    #[case("a1-b", true)]
    #[case("1a", true)]
    #[case("", false)]
    #[case("Alice", false)]
    #[case("a.b", false)]
    #[case("-a", false)]
    #[case("a-", false)]
    #[case("8080", false)]
    #[case("80-90", false)]
    #[case("when", false)]
    fn session_names(#[case] name: &str, #[case] good: bool) {
        assert_eq!(SessionName::new(name).is_ok(), good);
    }
}
