//! What a server sent by HTTP/2, frame by frame, as a record that two calls can have in common.
//!
//! The bytes of any two calls differ: the length of a compressed date depends on its digits, and
//! the frames of a connection race with those of a stream.

use std::collections::BTreeMap;

use interceptor_wire::http2::{
    FRAME_HEADER, Flags, Frame, FrameHeader, Kind, Payload, StreamId,
    hpack::{Decoder, Representation},
};
use serde_json::{Value, json};

use crate::text::text;

/// Maximum length in bytes of an encoded name or value.
const MAXIMUM_STRING: u32 = 1 << 20;

/// What a record shows of header blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// Fields, and how each is encoded.
    Encoding,
    /// Fields only: a target's response may be encoded for another table, and cut elsewhere.
    Fields,
}

/// A record under way.
struct Reader {
    decoder: Decoder,
    detail: Detail,
    /// The header block that is not complete.
    block: Vec<u8>,
    streams: BTreeMap<u32, Vec<String>>,
}

/// The frames that a server sent, by their streams. The order of those of the connection itself
/// does not count. Nothing if the bytes do not begin with a server's SETTINGS.
pub fn describe(bytes: &[u8], detail: Detail) -> Option<Value> {
    let decoder = Decoder::new(MAXIMUM_STRING);
    let mut reader = Reader { decoder, detail, block: Vec::new(), streams: BTreeMap::new() };
    let (mut first, mut rest) = (true, bytes);
    while let Some((frame, behind)) = split(rest) {
        if first && frame.header.kind != Kind::Settings {
            return None;
        }
        reader.add(&frame);
        (first, rest) = (false, behind);
    }
    if first {
        return None;
    }
    let connection = StreamId::CONNECTION.number();
    if let Some(frames) = reader.streams.get_mut(&connection) {
        frames.sort();
    }
    Some(json!({ "streams": reader.streams, "rest": text(rest) }))
}

/// Whether a server has answered a request: with a head, a reset or the end of the connection.
pub fn has_answer(mut bytes: &[u8]) -> bool {
    while let Some((frame, rest)) = split(bytes) {
        if matches!(frame.header.kind, Kind::Headers | Kind::RstStream | Kind::GoAway) {
            return true;
        }
        bytes = rest;
    }
    false
}

/// The first frame, and the bytes behind it.
fn split(bytes: &[u8]) -> Option<(Frame<'_>, &[u8])> {
    let (header, rest) = bytes.split_first_chunk::<FRAME_HEADER>()?;
    let header = FrameHeader::read(*header);
    let (payload, rest) = rest.split_at_checked(usize::try_from(header.length).ok()?)?;
    Some((Frame { header, payload }, rest))
}

// === impl Reader ===

impl Reader {
    fn add(&mut self, frame: &Frame<'_>) {
        let Frame { header, payload } = *frame;
        let stream = header.stream.number();
        let line = match frame.payload() {
            Ok(Payload::Data(data)) if self.detail == Detail::Fields => {
                return self.add_content(stream, data, header.ends_stream());
            }
            Ok(Payload::Headers { fragment, .. }) => {
                self.block = fragment.to_vec();
                head(&header)
            }
            Ok(Payload::PushPromise { fields, fragment }) => {
                self.block = fragment.to_vec();
                format!("{} {:?}", head(&header), fields.promised)
            }
            Ok(Payload::Continuation(fragment)) => {
                self.block.extend_from_slice(fragment);
                head(&header)
            }
            // A measurement, with bytes by chance.
            Ok(Payload::Ping(_)) => head(&header),
            _ => format!("{} {}", head(&header), text(payload)),
        };
        let is_complete = header.is_in_block() && header.flags.contains(Flags::END_HEADERS);
        let fields = if is_complete { self.fields() } else { Vec::new() };
        let lines = self.streams.entry(stream).or_default();
        lines.push(line);
        lines.extend(fields);
    }

    /// Adds content that may be cut into frames anywhere, and its end.
    fn add_content(&mut self, stream: u32, data: &[u8], ends: bool) {
        const CONTENT: &str = "content: ";
        let lines = self.streams.entry(stream).or_default();
        match lines.last_mut() {
            Some(last) if last.starts_with(CONTENT) => last.push_str(&text(data)),
            _ => lines.push(format!("{CONTENT}{}", text(data))),
        }
        if ends {
            lines.push("the end of the stream".into());
        }
    }

