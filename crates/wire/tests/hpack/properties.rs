//! Properties of conversations: blocks with any representation, and tables that change their size.

use interceptor_wire::http2::hpack::{
    Decoder, Encoder, Fields, Indexing, MAX_FIELD, Representation, encode_stateless,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use crate::support::{Owned, decode};

/// What happens on a connection.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    /// The recipient's setting takes effect.
    Limit(u32),
    /// A header block.
    Block(Vec<Owned>),
}

/// Names and values that repeat, so that tables serve, and any others.
fn text() -> impl Strategy<Value = Vec<u8>> {
    let known: &[&[u8]] = &[
        b":method",
        b"GET",
        b":path",
        b"/",
        b"cookie",
        b"X-User",
        b"debug",
        b"",
        b"date",
        b"content-type",
        b"application/grpc",
        b":status",
        b"200",
        b"\0\xff",
    ];
    prop_oneof![
        6 => select(known).prop_map(<[u8]>::to_vec),
        1 => vec(any::<u8>(), 0..12),
        1 => vec(Just(b'v'), 0..400),
    ]
}

fn representation() -> impl Strategy<Value = Representation> {
    let indexing = select(&[Indexing::Incremental, Indexing::Without, Indexing::Never][..]);
    prop_oneof![
        1 => Just(Representation::Indexed),
        2 => (indexing, any::<bool>()).prop_map(|(indexing, name_indexed)| {
            Representation::Literal { indexing, name_indexed }
        }),
    ]
}

pub(crate) fn block() -> impl Strategy<Value = Vec<Owned>> {
    let field = (text(), text(), representation())
        .prop_map(|(name, value, representation)| Owned { name, value, representation });
    vec(field, 0..12)
}

pub(crate) fn steps() -> impl Strategy<Value = Vec<Step>> {
    let limit = prop_oneof![0..300_u32, 0..10_000_u32];
    vec(prop_oneof![1 => limit.prop_map(Step::Limit), 3 => block().prop_map(Step::Block)], 0..20)
}

fn cut(block: &[u8], cuts: &[Index]) -> Vec<usize> {
    let mut ends = cuts.iter().map(|cut| cut.index(block.len() + 1)).collect::<Vec<_>>();
    ends.sort_unstable();
    ends
}

/// What the decoder of a block that `sent` was encoded into must return.
fn assert_are_as_sent(seen: &[Owned], sent: &[Owned]) {
    assert_eq!(seen.len(), sent.len());
    for (seen, sent) in seen.iter().zip(sent) {
        assert_eq!((&seen.name, &seen.value), (&sent.name, &sent.value));
        match (seen.representation, sent.representation) {
            (Representation::Indexed, Representation::Indexed) => {}
            // No table had it.
            (Representation::Literal { indexing, .. }, Representation::Indexed) => {
                assert_eq!(indexing, Indexing::Incremental);
            }
            (seen @ Representation::Literal { .. }, sent @ Representation::Literal { .. }) => {
                let parts = |representation| match representation {
                    Representation::Literal { indexing, name_indexed } => (indexing, name_indexed),
                    Representation::Indexed => unreachable!("a literal"),
                };
                let ((seen, index), (sent, wanted)) = (parts(seen), parts(sent));
                assert_eq!(seen, sent);
                assert!(wanted || !index, "a name in full stays that");
            }
            (seen, sent) => panic!("{seen:?} of {sent:?}"),
        }
    }
}

