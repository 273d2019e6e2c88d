//! Positions in the text of an annotation.

use std::ops::Range;

/// A range of bytes in the parsed text. Both ends are character boundaries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Span {
    /// The offset of the first byte.
    pub start: usize,
    /// The offset after the last byte. Equal to `start` where something is missing.
    pub end: usize,
}

impl Span {
    /// The bytes from `start` up to, but not including, `end`. `end` must not be less than `start`.
    pub fn new(start: usize, end: usize) -> Self {
        debug_assert!(start <= end);
        Self { start, end }
    }

    /// From the start of `self` to the end of `other`.
    pub fn to(self, other: Self) -> Self {
        Self::new(self.start, other.end)
    }

    /// The span as a range that can index a string.
    pub fn range(self) -> Range<usize> {
        self.start..self.end
    }

    /// The part of `text` that the span covers. Empty if the span does not fit `text`.
    pub fn of(self, text: &str) -> &str {
        text.get(self.range()).unwrap_or_default()
    }
}

/// A position as editors count it: both numbers start at 1, and columns count characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The line. Lines end with `\n`.
    pub line: usize,
    /// The character within the line.
    pub column: usize,
}

impl Position {
    /// The position of the byte at `offset` in `text`. An offset past the end means the end.
    pub fn of(text: &str, offset: usize) -> Self {
        let before = &text[..text.floor_char_boundary(offset)];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Self {
            line: 1 + before.bytes().filter(|byte| *byte == b'\n').count(),
            column: 1 + before[line_start..].chars().count(),
        }
    }
}
