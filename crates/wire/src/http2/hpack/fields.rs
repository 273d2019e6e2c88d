//! The fields of a header block, in one buffer that blocks can share.

use super::field::{Field, Representation};

/// Fields in order, with their representations.
///
/// [`clear`](Self::clear) keeps the memory for the next block; [`release`](Self::release) gives it
/// back.
#[derive(Debug, Clone, Default)]
pub struct Fields {
    /// Names and values, one behind the other.
    bytes: Vec<u8>,
    entries: Vec<Entry>,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    name_end: usize,
    value_end: usize,
    representation: Representation,
}

// === impl Fields ===

impl Fields {
    /// Adds a field behind the others.
    pub fn push(&mut self, field: Field<'_>) {
        self.bytes.extend_from_slice(field.name);
        let name_end = self.bytes.len();
        self.bytes.extend_from_slice(field.value);
        let (value_end, representation) = (self.bytes.len(), field.representation);
        self.entries.push(Entry { name_end, value_end, representation });
    }

    /// Removes all fields, and keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.entries.clear();
    }

    /// Removes all fields, and gives the memory back.
    pub fn release(&mut self) {
        *self = Self::default();
    }

    /// The fields in order.
    pub fn iter(&self) -> impl Iterator<Item = Field<'_>> {
        let mut start = 0;
        self.entries.iter().map(move |entry| {
            let name = &self.bytes[start..entry.name_end];
            let value = &self.bytes[entry.name_end..entry.value_end];
            start = entry.value_end;
            Field { name, value, representation: entry.representation }
        })
    }

    /// The first value of the field with exactly this name.
    pub fn value(&self, name: &[u8]) -> Option<&[u8]> {
        self.iter().find(|field| field.name == name).map(|field| field.value)
    }

    /// How many fields there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are no fields.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The size of all fields as `SETTINGS_MAX_HEADER_LIST_SIZE` counts it, in bytes.
    pub fn list_size(&self) -> usize {
        self.bytes.len() + self.entries.len() * Field::OVERHEAD as usize
    }
}
