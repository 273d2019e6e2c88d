//! Places in the text of an annotation.

use std::ops::Range;

/// A range of bytes in the parsed text. Both ends are character boundaries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Span {
    /// The first byte.
    pub start: usize,
    /// One after the last byte; equal to `start` where something is missing.
    pub end: usize,
}

impl Span {
    /// From the byte `start` to before the byte `end`, which is not smaller.
    pub fn new(start: usize, end: usize) -> Self {
        debug_assert!(start <= end);
        Self { start, end }
    }

    /// From the start of `self` to the end of `other`.
    pub fn to(self, other: Self) -> Self {
        Self::new(self.start, other.end)
    }

    /// The range that this span covers, to index a string with.
    pub fn range(self) -> Range<usize> {
        self.start..self.end
    }

    /// The covered part of `text`, or nothing when this is a span of some other text.
    pub fn of(self, text: &str) -> &str {
        text.get(self.range()).unwrap_or_default()
    }
}

/// A place as editors count it: both numbers begin with 1, and a column is one character (not byte).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The line; `\n` ends one.
    pub line: usize,
    /// The character in that line.
    pub column: usize,
}

impl Position {
    /// The position of the byte `offset` in `text`; the end of the text if `offset` is beyond it.
    pub fn of(text: &str, offset: usize) -> Self {
        let before = &text[..text.floor_char_boundary(offset)];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Self {
            line: 1 + before.bytes().filter(|byte| *byte == b'\n').count(),
            column: 1 + before[line_start..].chars().count(),
        }
    }
}
