//! The protocol between `serve` and `load`. The client's first byte selects a service.
//!
//! Every answer carries the server's number, so that a load knows which server it reached.

use std::collections::BTreeMap;

/// Echo all bytes. The server replaces the second byte of the first read by its number.
pub(crate) const ECHO: u8 = b'E';
/// Read until the client closes its side, then answer with a [`Receipt`].
pub(crate) const SINK: u8 = b'S';
/// Send bytes until the client closes. The value of each byte is the server's number.
pub(crate) const FLOOD: u8 = b'F';
/// Read [`MESSAGE`] bytes, answer with [`MESSAGE`] bytes, and close. The second byte of the answer
/// is the server's number.
pub(crate) const ONCE: u8 = b'C';

/// Size of the message and the answer of [`ONCE`].
pub(crate) const MESSAGE: usize = 64;

/// The number of connections or streams that each server answered, by the server's number.
pub(crate) type ServedBy = BTreeMap<u8, u64>;

/// The result of a sink.
///
/// Times are nanoseconds of the server's monotonic clock, so that the receipts of one server can be
/// combined.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Receipt {
    pub(crate) id: u8,
    pub(crate) bytes: u64,
    pub(crate) first_ns: u64,
    pub(crate) last_ns: u64,
}

impl Receipt {
    pub(crate) const SIZE: usize = 25;

    pub(crate) fn encode(self) -> [u8; Self::SIZE] {
        let mut wire = [0; Self::SIZE];
        wire[0] = self.id;
        wire[1..9].copy_from_slice(&self.bytes.to_le_bytes());
        wire[9..17].copy_from_slice(&self.first_ns.to_le_bytes());
        wire[17..25].copy_from_slice(&self.last_ns.to_le_bytes());
        wire
    }

    pub(crate) fn decode(wire: &[u8; Self::SIZE]) -> Self {
        let number = |at: usize| {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(&wire[at..at + 8]);
            u64::from_le_bytes(bytes)
        };
        Self { id: wire[0], bytes: number(1), first_ns: number(9), last_ns: number(17) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receipt_is_decoded_as_it_was_encoded() {
        let receipt = Receipt { id: 7, bytes: u64::MAX - 1, first_ns: 12, last_ns: 1 << 40 };
        assert_eq!(Receipt::decode(&receipt.encode()), receipt);
    }
}
