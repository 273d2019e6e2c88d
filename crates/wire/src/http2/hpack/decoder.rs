//! Decodes the header blocks of one direction of a connection.

use super::dynamic_table::DynamicTable;
use super::error::HpackError;
use super::field::{Field, Indexing, Representation};
use super::instruction::{Instruction, Name, Resolved};
use super::static_table;
use crate::http2::settings::DEFAULT_TABLE_SIZE;

/// Bytes of a piece that are added at first to the beginning of a field that was cut.
const FIRST_HELPING: usize = 64;

/// Capacity in bytes that buffers keep from one block to the next.
const KEPT: usize = 1024;

/// Decodes header blocks, with the table that they build up.
///
/// Blocks go in one after the other, each in any number of pieces, and each followed by
/// [`finish`](Self::finish). Errors are final: the table is lost.
#[derive(Debug, Clone)]
pub struct Decoder {
    table: DynamicTable,
    /// `SETTINGS_HEADER_TABLE_SIZE` of the recipient, in bytes.
    limit: u32,
    /// The smallest limit below the table's maximum since the last block. The next block must begin
    /// with a size of at most that.
    lowered: Option<u32>,
    /// Whether the block has had no field yet.
    at_start: bool,
    /// A field that was cut: its beginning, or all of it if `is_spent`.
    cut: Vec<u8>,
    /// Whether `cut` was returned.
    is_spent: bool,
    /// Decoded strings of the last field.
    scratch: Vec<u8>,
    /// Maximum length in bytes of an encoded string.
    maximum: u32,
    error: Option<HpackError>,
}

/// A field by the places of its parts.
enum Located {
    Indexed(u32),
    Literal { indexing: Indexing, name: LocatedName, value: Resolved },
}

enum LocatedName {
    Index(u32),
    Text(Resolved),
    /// That of an entry which was evicted, in the buffer for decoded strings.
    Saved(Resolved),
}

// === impl Decoder ===

impl Decoder {
    /// A decoder for a new connection. Encoded names and values have at most `maximum` bytes each.
    pub fn new(maximum: u32) -> Self {
        Self {
            table: DynamicTable::new(DEFAULT_TABLE_SIZE),
            limit: DEFAULT_TABLE_SIZE,
            lowered: None,
            at_start: true,
            cut: Vec::new(),
            is_spent: false,
            scratch: Vec::new(),
            maximum,
            error: None,
        }
    }

    /// The recipient's `SETTINGS_HEADER_TABLE_SIZE` takes effect: the sender has acknowledged it.
    ///
    /// If one SETTINGS frame has several values, each is set in order. A lower limit obliges the
    /// next block to begin with a table size, RFC 9113 section 4.3.1.
    pub fn set_limit(&mut self, limit: u32) {
        self.limit = limit;
        if limit < self.table.maximum() {
            self.lowered = Some(self.lowered.map_or(limit, |lowered| lowered.min(limit)));
        }
    }

    /// The maximum size of the table in bytes, as the sender has set it.
    pub fn table_maximum(&self) -> u32 {
        self.table.maximum()
    }

    /// The size of the table in bytes, RFC 7541 section 4.1.
    pub fn table_size(&self) -> u32 {
        self.table.size()
    }

