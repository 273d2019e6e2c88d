//! Reads the header fields that decide where a message ends and what follows it.

use httparse::Header;

use super::{Body, Version};
use crate::Reason;

/// The meaning of the header fields of one message.
#[derive(Debug)]
pub(super) struct Fields {
    /// `None` if there is neither a length nor a coding.
    pub(super) body: Result<Option<Body>, Reason>,
    /// Whether the message is the last one in its direction, RFC 9112 section 9.3.
    pub(super) close: bool,
    /// Whether there is an `Upgrade`. `Connection` need not list it, since servers differ in that.
    pub(super) upgrade: bool,
}

/// Reads the fields of a message of this version.
pub(super) fn read(headers: &[Header<'_>], version: Version) -> Fields {
    let mut framing = Framing::default();
    let (mut close, mut keep_alive, mut upgrade) = (false, false, false);
    for header in headers {
        let name = header.name;
        match name.len() {
            7 if name.eq_ignore_ascii_case("upgrade") => upgrade = true,
            10 if name.eq_ignore_ascii_case("connection") => {
                for option in header.value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii) {
                    close |= option.eq_ignore_ascii_case(b"close");
                    keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
                }
            }
            14 if is_like(name, "content-length") => framing.length(name, header.value),
            17 if is_like(name, "transfer-encoding") => framing.encoding(name, header.value),
            _ => {}
        }
    }
    let close = close || (version == Version::Http10 && !keep_alive);
    Fields { body: framing.body(version), close, upgrade }
}

#[derive(Debug, Default)]
struct Framing {
    length: Option<u64>,
    chunked: bool,
    /// The first error found.
    wrong: Option<Reason>,
}

impl Framing {
    /// Notes a `Content-Length`, which may be repeated with the same value: RFC 9112 section 6.3.
    fn length(&mut self, name: &str, value: &[u8]) {
        let Some(length) =
            number(value).filter(|length| self.length.is_none_or(|before| before == *length))
        else {
            return self.doubt(Reason::ContentLength);
        };
        self.length = Some(length);
        self.name(name);
    }

    /// Notes a `Transfer-Encoding`. Several fields form one list (RFC 9112 section 6.1), so only
    /// one is accepted.
    fn encoding(&mut self, name: &str, value: &[u8]) {
        if self.chunked || !value.eq_ignore_ascii_case(b"chunked") {
            self.doubt(Reason::TransferEncoding);
        }
        self.chunked = true;
        self.name(name);
    }

    fn name(&mut self, name: &str) {
        if name.contains('_') {
            self.doubt(Reason::HeaderName);
        }
    }

    fn doubt(&mut self, reason: Reason) {
        self.wrong.get_or_insert(reason);
    }

    fn body(self, version: Version) -> Result<Option<Body>, Reason> {
        match self {
            Self { wrong: Some(reason), .. } => Err(reason),
            Self { length: Some(_), chunked: true, .. } => Err(Reason::LengthAndEncoding),
            Self { chunked: true, .. } if version == Version::Http10 => {
                Err(Reason::TransferEncodingIn10)
            }
            Self { chunked: true, .. } => Ok(Some(Body::chunked())),
            Self { length, .. } => Ok(length.map(Body::length)),
        }
    }
}

/// Whether `name` is `lower`, or a name that a gateway turns into the same variable.
fn is_like(name: &str, lower: &str) -> bool {
    let fold = |byte: u8| if byte == b'_' { b'-' } else { byte.to_ascii_lowercase() };
    name.bytes().map(fold).eq(lower.bytes())
}

/// The value of digits without a leading zero, up to 2^63 - 1: every implementation can hold it in
/// a signed 64-bit number.
fn number(value: &[u8]) -> Option<u64> {
    // 2^63 has 19 digits.
    if value.is_empty() || value.len() > 19 || (value.len() > 1 && value[0] == b'0') {
        return None;
    }
    let mut number = 0_u64;
    for byte in value {
        if !byte.is_ascii_digit() {
            return None;
        }
        // 19 digits fit into 64 bits.
        number = number * 10 + u64::from(byte - b'0');
    }
    (number <= i64::MAX as u64).then_some(number)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("0", Some(0))]
    #[case("7", Some(7))]
    #[case("9223372036854775807", Some(i64::MAX as u64))]
    #[case("9223372036854775808", None)]
    #[case("9999999999999999999", None)]
    #[case("18446744073709551616", None)]
    #[case("00", None)]
    #[case("010", None)]
    #[case("+1", None)]
    #[case("-1", None)]
    #[case("1 ", None)]
    #[case("1,1", None)]
    #[case("0x1", None)]
    #[case("1e3", None)]
    #[case("1_000", None)]
    #[case("", None)]
    fn numbers(#[case] text: &str, #[case] expected: Option<u64>) {
        assert_eq!(number(text.as_bytes()), expected);
    }
}
