//! Recognises rules in a form that people know from other tools, and suggests the right one.
//!
//! Advice is part of an error message only. A text that is a rule never gets here.

use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU16;

use crate::ast::Target;
use crate::name::HostName;
use crate::span::Span;
use crate::suggest::CLAUSES;
use crate::target;

/// Words and signs that people write in place of `->`.
const ARROW_WORDS: [&str; 17] = [
    "to", "into", "onto", "at", "via", "goes", "is", "=", ":", "|", "|>", "-", "--", "—", "–",
    ":=", "-&gt",
];
/// Words for "all ports".
const ALL_PORTS: [&str; 5] = ["*", "all", "any", "every", "*:*"];
/// Words by which people try to switch something on.
const START_WORDS: [&str; 5] = ["on", "true", "yes", "enabled", "enable"];
/// Words by which people try to switch something off.
const STOP_WORDS: [&str; 8] =
    ["off", "none", "no", "false", "disabled", "disable", "stop", "nothing"];
/// Names that are usual for ports, in the specs of pods and in `/etc/services`.
const PORT_NAMES: [(&str, u16); 16] = [
    ("http", 80),
    ("https", 443),
    ("http2", 80),
    ("h2c", 80),
    ("web", 80),
    ("grpc", 50051),
    ("tcp", 0),
    ("metrics", 9090),
    ("admin", 0),
    ("api", 0),
    ("health", 0),
    ("ssh", 22),
    ("mysql", 3306),
    ("postgres", 5432),
    ("postgresql", 5432),
    ("redis", 6379),
];
/// Protocols that are not TCP.
const NOT_TCP: [&str; 3] = ["udp", "sctp", "quic"];
/// A target for people who wrote their own loopback address, which is the pod's for the pod.
const REACHABLE: &str = "10.20.0.7:3000";
/// The port of a suggestion when the text has none.
const SOME_PORT: u16 = 3000;

/// Advice for a target without a port, which the parser takes for the name of a session.
pub(crate) fn for_session(name: &str) -> String {
    if STOP_WORDS.contains(&name) {
        return "to end a redirect, remove the annotation".to_owned();
    }
    if START_WORDS.contains(&name) || ALL_PORTS.contains(&name) {
        return format!("write a target, as in `{REACHABLE}`");
    }
    format!("if `{name}` is a host, add a port: `{name}:{SOME_PORT}`")
}

/// Advice for a word in front of the ports.
pub(crate) fn begin_with_ports(first: &str) -> String {
    format!("a rule begins with its ports; leave out `{first}`")
}

/// Advice for `word` in the place of the `->`. `next` is the word behind it; `another_port` tells
/// whether an arrow or a comma follows `word`.
pub(crate) fn for_arrow(word: &str, next: Option<&str>, another_port: bool) -> Option<String> {
    if CLAUSES.contains(&word) {
        return None;
    }
    if as_port(word).is_some() {
        return Some(match another_port {
            true => "separate ports by `,`".to_owned(),
            false => format!("did you mean `-> host:{word}`?"),
        });
    }
    let target = as_target(word);
    if target.is_none() && (ARROW_WORDS.contains(&word) || next.and_then(as_target).is_some()) {
        return Some("did you mean `->`?".to_owned());
    }
    let target = target.or_else(|| split_target(word, next?)).or_else(|| with_port(word, None));
    target.map(|target| format!("did you mean `-> {target}`?"))
}

