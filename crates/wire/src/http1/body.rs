//! Where a body ends, RFC 9112 section 6.3.

use super::chunked::Chunked;
use crate::Reason;

/// The body of one message: told what comes, it says how much of that belongs to it. It keeps no bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Body(Kind);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    /// This many bytes are still to come.
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

    /// How many of the bytes that came next belong to the body; if not all, it is done.
    ///
    /// With a length, the bytes are not looked at. In chunks, only what is between their data is.
    ///
    /// # Errors
    /// When the chunks are broken. Where the body ends is unknown then, also at the next call.
    pub fn advance(&mut self, bytes: &[u8]) -> Result<usize, Reason> {
        match &mut self.0 {
            Kind::Length(left) => {
                // No more than a `usize`, since it is no more than `bytes.len()`.
                let taken = (*left).min(bytes.len() as u64);
                *left -= taken;
                Ok(taken as usize)
            }
            Kind::Chunked(chunked) => chunked.advance(bytes),
            Kind::UntilClose => Ok(bytes.len()),
        }
    }

    /// Has all of it come? Never, if it ends with the connection.
    pub fn is_done(&self) -> bool {
        match &self.0 {
            Kind::Length(left) => *left == 0,
            Kind::Chunked(chunked) => chunked.is_done(),
            Kind::UntilClose => false,
        }
    }

    /// Does it end with the connection?
    pub fn is_until_close(&self) -> bool {
        matches!(self.0, Kind::UntilClose)
    }

    /// How many bytes can pass without being looked at: what is left of a length or of a chunk's data. `None` if
    /// there is no end.
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
    fn until_close_takes_everything() {
        let mut body = Body::until_close();
        assert_eq!((body.advance(b"abc"), body.unseen(), body.is_done()), (Ok(3), None, false));
        assert!(body.is_until_close() && !Body::NONE.is_until_close());
    }
}
