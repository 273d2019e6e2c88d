//! The policy file: its fields, and how they become a [`Policy`].

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ipnet::{IpNet, Ipv4Net};
use serde::{Deserialize, Deserializer};
use serde_saphyr::Spanned;

use super::super::yaml::{Document, FileError, Location, ReadError, one_of, read as read_text};
use super::{Action, Dial, Place, Policy, Setting, address::RESERVED, refusal::Short};

/// Allowed values of `connectTimeout`.
const CONNECT_TIMEOUT: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(10)..=Duration::from_secs(60);
/// Allowed values of `openingTimeout` and `headTimeout`.
const SILENCE: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(10)..=Duration::from_secs(60);
/// Allowed values of `maxRules`.
const MAX_RULES: std::ops::RangeInclusive<usize> = 1..=256;
/// Allowed values of `maxRulesPerNode`.
const MAX_RULES_PER_NODE: std::ops::RangeInclusive<usize> = 1..=10_000;
pub(super) const EXAMPLE: &str = "targets: {allow: [\"10.0.0.0/8\"]}";
pub(super) const NET_EXAMPLE: &str = "allow: [\"10.0.0.0/8\", \"fd00::/8\"]";
pub(super) const RESERVED_EXAMPLE: &str = "allowReserved: [loopback]";
const DIALS: [(&str, Dial); 2] = [("pod", Dial::Pod), ("node", Dial::Node)];

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
struct RawPolicy {
    targets: RawTargets,
    #[serde(deserialize_with = "present")]
    dial: Option<Spanned<String>>,
    #[serde(deserialize_with = "present")]
    connect_timeout: Option<Spanned<String>>,
    opening_timeout: Option<Spanned<String>>,
    head_timeout: Option<Spanned<String>>,
    #[serde(deserialize_with = "present")]
    max_rules: Option<Spanned<String>>,
    #[serde(deserialize_with = "present")]
    max_rules_per_node: Option<Spanned<String>>,
    #[serde(deserialize_with = "present")]
    max_ttl: Option<Spanned<String>>,
    #[serde(deserialize_with = "present")]
    actions: Option<Spanned<Vec<Spanned<String>>>>,
    #[serde(deserialize_with = "present")]
    namespaces: Option<Spanned<String>>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
struct RawTargets {
    #[serde(deserialize_with = "present")]
    allow: Option<Spanned<Vec<Spanned<String>>>>,
    deny: Vec<Spanned<String>>,
    allow_reserved: Vec<Spanned<String>>,
}

/// A field without a value is an error: `allow:` alone must not mean "no limit".
fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

impl Policy {
    /// Reads and parses a policy file.
    ///
    /// # Errors
    /// The file can't be read, is too large, or is invalid.
    pub fn read(path: &Path) -> Result<Self, ReadError> {
        Ok(Self::parse(&read_text(path, EXAMPLE)?, &path.display().to_string())?)
    }

    /// Parses the text of a policy file. `file_name` is for messages. An empty text is the default
    /// policy.
    ///
    /// # Errors
    /// The text is not a valid policy file.
    pub fn parse(text: &str, file_name: &str) -> Result<Self, FileError> {
        let (document, raw) = Document::load::<RawPolicy>(text, file_name, EXAMPLE)?;
        let raw = raw.unwrap_or_default();
        let reader = Reader { document: &document };
        let mut policy = Self::default();
        if let Some(dial) = &raw.dial {
            policy.dial = reader.choice(dial, &DIALS, "dial: pod")?;
        }
        if let Some(timeout) = &raw.connect_timeout {
            policy.connect_timeout =
                reader.duration(timeout, &CONNECT_TIMEOUT, "connectTimeout: 1s")?;
        }
        if let Some(timeout) = &raw.opening_timeout {
            policy.silence.opening = reader.duration(timeout, &SILENCE, "openingTimeout: 100ms")?;
        }
        if let Some(timeout) = &raw.head_timeout {
            policy.silence.head = reader.duration(timeout, &SILENCE, "headTimeout: 1s")?;
        }
        if let Some(rules) = &raw.max_rules {
            policy.max_rules =
                reader.setting(rules, reader.number(rules, &MAX_RULES, "maxRules: 16")?);
        }
        if let Some(rules) = &raw.max_rules_per_node {
            let max = reader.number(rules, &MAX_RULES_PER_NODE, "maxRulesPerNode: 1024")?;
            policy.max_rules_per_node = reader.setting(rules, max);
        }
        if let Some(actions) = &raw.actions {
            let allowed = actions.value.iter();
            let choices = Action::ALL.map(|action| (action.as_str(), action));
            let allowed =
                allowed.map(|action| reader.choice(action, &choices, "actions: [redirect]"));
            policy.actions = Some(reader.setting(actions, allowed.collect::<Result<_, _>>()?));
        }
        // An empty selector selects everything, in Kubernetes as here.
        if let Some(selector) =
            raw.namespaces.as_ref().filter(|selector| !selector.value.trim().is_empty())
        {
            policy.namespaces = Some(reader.setting(selector, selector.value.trim().to_owned()));
        }
        if let Some(ttl) = &raw.max_ttl {
            let range = interceptor_rule::MIN_TTL..=interceptor_rule::MAX_TTL;
            policy.max_ttl = Some(reader.setting(ttl, reader.duration(ttl, &range, "maxTtl: 8h")?));
        }
        if let Some(allow) = &raw.targets.allow {
            let nets = allow.value.iter().map(|net| reader.net(net)).collect::<Result<_, _>>()?;
            policy.allow = Some(reader.setting(allow, nets));
        }
        for net in &raw.targets.deny {
            policy.deny.push(reader.setting(net, reader.net(net)?));
        }
        for kind in &raw.targets.allow_reserved {
            policy.allow_reserved.value.push(reader.choice(kind, &RESERVED, RESERVED_EXAMPLE)?);
        }
        Ok(policy)
    }
}

/// Turns the values of the file into types.
struct Reader<'a> {
    document: &'a Document<'a>,
}

