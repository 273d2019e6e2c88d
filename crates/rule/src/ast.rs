//! What a rule says, after it was checked. A value of these types is always valid.

use std::fmt;
use std::net::SocketAddr;
use std::num::{NonZeroU16, NonZeroU32};
use std::time::Duration;

use crate::name::{HostName, SessionName};
use crate::span::Span;

/// One rule: new connections to `ports` go to `target`.
///
/// [`Display`](fmt::Display) prints the canonical form, and parsing that gives an equal rule. Two rules are
/// equal when they say the same; where they stood in their text does not count.
#[derive(Debug, Clone)]
pub struct Rule {
    /// The ports of the workload that the rule takes.
    pub ports: Ports,
    /// Where their connections go instead.
    pub target: Target,
    /// Only requests for which this is true.
    pub when: Option<Condition>,
    /// Only this share of them.
    pub percent: Option<Percent>,
    /// How long the rule holds, from [`MIN_TTL`](crate::MIN_TTL) to [`MAX_TTL`](crate::MAX_TTL).
    pub ttl: Option<Duration>,
    /// Tell the target the client's address in front of the stream.
    pub proxy_protocol: Option<ProxyProtocol>,
    /// Where the parts stand in the parsed text.
    pub places: Places,
}

/// Where the parts of a rule stand in the parsed text; for messages only.
#[derive(Debug, Clone, Copy)]
pub struct Places {
    /// The whole rule without white space around it.
    pub rule: Span,
    /// The target.
    pub target: Span,
    /// `when` and its condition.
    pub when: Option<Span>,
    /// `percent` and its number.
    pub percent: Option<Span>,
}

/// The ports that a rule takes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Ports {
    /// All TCP ports that the workload declares.
    Declared,
    /// These, in the order of the text; at least one and none twice.
    Listed(Vec<NonZeroU16>),
}

/// Where connections go.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Target {
    /// An IP address and a port.
    Address(SocketAddr),
    /// A name to look up, and a port.
    Name {
        /// The name.
        host: HostName,
        /// The port.
        port: NonZeroU16,
    },
    /// A developer's session in the tunnel.
    Session(SessionName),
}

/// A CEL expression, as it was written. Quotes and brackets are balanced; nothing else was checked.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Condition {
    source: Box<str>,
}

impl Condition {
    pub(crate) fn new(source: &str) -> Self {
        Self { source: source.into() }
    }

    /// The text of the expression.
    pub fn source(&self) -> &str {
        &self.source
    }
}

/// A share of the connections: more than 0 and at most 100 percent, in steps of 0.0001.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Percent {
    parts_per_million: NonZeroU32,
}

impl Percent {
    /// Digits after the point.
    pub(crate) const DECIMALS: usize = 4;
    const MILLION: u32 = 1_000_000;

    pub(crate) fn from_parts_per_million(parts: u32) -> Option<Self> {
        let parts_per_million =
            NonZeroU32::new(parts).filter(|parts| parts.get() <= Self::MILLION)?;
        Some(Self { parts_per_million })
    }

    /// The share as a whole number from 1 to 1 000 000, where 10 000 is one percent.
    pub fn parts_per_million(self) -> u32 {
        self.parts_per_million.get()
    }
}

/// How the target learns the client's address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ProxyProtocol {
    /// The binary header of HAProxy's PROXY protocol, version 2.
    V2,
}

// === impl Rule ===

impl Rule {
    /// Where the parts stand in the parsed text; for messages only.
    pub fn places(&self) -> Places {
        self.places
    }
}

impl PartialEq for Rule {
    fn eq(&self, other: &Self) -> bool {
        // Without `..`, so that a new field has to be put on one side or the other.
        let Self { ports, target, when, percent, ttl, proxy_protocol, places: _ } = self;
        *ports == other.ports
            && *target == other.target
            && *when == other.when
            && *percent == other.percent
            && *ttl == other.ttl
            && *proxy_protocol == other.proxy_protocol
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
            // humantime puts spaces between the units; the canonical form is one word.
            write!(f, " ttl {}", humantime::format_duration(ttl).to_string().replace(' ', ""))?;
        }
        if let Some(version) = self.proxy_protocol {
            write!(f, " with {version}")?;
        }
        Ok(())
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