    /// The next field of the block whose next bytes `piece` is. `piece` becomes what follows the
    /// field. `None` means that the piece is used up, and no field of it is left.
    ///
    /// # Errors
    ///
    /// The block can't be decoded. Each further call returns the same error.
    pub fn next<'a, 'b: 'a>(
        &'a mut self,
        piece: &mut &'b [u8],
    ) -> Result<Option<Field<'a>>, HpackError> {
        if let Some(error) = self.error {
            return Err(error);
        }
        // The usual field by far: an index in one byte.
        if let [first @ 0x81..=0xfe, rest @ ..] = *piece
            && self.is_between_fields()
            && let index = u32::from(first & 0x7f)
            && self.has(index)
        {
            *piece = rest;
            self.at_start = false;
            return Ok(Some(self.indexed(index)));
        }
        match self.advance(piece) {
            Ok(None) => Ok(None),
            Ok(Some((located, from))) => {
                let bytes = from.unwrap_or(&self.cut);
                Ok(Some(self.field(&located, bytes)))
            }
            Err(error) => {
                self.error = Some(error);
                Err(error)
            }
        }
    }

    /// The block is complete.
    ///
    /// # Errors
    ///
    /// It ends inside a field, or an earlier call returned an error.
    pub fn finish(&mut self) -> Result<(), HpackError> {
        if let Some(error) = self.error {
            return Err(error);
        }
        if !self.cut.is_empty() && !self.is_spent {
            self.error = Some(HpackError::Truncated);
            return Err(HpackError::Truncated);
        }
        self.at_start = true;
        self.cut.clear();
        self.is_spent = false;
        self.scratch.clear();
        self.cut.shrink_to(KEPT);
        self.scratch.shrink_to(KEPT);
        Ok(())
    }

    /// Reads up to the end of the next field. Returns where its parts are: in the returned bytes,
    /// or in `cut`.
    #[expect(clippy::type_complexity, reason = "a pair that one caller takes apart")]
    fn advance<'b>(
        &mut self,
        piece: &mut &'b [u8],
    ) -> Result<Option<(Located, Option<&'b [u8]>)>, HpackError> {
        loop {
            if self.is_spent {
                self.cut.clear();
                self.is_spent = false;
            }
            let (instruction, from) = if self.cut.is_empty() {
                let bytes = *piece;
                let Some((instruction, length)) = Instruction::read(bytes, self.maximum)? else {
                    self.cut.extend_from_slice(bytes);
                    *piece = &[];
                    return Ok(None);
                };
                *piece = &bytes[length..];
                (instruction, Some(bytes))
            } else {
                let Some(instruction) = self.complete_cut(piece)? else { return Ok(None) };
                (instruction, None)
            };
            if let Some(located) = self.execute(instruction, from)? {
                return Ok(Some((located, from)));
            }
        }
    }

    /// Adds bytes to the field that was cut until it is complete. Puts the others back.
    fn complete_cut(&mut self, piece: &mut &[u8]) -> Result<Option<Instruction>, HpackError> {
        let mut helping = FIRST_HELPING;
        while !piece.is_empty() {
            let (bytes, rest) = piece.split_at(piece.len().min(helping));
            self.cut.extend_from_slice(bytes);
            if let Some((instruction, length)) = Instruction::read(&self.cut, self.maximum)? {
                // The instruction was not complete without `bytes`, so its end is in them.
                let surplus = self.cut.len() - length;
                *piece = &piece[bytes.len() - surplus..];
                self.cut.truncate(length);
                self.is_spent = true;
                return Ok(Some(instruction));
            }
            *piece = rest;
            helping *= 2;
        }
        Ok(None)
    }

    /// Executes an instruction that was read from `from`, or else from `cut`. Returns its field.
    fn execute(
        &mut self,
        instruction: Instruction,
        from: Option<&[u8]>,
    ) -> Result<Option<Located>, HpackError> {
        if let Instruction::TableSize(size) = instruction {
            self.set_table_size(size)?;
            return Ok(None);
        }
        if let Some(lowered) = self.lowered {
            return Err(HpackError::NoTableSize(lowered));
        }
        self.at_start = false;
        let (indexing, name, value) = match instruction {
            Instruction::Indexed(index) if self.has(index) => {
                return Ok(Some(Located::Indexed(index)));
            }
            Instruction::Indexed(index) => return Err(HpackError::Index(index)),
            Instruction::Literal { indexing, name, value } => (indexing, name, value),
            Instruction::TableSize(_) => return Ok(None),
        };
        let bytes = from.unwrap_or(&self.cut);
        self.scratch.clear();
        let name = match name {
            Name::Text(text) => LocatedName::Text(text.resolve(bytes, &mut self.scratch)?),
            Name::Index(index) if self.has(index) => LocatedName::Index(index),
            Name::Index(index) => return Err(HpackError::Index(index)),
        };
        let value = value.resolve(bytes, &mut self.scratch)?;
        if indexing != Indexing::Incremental {
            return Ok(Some(Located::Literal { indexing, name, value }));
        }
        let name = self.insert(name, &value, from);
        Ok(Some(Located::Literal { indexing, name, value }))
    }

    /// Adds a field to the table. Returns where its name is then.
    fn insert(&mut self, name: LocatedName, value: &Resolved, from: Option<&[u8]>) -> LocatedName {
        let bytes = from.unwrap_or(&self.cut);
        let content = value.get(bytes, &self.scratch);
        match name {
            LocatedName::Text(text) | LocatedName::Saved(text) => {
                self.table.insert(text.get(bytes, &self.scratch), content);
                LocatedName::Text(text)
            }
            LocatedName::Index(index) => {
                let Some(place) = index.checked_sub(static_table::LENGTH + 1) else {
                    let (name, _) = static_table::get(index).unwrap_or_default();
                    self.table.insert(name, content);
                    return LocatedName::Index(index);
                };
                if self.table.insert_named(place, content) {
                    return LocatedName::Index(static_table::LENGTH + 1);
                }
                // The table is emptied, and the name with it.
                let start = self.scratch.len();
                let name = self.table.get(place).unwrap_or_default().0;
                self.scratch.extend_from_slice(name);
                self.table.evict_all();
                LocatedName::Saved(Resolved::Decoded(start..self.scratch.len()))
            }
        }
    }

    fn set_table_size(&mut self, size: u32) -> Result<(), HpackError> {
        if !self.at_start {
            return Err(HpackError::LateTableSize);
        }
        if size > self.limit {
            return Err(HpackError::TableSize { size, limit: self.limit });
        }
        if let Some(lowered) = self.lowered
            && size > lowered
        {
            return Err(HpackError::NoTableSize(lowered));
        }
        self.lowered = None;
        self.table.set_maximum(size);
        Ok(())
    }

    /// Whether the next byte begins an instruction that is not obliged to be a table size.
    fn is_between_fields(&self) -> bool {
        self.lowered.is_none() && (self.is_spent || self.cut.is_empty())
    }

    /// Whether the tables have an entry with this index.
    fn has(&self, index: u32) -> bool {
        index > 0 && index <= static_table::LENGTH + self.table.len()
    }

    /// The field with an index that the tables have.
    fn indexed(&self, index: u32) -> Field<'_> {
        let entry = match index.checked_sub(static_table::LENGTH + 1) {
            None => static_table::get(index),
            Some(place) => self.table.get(place),
        };
        let (name, value) = entry.unwrap_or_default();
        Field { name, value, representation: Representation::Indexed }
    }

    /// The field whose strings are in `bytes`, in the tables, and in `scratch`.
    fn field<'a>(&'a self, located: &Located, bytes: &'a [u8]) -> Field<'a> {
        let (indexing, name, value) = match located {
            Located::Indexed(index) => return self.indexed(*index),
            Located::Literal { indexing, name, value } => (*indexing, name, value),
        };
        let (name, name_indexed) = match name {
            LocatedName::Index(index) => (self.indexed(*index).name, true),
            LocatedName::Text(text) => (text.get(bytes, &self.scratch), false),
            LocatedName::Saved(text) => (text.get(bytes, &self.scratch), true),
        };
        let value = value.get(bytes, &self.scratch);
        Field { name, value, representation: Representation::Literal { indexing, name_indexed } }
    }
}

#[cfg(test)]
mod tests;
