//! Single blocks; conversations are in `tests/hpack`.

use rstest::rstest;

use super::*;

/// The fields of a block, and how it ends. The same whole and cut at each byte.
fn block(decoder: &mut Decoder, bytes: &[u8]) -> (Vec<(String, String)>, Result<(), HpackError>) {
    let whole = in_pieces(&mut decoder.clone(), [bytes]);
    for at in 0..bytes.len() {
        let (first, second) = bytes.split_at(at);
        assert_eq!(in_pieces(&mut decoder.clone(), [first, second]), whole, "cut at {at}");
    }
    let each = bytes.chunks(1).collect::<Vec<_>>();
    assert_eq!(in_pieces(decoder, each), whole);
    whole
}

fn in_pieces<'a>(
    decoder: &mut Decoder,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> (Vec<(String, String)>, Result<(), HpackError>) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let mut fields = Vec::new();
    for mut piece in pieces {
        loop {
            match decoder.next(&mut piece) {
                Ok(Some(field)) => fields.push((text(field.name), text(field.value))),
                Ok(None) => break,
                Err(error) => {
                    assert_eq!(decoder.next(&mut &b"\x82"[..]), Err(error), "errors are final");
                    assert_eq!(decoder.finish(), Err(error));
                    return (fields, Err(error));
                }
            }
        }
        assert!(piece.is_empty());
    }
    let end = decoder.finish();
    (fields, end)
}

fn end(bytes: &[u8]) -> Result<(), HpackError> {
    block(&mut Decoder::new(100), bytes).1
}

#[rstest]
#[case::nothing(b"", Ok(()))]
#[case::index_zero(b"\x80", Err(HpackError::Index(0)))]
#[case::last_static(b"\xbd", Ok(()))]
#[case::behind_static(b"\xbe", Err(HpackError::Index(62)))]
#[case::name_behind_static(b"\x7e\x00", Err(HpackError::Index(62)))]
#[case::name_without_indexing(b"\x0f\x2f\x00", Err(HpackError::Index(62)))]
#[case::huge_index(b"\xff\x80\xff\xff\xff\x0f", Err(HpackError::Index(u32::MAX)))]
#[case::number(b"\xff\xff\xff\xff\xff\x7f", Err(HpackError::Number))]
#[case::number_of_a_length(b"\x00\x7f\xff\xff\xff\xff\x7f", Err(HpackError::Number))]
#[case::huffman(b"\x00\x81\xff\x00", Err(HpackError::Huffman))]
#[case::long_name(b"\x00\x65", Err(HpackError::TooLong { length: 101, maximum: 100 }))]
#[case::long_value(b"\x04\xe5", Err(HpackError::TooLong { length: 101, maximum: 100 }))]
#[case::sizes_first(b"\x20\x3f\x01\x82", Ok(()))]
#[case::sizes_alone(b"\x20\x3f\x01", Ok(()))]
#[case::late_size(b"\x82\x20", Err(HpackError::LateTableSize))]
#[case::largest_size(b"\x3f\xe1\x1f", Ok(()))]
#[case::large_size(b"\x3f\xe2\x1f", Err(HpackError::TableSize { size: 4097, limit: 4096 }))]
#[case::in_an_index(b"\x82\xff", Err(HpackError::Truncated))]
#[case::in_a_name(b"\x82\x40\x02a", Err(HpackError::Truncated))]
#[case::behind_a_name(b"\x82\x40\x02ab", Err(HpackError::Truncated))]
#[case::in_a_value(b"\x82\x41\x02a", Err(HpackError::Truncated))]
fn a_block_ends(#[case] bytes: &[u8], #[case] expected: Result<(), HpackError>) {
    assert_eq!(end(bytes), expected);
}

#[test]
fn the_next_block_may_begin_with_a_size_again() {
    let mut decoder = Decoder::new(100);
    assert_eq!(block(&mut decoder, b"\x82").1, Ok(()));
    assert_eq!(block(&mut decoder, b"\x20\x82").1, Ok(()));
    assert_eq!(decoder.table_maximum(), 0);
}

