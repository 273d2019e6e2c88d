//! The attributes that a condition may use, and synonyms of their names.
//!
//! Names and values are those of Envoy ("Attributes" in its documentation). Attributes of
//! responses, of Envoy's own routing and of terminated TLS are missing, because the daemon has no
//! such values.

use interceptor_rule::Span;

use crate::error::Mistake;
use crate::needs::Needs;

/// A property of a connection or a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Attribute {
    Text(TextAttribute),
    Number(NumberAttribute),
    /// `request.headers`, which is a map.
    Headers,
}

/// An attribute whose value is a string.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TextAttribute {
    Method,
    /// The request target with the query.
    Path,
    /// The request target up to the `?`.
    UrlPath,
    /// The part after the `?`, up to the `#`.
    Query,
    Host,
    Scheme,
    Protocol,
    UserAgent,
    /// `ip:port`, or `[ip]:port` for IPv6, as Envoy formats addresses.
    SourceAddress,
    /// In the same form as the source address.
    DestinationAddress,
    ServerName,
}

/// An attribute whose value is a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NumberAttribute {
    SourcePort,
    DestinationPort,
}

const ATTRIBUTES: [(&str, Attribute); 14] = [
    ("request.method", Attribute::Text(TextAttribute::Method)),
    ("request.path", Attribute::Text(TextAttribute::Path)),
    ("request.url_path", Attribute::Text(TextAttribute::UrlPath)),
    ("request.query", Attribute::Text(TextAttribute::Query)),
    ("request.host", Attribute::Text(TextAttribute::Host)),
    ("request.scheme", Attribute::Text(TextAttribute::Scheme)),
    ("request.protocol", Attribute::Text(TextAttribute::Protocol)),
    ("request.useragent", Attribute::Text(TextAttribute::UserAgent)),
    ("request.headers", Attribute::Headers),
    ("source.address", Attribute::Text(TextAttribute::SourceAddress)),
    ("source.port", Attribute::Number(NumberAttribute::SourcePort)),
    ("destination.address", Attribute::Text(TextAttribute::DestinationAddress)),
    ("destination.port", Attribute::Number(NumberAttribute::DestinationPort)),
    ("connection.requested_server_name", Attribute::Text(TextAttribute::ServerName)),
];

/// Other names of attributes, and Envoy's attributes that are headers here.
const SYNONYMS: [(&str, &str); 22] = [
    ("request.header", "request.headers"),
    ("request.http_method", "request.method"),
    ("request.verb", "request.method"),
    ("request.url", "request.path"),
    ("request.uri", "request.path"),
    ("request.query_string", "request.query"),
    ("request.params", "request.query"),
    ("request.authority", "request.host"),
    ("request.hostname", "request.host"),
    ("request.user_agent", "request.useragent"),
    ("request.userAgent", "request.useragent"),
    ("request.version", "request.protocol"),
    ("request.referer", "request.headers[\"referer\"]"),
    ("request.id", "request.headers[\"x-request-id\"]"),
    ("request.cookies", "request.headers[\"cookie\"]"),
    ("source.ip", "source.address"),
    ("remote.address", "source.address"),
    ("client.address", "source.address"),
    ("destination.ip", "destination.address"),
    ("connection.sni", "connection.requested_server_name"),
    ("connection.server_name", "connection.requested_server_name"),
    ("tls.sni", "connection.requested_server_name"),
];

/// The attributes with their CEL types, those of requests first.
pub fn attributes() -> impl Iterator<Item = (&'static str, &'static str)> {
    ATTRIBUTES.iter().map(|(name, attribute)| {
        let kind = match attribute {
            Attribute::Text(_) => "string",
            Attribute::Number(_) => "int",
            Attribute::Headers => "map(string, string)",
        };
        (*name, kind)
    })
}

/// Finds the attribute `name`, which is at `span` in the source.
pub(crate) fn find(name: &str, span: Span) -> Result<Attribute, Mistake> {
    match ATTRIBUTES.iter().find(|(known, _)| *known == name) {
        Some((_, attribute)) => Ok(*attribute),
        None => Err(unknown(name, span)),
    }
}

/// Tells whether `name` is the first part of an attribute's name, such as `request`.
pub(crate) fn is_root(name: &str) -> bool {
    ATTRIBUTES.iter().any(|(known, _)| known.split('.').next() == Some(name))
}

fn unknown(name: &str, span: Span) -> Mistake {
    let shown = interceptor_rule::quoted(name);
    if name == "response" || name.starts_with("response.") {
        return Mistake::new(
            span,
            format!(
                "{shown} is not available: a condition is evaluated before the response exists"
            ),
        );
    }
    if is_root(name) {
        let attributes: Vec<String> = ATTRIBUTES
            .iter()
            .filter(|(known, _)| known.split('.').next() == Some(name))
            .map(|(known, _)| format!("`{known}`"))
            .collect();
        return Mistake::new(span, format!("{shown} alone has no value"))
            .suggest(format!("its attributes are {}", attributes.join(", ")));
    }
    let mistake = Mistake::new(span, format!("there is no attribute {shown}"));
    // The name of an attribute without its first part: `headers`, `port`.
    let mut rootless = ATTRIBUTES
        .iter()
        .map(|(known, _)| *known)
        .filter(|known| known.split('.').nth(1) == Some(name));
    let synonym = SYNONYMS.iter().find(|(other, _)| *other == name).map(|(_, known)| *known);
    let meant = synonym
        .or_else(|| rootless.next())
        .or_else(|| interceptor_rule::nearest(name, ATTRIBUTES.iter().map(|(known, _)| *known)));
    if let Some(meant) = meant {
        return mistake.did_you_mean(meant);
    }
    mistake.suggest(if name.contains('.') {
        "attributes begin with `request.`, `source.`, `destination.` or `connection.`"
    } else {
        "write strings in quotes"
    })
}

// === impl TextAttribute ===

impl TextAttribute {
    pub(crate) fn needs(self) -> Needs {
        match self {
            Self::SourceAddress | Self::DestinationAddress => Needs::Connection,
            Self::ServerName => Needs::ServerName,
            _ => Needs::Request,
        }
    }
}
