//! Any header blocks are decoded to the same fields in any pieces, with a table that never exceeds
//! its limit. Fields that were decoded are the same after they were encoded for another table, and
//! for a table of another sender.
//!
//! The first byte is the size of the pieces, the second one that of the other table. Then follow
//! blocks, each behind its length, and limits of the table: two bytes behind 255.

use interceptor_wire::http2::hpack::{
    Decoder, Encoder, Field, Indexing, Representation, encode_stateless,
};

#[path = "../../../crates/wire/tests/support/hpack.rs"]
mod support;

use support::{Owned, decode};

/// Maximum length in bytes of an encoded string.
const MAXIMUM: u32 = 200;

/// Maximum length in bytes of a string for the decoders of what we encoded.
const ANY: u32 = u32::MAX;

/// Runs the target.
pub fn run(bytes: &[u8]) {
    let [size, other, rest @ ..] = bytes else { return };
    let mut rest = rest;
    let mut decoder = Decoder::new(MAXIMUM);
    let (mut encoder, mut peer) = (Encoder::new(8 * u32::from(*other)), Decoder::new(ANY));
    let mut limit = 4096;
    while let [length, behind @ ..] = rest {
        if let ([high, low, behind @ ..], u8::MAX) = (behind, *length) {
            limit = u32::from(u16::from_be_bytes([*high, *low]));
            decoder.set_limit(limit);
            encoder.set_limit(limit);
            peer.set_limit(limit);
            rest = behind;
            continue;
        }
        let (block, behind) = behind.split_at(behind.len().min(usize::from(*length)));
        rest = behind;
        let pieces = (1..).map(|piece| piece * (1 + usize::from(*size)));
        let pieces = pieces.take_while(|end| *end < block.len());
        let in_pieces = decode(&mut decoder.clone(), block, pieces);
        assert_eq!(decode(&mut decoder.clone(), block, 1..block.len().max(1)), in_pieces);
        let whole = decode(&mut decoder, block, []);
        assert_eq!(whole, in_pieces);
        let (fields, Ok(())) = whole else { return };
        assert!(decoder.table_size() <= decoder.table_maximum());

        let mut out = Vec::new();
        encoder.begin(&mut out);
        fields.iter().for_each(|field| encoder.field(&mut out, field.field()));
        assert_are(&fields, decode(&mut peer, &out, []));
        assert_eq!(peer.table_size(), encoder.table_size());
        assert!(peer.table_size() <= limit);

        let mut out = Vec::new();
        fields.iter().for_each(|field| encode_stateless(&mut out, field.field()));
        let before = peer.table_size();
        assert_are(&fields, decode(&mut peer, &out, []));
        assert_eq!(peer.table_size(), before);
    }
}

/// The block that was decoded last has these fields, and keeps what is secret.
fn assert_are<E: std::fmt::Debug>(sent: &[Owned], (seen, end): (Vec<Owned>, Result<(), E>)) {
    end.expect("a legal block");
    assert_eq!(seen.len(), sent.len());
    for (seen, sent) in seen.iter().map(Owned::field).zip(sent.iter().map(Owned::field)) {
        assert_eq!((seen.name, seen.value), (sent.name, sent.value));
        assert_eq!(is_secret(&seen), is_secret(&sent));
    }
}

fn is_secret(field: &Field<'_>) -> bool {
    matches!(field.representation, Representation::Literal { indexing: Indexing::Never, .. })
}