/// Advice for `word` in the place of a port. `target` is the word behind the arrow, if an arrow
/// follows.
pub(crate) fn for_port(word: &str, target: Option<&str>) -> Option<String> {
    let bare = unquoted(word);
    let target = target.map(unquoted);
    if ALL_PORTS.contains(&bare.to_ascii_lowercase().as_str()) {
        return Some(match target.and_then(as_target) {
            Some(target) => {
                format!("to redirect all declared ports, write the target alone: `{target}`")
            }
            None => "to redirect all declared ports, write the target alone".to_owned(),
        });
    }
    // `10.20.0.7:3000 -> 8080`, or without the port of the target.
    if let Some(port) = target.and_then(as_port)
        && usual_port(&bare.to_ascii_lowercase()).is_none()
        && let Some(meant) = as_target(bare).or_else(|| with_port(bare, None))
    {
        let host = meant.rsplit_once(':').map_or("", |(host, _)| host);
        let meant = if is_loopback(host) { REACHABLE } else { &meant };
        return Some(format!("the pod's port comes first; did you mean `{port} -> {meant}`?"));
    }
    let Some(target) = target.and_then(as_target) else {
        return match as_target(bare) {
            Some(_) => Some("a rule has the form `ports -> target`, with one target".to_owned()),
            None if is_word(bare) => Some("write the port's number".to_owned()),
            None => None,
        };
    };
    match &numbers_inside(bare)[..] {
        [number] if number.to_string() != word => {
            Some(format!("did you mean `{number} -> {target}`?"))
        }
        [_, _] => {
            Some(format!("name only the port on which the app listens, as in `8080 -> {target}`"))
        }
        _ => is_word(bare).then(|| "write the port's number".to_owned()),
    }
}

/// Advice for `word` in the place of a target. `ports` is what stands before the arrow, if there is
/// one; `next` is the word behind the target.
pub(crate) fn for_target(word: &str, ports: Option<&str>, next: Option<&str>) -> Option<String> {
    let bare = unquoted(word);
    let rule = |target: &str| match ports {
        Some(ports) => format!("did you mean `{ports} -> {target}`?"),
        None => format!("did you mean `{target}`?"),
    };
    if ALL_PORTS.contains(&bare) {
        return Some("to redirect all declared ports, write the target alone".to_owned());
    }
    if bare.starts_with('<') {
        return Some("write the value itself, without `<` and `>`".to_owned());
    }
    if bare.starts_with(['{', '[']) && word.contains('"') {
        return Some("write a rule as plain text, not as JSON or YAML".to_owned());
    }
    if let Some((scheme, rest)) = bare.split_once("://") {
        let address = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let address = address.rsplit('@').next().unwrap_or_default();
        let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
        if is_loopback(host) {
            return Some(format!(
                "for the pod, `{host}` is the pod itself; write an address of your computer that \
                 the pod can reach, as in `{REACHABLE}`"
            ));
        }
        let usual = usual_port(&scheme.to_ascii_lowercase());
        let meant = as_target(address).or_else(|| with_port(address, usual));
        return meant.map(|meant| rule(&meant));
    }
    if let Some(variable) = bare.find('$') {
        let name = bare[variable + 1..].trim_start_matches(['{', '(']);
        let end = name.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let name = &name[..end.unwrap_or(name.len())];
        return Some(format!(
            "the shell replaces `${name}` between double quotes, and not between single ones"
        ));
    }
    if let Some(port) = as_port(bare) {
        return Some(match ports {
            Some(ports) => format!("did you mean `{ports} -> host:{port}`?"),
            None => match next.and_then(as_target) {
                Some(target) => format!("did you mean `{port} -> {target}`?"),
                None => format!("did you mean `{port} -> host:3000`?"),
            },
        });
    }
    if let Some(meant) = next.and_then(|next| split_target(bare, next)) {
        return Some(rule(&meant));
    }
    if let Some((first, rest)) = split_after_number(bare) {
        // `8080:laptop:3000`, `8080=laptop:3000`, `8080: laptop:3000`.
        let target = if rest.is_empty() { next.and_then(as_target) } else { as_target(rest) };
        if let Some(target) = target {
            return Some(format!("did you mean `{first} -> {target}`?"));
        }
        // `8080:3000`
        if let Some(port) = as_port(rest) {
            return Some(match ports {
                Some(ports) => format!("did you mean `{ports} -> host:{port}`?"),
                None => format!(
                    "write the pod's port, then the target's host and port, as in \
                     `{first} -> host:{port}`"
                ),
            });
        }
    }
    if let Some(port) = bare.strip_prefix(':').and_then(as_port) {
        return Some(match ports {
            Some(ports) => format!("did you mean `{ports} -> host:{port}`?"),
            None => format!("did you mean `host:{port}`?"),
        });
    }
    // `user@laptop:3000`, `svc/web:80`, `(laptop:3000)`.
    let cleaned: String = bare.chars().filter(|c| !"(){}".contains(*c)).collect();
    let cleaned = cleaned.rsplit(['@', '/']).next().unwrap_or_default();
    let slash_port = bare.rsplit_once('/').and_then(|(host, port)| split_target(host, port));
    let named = bare.rsplit_once(':').and_then(|(host, name)| {
        let port = usual_port(&name.to_ascii_lowercase())?;
        with_port(host, Some(port))
    });
    let meant = slash_port.or(named).or_else(|| as_target(cleaned));
    // `laptop:80:3000`
    let parts: Vec<&str> = bare.split(':').collect();
    if let [host, one, other] = parts[..]
        && with_port(host, None).is_some()
        && as_port(one).is_some()
        && as_port(other).is_some()
    {
        return Some("a target has one port".to_owned());
    }
    let quoted_only = bare != word;
    let meant = meant.or_else(|| quoted_only.then(|| with_port(bare, None)).flatten());
    meant.filter(|meant| meant != word).map(|meant| rule(&meant))
}

