//! The parsed form of a rule.
//!
//! The parser checks every value before it builds one of these types, so a value is always valid.

use std::fmt;
use std::net::SocketAddr;
use std::num::{NonZeroU16, NonZeroU32};
use std::time::Duration;

use interceptor_common::port::Port;

use crate::name::{HostName, SessionName};
use crate::span::Span;

/// One rule: new connections to `ports` go to `target`.
///
/// [`Display`](fmt::Display) prints the canonical form. Parsing that form gives an equal rule.
/// Equality ignores [`places`](Self::places): two rules are equal when their contents are.
#[derive(Debug, Clone)]
pub struct Rule {
    /// The ports of the workload that the rule redirects.
    pub ports: Ports,
    /// The destination of redirected connections.
    pub target: Target,
    /// Restricts the rule to requests (or connections) that match. `None`: the rule takes all.
    pub when: Option<Condition>,
    /// Restricts the rule to this share of the matching connections. `None`: the rule takes all.
    pub percent: Option<Percent>,
    /// The time after which the rule expires, from [`MIN_TTL`](crate::MIN_TTL) to
    /// [`MAX_TTL`](crate::MAX_TTL). `None`: the rule never expires.
    pub ttl: Option<Duration>,
    /// The header that carries the client's address to the target, ahead of the stream.
    pub proxy_protocol: Option<ProxyProtocol>,
    /// What becomes of connections from inside the pod.
    pub local: Local,
    /// Positions in the parsed text. The parser sets them, and messages about the rule read them.
    pub places: Places,
}

/// The positions of a rule's parts in the parsed text. Only messages use them.
#[derive(Debug, Clone, Copy)]
pub struct Places {
    /// The whole rule, without surrounding white space and without the final `;`.
    pub rule: Span,
    /// The first UDP port, protocol included.
    pub udp: Option<Span>,
    /// The target.
    pub target: Span,
    /// The clause `when`, keyword included.
    pub when: Option<Span>,
    /// The clause `percent`, keyword included.
    pub percent: Option<Span>,
}

/// The ports that a rule redirects.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Ports {
    /// All TCP ports that the workload declares. The rule lists none.
    Declared,
    /// The listed ports, in the order of the text. There is at least one, and none occurs twice.
    Listed(Vec<Port>),
}

/// The destination of redirected connections.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Target {
    /// An IP address and a port.
    Address(SocketAddr),
    /// A DNS name and a port.
    Name {
        /// The name, which the daemon resolves.
        host: HostName,
        /// The TCP port.
        port: NonZeroU16,
    },
    /// A developer's session in the tunnel, by name.
    Session(SessionName),
}

/// The source of a CEL expression.
///
/// The parser guarantees balanced quotes and brackets only. `interceptor-condition` compiles the
/// expression and checks the rest.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Condition {
    source: Box<str>,
}

impl Condition {
    pub(crate) fn new(source: &str) -> Self {
        Self { source: source.into() }
    }

    /// The expression as the user wrote it, without surrounding white space.
    pub fn source(&self) -> &str {
        &self.source
    }
}

/// A share of the connections: above 0 and up to 100 percent, in steps of 0.0001 percent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Percent {
    parts_per_million: NonZeroU32,
}

impl Percent {
    /// Maximum number of digits after the decimal point.
    pub(crate) const DECIMALS: usize = 4;
    const MILLION: u32 = 1_000_000;

    pub(crate) fn from_parts_per_million(parts: u32) -> Option<Self> {
        let parts_per_million =
            NonZeroU32::new(parts).filter(|parts| parts.get() <= Self::MILLION)?;
        Some(Self { parts_per_million })
    }

    /// The share in parts per million: from 1 to 1,000,000, where 10,000 is one percent.
    pub fn parts_per_million(self) -> u32 {
        self.parts_per_million.get()
    }
}

/// The protocol that tells the target the client's address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ProxyProtocol {
    /// Version 2 of HAProxy's PROXY protocol: a binary header.
    V2,
}

/// What a rule does with connections from inside the pod: from one of its containers, or by
/// `kubectl port-forward`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Local {
    /// The rule takes them, except those of `exec` probes and hooks.
    #[default]
    ExceptChecks,
    /// The rule takes none of them.
    ToApp,
    /// The rule takes all of them.
    ToTarget,
}

// === impl Rule ===

impl Rule {
    /// The positions of the rule's parts in the parsed text. Only messages use them.
    pub fn places(&self) -> Places {
        self.places
    }
}

impl PartialEq for Rule {
    fn eq(&self, other: &Self) -> bool {
        // Without `..`: a new field fails to compile here until it is compared or ignored.
        let Self { ports, target, when, percent, ttl, proxy_protocol, local, places: _ } = self;
        *ports == other.ports
            && *target == other.target
            && *when == other.when
            && *percent == other.percent
            && *ttl == other.ttl
            && *proxy_protocol == other.proxy_protocol
            && *local == other.local
    }
}

impl Eq for Rule {}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Ports::Listed(_) = self.ports {
            write!(f, "{} -> ", self.ports)?;
        }
        write!(f, "{}", self.target)?;
        if let Some(condition) = &self.when {
            write!(f, " when {condition}")?;
        }
        if let Some(percent) = self.percent {
            write!(f, " percent {percent}")?;
        }
        if let Some(ttl) = self.ttl {
            // humantime separates the units by spaces. The canonical form is one word.
            write!(f, " ttl {}", humantime::format_duration(ttl).to_string().replace(' ', ""))?;
        }
        let version = self.proxy_protocol.map(|version| version.to_string());
        let options = version.iter().map(String::as_str).chain(self.local.option());
        for (index, option) in options.enumerate() {
            let begin = if index == 0 { " with " } else { "," };
            write!(f, "{begin}{option}")?;
        }
        Ok(())
    }
}

impl Local {
    /// The option after `with`. `None` for the default.
    pub fn option(self) -> Option<&'static str> {
        match self {
            Self::ExceptChecks => None,
            Self::ToApp => Some("local-to-app"),
            Self::ToTarget => Some("local-to-target"),
        }
    }
}

impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Declared => f.write_str("all declared ports"),
            Self::Listed(ports) => {
                for (index, port) in ports.iter().enumerate() {
                    let comma = if index == 0 { "" } else { "," };
                    write!(f, "{comma}{port}")?;
                }
                Ok(())
            }
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => write!(f, "{address}"),
            Self::Name { host, port } => write!(f, "{host}:{port}"),
            Self::Session(name) => write!(f, "{name}"),
        }
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = self.parts_per_million();
        let (whole, rest) = (parts / 10_000, parts % 10_000);
        if rest == 0 {
            return write!(f, "{whole}");
        }
        let decimals = format!("{rest:04}");
        write!(f, "{whole}.{}", decimals.trim_end_matches('0'))
    }
}

impl fmt::Display for ProxyProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::V2 => f.write_str("proxy-v2"),
        }
    }
}
