//! An endless pattern in which every word depends on its position, so that a lost, doubled or
//! swapped piece shows. It is fast to generate and to check.

use std::io::{self, Read, Write};

/// A position in the pattern.
#[derive(Debug, Default)]
pub(crate) struct Pattern {
    /// The position, in bytes from the start.
    pub(crate) at: u64,
}

const WORD: usize = 8;
const BLOCK: usize = 64 << 10;

// === impl Pattern ===

impl Pattern {
    /// The next `length` bytes, generated in `block`.
    fn next<'a>(&mut self, length: usize, block: &'a mut [u8]) -> &'a [u8] {
        let (first, skipped) = (self.at / WORD as u64, (self.at % WORD as u64) as usize);
        let words = block[..(skipped + length).next_multiple_of(WORD)].chunks_exact_mut(WORD);
        for (number, word) in (first..).zip(words) {
            word.copy_from_slice(&number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes());
        }
        self.at += length as u64;
        &block[skipped..skipped + length]
    }

    /// Writes the next `length` bytes.
    pub(crate) fn write(&mut self, to: &mut impl Write, length: u64) -> io::Result<()> {
        let (end, mut block) = (self.at + length, vec![0; BLOCK + WORD]);
        while self.at < end {
            let length = (end - self.at).min(BLOCK as u64) as usize;
            to.write_all(self.next(length, &mut block))?;
        }
        Ok(())
    }

    /// Reads to the end, and fails at the first difference.
    pub(crate) fn check(&mut self, mut from: impl Read) -> io::Result<()> {
        let (mut buffer, mut block) = (vec![0; BLOCK], vec![0; BLOCK + WORD]);
        while let length @ 1.. = from.read(&mut buffer)? {
            let before = self.at;
            if buffer[..length] != *self.next(length, &mut block) {
                return Err(io::Error::other(format!("a difference behind byte {before}")));
            }
        }
        Ok(())
    }
}
