//! One instruction of a header block as on the wire, RFC 7541 section 6: where it ends, and where
//! its strings are.

use std::ops::Range;

use super::error::HpackError;
use super::field::Indexing;
use super::huffman;
use super::integer;

/// An instruction, without the content of its strings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Instruction {
    /// The field with this index.
    Indexed(u32),
    /// A field with a value of its own.
    Literal { indexing: Indexing, name: Name, value: Text },
    /// A table size in bytes.
    TableSize(u32),
}

/// The name of a literal field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Name {
    /// That of the field with this index.
    Index(u32),
    Text(Text),
}

/// A string, by its place in the bytes that were read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Text {
    place: Range<usize>,
    is_huffman: bool,
}

// === impl Instruction ===

impl Instruction {
    /// Reads the instruction that `bytes` begin with. Returns it with its length in bytes, or
    /// `None` if its end is missing. Strings have at most `maximum` bytes.
    pub(super) fn read(bytes: &[u8], maximum: u32) -> Result<Option<(Self, usize)>, HpackError> {
        let Some(first) = bytes.first() else { return Ok(None) };
        let (indexing, bits) = match first {
            0x80.. => {
                let index = integer::read(bytes, 7)?;
                return Ok(index.map(|(index, length)| (Self::Indexed(index), length)));
            }
            0x40.. => (Indexing::Incremental, 6),
            0x20.. => {
                let size = integer::read(bytes, 5)?;
                return Ok(size.map(|(size, length)| (Self::TableSize(size), length)));
            }
            0x10.. => (Indexing::Never, 4),
            _ => (Indexing::Without, 4),
        };
        let Some((index, mut end)) = integer::read(bytes, bits)? else { return Ok(None) };
        let name = if index > 0 {
            Name::Index(index)
        } else {
            let Some(text) = Text::read(bytes, end, maximum)? else { return Ok(None) };
            end = text.place.end;
            Name::Text(text)
        };
        let Some(value) = Text::read(bytes, end, maximum)? else { return Ok(None) };
        end = value.place.end;
        Ok(Some((Self::Literal { indexing, name, value }, end)))
    }
}

// === impl Text ===

impl Text {
    /// Reads the string at `start`. `None` if its end is missing.
    fn read(bytes: &[u8], start: usize, maximum: u32) -> Result<Option<Self>, HpackError> {
        let Some(first) = bytes.get(start) else { return Ok(None) };
        let Some((length, prefix)) = integer::read(&bytes[start..], 7)? else { return Ok(None) };
        if length > maximum {
            return Err(HpackError::TooLong { length, maximum });
        }
        let place = start + prefix..start + prefix + length as usize;
        let is_complete = place.end <= bytes.len();
        Ok(is_complete.then_some(Self { place, is_huffman: first & 0x80 != 0 }))
    }

    /// The content of the string: in `bytes`, from which it was read, or decoded into `scratch`.
    /// Returns it with the rest of `scratch`.
    pub(super) fn resolve(
        &self,
        bytes: &[u8],
        scratch: &mut Vec<u8>,
    ) -> Result<Resolved, HpackError> {
        if !self.is_huffman {
            return Ok(Resolved::Plain(self.place.clone()));
        }
        let start = scratch.len();
        huffman::decode(scratch, &bytes[self.place.clone()])?;
        Ok(Resolved::Decoded(start..scratch.len()))
    }
}

/// Where the content of a string is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Resolved {
    /// In the bytes of the block.
    Plain(Range<usize>),
    /// In the buffer for decoded strings.
    Decoded(Range<usize>),
}

// === impl Resolved ===

impl Resolved {
    pub(super) fn get<'a>(&self, bytes: &'a [u8], scratch: &'a [u8]) -> &'a [u8] {
        match self {
            Self::Plain(place) => &bytes[place.clone()],
            Self::Decoded(place) => &scratch[place.clone()],
        }
    }
}
