//! Numbers, RFC 7541 section 5.1: up to 32 bits.

use super::error::HpackError;

/// Maximum number of bytes behind the prefix. Recipients differ about numbers with more zeros in
/// front.
const MAX_CONTINUATION: usize = 5;

/// Reads a number whose prefix has `bits` bits, at the beginning of `bytes`. Returns it with its
/// length in bytes, or `None` if its end is missing.
pub(super) fn read(bytes: &[u8], bits: u32) -> Result<Option<(u32, usize)>, HpackError> {
    let Some((first, rest)) = bytes.split_first() else { return Ok(None) };
    let mask = (1_u32 << bits) - 1;
    let prefix = u32::from(*first) & mask;
    if prefix < mask {
        return Ok(Some((prefix, 1)));
    }
    let mut value = u64::from(prefix);
    for (at, byte) in rest.iter().take(MAX_CONTINUATION).enumerate() {
        value += u64::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            let value = u32::try_from(value).map_err(|_| HpackError::Number)?;
            return Ok(Some((value, at + 2)));
        }
    }
    if rest.len() < MAX_CONTINUATION { Ok(None) } else { Err(HpackError::Number) }
}

/// Writes a number behind a prefix of `bits` bits. `first` has the bits in front of these.
pub(super) fn write(out: &mut Vec<u8>, first: u8, bits: u32, value: u32) {
    let mask = (1_u32 << bits) - 1;
    if value < mask {
        // Fits, since a prefix has at most eight bits.
        out.push(first | value as u8);
        return;
    }
    out.push(first | mask as u8);
    let mut rest = value - mask;
    while rest >= 0x80 {
        out.push(0x80 | (rest & 0x7f) as u8);
        rest >>= 7;
    }
    out.push(rest as u8);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    /// RFC 7541, appendix C.1, and the largest number.
    #[rstest]
    #[case(&[0b1110_1010], 5, 10)]
    #[case(&[0b1111_1111, 0b1001_1010, 0b0000_1010], 5, 1337)]
    #[case(&[0b0010_1010], 8, 42)]
    #[case(&[0xff, 0x80, 0xfe, 0xff, 0xff, 0x0f], 8, u32::MAX)]
    #[case(&[0xff, 0x80, 0x80, 0x80, 0x80, 0x00], 7, 127)]
    fn numbers_are_read(#[case] bytes: &[u8], #[case] bits: u32, #[case] value: u32) {
        assert_eq!(read(bytes, bits), Ok(Some((value, bytes.len()))));
        for end in 0..bytes.len() {
            assert_eq!(read(&bytes[..end], bits), Ok(None), "{end} bytes");
        }
    }

    #[rstest]
    #[case::by_one(&[0xff, 0x81, 0xfe, 0xff, 0xff, 0x0f])]
    #[case::by_far(&[0xff, 0xff, 0xff, 0xff, 0xff, 0x7f])]
    #[case::too_long(&[0xff, 0x80, 0x80, 0x80, 0x80, 0x80])]
    fn numbers_beyond_32_bits_are_refused(#[case] bytes: &[u8]) {
        assert_eq!(read(bytes, 8), Err(HpackError::Number));
    }

    proptest! {
        #[test]
        fn a_number_is_read_as_it_was_written(value: u32, bits in 4..=8_u32, first: u8, behind: u8) {
            let mut out = Vec::new();
            let first = first & !(((1_u32 << bits) - 1) as u8);
            write(&mut out, first, bits, value);
            prop_assert_eq!(out[0] & first, first);
            let length = out.len();
            out.push(behind);
            prop_assert_eq!(read(&out, bits), Ok(Some((value, length))));
        }
    }
}
