//! Names of hosts, whose letter case has no meaning (RFC 4343; RFC 9110 section 4.2.3).
//!
//! A condition compares them without case, whichever spelling it and the client use.

use interceptor_rule::Span;

use super::attribute_of;
use crate::attribute::TextAttribute;
use crate::tree::{Change, Text};

/// Whether `text` is the unchanged name of a host.
pub(super) fn is_name(text: &Text) -> bool {
    matches!(attribute_of(text), Some(TextAttribute::ServerName | TextAttribute::Host))
}

/// The two texts as they have to be compared: in lower case if one of them is a name. They are at
/// `spans`.
pub(super) fn without_case(texts: [Text; 2], spans: [Span; 2]) -> [Text; 2] {
    if !texts.iter().any(is_name) {
        return texts;
    }
    let [left, right] = texts;
    [lower_case(left, spans[0]), lower_case(right, spans[1])]
}

/// `text` in lower case. It is at `span`.
pub(super) fn lower_case(text: Text, span: Span) -> Text {
    match text {
        Text::Constant(text) => Text::Constant(text.to_ascii_lowercase().into()),
        // Has no capitals.
        Text::Attribute(TextAttribute::ServerName, _) => text,
        text => Text::Changed(Change::LowerCase, Box::new(text), span),
    }
}