/// The target that `host` and the word behind it mean together: `laptop 3000`, `laptop :3000`,
/// `laptop: 3000`.
pub(crate) fn split_target(host: &str, next: &str) -> Option<String> {
    let host = host.strip_suffix(':').unwrap_or(host);
    let port = as_port(next.strip_prefix(':').unwrap_or(next))?;
    with_port(host, Some(port.get()))
}

/// Whether a target with this host would be the pod itself.
fn is_loopback(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback() || ip.is_unspecified())
}

/// The number of a port that is usually called so. `None` if the name says nothing.
fn usual_port(name: &str) -> Option<u16> {
    PORT_NAMES.iter().find(|(known, _)| *known == name).map(|(_, port)| *port)
}

fn unquoted(word: &str) -> &str {
    word.trim_matches(['"', '\'', '`'])
}

fn as_port(word: &str) -> Option<NonZeroU16> {
    let digits = !word.is_empty() && word.bytes().all(|b| b.is_ascii_digit());
    word.parse().ok().filter(|_| digits && !word.starts_with('0'))
}

/// `word` as a target with a host and a port, perhaps without its scheme and path.
fn as_target(word: &str) -> Option<String> {
    let word = word.split_once("://").map_or(word, |(_, rest)| rest);
    let word = word.split('/').next().unwrap_or_default();
    match target::target(word, Span::new(0, word.len())) {
        Ok(Target::Session(_)) | Err(_) => None,
        Ok(_) => Some(word.to_owned()),
    }
}

/// A target from a host without a port, and this port or an example.
fn with_port(host: &str, port: Option<u16>) -> Option<String> {
    let port = port.filter(|port| *port != 0).unwrap_or(SOME_PORT);
    if let Ok(ip) = host.trim_matches(['[', ']']).parse::<Ipv6Addr>() {
        return Some(format!("[{ip}]:{port}"));
    }
    let has_letter = host.bytes().any(|b| b.is_ascii_alphabetic());
    let is_address = host.parse::<IpAddr>().is_ok();
    (is_address || has_letter && HostName::new(host).is_ok()).then(|| format!("{host}:{port}"))
}

/// The port numbers inside a word such as `tcp/8080`, `:8080`, `web:8080`, `8080/http`.
fn numbers_inside(word: &str) -> Vec<NonZeroU16> {
    let lower = word.to_ascii_lowercase();
    if NOT_TCP.iter().any(|protocol| lower.contains(protocol)) {
        return Vec::new();
    }
    let parts = word.split([':', '/', '=']).map(|part| part.trim_start_matches('+'));
    parts.filter_map(as_port).collect()
}

/// Whether `word` looks like the name of a port.
fn is_word(word: &str) -> bool {
    word.starts_with(|c: char| c.is_ascii_alphabetic())
        && word.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

/// `8080:rest`, `8080=rest` and so on: the number, and what stands behind the sign.
fn split_after_number(word: &str) -> Option<(NonZeroU16, &str)> {
    let end = word.find(|c: char| !c.is_ascii_digit())?;
    let number = as_port(&word[..end])?;
    let rest = word[end..].strip_prefix([':', '=', '/', '|', '@', '+', '~'])?;
    Some((number, rest))
}
