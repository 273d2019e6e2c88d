//! Host names and session names.
//!
//! Each is checked once, when it is built. The two types keep one from being used as the other.

use std::fmt;

use crate::suggest::CLAUSES;

/// Maximum length of a DNS label, in bytes (RFC 1035, section 2.3.4).
const MAX_LABEL: usize = 63;
/// Maximum length of a DNS name in text form without the final dot, in bytes (RFC 1035).
const MAX_NAME: usize = 253;

/// The reason why a text is not a name. [`Display`](fmt::Display) completes "expected …".
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidName(&'static str);

/// A DNS name such as `laptop.corp.example`.
///
/// A final dot is kept, because it tells the resolver not to apply search domains.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HostName(Box<str>);

impl HostName {
    /// Checks `name`.
    ///
    /// # Errors
    /// `name` is not a host name, or a resolver might read it as an IPv4 address.
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
                return Err(InvalidName("a host name without empty labels between its dots"));
            }
            if label.len() > MAX_LABEL {
                return Err(InvalidName("a host name with at most 63 characters per label"));
            }
            // RFC 952 does not allow `_`, but container networks assign such names.
            if !label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_') {
                return Err(InvalidName("a host name of letters, digits, `-`, `_` and `.`"));
            }
            if label.starts_with('-') || label.ends_with('-') {
                return Err(InvalidName("a host name whose labels do not begin or end with `-`"));
            }
        }
        if looks_like_ipv4(labels) {
            return Err(InvalidName(
                "an IPv4 address of four numbers from 0 to 255, without leading zeros",
            ));
        }
        Ok(Self(name.into()))
    }

    /// The name as the user wrote it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Tells whether the last label is a number, as in `10.1` or `0x7f000001`.
///
/// `inet_aton` and URL parsers read such a name as an IPv4 address.
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
    /// Checks `name`.
    ///
    /// # Errors
    /// `name` is not a DNS label in lower case, is a clause keyword, or has no letter. A name of
    /// digits alone would read like a port.
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
            return Err(InvalidName("a session name other than a clause keyword"));
        }
        Ok(Self(name.into()))
    }

    /// The name as the user wrote it.
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
    fn a_host_name_is_valid(#[case] name: &str) {
        assert_eq!(HostName::new(name).expect("is a host name").as_str(), name);
    }

    #[rstest]
    #[case("", "a host name or an IP address")]
    #[case(".", "a host name or an IP address")]
    #[case("a..b", "a host name without empty labels between its dots")]
    #[case("-a.b", "a host name whose labels do not begin or end with `-`")]
    #[case("a-.b", "a host name whose labels do not begin or end with `-`")]
    #[case("a/b", "a host name of letters, digits, `-`, `_` and `.`")]
    #[case("bücher.example", "a host name of letters, digits, `-`, `_` and `.`")]
    #[case("10.0.0.300", "an IPv4 address of four numbers from 0 to 255, without leading zeros")]
    #[case("10.1", "an IPv4 address of four numbers from 0 to 255, without leading zeros")]
    #[case("0x7f000001", "an IPv4 address of four numbers from 0 to 255, without leading zeros")]
    #[case("2130706433.", "an IPv4 address of four numbers from 0 to 255, without leading zeros")]
    fn an_invalid_host_name_is_refused(#[case] name: &str, #[case] expected: &str) {
        assert_eq!(HostName::new(name).expect_err("is no host name").to_string(), expected);
    }

    #[test]
    fn a_host_name_is_limited_in_length() {
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
    fn a_session_name_is_a_label_with_a_letter(#[case] name: &str, #[case] good: bool) {
        assert_eq!(SessionName::new(name).is_ok(), good);
    }
}
