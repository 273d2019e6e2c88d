//! Finds the end of a body, RFC 9112 section 6.3.

use super::chunked::Chunked;
use crate::Reason;

/// The place in the body of one message. It sees the bytes as they arrive, and tells how many of
/// them belong to the body. It keeps no bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Body(Kind);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    /// The body goes on for this many bytes.
    Length(u64),
    Chunked(Chunked),
    UntilClose,
}

impl Body {
    /// No body, or an empty one.
    pub(super) const NONE: Self = Self(Kind::Length(0));

    pub(super) fn length(length: u64) -> Self {
        Self(Kind::Length(length))
    }

    pub(super) fn chunked() -> Self {
        Self(Kind::Chunked(Chunked::default()))
    }

    pub(super) fn until_close() -> Self {
        Self(Kind::UntilClose)
    }

    /// How many of the next bytes belong to the body. If not all of them do, the body is complete.
    ///
    /// The bytes of a body with a length are not examined. In a chunked body, only the bytes
    /// between the data of chunks are.
    ///
    /// # Errors
    /// [`Reason::Chunk`], [`Reason::ChunkLineTooLong`], [`Reason::Trailer`] or
    /// [`Reason::TrailersTooLong`] if a chunked body is malformed. Its end is unknown, so each
    /// later call fails with the same reason.
    pub fn advance(&mut self, bytes: &[u8]) -> Result<usize, Reason> {
        match &mut self.0 {
            Kind::Length(left) => {
                // Fits into a `usize`, since it is at most `bytes.len()`.
                let taken = (*left).min(bytes.len() as u64);
                *left -= taken;
                Ok(taken as usize)
            }
            Kind::Chunked(chunked) => chunked.advance(bytes),
            Kind::UntilClose => Ok(bytes.len()),
        }
    }

    /// Whether the body is complete. A body that ends with the connection never is.
    pub fn is_done(&self) -> bool {
        match &self.0 {
            Kind::Length(left) => *left == 0,
            Kind::Chunked(chunked) => chunked.is_done(),
            Kind::UntilClose => false,
        }
    }

    /// Whether the body ends with the connection.
    pub fn is_until_close(&self) -> bool {
        matches!(self.0, Kind::UntilClose)
    }

    /// How many of the next bytes need no examination: the rest of the length, or of a chunk's
    /// data. `None` if the body ends with the connection.
    pub fn unseen(&self) -> Option<u64> {
        match &self.0 {
            Kind::Length(left) => Some(*left),
            Kind::Chunked(chunked) => Some(chunked.data_left()),
            Kind::UntilClose => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_is_counted_down() {
        let mut body = Body::length(5);
        assert_eq!((body.advance(b"abc"), body.unseen(), body.is_done()), (Ok(3), Some(2), false));
        assert_eq!((body.advance(b""), body.is_done()), (Ok(0), false));
        assert_eq!((body.advance(b"deGET"), body.is_done()), (Ok(2), true));
        assert_eq!(body.advance(b"GET"), Ok(0));
        assert!(Body::length(0).is_done() && Body::NONE.is_done());
    }

    #[test]
    fn a_body_until_close_takes_all_bytes() {
        let mut body = Body::until_close();
        assert_eq!((body.advance(b"abc"), body.unseen(), body.is_done()), (Ok(3), None, false));
        assert!(body.is_until_close() && !Body::NONE.is_until_close());
    }
}
