//! How records show bytes.

/// Bytes as text: printable ASCII, and escapes for all others.
pub fn text(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string().replace("\\r\\n", "\\r\\n\n").trim_end().to_owned()
}
