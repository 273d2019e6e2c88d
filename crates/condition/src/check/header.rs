//! Names of headers.

use interceptor_rule::Span;

use crate::attribute::TextAttribute;
use crate::error::Mistake;
use crate::tree::Text;

/// HTTP/2's pseudo-headers, which Envoy has among the headers.
const PSEUDO: [(&str, &str); 4] = [
    (":method", "request.method"),
    (":path", "request.path"),
    (":authority", "request.host"),
    (":scheme", "request.scheme"),
];

/// The header `name`. The name stands at `place`, the whole expression at `span`.
pub(super) fn named(name: &str, place: Span, span: Span) -> Result<Text, Mistake> {
    let shown = interceptor_rule::quoted(name);
    if let Some((_, attribute)) = PSEUDO.iter().find(|(pseudo, _)| *pseudo == name) {
        return Err(
            Mistake::new(span, format!("{shown} is no header here")).did_you_mean(attribute)
        );
    }
    // RFC 9110 section 5.1: a token.
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if name.is_empty() || !name.bytes().all(token) {
        return Err(Mistake::new(place, format!("{shown} is no name of a header")));
    }
    if name.bytes().any(|b| b.is_ascii_uppercase()) {
        return Err(Mistake::new(
            place,
            "the names of headers are in lower case here, whatever was sent",
        )
        .did_you_mean(&format!("\"{}\"", name.to_ascii_lowercase())));
    }
    Ok(match name {
        // HTTP/2 has no such header, and a caller should not have to care.
        "host" => Text::Attribute(TextAttribute::Host, span),
        _ => Text::Header(name.into(), span),
    })
}
