//! Checks the names of headers.

use interceptor_rule::Span;

use crate::attribute::TextAttribute;
use crate::error::Mistake;
use crate::tree::Text;

/// The problem with a header name that is an expression.
pub(super) const NOT_LITERAL: &str = "a header name must be a quoted string";

/// HTTP/2's pseudo-headers, which Envoy keeps among the headers.
const PSEUDO: [(&str, &str); 4] = [
    (":method", "request.method"),
    (":path", "request.path"),
    (":authority", "request.host"),
    (":scheme", "request.scheme"),
];

/// The value of the header `name`. The name is at `place`, and the whole expression at `span`.
pub(super) fn named(name: &str, place: Span, span: Span) -> Result<Text, Mistake> {
    let shown = interceptor_rule::quoted(name);
    if let Some((_, attribute)) = PSEUDO.iter().find(|(pseudo, _)| *pseudo == name) {
        return Err(
            Mistake::new(span, format!("{shown} is not a header here")).did_you_mean(attribute)
        );
    }
    // RFC 9110 section 5.1: a header name is a token.
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if name.is_empty() || !name.bytes().all(token) {
        return Err(Mistake::new(place, format!("{shown} is not a valid header name")));
    }
    if name.bytes().any(|b| b.is_ascii_uppercase()) {
        return Err(Mistake::new(
            place,
            "write header names in lower case; the client's spelling does not matter",
        )
        .did_you_mean(&format!("\"{}\"", name.to_ascii_lowercase())));
    }
    Ok(match name {
        // HTTP/2 has `:authority` in its place. Conditions need not care about the difference.
        "host" => Text::Attribute(TextAttribute::Host, span),
        _ => Text::Header(name.into(), span),
    })
}
