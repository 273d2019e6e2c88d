//! Splits a condition into tokens.

use interceptor_rule::Span;

use super::string;
use crate::error::Mistake;

/// The kind of a token, with its value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum TokenKind {
    Word,
    /// A number without its sign. The maximum is the magnitude of [`i64::MIN`].
    Number(u64),
    Text(Box<str>),
    /// One of [`SYMBOLS`].
    Symbol(&'static str),
    End,
}

/// A token and its place in the source.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Token {
    pub(crate) kind: TokenKind,
    pub(crate) span: Span,
}

/// The longest symbols come first, because some begin with another one. Some are not CEL, such as
/// `=~` and those of the last line, but people write them.
const SYMBOLS: [&str; 34] = [
    "===", "!==", //
    "==", "!=", "<=", ">=", "&&", "||", "=~", "!~", "<>", //
    "<", ">", "(", ")", "[", "]", "{", "}", ".", ",", "-", "+", "*", "/", "%", "?", ":",
    "!", //
    "=", "&", "|", "~", "`",
];

/// A position in the source.
pub(crate) struct Lexer<'a> {
    source: &'a str,
    at: usize,
}

impl<'a> Lexer<'a> {
    pub(crate) fn new(source: &'a str) -> Self {
        Self { source, at: 0 }
    }

    /// Returns the next token and moves past it. At the end of the source it returns `End` again.
    pub(crate) fn next(&mut self) -> Result<Token, Mistake> {
        // Only the white space of CEL's specification counts.
        let rest = self.source[self.at..].trim_start_matches(['\t', '\n', '\u{c}', '\r', ' ']);
        let start = self.source.len() - rest.len();
        let here = |length: usize| Span::new(start, start + length);
        let Some(first) = rest.chars().next() else {
            self.at = start;
            return Ok(Token { kind: TokenKind::End, span: here(0) });
        };

        let (kind, length) = if let Some(literal) = string::Literal::begins(rest) {
            let (text, length) = literal.read(rest, start)?;
            (TokenKind::Text(text.into()), length)
        } else if first.is_ascii_alphabetic() || first == '_' {
            (TokenKind::Word, word_length(rest))
        } else if first.is_ascii_digit() {
            number(rest, start)?
        } else if rest.starts_with("//") {
            return Err(Mistake::new(here(2), "conditions have no comments"));
        } else if let Some(symbol) = SYMBOLS.iter().find(|symbol| rest.starts_with(**symbol)) {
            (TokenKind::Symbol(symbol), symbol.len())
        } else {
            let found = here(first.len_utf8());
            let shown = interceptor_rule::quoted(&rest[..first.len_utf8()]);
            let mistake = Mistake::new(found, format!("{shown} is not valid in a condition"));
            return Err(match first {
                '“' | '”' | '„' | '‘' | '’' | '«' | '»' => {
                    mistake.suggest("write strings in straight quotes: \"…\" or '…'")
                }
                _ => mistake,
            });
        };
        self.at = start + length;
        Ok(Token { kind, span: here(length) })
    }
}

fn word_length(rest: &str) -> usize {
    rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len())
}

/// Reads an integer, decimal or hexadecimal. Returns the token and its length in bytes.
fn number(rest: &str, start: usize) -> Result<(TokenKind, usize), Mistake> {
    let length = word_length(rest);
    let span = Span::new(start, start + length);
    let word = &rest[..length];
    let mut after = rest[length..].bytes();
    if after.next() == Some(b'.') && after.next().is_some_and(|b| b.is_ascii_digit()) {
        let length =
            rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '.').unwrap_or(rest.len());
        let span = Span::new(start, start + length);
        return Err(Mistake::new(span, format!("`{}` is not a whole number", &rest[..length]))
            .suggest("write IP addresses in quotes; numbers have no fractions here"));
    }
    let digits = word.strip_prefix("0x");
    let parsed = digits
        .map_or_else(|| word.parse::<u64>().ok(), |digits| u64::from_str_radix(digits, 16).ok());
    if let Some(whole) = word.strip_suffix(['u', 'U']).filter(|whole| whole.parse::<u64>().is_ok())
    {
        return Err(Mistake::new(
            span,
            format!("`{word}` is unsigned, but all numbers here are signed"),
        )
        .did_you_mean(whole));
    }
    let too_large = || Mistake::new(span, "a number is at most 9223372036854775807");
    match parsed {
        Some(value) if value <= i64::MIN.unsigned_abs() => Ok((TokenKind::Number(value), length)),
        Some(_) => Err(too_large()),
        None if word.bytes().all(|b| b.is_ascii_digit()) => Err(too_large()),
        None => Err(Mistake::new(span, format!("`{word}` is neither a number nor a name"))),
    }
}
