//! Parses ports and targets, and recognises the usual mistakes in them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU16;

use interceptor_common::port::Port;

use crate::ast::Target;
use crate::error::{ErrorKind, ParseError};
use crate::name::{HostName, SessionName};
use crate::span::Span;
use crate::suggest::CLAUSES;

const ANY_TARGET: &str = "a target: `host:port` or `[ipv6]:port`";
const ANY_PORT: &str = "a port from 1 to 65535";

/// Parses the port before the `->` that `span` covers: `8080`, or `8125/udp`.
pub(crate) fn listed_port(text: &str, span: Span) -> Result<Port, ParseError> {
    let word = span.of(text);
    if let Some(number) = word.strip_suffix("/udp").filter(|number| !number.is_empty()) {
        let number = Span::new(span.start, span.start + number.len());
        return port(text, number).map(Port::udp);
    }
    port(text, span).map(Port::tcp).map_err(|error| match word.split_once('/') {
        Some((number, protocol))
            if protocol.eq_ignore_ascii_case("udp") && number.parse::<NonZeroU16>().is_ok() =>
        {
            error.suggest(format!("did you mean `{number}/udp`?"))
        }
        _ => error,
    })
}

/// Parses the port number that `span` covers.
pub(crate) fn port(text: &str, span: Span) -> Result<NonZeroU16, ParseError> {
    let word = span.of(text);
    let error = || ParseError::new(text, ErrorKind::Port, span, ANY_PORT);
    if word.is_empty() || !word.bytes().all(|b| b.is_ascii_digit()) {
        return Err(advise_port(error(), word));
    }
    if word.len() > 1 && word.starts_with('0') {
        return Err(error().suggest("a port has no leading zeros"));
    }
    // The word has digits only, so a failure means zero or a number above 65535.
    word.parse().map_err(|_| error())
}

fn advise_port(error: ParseError, word: &str) -> ParseError {
    let digits = word.bytes().take_while(u8::is_ascii_digit).count();
    let (number, rest) = word.split_at(digits);
    if digits > 0 && rest == "-" {
        error.suggest("did you mean `->`?")
    } else if digits > 0 && (rest.starts_with('-') || rest.starts_with("..")) {
        error.suggest("list each port, as in `8080,8081`; ranges are not supported")
    } else if digits > 0 && rest.eq_ignore_ascii_case("/tcp") {
        error.suggest(format!("did you mean `{number}`?"))
    } else {
        error
    }
}

/// Parses the target that `span` covers.
pub(crate) fn target(text: &str, span: Span) -> Result<Target, ParseError> {
    let word = span.of(text);
    let error = |expected: &'static str| ParseError::new(text, ErrorKind::Target, span, expected);

    if let Some((_, address)) = word.split_once("://") {
        let address = address.split(['/', '?', '#']).next().unwrap_or_default();
        let error =
            error("a target without a scheme (a rule redirects connections of any protocol)");
        return Err(
            if target(address, Span::new(0, address.len())).is_ok() && address.contains(':') {
                error.suggest(format!("did you mean `{address}`?"))
            } else {
                error
            },
        );
    }
    if word.contains(['"', '\'', '`']) {
        return Err(error("a target without quotes"));
    }
    if let Some(inside) = word.strip_prefix('[') {
        return ipv6_target(text, span, inside);
    }
    if word.bytes().filter(|b| *b == b':').count() > 1 {
        return Err(advise_ipv6(error(ANY_TARGET), word));
    }
    match word.split_once(':') {
        None => session_target(text, span),
        Some((host, _)) => {
            let colon = span.start + host.len();
            let host = Span::new(span.start, colon);
            let port = target_port(text, Span::new(colon + 1, span.end), span)?;
            named_target(text, host, port)
        }
    }
}

/// Parses the port after the colon of a target.
fn target_port(text: &str, span: Span, target: Span) -> Result<NonZeroU16, ParseError> {
    let word = span.of(text);
    if word.is_empty() {
        let missing = ParseError::new(text, ErrorKind::MissingPort, target, "a port after the `:`");
        return Err(missing.suggest(format!("did you mean `{}3000`?", target.of(text))));
    }
    port(text, span).map_err(|error| match word.split_once('/') {
        Some((number, _)) if number.parse::<NonZeroU16>().is_ok() => error.suggest(format!(
            "a target has no path; did you mean `{}`?",
            target.of(text).strip_suffix(&word[number.len()..]).unwrap_or_default()
        )),
        _ if error.suggestion().is_some() => error.suggest("a target has one port"),
        _ => error,
    })
}

