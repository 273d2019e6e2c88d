//! Bytes of single fields and table sizes; that a decoder understands them is in `tests/hpack`.

use rstest::rstest;

use super::*;

fn field<'a>(name: &'a str, value: &'a str, representation: Representation) -> Field<'a> {
    Field { name: name.as_bytes(), value: value.as_bytes(), representation }
}

const fn literal(indexing: Indexing, name_indexed: bool) -> Representation {
    Representation::Literal { indexing, name_indexed }
}

const INDEXED: Representation = Representation::Indexed;

/// The table has `key: a` from the field in front.
#[rstest]
#[case::indexed_static(":method", "GET", INDEXED, b"\x82")]
#[case::indexed("key", "a", INDEXED, b"\xbe")]
#[case::indexed_elsewhere("key", "b", INDEXED, b"\x7e\x01b")]
#[case::indexed_elsewhere_with_a_name("k", "b", INDEXED, b"\x40\x01k\x01b")]
#[case::added("key", "a", literal(Indexing::Incremental, true), b"\x7e\x01a")]
#[case::added_in_full("key", "a", literal(Indexing::Incremental, false), b"\x40\x03key\x01a")]
#[case::added_static("age", "1", literal(Indexing::Incremental, true), b"\x55\x011")]
#[case::without("age", "1", literal(Indexing::Without, true), b"\x0f\x06\x011")]
#[case::without_in_full("key", "1", literal(Indexing::Without, false), b"\x00\x03key\x011")]
#[case::never(":path", "/", literal(Indexing::Never, true), b"\x14\x01/")]
#[case::never_in_full("key", "/", literal(Indexing::Never, false), b"\x10\x03key\x01/")]
fn the_senders_choices_are_kept(
    #[case] name: &str,
    #[case] value: &str,
    #[case] representation: Representation,
    #[case] expected: &[u8],
) {
    let (mut encoder, mut out) = (Encoder::new(4096), Vec::new());
    encoder.begin(&mut out);
    encoder.field(&mut out, field("key", "a", literal(Indexing::Incremental, true)));
    out.clear();
    encoder.field(&mut out, field(name, value, representation));
    assert_eq!(out, expected);
}

#[rstest]
#[case::field(":status", "200", INDEXED, b"\x88")]
#[case::added_field(":status", "200", literal(Indexing::Incremental, false), b"\x88")]
#[case::never(":status", "200", literal(Indexing::Never, true), b"\x18\x82\x10\x01")]
#[case::name("age", "1", INDEXED, b"\x0f\x06\x011")]
#[case::added("age", "1", literal(Indexing::Incremental, true), b"\x0f\x06\x011")]
#[case::in_full("key", "1", INDEXED, b"\x00\x03key\x011")]
#[case::never_in_full("key", "1", literal(Indexing::Never, true), b"\x10\x03key\x011")]
fn the_table_of_another_encoder_stays_as_it_is(
    #[case] name: &str,
    #[case] value: &str,
    #[case] representation: Representation,
    #[case] expected: &[u8],
) {
    let mut out = Vec::new();
    encode_stateless(&mut out, field(name, value, representation));
    assert_eq!(out, expected);
}

fn sizes(encoder: &mut Encoder) -> Vec<u8> {
    let mut out = Vec::new();
    encoder.begin(&mut out);
    out
}

#[test]
fn zero_and_the_last_size_begin_a_block_if_the_table_was_smaller_between() {
    let mut encoder = Encoder::new(8192);
    assert_eq!(sizes(&mut encoder), b"");
    encoder.set_limit(100);
    assert_eq!(sizes(&mut encoder), b"\x3f\x45");
    assert_eq!(sizes(&mut encoder), b"");
    encoder.set_limit(10);
    encoder.set_limit(5);
    encoder.set_limit(20);
    assert_eq!(sizes(&mut encoder), b"\x20\x34");
    encoder.set_limit(100_000);
    assert_eq!((sizes(&mut encoder), encoder.table_maximum()), (b"\x3f\xe1\x3f".to_vec(), 8192));

    encoder.field(&mut Vec::new(), field("key", "a", literal(Indexing::Incremental, true)));
    encoder.set_limit(4000);
    encoder.set_limit(8192);
    assert_eq!(encoder.table_size(), 36);
    assert_eq!((sizes(&mut encoder), encoder.table_size()), (b"\x20\x3f\xe1\x3f".to_vec(), 0));
}

#[test]
fn a_lower_limit_above_the_table_is_confirmed() {
    let mut encoder = Encoder::new(10);
    assert_eq!(sizes(&mut encoder), b"\x2a");
    encoder.set_limit(100);
    assert_eq!(sizes(&mut encoder), b"\x2a");
    encoder.set_limit(200);
    assert_eq!(sizes(&mut encoder), b"");
}

#[test]
fn an_encoder_that_takes_over_empties_the_table() {
    let mut encoder = Encoder::taking_over(4096, 30);
    assert_eq!(sizes(&mut encoder), b"\x20\x3e");
    assert_eq!(sizes(&mut encoder), b"");
    let mut encoder = Encoder::taking_over(0, 30);
    assert_eq!(sizes(&mut encoder), b"\x20");
    let mut encoder = Encoder::taking_over(20, 30);
    encoder.set_limit(10);
    encoder.set_limit(25);
    assert_eq!(sizes(&mut encoder), b"\x20\x39");
}
