//! The end of the daemon: GOAWAY to the client, and FIN behind the last stream (RFC 9113, section
//! 6.8).
//!
//! 1. GOAWAY with the highest possible stream, and a PING. Streams that cross it pass as before.
//! 2. The client's ACK of that PING shows that it knows. GOAWAY names the highest stream that it
//!    has opened.
//! 3. Without open streams, the connection ends.
//!
//! The app sees a client that closes. The ACK is the relay's, and does not reach it.

use std::hash::{BuildHasher as _, RandomState};

use interceptor_wire::http2::StreamId;

/// How far a client has been asked to open no more streams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Farewell {
    /// It has not.
    #[default]
    None,
    /// It was, and has not acknowledged the PING behind that.
    Asked { ping: [u8; 8] },
    /// It knows. It was not told which stream is the last one.
    Known,
    /// It was told that this stream is the last one.
    Told { last: StreamId },
}

// === impl Farewell ===

impl Farewell {
    /// The client was asked, and a PING was sent that carries what this state has.
    pub(super) fn asked() -> Self {
        Self::Asked { ping: RandomState::new().hash_one(0).to_be_bytes() }
    }

    /// The client has acknowledged a PING. Whether it was that of the question.
    pub(super) fn answered(&mut self, opaque: [u8; 8]) -> bool {
        let is_answer = *self == Self::Asked { ping: opaque };
        if is_answer {
            *self = Self::Known;
        }
        is_answer
    }

    /// The stream that GOAWAY of the app may name. It never rises again.
    pub(super) fn limit(&self, last: StreamId) -> StreamId {
        match *self {
            Self::Told { last: told } => last.min(told),
            Self::None | Self::Asked { .. } | Self::Known => last,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_answer_to_the_question_counts() {
        let mut farewell = Farewell::asked();
        let Farewell::Asked { ping } = farewell else { panic!("{farewell:?}") };
        let mut other = ping;
        other[0] ^= 1;
        assert!(!farewell.answered(other));
        assert!(farewell.answered(ping));
        assert_eq!(farewell, Farewell::Known);
        assert!(!farewell.answered(ping));
    }

    #[test]
    fn the_last_stream_never_rises() {
        let id = |number| StreamId::new(number).expect("a number of 31 bits");
        assert_eq!(Farewell::asked().limit(id(9)), id(9));
        let told = Farewell::Told { last: id(5) };
        assert_eq!([told.limit(id(9)), told.limit(id(3))], [id(5), id(3)]);
    }
}