fn named_target(text: &str, host: Span, port: NonZeroU16) -> Result<Target, ParseError> {
    let word = host.of(text);
    if let Ok(ip) = word.parse::<Ipv4Addr>() {
        return Ok(Target::Address(SocketAddr::new(IpAddr::V4(ip), port.get())));
    }
    match HostName::new(word) {
        Ok(host) => Ok(Target::Name { host, port }),
        Err(_) if !word.is_empty() && word.bytes().all(|b| b.is_ascii_digit()) => {
            let expected = "a host name or an IP address before the `:`";
            Err(ParseError::new(text, ErrorKind::Target, host, expected))
        }
        Err(invalid) => {
            let error = ParseError::new(text, ErrorKind::Target, host, invalid.to_string());
            Err(if word.is_empty() {
                error.with_found(format!("nothing before `:{port}`"))
            } else {
                error
            })
        }
    }
}

/// Parses `[ipv6]:port`. `inside` is the text after the opening bracket.
fn ipv6_target(text: &str, span: Span, inside: &str) -> Result<Target, ParseError> {
    let error = |expected: &'static str| ParseError::new(text, ErrorKind::Target, span, expected);
    let Some((address, rest)) = inside.split_once(']') else {
        return Err(error("a `]` that closes the IPv6 address"));
    };
    let Ok(ip) = address.parse::<Ipv6Addr>() else {
        let start = span.start + 1;
        let error = ParseError::new(
            text,
            ErrorKind::Target,
            Span::new(start, start + address.len()),
            "an IPv6 address between `[` and `]`",
        );
        return Err(if address.is_empty() {
            error.with_found("nothing")
        } else if address.contains('%') {
            error.suggest("an interface (`%eth0`) is meaningless on other hosts")
        } else if address.parse::<Ipv4Addr>().is_ok() {
            error.suggest("write an IPv4 address without brackets")
        } else {
            error
        });
    };
    let Some(port_text) = rest.strip_prefix(':') else {
        return Err(if rest.is_empty() {
            ParseError::new(text, ErrorKind::MissingPort, span, "a port after the IPv6 address")
                .suggest(format!("did you mean `[{address}]:3000`?"))
        } else {
            error("`:` and a port after the `]`")
        });
    };
    let port = target_port(text, Span::new(span.end - port_text.len(), span.end), span)?;
    Ok(Target::Address(SocketAddr::new(IpAddr::V6(ip), port.get())))
}

/// Adds advice for a `word` with several colons and no brackets.
fn advise_ipv6(error: ParseError, word: &str) -> ParseError {
    let brackets = "write an IPv6 address in brackets";
    if let Some((address, port)) = word.rsplit_once(':')
        && address.parse::<Ipv6Addr>().is_ok()
        && port.parse::<NonZeroU16>().is_ok()
    {
        return error.suggest(format!("{brackets}; did you mean `[{address}]:{port}`?"));
    }
    if word.parse::<Ipv6Addr>().is_ok() {
        return error.suggest(format!("{brackets}; did you mean `[{word}]:3000`?"));
    }
    error
}

/// Parses a word without a colon.
fn session_target(text: &str, span: Span) -> Result<Target, ParseError> {
    let word = span.of(text);
    let missing = |expected: &'static str| {
        ParseError::new(text, ErrorKind::MissingPort, span, expected)
            .suggest(format!("did you mean `{word}:3000`?"))
    };
    if CLAUSES.contains(&word) {
        return Err(ParseError::new(
            text,
            ErrorKind::Target,
            span,
            format!("a target before `{word}`"),
        ));
    }
    if word.parse::<Ipv4Addr>().is_ok() {
        return Err(missing("a port after the address"));
    }
    // A session name has neither dots nor capitals, and `localhost` is unlikely to name a session.
    let is_session = word != "localhost" && SessionName::new(word).is_ok();
    if !is_session && HostName::new(word).is_ok() {
        return Err(missing("a port after the host name"));
    }
    SessionName::new(word).map(Target::Session).map_err(|invalid| {
        if word.bytes().all(|b| b.is_ascii_digit()) {
            ParseError::new(text, ErrorKind::Target, span, ANY_TARGET)
        } else if word.starts_with(|c: char| c.is_ascii_alphanumeric()) && !word.contains('/') {
            ParseError::new(text, ErrorKind::Target, span, invalid.to_string())
        } else {
            ParseError::new(text, ErrorKind::Target, span, ANY_TARGET)
        }
    })
}
