//! The protocol between `serve` and `load`: the first byte that a client sends says what it wants.
//!
//! Every answer carries the server's number, so that a load can tell whom it really reached.

use std::collections::BTreeMap;

/// Send back what arrives. The server writes its number over the second byte of the first piece.
pub(crate) const ECHO: u8 = b'E';
/// Read until the client's end, then say what arrived ([`Receipt`]).
pub(crate) const SINK: u8 = b'S';
/// Send bytes, each with the server's number as value, until the client goes.
pub(crate) const FLOOD: u8 = b'F';
/// Answer [`MESSAGE`] bytes with as many, the server's number in the second, and close.
pub(crate) const ONCE: u8 = b'C';

/// Size of the message and the answer of [`ONCE`].
pub(crate) const MESSAGE: usize = 64;

/// How many connections, or streams, each server answered.
pub(crate) type ServedBy = BTreeMap<u8, u64>;

/// What a sink received. Times are nanoseconds of the server's monotonic clock, so receipts of one server can
/// be put together whatever the client's clock says.
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
    fn a_receipt_survives_the_wire() {
        let receipt = Receipt { id: 7, bytes: u64::MAX - 1, first_ns: 12, last_ns: 1 << 40 };
        assert_eq!(Receipt::decode(&receipt.encode()), receipt);
    }
}
