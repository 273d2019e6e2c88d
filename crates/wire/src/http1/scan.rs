//! Looks for the end of a head, each byte once, however the head arrives.
//!
//! `httparse` begins anew each time and takes bare LF for an end of line. So the ends of lines are found here; it sees
//! a head that is complete once, and a head that is not each time lines were added to it, to find a broken line
//! without waiting for the last one. That is at most [`MAX_HEADERS`] times.

use std::mem::MaybeUninit;

use httparse::Header;

use super::{MAX_HEAD, MAX_HEADERS};
use crate::Reason;

/// How far a head that is still arriving was looked at.
///
/// Belongs to the head that the bytes begin with, and starts over by itself when that is complete.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HeadScan {
    /// Bytes that were searched.
    seen: u32,
    /// Where the start line begins: behind the empty lines.
    start: u32,
    /// Where the line begins that has no end yet.
    line: u32,
    /// Lines that are complete, without the empty ones before.
    lines: u16,
}

/// Room for the header fields of one head; needs no initialisation, and no allocation.
#[derive(Debug)]
pub struct Storage<'b>(pub(super) [MaybeUninit<Header<'b>>; MAX_HEADERS]);

/// What is there of a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// All of it: this many bytes.
    Head(usize),
    /// More lines than last time, up to this byte.
    Lines(usize),
    /// No more lines than last time; the bytes from here on are new.
    Bytes(usize),
}

/// A line that is wrong in itself, or one too many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wrong {
    pub(super) reason: Reason,
    /// Where it begins. What is in front of it may be wrong as well, and then comes first.
    pub(super) line: usize,
    /// Where it ends, without LF.
    pub(super) end: usize,
}

impl HeadScan {
    /// Moves on to the end of the head, or of `bytes`.
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
                (false, _) if usize::from(lines) > MAX_HEADERS => {
                    return Err(Wrong { reason: Reason::TooManyHeaders, line, end: lf });
                }
                (false, _) => lines += 1,
            }
            line = lf + 1;
        }
        if bytes.len() >= MAX_HEAD {
            return Err(Wrong { reason: Reason::HeadTooLong, line, end: MAX_HEAD });
        }
        let found = if lines > self.lines { Found::Lines(line) } else { Found::Bytes(from) };
        // All below MAX_HEAD.
        (self.seen, self.line, self.lines) = (searched as u32, line as u32, lines);
        Ok(found)
    }

    /// Where the start line begins.
    pub(super) fn start(&self) -> usize {
        self.start as usize
    }

    /// Is the start line still arriving?
    pub(super) fn in_start_line(&self) -> bool {
        self.lines == 0
    }
}

// === impl Storage ===

impl Storage<'_> {
    /// Empty.
    pub const fn new() -> Self {
        Self([const { MaybeUninit::uninit() }; MAX_HEADERS])
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
    fn lines_are_found_as_they_come() {
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
    fn a_head_may_have_as_many_bytes_as_the_limit() {
        let line = b"GET / HTTP/1.1\r\nA: ";
        let mut head = line.to_vec();
        head.resize(MAX_HEAD - 4, b'a');
        head.extend_from_slice(b"\r\n\r\n");
        assert_eq!(HeadScan::default().advance(&head), Ok(Found::Head(MAX_HEAD)));
        head.insert(20, b'a');
        let wrong = Wrong { reason: Reason::HeadTooLong, line: MAX_HEAD - 1, end: MAX_HEAD };
        assert_eq!(HeadScan::default().advance(&head), Err(wrong));
        // And that is known as soon as it can be.
        assert_eq!(HeadScan::default().advance(&head[..MAX_HEAD]), Err(wrong));
        assert_eq!(
            HeadScan::default().advance(&head[..MAX_HEAD - 1]),
            Ok(Found::Lines(MAX_HEAD - 1))
        );
    }
}