impl Reader<'_> {
    fn setting<R, T>(&self, raw: &Spanned<R>, value: T) -> Setting<T> {
        let line = Location::from(raw.referenced).line;
        Setting { value, place: Place::Line { file: Arc::clone(&self.document.file), line } }
    }

    fn error(&self, raw: &Spanned<String>, expected: &str, example: &'static str) -> FileError {
        let problem =
            format!("found {}, expected {expected}", interceptor_rule::quoted(&raw.value));
        self.document.error(raw, problem, example)
    }

    fn choice<T: Copy>(
        &self,
        raw: &Spanned<String>,
        choices: &[(&str, T)],
        example: &'static str,
    ) -> Result<T, FileError> {
        choices.iter().find(|(name, _)| *name == raw.value).map(|(_, choice)| *choice).ok_or_else(
            || {
                let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
                self.error(raw, &one_of(&names), example)
            },
        )
    }

    fn duration(
        &self,
        raw: &Spanned<String>,
        range: &std::ops::RangeInclusive<Duration>,
        example: &'static str,
    ) -> Result<Duration, FileError> {
        humantime::parse_duration(&raw.value)
            .ok()
            .filter(|duration| range.contains(duration))
            .ok_or_else(|| {
                let expected =
                    format!("a duration from {} to {}", Short(*range.start()), Short(*range.end()));
                self.error(raw, &expected, example)
            })
    }

    fn number(
        &self,
        raw: &Spanned<String>,
        range: &std::ops::RangeInclusive<usize>,
        example: &'static str,
    ) -> Result<usize, FileError> {
        raw.value.parse().ok().filter(|number| range.contains(number)).ok_or_else(|| {
            let expected = format!("a number from {} to {}", range.start(), range.end());
            self.error(raw, &expected, example)
        })
    }

    /// A network, or one address.
    fn net(&self, raw: &Spanned<String>) -> Result<IpNet, FileError> {
        let net = raw
            .value
            .parse::<IpNet>()
            .ok()
            .or_else(|| raw.value.parse::<IpAddr>().ok().map(IpNet::from));
        let net = net.ok_or_else(|| self.error(raw, "a network or an IP address", NET_EXAMPLE))?;
        if net.addr() != net.network() {
            // The text may mean one address or the whole network. A wrong guess would allow or deny
            // too much.
            let expected = format!(
                "`{}` for the network, or `{}` for the one address",
                net.trunc(),
                net.addr()
            );
            return Err(self.error(raw, &expected, NET_EXAMPLE));
        }
        Ok(canonical(net))
    }
}

/// Converts an IPv4-mapped network to IPv4, as `judge_target` does with addresses.
fn canonical(net: IpNet) -> IpNet {
    const MAPPED_PREFIX: u8 = 96;
    if let IpNet::V6(v6) = net
        && let Some(ip) = v6.addr().to_ipv4_mapped()
        && let Some(prefix) = v6.prefix_len().checked_sub(MAPPED_PREFIX)
        && let Ok(v4) = Ipv4Net::new(ip, prefix)
    {
        return IpNet::V4(v4);
    }
    net
}
