//! The tables against a decoder that reads bit by bit.

use std::collections::HashMap;

use proptest::collection::vec;
use proptest::prelude::*;
use rstest::rstest;

use super::*;

fn decoded(bytes: &[u8]) -> Result<Vec<u8>, HpackError> {
    let mut out = b"before".to_vec();
    decode(&mut out, bytes)?;
    assert!(out.starts_with(b"before"));
    Ok(out.split_off(6))
}

/// Reads bit by bit.
fn reference(bytes: &[u8]) -> Result<Vec<u8>, HpackError> {
    let codes = (0..SYMBOLS).map(|symbol| ((ORDER.codes[symbol], LENGTHS[symbol]), symbol));
    let codes = codes.collect::<HashMap<_, _>>();
    let (mut out, mut code, mut length) = (Vec::new(), 0_u32, 0);
    for at in 0..8 * bytes.len() {
        code = code << 1 | u32::from(bytes[at / 8] >> (7 - at % 8) & 1);
        length += 1;
        if let Some(symbol) = codes.get(&(code, length)) {
            out.push(u8::try_from(*symbol).map_err(|_| HpackError::Huffman)?);
            (code, length) = (0, 0);
        }
    }
    let is_padding = length < 8 && code == (1 << length) - 1;
    if is_padding { Ok(out) } else { Err(HpackError::Huffman) }
}

/// RFC 7541, appendix C.4 and C.6.
#[rstest]
#[case("www.example.com", b"\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff")]
#[case("no-cache", b"\xa8\xeb\x10\x64\x9c\xbf")]
#[case("custom-key", b"\x25\xa8\x49\xe9\x5b\xa9\x7d\x7f")]
#[case("custom-value", b"\x25\xa8\x49\xe9\x5b\xb8\xe8\xb4\xbf")]
#[case("302", b"\x64\x02")]
#[case("private", b"\xae\xc3\x77\x1a\x4b")]
#[case(
    "Mon, 21 Oct 2013 20:13:21 GMT",
    b"\xd0\x7a\xbe\x94\x10\x54\xd4\x44\xa8\x20\x05\x95\x04\x0b\x81\x66\xe0\x82\xa6\x2d\x1b\xff"
)]
#[case(
    "https://www.example.com",
    b"\x9d\x29\xad\x17\x18\x63\xc7\x8f\x0b\x97\xc8\xe9\xae\x82\xae\x43\xd3"
)]
#[case("", b"")]
fn strings_have_the_code_of_the_standard(#[case] text: &str, #[case] code: &[u8]) {
    let mut out = Vec::new();
    encode(&mut out, text.as_bytes());
    assert_eq!(out, code);
    assert_eq!(encoded_length(text.as_bytes()), out.len());
    assert_eq!(decoded(&out), Ok(text.as_bytes().to_vec()));
}

#[test]
fn the_code_is_complete() {
    let sum = LENGTHS.iter().map(|length| 1_u64 << (LONGEST - usize::from(*length))).sum::<u64>();
    assert_eq!(sum, 1 << LONGEST);
    assert_eq!(ORDER.codes[END], (1 << LONGEST) - 1);
}

#[rstest]
#[case::end_symbol(&[0xff, 0xff, 0xff, 0xfc])]
#[case::end_symbol_and_padding(&[0xff, 0xff, 0xff, 0xff])]
#[case::a_byte_of_padding(&[0xff])]
#[case::more_than_a_byte_of_padding(&[0x1f, 0xff])]
#[case::zeros_as_padding(&[0x18])]
#[case::the_beginning_of_a_code(&[0xff, 0xf0])]
fn other_bits_are_refused(#[case] bytes: &[u8]) {
    assert_eq!(decoded(bytes), Err(HpackError::Huffman));
    assert_eq!(reference(bytes), Err(HpackError::Huffman));
    for ahead in 0..12 {
        let mut all = Vec::new();
        encode(&mut all, &b"&&&&&&&&&&&&"[..ahead]);
        all.extend_from_slice(bytes);
        assert_eq!(decoded(&all), reference(&all), "{ahead} bytes ahead");
    }
}

proptest! {
    #[test]
    fn a_string_is_decoded_as_it_was_encoded(
        bytes in prop_oneof![vec(any::<u8>(), 0..100), vec(b' '..=b'~', 0..300)]
    ) {
        let mut out = Vec::new();
        encode(&mut out, &bytes);
        prop_assert_eq!(encoded_length(&bytes), out.len());
        prop_assert_eq!(decoded(&out), Ok(bytes.clone()));
        prop_assert_eq!(reference(&out), Ok(bytes));
    }

    #[test]
    fn any_bits_are_decoded_as_bit_by_bit(
        bytes in vec(prop_oneof![any::<u8>(), Just(0xff)], 0..40)
    ) {
        prop_assert_eq!(decoded(&bytes), reference(&bytes));
    }

    /// Random bits seldom end in legal padding, so that the end is made of the code itself.
    #[test]
    fn any_end_is_decoded_as_bit_by_bit(
        text in vec(any::<u8>(), 0..20), cut in 0..4_usize, last: u8
    ) {
        let mut bytes = Vec::new();
        encode(&mut bytes, &text);
        bytes.truncate(bytes.len().saturating_sub(cut));
        prop_assert_eq!(decoded(&bytes), reference(&bytes));
        bytes.push(last);
        prop_assert_eq!(decoded(&bytes), reference(&bytes));
    }
}
