//! Splits a condition into tokens.

use interceptor_rule::Span;

use super::string;
use crate::error::Mistake;

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum TokenKind {
    Word,
    /// Without a sign; at most one more than [`i64::MAX`], which is [`i64::MIN`] with one.
    Number(u64),
    Text(Box<str>),
    /// One of [`SYMBOLS`].
    Symbol(&'static str),
    End,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Token {
    pub(crate) kind: TokenKind,
    pub(crate) span: Span,
}

/// Longest first, because one is the beginning of the other. Those behind the gap are no CEL, but what people write.
const SYMBOLS: [&str; 34] = [
    "===", "!==", //
    "==", "!=", "<=", ">=", "&&", "||", "=~", "!~", "<>", //
    "<", ">", "(", ")", "[", "]", "{", "}", ".", ",", "-", "+", "*", "/", "%", "?", ":",
    "!", //
    "=", "&", "|", "~", "`",
];

pub(crate) struct Lexer<'a> {
    source: &'a str,
    at: usize,
}

impl<'a> Lexer<'a> {
    pub(crate) fn new(source: &'a str) -> Self {
        Self { source, at: 0 }
    }

    /// The next token. At the end it stays there.
    pub(crate) fn next(&mut self) -> Result<Token, Mistake> {
        // White space of the specification, and no other.
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
            return Err(Mistake::new(here(2), "a condition has no comments"));
        } else if let Some(symbol) = SYMBOLS.iter().find(|symbol| rest.starts_with(**symbol)) {
            (TokenKind::Symbol(symbol), symbol.len())
        } else {
            let found = here(first.len_utf8());
            let shown = interceptor_rule::quoted(&rest[..first.len_utf8()]);
            let mistake = Mistake::new(found, format!("{shown} means nothing in a condition"));
            return Err(match first {
                '“' | '”' | '„' | '‘' | '’' | '«' | '»' => {
                    mistake.suggest("strings stand in straight quotes: \"…\" or '…'")
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

/// A whole number, decimal or hexadecimal.
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
            .suggest("an IP address stands in quotes, and other numbers have no fractions here"));
    }
    let digits = word.strip_prefix("0x");
    let parsed = digits
        .map_or_else(|| word.parse::<u64>().ok(), |digits| u64::from_str_radix(digits, 16).ok());
    if let Some(whole) = word.strip_suffix(['u', 'U']).filter(|whole| whole.parse::<u64>().is_ok())
    {
        return Err(Mistake::new(
            span,
            format!("`{word}` is unsigned, and all numbers here are signed"),
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
