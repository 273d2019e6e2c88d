//! Heads that `httparse` refuses although their end is not in doubt.
//!
//! Servers differ in what they make of such a head: most refuse the request, some serve it. All
//! agree on where it ends, so the next request of the connection can still be found. [`plain`]
//! writes a copy that `httparse` reads. The connection itself gets the bytes as they are.
//!
//! | in the head | in the copy |
//! |---|---|
//! | control character in a value, but neither CR nor NUL | U+FFFD |
//! | several spaces between the words of a start line | one space |
//! | bytes of a request target or a reason phrase that are not UTF-8 | U+FFFD |
//! | field whose name has visible ASCII characters that names can't have | nothing |
//! | line that continues the value of the line before (RFC 9112 section 5.2) | one line |
//!
//! The end is in doubt if the odd field resembles one that decides about framing. It is also in
//! doubt if some servers ignore all fields behind it, as behind a line without a colon.

use std::borrow::Cow;

use super::{is_text, is_token};
use crate::Reason;

/// Names of fields that decide about framing, without what is neither a letter nor a digit.
const FRAMING: [&[u8]; 4] = [b"contentlength", b"transferencoding", b"connection", b"upgrade"];

const CRLF: &[u8] = b"\r\n";

/// What stands for a byte that can't be read.
const REPLACEMENT: &str = "\u{fffd}";

/// Writes a copy of `head` that has no odd fields to `copy`. All lines of `head` end in CRLF.
/// Returns the number of fields.
///
/// # Errors
/// [`Reason::HeaderName`] or [`Reason::HeaderValue`] if the end of the message is in doubt.
pub(super) fn plain(head: &[u8], copy: &mut Vec<u8>) -> Result<usize, Reason> {
    copy.clear();
    let mut lines = head.split_inclusive(|byte| *byte == b'\n').skip_while(|line| *line == CRLF);
    let start_line = String::from_utf8_lossy(lines.next().unwrap_or_default());
    let (first, rest) = start_line.split_once(' ').unwrap_or((&start_line, ""));
    copy.extend_from_slice(first.as_bytes());
    for word in rest.split(' ').filter(|word| !word.is_empty()) {
        copy.push(b' ');
        copy.extend_from_slice(word.as_bytes());
    }
    let mut copying = Copying { copy, fields: 0, last: Last::NotContinued };
    for line in lines {
        let line = line.strip_suffix(CRLF).unwrap_or(line);
        if line.contains(&b'\r') || line.contains(&b'\0') {
            return Err(Reason::HeaderValue);
        }
        match line.first() {
            None => copying.copy.extend_from_slice(CRLF),
            Some(b' ' | b'\t') => copying.continuation(line)?,
            Some(_) => copying.field(line)?,
        }
    }
    Ok(copying.fields)
}

/// A copy in the making.
struct Copying<'a> {
    copy: &'a mut Vec<u8>,
    /// Number of fields in it.
    fields: usize,
    last: Last,
}

/// The last field.
enum Last {
    /// It decides about framing, or there is none: its value may not be continued.
    NotContinued,
    /// It is in the copy.
    Copied,
    /// It is left out.
    LeftOut,
}

// === impl Copying ===

impl Copying<'_> {
    /// A line that begins a field.
    fn field(&mut self, line: &[u8]) -> Result<(), Reason> {
        let colon = line.iter().position(|byte| *byte == b':').ok_or(Reason::HeaderName)?;
        let (name, rest) = line.split_at(colon);
        if name.is_empty() || !name.iter().all(u8::is_ascii_graphic) {
            return Err(Reason::HeaderName);
        }
        let is_plain = name.iter().all(|byte| is_token(*byte));
        let is_framing = resembles_framing(name);
        if is_framing && !is_plain {
            return Err(Reason::HeaderName);
        }
        if is_plain {
            self.copy.extend_from_slice(name);
            self.copy.extend_from_slice(&value(rest));
            self.copy.extend_from_slice(CRLF);
            self.fields += 1;
        }
        self.last = match (is_framing, is_plain) {
            (true, _) => Last::NotContinued,
            (false, true) => Last::Copied,
            (false, false) => Last::LeftOut,
        };
        Ok(())
    }

    /// A line that continues the value of the last field.
    fn continuation(&mut self, line: &[u8]) -> Result<(), Reason> {
        let text = line.trim_ascii();
        // Some servers take the line for a field, or for the end of the head.
        let is_framing = match text.iter().position(|byte| *byte == b':') {
            Some(colon) => resembles_framing(&text[..colon]),
            None => text.is_empty(),
        };
        match self.last {
            _ if is_framing => Err(Reason::HeaderName),
            Last::NotContinued => Err(Reason::HeaderName),
            Last::Copied => {
                self.copy.truncate(self.copy.len() - CRLF.len());
                self.copy.push(b' ');
                self.copy.extend_from_slice(&value(text));
                self.copy.extend_from_slice(CRLF);
                Ok(())
            }
            Last::LeftOut => Ok(()),
        }
    }
}

/// Whether the name contains one of [`FRAMING`], whatever stands between its letters.
fn resembles_framing(name: &[u8]) -> bool {
    let letters = name.iter().filter(|byte| byte.is_ascii_alphanumeric());
    let letters = letters.map(u8::to_ascii_lowercase).collect::<Vec<_>>();
    FRAMING.iter().any(|framing| memchr::memmem::find(&letters, framing).is_some())
}

/// A value without control characters. Bytes beyond ASCII stay.
fn value(bytes: &[u8]) -> Cow<'_, [u8]> {
    if bytes.iter().all(|byte| is_text(*byte)) {
        return Cow::Borrowed(bytes);
    }
    let mut value = Vec::with_capacity(bytes.len());
    for byte in bytes {
        match byte {
            byte if is_text(*byte) => value.push(*byte),
            _ => value.extend_from_slice(REPLACEMENT.as_bytes()),
        }
    }
    Cow::Owned(value)
}
