//! Why a header block can't be decoded.

/// A header block that can't be decoded. The tables of its sender and its recipient differ from
/// there on, so that it ends the connection (COMPRESSION_ERROR).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HpackError {
    /// A number that does not fit into 32 bits.
    #[error("a number of the header block exceeds 32 bits")]
    Number,
    /// An index without an entry.
    #[error("index {0} of the header block has no entry in the tables")]
    Index(u32),
    /// The bits of a string are no Huffman code, contain its end symbol, or are padded wrongly.
    #[error("a string of the header block is not a Huffman code")]
    Huffman,
    /// A name or value is longer than the caller allows.
    #[error("a string of the header block has {length} bytes, more than {maximum}")]
    TooLong {
        /// Its encoded length in bytes.
        length: u32,
        /// The maximum that the decoder was made with.
        maximum: u32,
    },
    /// A table size above `SETTINGS_HEADER_TABLE_SIZE`.
    #[error("the header block sets a table of {size} bytes, and {limit} are allowed")]
    TableSize {
        /// The size in bytes.
        size: u32,
        /// The limit in bytes.
        limit: u32,
    },
    /// A table size behind the first field.
    #[error("the header block changes the size of the table behind its first field")]
    LateTableSize,
    /// No table size at the beginning of the block, although the limit was lowered.
    #[error("the header block does not follow a lower limit of {0} bytes for the table")]
    NoTableSize(u32),
    /// The block ends inside a field.
    #[error("the header block ends inside a field")]
    Truncated,
}