    /// The fields of the block that is complete now.
    fn fields(&mut self) -> Vec<String> {
        let block = std::mem::take(&mut self.block);
        let mut lines = Vec::new();
        let mut piece = &*block;
        loop {
            match self.decoder.next(&mut piece) {
                Ok(Some(field)) => {
                    let how = match (self.detail, field.representation) {
                        (Detail::Fields, _) => String::new(),
                        (Detail::Encoding, Representation::Indexed) => "(indexed) ".into(),
                        (Detail::Encoding, Representation::Literal { indexing, name_indexed }) => {
                            format!("({indexing:?}, name indexed: {name_indexed}) ")
                        }
                    };
                    lines.push(format!("{how}{}: {}", text(field.name), text(field.value)));
                }
                Ok(None) => break,
                Err(error) => {
                    lines.push(format!("{error:?}"));
                    break;
                }
            }
        }
        if let Err(error) = self.decoder.finish() {
            lines.push(format!("{error:?}"));
        }
        lines
    }
}

fn head(header: &FrameHeader) -> String {
    format!("{} {:?}", header.kind, header.flags)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SETTINGS, then HEADERS with `:status: 200` and a literal `date`, then DATA.
    fn response(date: &str) -> Vec<u8> {
        let mut block = vec![0x88, 0x00, 4];
        block.extend_from_slice(b"date");
        block.push(u8::try_from(date.len()).expect("a short date"));
        block.extend_from_slice(date.as_bytes());
        let mut bytes = vec![0, 0, 0, 4, 0, 0, 0, 0, 0];
        bytes.extend_from_slice(&[0, 0, u8::try_from(block.len()).expect("short"), 1, 4]);
        bytes.extend_from_slice(&[0, 0, 0, 1]);
        bytes.extend_from_slice(&block);
        bytes.extend_from_slice(b"\0\0\x02\0\x01\0\0\0\x01ok");
        bytes
    }

    #[test]
    fn responses_that_differ_by_the_date_have_one_record() {
        let record = |date| {
            let mut record = describe(&response(date), Detail::Encoding).expect("frames");
            crate::normal::normalise(&mut record);
            record
        };
        assert_eq!(record("Mon, 1 Jan"), record("Tue, 12 Feb"));
        assert_ne!(record("Mon, 1 Jan"), {
            let mut other = response("Mon, 1 Jan");
            *other.last_mut().expect("a body") = b'x';
            describe(&other, Detail::Encoding).expect("frames")
        });
    }

    #[test]
    fn encoding_and_pieces_count_unless_the_target_responds() {
        let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
        let headers = |block: &[u8]| {
            let length = u8::try_from(block.len()).expect("short");
            [&settings[..], &[0, 0, length, 1, 4, 0, 0, 0, 1], block].concat()
        };
        let (indexed, literal) = (headers(&[0x88]), headers(b"\x08\x03200"));
        let whole = [&indexed[..], b"\0\0\x02\0\x01\0\0\0\x01ok"].concat();
        let cut = [&indexed[..], b"\0\0\x02\0\0\0\0\0\x01ok", b"\0\0\0\0\x01\0\0\0\x01"].concat();
        for (detail, equal) in [(Detail::Encoding, false), (Detail::Fields, true)] {
            for (one, other) in [(&indexed, &literal), (&whole, &cut)] {
                let same = describe(one, detail) == describe(other, detail);
                assert_eq!(same, equal, "{detail:?}");
            }
        }
    }

    #[test]
    fn an_answer_is_a_head_a_reset_or_the_end_but_no_settings() {
        let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
        assert!(!has_answer(&settings));
        let reset = [&settings[..], &[0, 0, 4, 3, 0, 0, 0, 0, 1, 0, 0, 0, 2]].concat();
        assert!(has_answer(&reset));
        assert!(!has_answer(&reset[..reset.len() - 1]), "half a frame");
    }

    #[test]
    fn bytes_that_are_no_frames_are_no_record() {
        assert_eq!(describe(b"HTTP/1.1 400 Bad Request\r\n\r\n", Detail::Encoding), None);
        assert_eq!(describe(b"", Detail::Encoding), None);
    }
}
