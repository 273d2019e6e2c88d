//! The Huffman code of strings, RFC 7541 section 5.2 and appendix B.
//!
//! The code is canonical: shorter codes have lower values, and codes of the same length are in the
//! order of their symbols. Lengths therefore tell everything, and the tables are computed from
//! them.

use super::error::HpackError;

/// The length of each symbol's code in bits. The last symbol is the end of a string.
#[rustfmt::skip]
const LENGTHS: [u8; SYMBOLS] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28,
    28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
    6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6,
    5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
    13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5,
    6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28,
    20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23,
    24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23,
    21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25,
    19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
    20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
    30,
];

const SYMBOLS: usize = 257;

/// The symbol that no string contains. Its first bits, all ones, pad the last byte.
const END: usize = 256;

/// The longest code in bits.
const LONGEST: usize = 30;

/// How many bits a lookup decodes at once. Only control characters, some punctuation and bytes
/// beyond ASCII have longer codes.
const LOOKUP: u32 = 10;

/// By the next [`LOOKUP`] bits: the symbol of the code that they begin with and its length, which
/// is zero if the code is longer.
static SHORT: [(u8, u8); 1 << LOOKUP] = short();

/// The canonical order of the code.
struct Order {
    /// The codes by their symbols.
    codes: [u32; SYMBOLS],
    /// The symbols by their codes.
    symbols: [u16; SYMBOLS],
    /// By length: where its codes begin in `symbols`, and the first of its codes.
    first: [(u16, u32); LONGEST + 1],
    /// By length: the lowest value of 32 bits that does not begin with a code of at most that
    /// length.
    end: [u64; LONGEST + 1],
}

static ORDER: Order = order();

const fn order() -> Order {
    let (mut codes, mut symbols) = ([0; SYMBOLS], [0; SYMBOLS]);
    let (mut first, mut end) = ([(0, 0); LONGEST + 1], [0; LONGEST + 1]);
    let (mut length, mut code, mut place) = (1, 0, 0);
    while length <= LONGEST {
        first[length] = (place as u16, code);
        let mut symbol = 0;
        while symbol < SYMBOLS {
            if LENGTHS[symbol] as usize == length {
                codes[symbol] = code;
                symbols[place] = symbol as u16;
                code += 1;
                place += 1;
            }
            symbol += 1;
        }
        end[length] = (code as u64) << (32 - length);
        code <<= 1;
        length += 1;
    }
    Order { codes, symbols, first, end }
}

const fn short() -> [(u8, u8); 1 << LOOKUP] {
    let mut table = [(0, 0); 1 << LOOKUP];
    let codes = order().codes;
    let mut symbol = 0;
    while symbol < END {
        let length = LENGTHS[symbol] as u32;
        if length <= LOOKUP {
            let mut at = (codes[symbol] << (LOOKUP - length)) as usize;
            let end = at + (1 << (LOOKUP - length));
            while at < end {
                table[at] = (symbol as u8, length as u8);
                at += 1;
            }
        }
        symbol += 1;
    }
    table
}

/// The length of `bytes` as a Huffman code, in bytes.
pub(super) fn encoded_length(bytes: &[u8]) -> usize {
    let bits = bytes.iter().map(|byte| usize::from(LENGTHS[usize::from(*byte)])).sum::<usize>();
    bits.div_ceil(8)
}

/// Appends the Huffman code of `bytes`.
pub(super) fn encode(out: &mut Vec<u8>, bytes: &[u8]) {
    // The bits that are not written yet: less than eight, and those of one code.
    let (mut bits, mut count) = (0_u64, 0_u32);
    for byte in bytes {
        let symbol = usize::from(*byte);
        let length = u32::from(LENGTHS[symbol]);
        bits = bits << length | u64::from(ORDER.codes[symbol]);
        count += length;
        while count >= 8 {
            count -= 8;
            out.push((bits >> count) as u8);
        }
    }
    if count > 0 {
        let padding = 8 - count;
        out.push((bits << padding) as u8 | ((1_u16 << padding) - 1) as u8);
    }
}

/// Appends the string whose Huffman code `bytes` are.
pub(super) fn decode(out: &mut Vec<u8>, bytes: &[u8]) -> Result<(), HpackError> {
    // The shortest code has five bits.
    out.reserve(bytes.len() * 8 / 5);
    let mut rest = bytes;
    // The next bits, the first one the highest, with ones behind the last. `count` are real.
    let (mut bits, mut count) = (u64::MAX, 0_u32);
    loop {
        if let Some((word, _)) = rest.split_first_chunk() {
            let room = (64 - count) / 8;
            let word = u64::from_be_bytes(*word);
            bits = bits & !(u64::MAX.checked_shr(count).unwrap_or_default())
                | word.checked_shr(count).unwrap_or_default();
            count += 8 * room;
            bits |= u64::MAX.checked_shr(count).unwrap_or_default();
            rest = &rest[room as usize..];
        } else {
            while count <= 56
                && let Some((byte, behind)) = rest.split_first()
            {
                bits &= !(0xff_u64 << (56 - count)) | u64::from(*byte) << (56 - count);
                count += 8;
                rest = behind;
            }
        }
        let enough = if rest.is_empty() { 1 } else { LONGEST as u32 };
        while count >= enough {
            let (symbol, length) = SHORT[(bits >> (64 - LOOKUP)) as usize];
            let (symbol, length) = match length {
                0 => long(bits),
                _ => (usize::from(symbol), u32::from(length)),
            };
            if length > count {
                // Only padding is left: less than a byte of ones.
                let is_padding = count < 8 && bits == u64::MAX;
                return if is_padding { Ok(()) } else { Err(HpackError::Huffman) };
            }
            if symbol == END {
                return Err(HpackError::Huffman);
            }
            out.push(symbol as u8);
            bits = bits << length | ((1 << length) - 1);
            count -= length;
        }
        if count == 0 && rest.is_empty() {
            return Ok(());
        }
    }
}

/// The symbol and length of a code that is longer than a lookup.
#[cold]
fn long(bits: u64) -> (usize, u32) {
    let top = bits >> 32;
    // The end symbol is the last code, and has the longest length.
    let length = (LOOKUP as usize + 1..LONGEST).find(|length| top < ORDER.end[*length]);
    let length = length.unwrap_or(LONGEST);
    let (place, code) = ORDER.first[length];
    let at = usize::from(place) + ((top as usize) >> (32 - length)) - code as usize;
    (usize::from(ORDER.symbols[at]), length as u32)
}

#[cfg(test)]
mod tests;
