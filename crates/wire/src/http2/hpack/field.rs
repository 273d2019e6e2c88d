//! A header field and the representation that its sender chose.

/// A header field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field<'a> {
    /// The name, in any case and with any bytes.
    pub name: &'a [u8],
    /// The value.
    pub value: &'a [u8],
    /// How the sender encoded the field.
    pub representation: Representation,
}

/// How a field is encoded, RFC 7541 section 6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Representation {
    /// An index of name and value.
    Indexed,
    /// A value, behind a name or the index of one.
    Literal {
        /// Whether the field goes into tables.
        indexing: Indexing,
        /// Whether the name is an index.
        name_indexed: bool,
    },
}

/// Whether a literal field goes into tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Indexing {
    /// The recipient adds it to its table.
    Incremental,
    /// It stays out of the table of this connection.
    Without,
    /// It stays out of the tables of all further connections, too: a secret.
    Never,
}

// === impl Field ===

impl Field<'_> {
    /// What an entry of a table takes beyond its name and value, RFC 7541 section 4.1.
    pub const OVERHEAD: u32 = 32;

    /// The size of the field in tables and for `SETTINGS_MAX_HEADER_LIST_SIZE`, in bytes.
    pub fn size(&self) -> usize {
        self.name.len() + self.value.len() + Self::OVERHEAD as usize
    }
}
