//! Bulk data with a checksum that reveals a lost, doubled or swapped piece.

use std::{
    fmt,
    io::{self, Read, Write},
};

/// A running checksum (FNV-1a, 64 bit). It depends on every byte and its position, and not on how
/// the bytes were cut into pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checksum {
    /// The number of bytes so far.
    pub bytes: u64,
    hash: u64,
}

impl Default for Checksum {
    fn default() -> Self {
        Self { bytes: 0, hash: 0xcbf2_9ce4_8422_2325 }
    }
}

impl Checksum {
    /// The checksum of some bytes.
    pub fn of(bytes: &[u8]) -> Self {
        let mut sum = Self::default();
        sum.add(bytes);
        sum
    }

    /// Adds bytes.
    pub fn add(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        self.hash = bytes
            .iter()
            .fold(self.hash, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3));
    }
}

impl fmt::Display for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes {:016x}", self.bytes, self.hash)
    }
}

/// Writes `bytes` pseudo-random bytes, the same ones on every call, and returns their checksum.
pub fn send(mut to: impl Write, bytes: u64) -> io::Result<Checksum> {
    // The length is a prime, so that a lost or doubled piece of a power of two shifts the pattern.
    let mut block = vec![0; 65_521];
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for byte in &mut block {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        *byte = state as u8;
    }
    let mut sum = Checksum::default();
    while sum.bytes < bytes {
        let length = (bytes - sum.bytes).min(block.len() as u64) as usize;
        to.write_all(&block[..length])?;
        sum.add(&block[..length]);
    }
    Ok(sum)
}

/// Reads to the end of the stream and returns the checksum.
pub fn receive(mut from: impl Read) -> io::Result<Checksum> {
    let mut buffer = vec![0; 64 * 1024];
    let mut sum = Checksum::default();
    loop {
        match from.read(&mut buffer)? {
            0 => return Ok(sum),
            length => sum.add(&buffer[..length]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_reveals_swapped_bytes() {
        let mut bytes = Vec::new();
        let sent = send(&mut bytes, 200_000).expect("write to memory");
        assert_eq!(receive(bytes.as_slice()).expect("read from memory"), sent);

        bytes.swap(10, 70_000);
        assert_ne!(receive(bytes.as_slice()).expect("read from memory"), sent);
    }
}
