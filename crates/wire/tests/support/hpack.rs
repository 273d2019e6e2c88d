//! Header blocks of a connection: decoded in any pieces, and written instruction by instruction.

use interceptor_wire::http2::hpack::{Decoder, Field, HpackError, Representation};

/// A field with what it borrows in decoded form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Owned {
    pub(crate) name: Vec<u8>,
    pub(crate) value: Vec<u8>,
    pub(crate) representation: Representation,
}

impl Owned {
    pub(crate) fn field(&self) -> Field<'_> {
        let Self { name, value, representation } = self;
        Field { name, value, representation: *representation }
    }
}

impl From<Field<'_>> for Owned {
    fn from(field: Field<'_>) -> Self {
        let Field { name, value, representation } = field;
        Self { name: name.to_vec(), value: value.to_vec(), representation }
    }
}

/// What a decoder finds in a block, which arrives in pieces that end at `ends` and at the last
/// byte: the fields, and an error behind them.
pub(crate) fn decode(
    decoder: &mut Decoder,
    block: &[u8],
    ends: impl IntoIterator<Item = usize>,
) -> (Vec<Owned>, Result<(), HpackError>) {
    let (mut fields, mut at) = (Vec::new(), 0);
    for end in ends.into_iter().chain([block.len()]) {
        let mut piece = &block[at..end];
        loop {
            let before = piece.len();
            match decoder.next(&mut piece) {
                Ok(Some(field)) => fields.push(field.into()),
                Ok(None) => break,
                Err(error) => return (fields, Err(error)),
            }
            assert!(piece.len() < before, "a field ends in the piece that it is returned for");
            assert!(decoder.table_size() <= decoder.table_maximum());
        }
        assert!(piece.is_empty(), "all bytes are used");
        at = end;
    }
    let end = decoder.finish();
    (fields, end)
}
