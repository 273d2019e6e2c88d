//! Finds the end of a chunked body, RFC 9112 section 7.1, with a state for each place outside the
//! data of chunks.

use super::{MAX_CHUNK_LINE, MAX_TRAILERS, is_text, is_token};
use crate::Reason;

/// Maximum size of a chunk in bytes: every implementation can hold it in a signed 64-bit number.
const MAX_CHUNK: u64 = i64::MAX as u64;

/// Maximum number of digits of a size, with leading zeros.
const MAX_DIGITS: u32 = 16;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Chunked {
    state: State,
    /// In a size, its value so far. In data, how many bytes of the chunk are left.
    left: u64,
    /// Length so far, in bytes, of the line with the size or of the trailers.
    length: u32,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum State {
    /// In the digits of a size.
    #[default]
    Size,
    /// In the white space after a size.
    SizeSpace,
    /// In the extensions, after the first `;`.
    Extension,
    /// In a quoted string of an extension. Some recipients let it go on in the next line.
    Quoted,
    /// In a quoted string, after a `\`.
    Escaped,
    /// Before the LF of a line with a size.
    SizeLf,
    /// In the data of a chunk.
    Data,
    /// Before the CR after the data of a chunk.
    DataCr,
    /// Before the LF after the data of a chunk.
    DataLf,
    /// At the beginning of a line after the last chunk.
    Trailer,
    TrailerName,
    TrailerValue,
    /// Before the LF of a trailer.
    TrailerLf,
    /// Before the LF of the empty line at the end.
    EndLf,
    Done,
    Broken(Reason),
}

impl Chunked {
    pub(super) fn advance(&mut self, bytes: &[u8]) -> Result<usize, Reason> {
        let mut at = 0;
        while at < bytes.len() && self.state != State::Done {
            if self.state == State::Data {
                // Fits into a `usize`, since it is at most the rest of `bytes`.
                let taken = self.left.min((bytes.len() - at) as u64);
                self.left -= taken;
                at += taken as usize;
                if self.left == 0 {
                    self.state = State::DataCr;
                }
                continue;
            }
            self.state = match self.step(bytes[at]) {
                Ok(state) => state,
                Err(reason) => State::Broken(reason),
            };
            at += 1;
            if let State::Broken(reason) = self.state {
                return Err(reason);
            }
        }
        match self.state {
            State::Broken(reason) => Err(reason),
            _ => Ok(at),
        }
    }

    pub(super) fn is_done(&self) -> bool {
        self.state == State::Done
    }

    pub(super) fn data_left(&self) -> u64 {
        if self.state == State::Data { self.left } else { 0 }
    }

    /// The state after a byte that is not data.
    fn step(&mut self, byte: u8) -> Result<State, Reason> {
        use State::*;
        Ok(match (self.state, byte) {
            (Size, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                self.digit(byte)?;
                Size
            }
            (Size, _) if self.length == 0 => return Err(Reason::Chunk),
            (Size | SizeSpace | Extension, b'\r') => SizeLf,
            (Size | SizeSpace, b';') => self.in_line(Extension)?,
            (Size | SizeSpace, b' ' | b'\t') => self.in_line(SizeSpace)?,
            (Extension, b'"') => self.in_line(Quoted)?,
            (Escaped, _) if is_text(byte) => self.in_line(Quoted)?,
            (Quoted, b'"') => self.in_line(Extension)?,
            (Quoted, b'\\') => self.in_line(Escaped)?,
            (Extension | Quoted, _) if is_text(byte) => self.in_line(self.state)?,
            (SizeLf, b'\n') => {
                self.length = 0;
                if self.left > 0 { Data } else { Trailer }
            }
            (DataCr, b'\r') => DataLf,
            (DataLf, b'\n') => Size,
            (Size | SizeSpace | Extension | Quoted | Escaped, _) => return Err(Reason::Chunk),
            (SizeLf | DataCr | DataLf, _) => return Err(Reason::Chunk),

            (Trailer, b'\r') => EndLf,
            (Trailer | TrailerName, _) if is_token(byte) => self.in_trailers(TrailerName)?,
            (TrailerName, b':') => self.in_trailers(TrailerValue)?,
            (TrailerValue, b'\r') => TrailerLf,
            (TrailerValue, _) if is_text(byte) => self.in_trailers(TrailerValue)?,
            (TrailerLf, b'\n') => self.in_trailers(Trailer)?,
            (EndLf, b'\n') => Done,
            (Trailer | TrailerName | TrailerValue | TrailerLf | EndLf, _) => {
                return Err(Reason::Trailer);
            }

            (Broken(reason), _) => return Err(reason),
            (Data | Done, _) => unreachable!("takes no single byte"),
        })
    }

    fn digit(&mut self, byte: u8) -> Result<(), Reason> {
        // `byte` is a hexadecimal digit.
        let digit = char::from(byte).to_digit(16).unwrap_or_default();
        self.length += 1;
        if self.length > MAX_DIGITS || self.left > MAX_CHUNK >> 4 {
            return Err(Reason::Chunk);
        }
        self.left = self.left << 4 | u64::from(digit);
        Ok(())
    }

    fn in_line(&mut self, next: State) -> Result<State, Reason> {
        self.length += 1;
        if self.length as usize > MAX_CHUNK_LINE { Err(Reason::ChunkLineTooLong) } else { Ok(next) }
    }

    fn in_trailers(&mut self, next: State) -> Result<State, Reason> {
        self.length += 1;
        if self.length as usize > MAX_TRAILERS { Err(Reason::TrailersTooLong) } else { Ok(next) }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    /// How many bytes follow the body. The same whole and split at each byte.
    fn rest(text: &[u8]) -> Result<Option<usize>, Reason> {
        let whole = {
            let mut body = Chunked::default();
            body.advance(text).map(|taken| body.is_done().then_some(text.len() - taken))
        };
        for at in 0..=text.len() {
            let mut body = Chunked::default();
            let (first, second) = text.split_at(at);
            let split = body.advance(first).and_then(|taken| {
                if body.is_done() {
                    return Ok(Some(text.len() - taken));
                }
                assert_eq!(taken, first.len());
                body.advance(second).map(|taken| body.is_done().then_some(second.len() - taken))
            });
            assert_eq!(split, whole, "split at {at}");
        }
        whole
    }

    #[rstest]
    #[case("0\r\n\r\n", 0)]
    #[case("5\r\nhello\r\n0\r\n\r\nGET", 3)]
    #[case("5\r\nhello\r\n6\r\n\r\n\r\n\r\n\r\n000\r\n\r\nG", 1)]
    #[case("A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n", 0)]
    #[case("0000000000000005\r\nhello\r\n0\r\n\r\n", 0)]
    #[case("5;name=value;other=\"a b\"\r\nhello\r\n0;last\r\n\r\n", 0)]
    #[case("5 ; name = value\r\nhello\r\n0\r\n\r\n", 0)]
    #[case("5;\r\nhello\r\n0\r\n\r\n", 0)]
    #[case("5;a=\"\\\"b\\\\\";c\r\nhello\r\n0\r\n\r\n", 0)]
    #[case("5  \r\nhello\r\n0\t\r\n\r\n", 0)]
    #[case("5;\u{e4}\r\nhello\r\n0\r\n\r\n", 0)]
    #[case("0\r\nDigest: abc\r\nX:\r\ny:\tz\r\n\r\nPOST", 4)]
    fn the_end_is_found(#[case] text: &str, #[case] left: usize) {
        assert_eq!(rest(text.as_bytes()), Ok(Some(left)));
        for end in 0..text.len() - left {
            assert_eq!(rest(&text.as_bytes()[..end]), Ok(None), "{end} bytes");
        }
    }

    #[rstest]
    #[case("\r\n", Reason::Chunk)]
    #[case(" 5\r\n", Reason::Chunk)]
    #[case("\n", Reason::Chunk)]
    #[case(";a\r\n", Reason::Chunk)]
    #[case("0x5\r\n", Reason::Chunk)]
    #[case("+5\r\n", Reason::Chunk)]
    #[case("-5\r\n", Reason::Chunk)]
    #[case("5_0\r\n", Reason::Chunk)]
    #[case("g\r\n", Reason::Chunk)]
    #[case("5 5\r\n", Reason::Chunk)]
    #[case("5\nhello\n0\n\n", Reason::Chunk)]
    #[case("5\rhello", Reason::Chunk)]
    #[case("5\r\r\n", Reason::Chunk)]
    #[case("5;a\nhello\r\n", Reason::Chunk)]
    #[case("5;a\rb\r\n", Reason::Chunk)]
    #[case("5;a\0\r\n", Reason::Chunk)]
    #[case("5;a=\"\r\n", Reason::Chunk)]
    #[case("5;a=\"b\\\"\r\n", Reason::Chunk)]
    #[case("5;a=\"\\\r\n", Reason::Chunk)]
    #[case("5\r\nhello!\r\n", Reason::Chunk)]
    #[case("5\r\nhello\n0", Reason::Chunk)]
    #[case("5\r\nhello0\r\n", Reason::Chunk)]
    #[case("5\r\nhello\r0\r\n", Reason::Chunk)]
    #[case("5\r\nhello\r\n\r\n", Reason::Chunk)]
    #[case("8000000000000000\r\n", Reason::Chunk)]
    #[case("10000000000000005\r\n", Reason::Chunk)]
    #[case("00000000000000005\r\n", Reason::Chunk)]
    #[case("0\r\n\n", Reason::Trailer)]
    #[case("0\r\n\rX", Reason::Trailer)]
    #[case("0\r\nGET / HTTP/1.1\r\n", Reason::Trailer)]
    #[case("0\r\nA b\r\n", Reason::Trailer)]
    #[case("0\r\nA\r\n", Reason::Trailer)]
    #[case("0\r\n: b\r\n", Reason::Trailer)]
    #[case("0\r\nA: b\n\r\n", Reason::Trailer)]
    #[case("0\r\nA: b\rc\r\n", Reason::Trailer)]
    #[case("0\r\nA: b\r\n c\r\n", Reason::Trailer)]
    #[case("0\r\nA: \0\r\n", Reason::Trailer)]
    fn malformed_chunks_are_refused(#[case] text: &str, #[case] reason: Reason) {
        assert_eq!(rest(text.as_bytes()), Err(reason));
    }

    #[test]
    fn a_refused_body_stays_refused() {
        let mut body = Chunked::default();
        assert_eq!(body.advance(b"x"), Err(Reason::Chunk));
        assert_eq!(body.advance(b"0\r\n\r\n"), Err(Reason::Chunk));
        assert_eq!(body.advance(b""), Err(Reason::Chunk));
        assert!(!body.is_done());
    }

    #[test]
    fn lines_and_trailers_have_a_maximum_length() {
        let line = |length: usize| format!("5;{}\r\n", "a".repeat(length - 2)).into_bytes();
        assert_eq!(Chunked::default().advance(&line(MAX_CHUNK_LINE)), Ok(MAX_CHUNK_LINE + 2));
        assert_eq!(
            Chunked::default().advance(&line(MAX_CHUNK_LINE + 1)),
            Err(Reason::ChunkLineTooLong)
        );
        let trailers =
            b"0\r\n".iter().chain(b"A: b\r\n".iter().cycle().take(2 * MAX_TRAILERS)).copied();
        let mut body = Chunked::default();
        assert_eq!(body.advance(&trailers.collect::<Vec<_>>()), Err(Reason::TrailersTooLong));
        // The maximum is that of one line, not of all lines together.
        let mut body = Chunked::default();
        for _ in 0..3 {
            let chunk = [&line(MAX_CHUNK_LINE)[..], b"hello\r\n"].concat();
            assert_eq!(body.advance(&chunk), Ok(chunk.len()));
        }
    }
}
