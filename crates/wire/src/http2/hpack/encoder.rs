//! Encodes header blocks for one direction of a connection.

use super::dynamic_table::DynamicTable;
use super::field::{Field, Indexing, Representation};
use super::fields::Fields;
use super::static_table::{self, Found};
use super::{huffman, integer};
use crate::http2::settings::DEFAULT_TABLE_SIZE;

/// Encodes header blocks, with a table in step with that of the decoder of the peer.
///
/// It keeps the choices of each field's sender:
///
/// - What the sender indexed is an index, if a table has it. If not, the sender's table had it and
///   this one has not: it is added.
/// - What the sender added to its table is added, even if the table has it already.
/// - What the sender kept out of its table stays out, and what it never indexes is marked as that.
/// - A name that was an index is one if a table has the name. A name in full stays that.
///
/// Names and values have the same bytes. Strings have the Huffman code where it is shorter.
#[derive(Debug, Clone)]
pub struct Encoder {
    table: DynamicTable,
    /// `SETTINGS_HEADER_TABLE_SIZE` of the peer, in bytes.
    limit: u32,
    /// Maximum size in bytes that this side wants.
    wanted: u32,
    /// The smallest maximum since the last block, if the next one has to begin with it.
    smallest: Option<u32>,
}

// === impl Encoder ===

impl Encoder {
    /// An encoder for a new connection, with a table of at most `wanted` bytes.
    pub fn new(wanted: u32) -> Self {
        let table = DynamicTable::new(DEFAULT_TABLE_SIZE);
        let mut encoder = Self { table, limit: DEFAULT_TABLE_SIZE, wanted, smallest: None };
        encoder.follow_limit(false);
        encoder
    }

    /// An encoder that goes on where another one ends, behind a whole block. `limit` is the peer's
    /// setting in force, in bytes. The first block empties the table of the peer's decoder, which
    /// has the fields of the other encoder.
    pub fn taking_over(limit: u32, wanted: u32) -> Self {
        let table = DynamicTable::new(limit.min(wanted));
        Self { table, limit, wanted, smallest: Some(0) }
    }

    /// The peer's `SETTINGS_HEADER_TABLE_SIZE` takes effect: this side has acknowledged it, or the
    /// side for which it speaks.
    ///
    /// If one SETTINGS frame has several values, each is set in order.
    pub fn set_limit(&mut self, limit: u32) {
        // A lower limit that leaves the table as it is needs no size. A peer may insist on it.
        let is_lowered = limit < self.limit;
        self.limit = limit;
        self.follow_limit(is_lowered);
    }

    fn follow_limit(&mut self, is_lowered: bool) {
        let maximum = self.limit.min(self.wanted);
        if is_lowered || maximum != self.table.maximum() {
            self.smallest = Some(self.smallest.map_or(maximum, |smallest| smallest.min(maximum)));
            self.table.set_maximum(maximum);
        }
    }

    /// The maximum size of the table in bytes.
    pub fn table_maximum(&self) -> u32 {
        self.table.maximum()
    }

    /// The size of the table in bytes, RFC 7541 section 4.1.
    pub fn table_size(&self) -> u32 {
        self.table.size()
    }

    /// Begins a block: writes the sizes of the table that the peer has to know, RFC 7541 section
    /// 4.2.
    ///
    /// If the table became smaller and then larger, the smallest size comes first. It is zero,
    /// since Go refuses a second size while its table has fields.
    pub fn begin(&mut self, out: &mut Vec<u8>) {
        let Some(smallest) = self.smallest.take() else { return };
        let maximum = self.table.maximum();
        if smallest < maximum {
            self.table.evict_all();
            size_update(out, 0);
        }
        size_update(out, maximum);
    }

    /// Writes the next field of the block.
    pub fn field(&mut self, out: &mut Vec<u8>, field: Field<'_>) {
        let Field { name, value, representation } = field;
        let found = self.find(name, value);
        let (indexing, name_indexed) = match (representation, found.field) {
            (Representation::Indexed, Some(index)) => {
                return integer::write(out, 0x80, 7, index);
            }
            (Representation::Indexed, None) => (Indexing::Incremental, true),
            (Representation::Literal { indexing, name_indexed }, _) => (indexing, name_indexed),
        };
        literal(out, indexing, found.name.filter(|_| name_indexed), field);
        if indexing == Indexing::Incremental {
            self.table.insert(name, value);
        }
    }

    /// A whole block.
    pub fn block(&mut self, fields: &Fields) -> Vec<u8> {
        let mut out = Vec::new();
        self.begin(&mut out);
        fields.iter().for_each(|field| self.field(&mut out, field));
        out
    }

    /// Where the tables have a field, the static one first.
    fn find(&self, name: &[u8], value: &[u8]) -> Found {
        let found = static_table::find(name, value);
        if found.field.is_some() {
            return found;
        }
        let index = |place| static_table::LENGTH + 1 + place;
        let (field, named) = self.table.find(name, value);
        Found { field: field.map(index), name: found.name.or(named.map(index)) }
    }
}

/// Writes a field for a decoder whose table is not known, and which stays as it is: the static
/// table serves, and literals stay out of the table. What must never be indexed is marked as that.
pub fn encode_stateless(out: &mut Vec<u8>, field: Field<'_>) {
    let found = static_table::find(field.name, field.value);
    let indexing = match field.representation {
        Representation::Literal { indexing: Indexing::Never, .. } => Indexing::Never,
        _ => Indexing::Without,
    };
    match found.field {
        Some(index) if indexing != Indexing::Never => integer::write(out, 0x80, 7, index),
        _ => literal(out, indexing, found.name, field),
    }
}

/// Writes a table size of this many bytes, RFC 7541 section 6.3. It may only begin a block.
///
/// In front of fields of [`encode_stateless`], after the peer lowered its limit, it is the smallest
/// limit since the last block: the sender that the table follows sets the last one itself.
pub fn size_update(out: &mut Vec<u8>, size: u32) {
    integer::write(out, 0x20, 5, size);
}

fn literal(out: &mut Vec<u8>, indexing: Indexing, index: Option<u32>, field: Field<'_>) {
    let (first, bits) = match indexing {
        Indexing::Incremental => (0x40, 6),
        Indexing::Without => (0x00, 4),
        Indexing::Never => (0x10, 4),
    };
    integer::write(out, first, bits, index.unwrap_or(0));
    if index.is_none() {
        string(out, field.name);
    }
    string(out, field.value);
}

fn string(out: &mut Vec<u8>, bytes: &[u8]) {
    // The callers' fields are those of blocks, whose lengths have 32 bits. A longer one could not
    // be written by any encoder.
    let length = huffman::encoded_length(bytes);
    if length < bytes.len() {
        integer::write(out, 0x80, 7, length as u32);
        huffman::encode(out, bytes);
    } else {
        integer::write(out, 0x00, 7, bytes.len() as u32);
        out.extend_from_slice(bytes);
    }
}

#[cfg(test)]
mod tests;