#[test]
fn a_lower_limit_obliges_the_next_block() {
    let lowered = |limits: &[u32]| {
        let mut decoder = Decoder::new(100);
        limits.iter().for_each(|limit| decoder.set_limit(*limit));
        decoder
    };
    assert_eq!(block(&mut lowered(&[30]), b"\x82").1, Err(HpackError::NoTableSize(30)));
    assert_eq!(block(&mut lowered(&[30]), b"\x3e\x82").1, Ok(()));
    assert_eq!(block(&mut lowered(&[30]), b"\x20\x82").1, Ok(()));
    assert_eq!(block(&mut lowered(&[30, 40]), b"\x3f\x01\x82").1, Err(HpackError::NoTableSize(30)));
    assert_eq!(block(&mut lowered(&[30, 40]), b"\x3e\x3f\x09\x82").1, Ok(()));
    // Only the first block behind the change.
    let mut decoder = lowered(&[30]);
    assert_eq!(block(&mut decoder, b"\x3e\x82").1, Ok(()));
    assert_eq!(block(&mut decoder, b"\x82").1, Ok(()));
    // The sender had chosen less already.
    let mut decoder = Decoder::new(100);
    assert_eq!(block(&mut decoder, b"\x20").1, Ok(()));
    decoder.set_limit(30);
    assert_eq!(block(&mut decoder, b"\x82").1, Ok(()));
}

#[test]
fn a_field_larger_than_the_table_empties_it_and_keeps_its_name() {
    let mut decoder = Decoder::new(100);
    assert_eq!(block(&mut decoder, b"\x3f\x0b\x40\x03key\x01a").1, Ok(()));
    assert_eq!((decoder.table_size(), decoder.table_maximum()), (36, 42));
    let (fields, end) = block(&mut decoder, b"\x7e\x08too long\xbe");
    assert_eq!(fields, [("key".into(), "too long".into())]);
    assert_eq!(end, Err(HpackError::Index(62)));
    assert_eq!(decoder.table_size(), 0);
}

#[test]
fn the_name_of_an_entry_survives_its_eviction() {
    let mut decoder = Decoder::new(100);
    let (fields, end) = block(&mut decoder, b"\x3f\x0b\x40\x03key\x01a\x7e\x01b\xbe");
    let expected = [("key", "a"), ("key", "b"), ("key", "b")];
    assert_eq!(fields, expected.map(|(name, value)| (name.into(), value.into())));
    assert_eq!(end, Ok(()));
    assert_eq!(decoder.table_size(), 36);
}

#[test]
fn representations_are_kept() {
    let block = b"\x82\x41\x01a\x40\x01n\x01a\x01\x01a\x00\x01n\x01a\x11\x01a\x10\x01n\x01a";
    let (mut decoder, mut piece) = (Decoder::new(100), &block[..]);
    let mut seen = Vec::new();
    while let Some(field) = decoder.next(&mut piece).expect("a block") {
        seen.push(field.representation);
    }
    let literal = |indexing, name_indexed| Representation::Literal { indexing, name_indexed };
    let kinds = [Indexing::Incremental, Indexing::Without, Indexing::Never];
    let expected = kinds.map(|indexing| [literal(indexing, true), literal(indexing, false)]);
    assert_eq!(seen[0], Representation::Indexed);
    assert_eq!(seen[1..], expected.concat());
}

#[test]
fn a_cut_field_is_all_that_a_decoder_holds() {
    let mut block = b"\x00\x01n\x7f\x81\x7d".to_vec();
    block.resize(block.len() + 16_128, b'v');
    block.extend_from_slice(&b"\x82".repeat(50_000));
    let mut decoder = Decoder::new(MAX);
    let (mut first, mut second) = block.split_at(10_000);
    assert_eq!(decoder.next(&mut first), Ok(None));
    let field = decoder.next(&mut second).expect("a field").expect("a field");
    assert_eq!((field.name, field.value.len()), (&b"n"[..], 16_128));
    assert_eq!(second.len(), 50_000);
    assert!(decoder.cut.capacity() < 64 * 1024, "{} bytes", decoder.cut.capacity());
    while decoder.next(&mut second).expect("a field").is_some() {}
    assert_eq!(decoder.finish(), Ok(()));
    assert!(decoder.cut.capacity() <= KEPT && decoder.scratch.capacity() <= KEPT);
}

const MAX: u32 = 1 << 20;
