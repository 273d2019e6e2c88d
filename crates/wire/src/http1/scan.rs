//! Finds the end of a head. It searches each byte once, however many reads the head arrives in.
//!
//! `httparse` starts over at each call and accepts bare LF as the end of a line. So this module
//! finds the ends of lines. `httparse` reads a complete head once. It also reads a head that is
//! still arriving each time that complete lines were added, at most [`USUAL_FIELDS`] times: so a
//! malformed line is found before the last line arrives.

use std::mem::MaybeUninit;

use httparse::Header;

use super::MAX_HEAD;
use crate::Reason;

/// Number of fields that a head may have without an allocation.
const USUAL_FIELDS: usize = 128;

/// The place that the search for the end of a head has reached.
///
/// It belongs to the head that the bytes begin with, and is reset when that head is complete.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HeadScan {
    /// Number of bytes searched.
    seen: u32,
    /// Offset of the start line: it follows the empty lines.
    start: u32,
    /// Offset of the line whose end has not arrived.
    line: u32,
    /// Number of complete lines, without the empty ones in front.
    lines: u16,
}

/// Space for the header fields of one head. It is neither initialised nor, for usual heads,
/// allocated.
#[derive(Debug)]
pub struct Storage<'b> {
    pub(super) fields: [MaybeUninit<Header<'b>>; USUAL_FIELDS],
    /// The copy of an odd head.
    pub(super) copy: Vec<u8>,
}

/// The part of a head that has arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// The whole head, of this many bytes.
    Head(usize),
    /// More complete lines than at the last call, up to this offset.
    Lines(usize),
    /// No more complete lines than at the last call, or more than are checked before the head is
    /// complete. The bytes from this offset on are new.
    Bytes(usize),
}

/// A line that is malformed, or too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wrong {
    pub(super) reason: Reason,
    /// Offset of the line. There may be an earlier error in front of it.
    pub(super) line: usize,
    /// Offset of the line's end, without LF.
    pub(super) end: usize,
}

impl HeadScan {
    /// Searches up to the end of the head, or of `bytes`.
    ///
    /// # Errors
    /// When a line does not end in CRLF, or the head has too many bytes.
    pub(super) fn advance(&mut self, bytes: &[u8]) -> Result<Found, Wrong> {
        let searched = bytes.len().min(MAX_HEAD);
        let from = self.seen as usize;
        let (mut line, mut lines) = (self.line as usize, self.lines);
        for found in memchr::memchr_iter(b'\n', bytes.get(from..searched).unwrap_or_default()) {
            let lf = from + found;
            if lf == line || bytes[lf - 1] != b'\r' {
                return Err(Wrong { reason: Reason::LineEnd, line, end: lf });
            }
            match (lf - line == 1, lines) {
                (true, 0) => self.start = lf as u32 + 1,
                (true, _) => {
                    *self = Self::default();
                    return Ok(Found::Head(lf + 1));
                }
                (false, _) => lines += 1,
            }
            line = lf + 1;
        }
        if bytes.len() >= MAX_HEAD {
            return Err(Wrong { reason: Reason::HeadTooLong, line, end: MAX_HEAD });
        }
        let is_checked = lines > self.lines && usize::from(lines) <= USUAL_FIELDS;
        let found = if is_checked { Found::Lines(line) } else { Found::Bytes(from) };
        // All three are below MAX_HEAD.
        (self.seen, self.line, self.lines) = (searched as u32, line as u32, lines);
        Ok(found)
    }

    /// Offset of the start line.
    pub(super) fn start(&self) -> usize {
        self.start as usize
    }

    /// Whether the start line is still arriving.
    pub(super) fn in_start_line(&self) -> bool {
        self.lines == 0
    }
}

// === impl Storage ===

impl Storage<'_> {
    /// Space that holds no fields.
    pub const fn new() -> Self {
        Self { fields: [const { MaybeUninit::uninit() }; USUAL_FIELDS], copy: Vec::new() }
    }
}

impl Default for Storage<'_> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_found_as_they_arrive() {
        let head = b"\r\nGET / HTTP/1.1\r\nA: b\r\n\r\nGET";
        let mut scan = HeadScan::default();
        let found = (0..=head.len())
            .map(|end| scan.advance(&head[..end]))
            .take_while(|found| !matches!(found, Ok(Found::Head(_))))
            .filter(|found| !matches!(found, Ok(Found::Bytes(_))))
            .collect::<Vec<_>>();
        assert_eq!(found, [Ok(Found::Lines(18)), Ok(Found::Lines(24))]);
        assert_eq!(HeadScan::default().advance(head), Ok(Found::Head(26)));
    }

    #[test]
    fn a_head_has_a_maximum_length() {
        let line = b"GET / HTTP/1.1\r\nA: ";
        let mut head = line.to_vec();
        head.resize(MAX_HEAD - 4, b'a');
        head.extend_from_slice(b"\r\n\r\n");
        assert_eq!(HeadScan::default().advance(&head), Ok(Found::Head(MAX_HEAD)));
        head.insert(20, b'a');
        let wrong = Wrong { reason: Reason::HeadTooLong, line: MAX_HEAD - 1, end: MAX_HEAD };
        assert_eq!(HeadScan::default().advance(&head), Err(wrong));
        // The error is found as soon as the last allowed byte is not the end.
        assert_eq!(HeadScan::default().advance(&head[..MAX_HEAD]), Err(wrong));
        assert_eq!(
            HeadScan::default().advance(&head[..MAX_HEAD - 1]),
            Ok(Found::Lines(MAX_HEAD - 1))
        );
    }
}