proptest! {
    #[test]
    fn fields_are_decoded_as_they_were_encoded(
        steps in steps(),
        wanted in prop_oneof![0..300_u32, 0..10_000_u32],
        cuts in vec(any::<Index>(), 0..4),
        taking_over: bool,
    ) {
        let mut decoder = Decoder::new(MAX_FIELD);
        let mut encoder = Encoder::new(wanted);
        if taking_over {
            // Another encoder has filled the table.
            let block = b"\x40\x01a\x01b\x40\x03key\x05value";
            prop_assert_eq!(decode(&mut decoder, block, []).1, Ok(()));
            encoder = Encoder::taking_over(4096, wanted);
        }
        let mut limit = 4096;
        for step in steps {
            match step {
                Step::Limit(new) => {
                    limit = new;
                    decoder.set_limit(limit);
                    encoder.set_limit(limit);
                }
                Step::Block(sent) => {
                    let mut out = Vec::new();
                    encoder.begin(&mut out);
                    sent.iter().for_each(|field| encoder.field(&mut out, field.field()));
                    let bytewise = decode(&mut decoder.clone(), &out, 1..out.len());
                    let in_pieces = decode(&mut decoder.clone(), &out, cut(&out, &cuts));
                    let (seen, end) = decode(&mut decoder, &out, []);
                    prop_assert_eq!(end, Ok(()));
                    prop_assert_eq!(&bytewise, &(seen.clone(), end));
                    prop_assert_eq!(&in_pieces, &(seen.clone(), end));
                    assert_are_as_sent(&seen, &sent);
                    prop_assert_eq!(decoder.table_size(), encoder.table_size());
                    prop_assert!(decoder.table_size() <= limit.min(wanted));
                }
            }
        }
    }

    /// As when a client's blocks are encoded again for an app.
    #[test]
    fn fields_stay_as_they_are_when_they_are_encoded_again(
        blocks in vec(block(), 0..12), size in 0..2000_u32, again in 0..2000_u32
    ) {
        let (mut client, mut app) = (Encoder::new(size), Decoder::new(MAX_FIELD));
        let mut between = (Decoder::new(MAX_FIELD), Encoder::new(again));
        for sent in blocks {
            let (mut out, mut fields, mut encoded) = (Vec::new(), Fields::default(), Vec::new());
            client.begin(&mut out);
            sent.iter().for_each(|field| client.field(&mut out, field.field()));
            between.1.begin(&mut encoded);
            let mut piece = &out[..];
            while let Some(field) = between.0.next(&mut piece).expect("a block") {
                between.1.field(&mut encoded, field);
                fields.push(field);
            }
            prop_assert_eq!(between.0.finish(), Ok(()));
            let (seen, end) = decode(&mut app, &encoded, []);
            prop_assert_eq!(end, Ok(()));
            assert_are_as_sent(&seen, &sent);
            prop_assert_eq!(app.table_size(), between.1.table_size());

            let collected = fields.iter().map(Owned::from).collect::<Vec<_>>();
            assert_are_as_sent(&collected, &sent);
            let size = sent.iter().map(|field| field.field().size()).sum::<usize>();
            prop_assert_eq!((fields.len(), fields.list_size()), (sent.len(), size));
            for field in &sent {
                let first = sent.iter().find(|other| other.name == field.name);
                let value = first.map(|field| &field.value[..]);
                prop_assert_eq!(fields.value(&field.name), value);
            }
        }
    }

    /// As when a target's blocks go to a client between those of the app.
    #[test]
    fn blocks_of_another_sender_leave_the_table_as_it_is(
        blocks in vec((block(), any::<bool>()), 0..12), size in 0..2000_u32
    ) {
        let (mut app, mut client) = (Encoder::new(size), Decoder::new(MAX_FIELD));
        for (sent, of_target) in blocks {
            let mut out = Vec::new();
            if of_target {
                sent.iter().for_each(|field| encode_stateless(&mut out, field.field()));
            } else {
                app.begin(&mut out);
                sent.iter().for_each(|field| app.field(&mut out, field.field()));
            }
            let before = client.table_size();
            let (seen, end) = decode(&mut client, &out, []);
            prop_assert_eq!(end, Ok(()));
            for (seen, sent) in seen.iter().zip(&sent) {
                prop_assert_eq!((&seen.name, &seen.value), (&sent.name, &sent.value));
                let is_never = |field: &Owned| matches!(
                    field.representation, Representation::Literal { indexing: Indexing::Never, .. }
                );
                prop_assert_eq!(is_never(seen), is_never(sent));
            }
            prop_assert_eq!(seen.len(), sent.len());
            if of_target {
                prop_assert_eq!(client.table_size(), before);
            } else {
                prop_assert_eq!(client.table_size(), app.table_size());
            }
        }
    }

    #[test]
    fn any_bytes_are_decoded_in_the_same_way_in_any_pieces(
        blocks in vec((vec(byte(), 0..60), prop::option::of(0..200_u32)), 1..4),
        cuts in vec(any::<Index>(), 0..4),
    ) {
        let mut decoder = Decoder::new(40);
        for (block, limit) in blocks {
            limit.iter().for_each(|limit| decoder.set_limit(*limit));
            let bytewise = decode(&mut decoder.clone(), &block, 1..block.len().max(1));
            let in_pieces = decode(&mut decoder.clone(), &block, cut(&block, &cuts));
            let whole = decode(&mut decoder, &block, []);
            prop_assert_eq!(&bytewise, &whole);
            prop_assert_eq!(&in_pieces, &whole);
            if whole.1.is_err() {
                break;
            }
        }
    }
}

/// Bytes of which random ones make many legal blocks: short strings, low indices.
pub(crate) fn byte() -> impl Strategy<Value = u8> {
    prop_oneof![
        select(
            &b"\x40\x41\x7e\x00\x04\x10\x82\xbe\xbf\xc0\x20\x21\x3f\x3e\x01\x02\x03\x81\x82"[..]
        ),
        any::<u8>(),
    ]
}
