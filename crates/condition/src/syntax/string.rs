//! Reads string literals: quotes, raw strings and escapes.

use interceptor_rule::Span;

use crate::error::Mistake;

/// The form of a literal.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Literal {
    /// The length of the prefix (`r`, `b`, `rb`, `br` or none), in bytes.
    prefix: usize,
    quote: u8,
    /// Three quotes instead of one. The text may have line breaks and single quotes in it.
    long: bool,
    raw: bool,
    bytes: bool,
}

impl Literal {
    /// The form of the literal that `rest` begins with, if it begins with one.
    pub(crate) fn begins(rest: &str) -> Option<Self> {
        let prefix = rest.bytes().take(3).position(|b| matches!(b, b'"' | b'\''))?;
        let (raw, bytes) = match rest[..prefix].to_ascii_lowercase().as_str() {
            "" => (false, false),
            "r" => (true, false),
            "b" => (false, true),
            "rb" | "br" => (true, true),
            _ => return None,
        };
        let quote = rest.as_bytes()[prefix];
        let long = rest.as_bytes()[prefix..].starts_with(&[quote; 3]);
        Some(Self { prefix, quote, long, raw, bytes })
    }

    /// Returns the text of the literal and the number of bytes of `rest` that it takes.
    ///
    /// `start` is the offset of `rest` in the source.
    pub(crate) fn read(self, rest: &str, start: usize) -> Result<(String, usize), Mistake> {
        let delimiter = if self.long { 3 } else { 1 };
        let body = self.prefix + delimiter;
        let opening = Span::new(start, start + body);
        if self.bytes {
            return Err(Mistake::new(opening, "a byte string never equals a string")
                .suggest("remove the `b` before the quote"));
        }
        let mut text = String::new();
        let mut at = body;
        loop {
            let Some(c) = rest[at..].chars().next() else {
                return Err(Mistake::new(opening, "this string has no closing quote"));
            };
            if rest.as_bytes()[at..].starts_with(&[self.quote; 3][..delimiter]) {
                return Ok((text, at + delimiter));
            }
            match c {
                '\n' | '\r' if !self.long => {
                    return Err(Mistake::new(
                        opening,
                        "this string has no closing quote on its line",
                    ));
                }
                '\\' if !self.raw => {
                    let (escaped, length) = escape(&rest[at..]).ok_or_else(|| {
                        // The message shows the character after the backslash, too.
                        let length = 1 + rest[at + 1..].chars().next().map_or(0, char::len_utf8);
                        unknown_escape(
                            &rest[at..at + length],
                            Span::new(start + at, start + at + length),
                        )
                    })?;
                    text.push(escaped);
                    at += length;
                }
                _ => {
                    text.push(c);
                    at += c.len_utf8();
                }
            }
        }
    }
}

/// The character that an escape stands for, and the length of the escape in bytes.
fn escape(rest: &str) -> Option<(char, usize)> {
    let kind = rest[1..].chars().next()?;
    let code =
        |digits: &str, radix| u32::from_str_radix(digits, radix).ok().and_then(char::from_u32);
    let hexadecimal = |length: usize| {
        let digits = rest
            .get(2..2 + length)
            .filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()))?;
        Some((code(digits, 16)?, 2 + length))
    };
    let simple = match kind {
        'a' => '\u{7}',
        'b' => '\u{8}',
        'f' => '\u{c}',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'v' => '\u{b}',
        '\\' | '?' | '"' | '\'' | '`' => kind,
        'x' | 'X' => return hexadecimal(2),
        'u' => return hexadecimal(4),
        'U' => return hexadecimal(8),
        '0'..='3' => {
            let digits =
                rest.get(1..4).filter(|digits| digits.bytes().all(|b| matches!(b, b'0'..=b'7')))?;
            return Some((code(digits, 8)?, 4));
        }
        _ => return None,
    };
    Some((simple, 2))
}

fn unknown_escape(escape: &str, span: Span) -> Mistake {
    let shown = interceptor_rule::quoted(escape);
    Mistake::new(span, format!("{shown} is not a string escape"))
        .suggest(format!("write `\\{escape}`, or r\"…\" for a regular expression"))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(r#""a" x"#, "a", 3)]
    #[case("'it\"s'", "it\"s", 6)]
    #[case("''", "", 2)]
    #[case("'''it's\n'''", "it's\n", 11)]
    #[case(r#"r"\d""#, r"\d", 5)]
    #[case(r"R'\'", r"\", 4)]
    #[case(r#""\n\t\\\"\'\`\?\a\b\f\r\v""#, "\n\t\\\"'`?\u{7}\u{8}\u{c}\r\u{b}", 26)]
    #[case(r#""\x41\u00e4\U0001F600\101""#, "Aä😀A", 26)]
    #[case("\"ä\"", "ä", 4)]
    fn a_literal_is_read(#[case] rest: &str, #[case] text: &str, #[case] length: usize) {
        let literal = Literal::begins(rest).expect("is a literal");
        assert_eq!(literal.read(rest, 0).expect("is well-formed"), (text.to_owned(), length));
    }

    #[rstest]
    #[case(r#""\d""#)]
    #[case(r#""\x4""#)]
    #[case(r#""\xüü""#)]
    #[case(r#""\ud800""#)]
    #[case(r#""\400""#)]
    #[case(r#""\19""#)]
    #[case(r#""\"#)]
    #[case(r#""a"#)]
    #[case("\"a\n\"")]
    #[case("'''a''")]
    #[case("b'a'")]
    fn an_invalid_literal_is_refused(#[case] rest: &str) {
        assert!(Literal::begins(rest).expect("begins like one").read(rest, 0).is_err());
    }

    #[rstest]
    #[case("rr'a'")]
    #[case("x'a'")]
    #[case("abc'a'")]
    #[case("a")]
    fn a_word_is_not_a_literal(#[case] rest: &str) {
        assert!(Literal::begins(rest).is_none());
    }
}
