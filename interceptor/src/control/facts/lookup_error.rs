//! Why a name has no address, in words for people who can't see the daemon's log.

use std::{collections::BTreeSet, net::IpAddr, time::Duration};

use hickory_resolver::{
    net::{DnsError, NetError},
    proto::op::ResponseCode,
};
use interceptor_rule::HostName;

/// How long no server answers before that is a failure. Lost packets and a DNS server that
/// restarts at once are none.
pub(super) const SILENCE: Duration = Duration::from_secs(2);

/// Why a look-up failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum LookupError {
    /// There is no usable `/etc/resolv.conf`, for this reason.
    Configuration(String),
    /// No server has answered within [`SILENCE`].
    NoAnswer(Servers),
    /// The name does not exist.
    NoName(Servers),
    /// The name exists, and has no address.
    NoAddress(Servers),
    /// A server answered with an error.
    Failed(ResponseCode, Servers),
    /// The answer makes no sense.
    Unreadable(Servers),
}

/// The DNS servers that were asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Servers(BTreeSet<IpAddr>);

// === impl LookupError ===

impl LookupError {
    /// Sorts an error of the resolver. `servers` were asked.
    pub(super) fn of(error: &NetError, servers: Servers) -> Self {
        match error {
            NetError::Dns(DnsError::NoRecordsFound(none)) => match none.response_code {
                ResponseCode::NXDomain => Self::NoName(servers),
                ResponseCode::NoError => Self::NoAddress(servers),
                code => Self::Failed(code, servers),
            },
            NetError::Dns(DnsError::ResponseCode(code)) => Self::Failed(*code, servers),
            NetError::Timeout | NetError::NoConnections | NetError::Io(_) | NetError::Busy => {
                Self::NoAnswer(servers)
            }
            _ => Self::Unreadable(servers),
        }
    }

    /// Whether the error is a server's answer about the name.
    pub(super) fn is_authoritative(&self) -> bool {
        matches!(self, Self::NoName(_) | Self::NoAddress(_))
    }

    /// The error as a sentence about `host`.
    pub(super) fn about(&self, host: &HostName) -> String {
        match self {
            Self::Configuration(error) => format!(
                "{host} can't be looked up: the daemon can't use its /etc/resolv.conf ({error})"
            ),
            Self::NoAnswer(servers) => format!(
                "no DNS server has answered for {host} within {} s{}; the daemon goes on \
                 asking. Check that the DNS server runs and that this node reaches it, or write \
                 the target's address in place of its name",
                SILENCE.as_secs(),
                servers.asked()
            ),
            Self::NoName(servers) => format!("the name {host} does not exist{}", servers.asked()),
            Self::NoAddress(servers) => {
                format!("{host} has no A or AAAA record{}", servers.asked())
            }
            Self::Failed(ResponseCode::ServFail, servers) => {
                format!("the DNS server failed to look up {host}{}", servers.asked())
            }
            Self::Failed(ResponseCode::Refused, servers) => {
                format!("the DNS server refuses to look up {host}{}", servers.asked())
            }
            Self::Failed(code, servers) => format!(
                "the DNS server answers for {host} with error {}{}",
                u16::from(*code),
                servers.asked()
            ),
            Self::Unreadable(servers) => {
                format!("the DNS server's answer for {host} can't be read{}", servers.asked())
            }
        }
    }
}

// === impl Servers ===

impl Servers {
    pub(super) fn new(servers: impl IntoIterator<Item = IpAddr>) -> Self {
        Self(servers.into_iter().collect())
    }

    fn asked(&self) -> String {
        let servers: Vec<_> = self.0.iter().map(ToString::to_string).collect();
        match &servers[..] {
            [] => String::new(),
            servers => format!(" (asked {})", servers.join(", ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{io, sync::Arc};

    use super::*;

    fn host() -> HostName {
        let rules = interceptor_rule::parse("80 -> laptop.corp:1").expect("a rule");
        match &rules[0].target {
            interceptor_rule::Target::Name { host, .. } => host.clone(),
            other => panic!("{other}"),
        }
    }

    fn about(error: &NetError, servers: &[&str]) -> String {
        let servers = servers.iter().map(|server| server.parse().expect("an address"));
        LookupError::of(error, Servers::new(servers)).about(&host())
    }

    #[test]
    fn errors_of_the_resolver_are_sentences() {
        let code = |code| NetError::Dns(DnsError::ResponseCode(code));
        let refused = NetError::Io(Arc::new(io::ErrorKind::ConnectionRefused.into()));
        for error in [NetError::Timeout, NetError::NoConnections, refused] {
            let words = about(&error, &["10.96.0.10"]);
            let expected = "no DNS server has answered for laptop.corp within 2 s (asked \
                            10.96.0.10); the daemon goes on asking. Check that ";
            assert!(words.starts_with(expected), "{words}");
        }
        for (error, words) in [
            (
                code(ResponseCode::ServFail),
                "the DNS server failed to look up laptop.corp (asked 10.96.0.10)",
            ),
            (
                code(ResponseCode::Refused),
                "the DNS server refuses to look up laptop.corp (asked 10.96.0.10)",
            ),
            (
                code(ResponseCode::NotImp),
                "the DNS server answers for laptop.corp with error 4 (asked 10.96.0.10)",
            ),
            (
                NetError::Message("TxtLookup { name: Name(..) }"),
                "the DNS server's answer for laptop.corp can't be read (asked 10.96.0.10)",
            ),
        ] {
            assert_eq!(about(&error, &["10.96.0.10"]), words);
        }
        let twice = ["10.96.0.10", "10.96.0.10", "fd00::a"];
        let unreadable = NetError::Message("no DNS");
        assert!(about(&unreadable, &twice).ends_with("(asked 10.96.0.10, fd00::a)"));
        assert!(about(&unreadable, &[]).ends_with("can't be read"));
    }
}
