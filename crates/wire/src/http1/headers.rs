//! The header fields of a message.

use std::ops::Deref;

use httparse::Header;

/// The header fields of a message in the order sent, without the white space around values.
///
/// Of a head with odd fields, these are the fields that can be read: names with characters that
/// names can't have are missing, and U+FFFD stands for control characters in values.
#[derive(Debug, Clone)]
pub struct Headers<'a>(List<'a>);

#[derive(Debug, Clone)]
enum List<'a> {
    Borrowed(&'a [Header<'a>]),
    Owned(Vec<Header<'a>>),
}

// === impl Headers ===

impl<'a> Headers<'a> {
    /// Of an odd head, or one with many fields.
    pub(super) fn owned(list: Vec<Header<'a>>) -> Self {
        Self(List::Owned(list))
    }
}

impl<'a> From<&'a [Header<'a>]> for Headers<'a> {
    fn from(list: &'a [Header<'a>]) -> Self {
        Self(List::Borrowed(list))
    }
}

impl<'a> Deref for Headers<'a> {
    type Target = [Header<'a>];

    fn deref(&self) -> &[Header<'a>] {
        match &self.0 {
            List::Borrowed(list) => list,
            List::Owned(list) => list,
        }
    }
}
