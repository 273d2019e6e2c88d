//! How much is kept of a connection, and how much waits.

/// Maximum length in bytes of the frames of a header block that is decoded, and of any other frame
/// that has to be known whole.
pub(super) const MAX_WHOLE: u32 = 256 << 10;
/// Maximum size in bytes of the fields of a header block.
pub(super) const MAX_FIELDS: usize = 1 << 20;
/// Maximum number of bytes that wait for a socket before nothing more is read for it.
pub(super) const MAX_WAITING: usize = 64 << 10;
/// Maximum number of bytes of all diverted requests of a connection that wait for their servers.
/// Beyond it, the largest one is reset.
pub(super) const MAX_HELD: usize = 8 << 20;
