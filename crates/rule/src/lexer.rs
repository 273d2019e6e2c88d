//! Splits a rule into words and punctuation, and finds the end of a condition.
//!
//! Each call looks at each character a fixed number of times and does not recurse. So the cost is
//! linear in the length of the text.

use crate::span::Span;
use crate::suggest;

/// The kind of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TokenKind {
    /// Anything else between white space: a number, a target, a keyword, or a mistake.
    Word,
    /// `,`
    Comma,
    /// `;`
    Semicolon,
    /// `->`
    Arrow,
    /// A sign that people write in place of `->`.
    WrongArrow,
    /// The end of the text.
    End,
}

/// A token and its place in the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) kind: TokenKind,
    pub(crate) span: Span,
}

/// The longest signs come first, because some begin with another one.
const ARROWS: [(&str, TokenKind); 15] = [
    ("-->", TokenKind::WrongArrow),
    ("==>", TokenKind::WrongArrow),
    ("<->", TokenKind::WrongArrow),
    ("->>", TokenKind::WrongArrow),
    (">>", TokenKind::WrongArrow),
    ("<-", TokenKind::WrongArrow),
    ("<=", TokenKind::WrongArrow),
    ("->", TokenKind::Arrow),
    ("=>", TokenKind::WrongArrow),
    ("~>", TokenKind::WrongArrow),
    (">", TokenKind::WrongArrow),
    ("→", TokenKind::WrongArrow),
    ("⇒", TokenKind::WrongArrow),
    ("➔", TokenKind::WrongArrow),
    ("←", TokenKind::WrongArrow),
];

/// A position in the text. The parser copies it to look ahead.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lexer<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Lexer<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    /// Returns the next token without moving past it.
    pub(crate) fn peek(&self) -> Token {
        let mut ahead = *self;
        ahead.next()
    }

    /// Returns the next token and moves past it. At the end of the text it returns `End` again.
    pub(crate) fn next(&mut self) -> Token {
        self.skip_white_space();
        let start = self.at;
        let (kind, length) = match punctuation(self.rest()) {
            Some(found) => found,
            None if self.rest().is_empty() => (TokenKind::End, 0),
            None => (TokenKind::Word, word_length(self.rest())),
        };
        self.at += length;
        Token { kind, span: Span::new(start, self.at) }
    }

    /// Moves past a condition and returns its place without surrounding white space.
    ///
    /// The place is empty if there is no condition.
    pub(crate) fn condition(&mut self) -> Result<Span, Broken> {
        self.skip_white_space();
        let start = self.at;
        let mut open: Vec<(usize, u8)> = Vec::new();
        let bytes = self.text.as_bytes();
        // All bytes that matter are ASCII, which never occurs inside a longer UTF-8 character.
        while let Some(&byte) = bytes.get(self.at) {
            match byte {
                b'"' | b'\'' => {
                    self.at = self.string_end(start).ok_or_else(|| Broken::Quote(self.here()))?;
                    continue;
                }
                b'(' | b'[' | b'{' => open.push((self.at, byte)),
                b')' | b']' | b'}' => match open.pop() {
                    Some((_, opened)) if closes(opened, byte) => {}
                    Some((at, _)) => {
                        return Err(Broken::Mismatch {
                            open: Span::new(at, at + 1),
                            close: self.here(),
                        });
                    }
                    None => return Err(Broken::Close(self.here())),
                },
                b'/' if bytes.get(self.at + 1) == Some(&b'/') => {
                    return Err(Broken::Comment(Span::new(self.at, self.at + 2)));
                }
                b';' if open.is_empty() => break,
                b'a'..=b'z' if open.is_empty() && self.at_clause_word(start) => break,
                _ => {}
            }
            self.at += 1;
        }
        if let Some((at, _)) = open.pop() {
            return Err(Broken::Open(Span::new(at, at + 1)));
        }
        let length = self.text[start..self.at].trim_end().len();
        Ok(Span::new(start, start + length))
    }

    /// Splits a word such as `when(x)`, which needs no space, and moves back to after its `when`.
    pub(crate) fn split_when(&mut self, word: Span) -> Span {
        match word.of(self.text).strip_prefix("when") {
            Some(rest) if rest.starts_with(['(', '[', '{', '"', '\'', '!']) => {
                self.at = word.start + "when".len();
                Span::new(word.start, self.at)
            }
            _ => word,
        }
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn here(&self) -> Span {
        Span::new(self.at, self.at + 1)
    }

    fn skip_white_space(&mut self) {
        self.at = self.text.len() - self.rest().trim_start().len();
    }

    /// Tells whether a clause keyword stands alone here.
    ///
    /// In `request.ttl`, `ttl(x)` and `"ttl"` the word is a part of the expression.
    fn at_clause_word(&self, condition_start: usize) -> bool {
        let before = self.text[condition_start..self.at].chars().next_back();
        let alone = |c: char| c.is_whitespace() || matches!(c, ')' | ']' | '}' | '"' | '\'');
        if !before.is_none_or(alone) {
            return false;
        }
        suggest::CLAUSES.iter().any(|word| {
            self.rest().strip_prefix(word).is_some_and(|after| {
                after.chars().next().is_none_or(|c| c.is_whitespace() || c == ';')
            })
        })
    }

    /// The offset after the string literal that starts here. `None`: the literal has no end.
    fn string_end(&self, condition_start: usize) -> Option<usize> {
        let rest = self.rest();
        let quote = &rest[..1];
        let delimiter = [quote, quote, quote].concat();
        let (delimiter, long) =
            if rest.starts_with(&delimiter) { (&delimiter[..], true) } else { (quote, false) };
        let raw = is_raw(&self.text[condition_start..self.at]);
        let bytes = rest.as_bytes();
        let mut at = delimiter.len();
        while let Some(&byte) = bytes.get(at) {
            match byte {
                b'\\' if !raw => at += 1,
                b'\n' if !long => return None,
                _ if bytes[at..].starts_with(delimiter.as_bytes()) => {
                    return Some(self.at + at + delimiter.len());
                }
                _ => {}
            }
            at += 1;
        }
        None
    }
}

/// A reason why the end of a condition can't be found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Broken {
    /// A string has no closing quote.
    Quote(Span),
    /// An opening bracket has no closing one.
    Open(Span),
    /// A closing bracket has no opening one.
    Close(Span),
    /// A closing bracket is of another kind than the opening one.
    Mismatch { open: Span, close: Span },
    /// A comment, which would hide the rest of the line.
    Comment(Span),
}

fn punctuation(rest: &str) -> Option<(TokenKind, usize)> {
    match rest.as_bytes().first()? {
        b',' => Some((TokenKind::Comma, 1)),
        b';' => Some((TokenKind::Semicolon, 1)),
        _ => ARROWS
            .iter()
            .find(|(arrow, _)| rest.starts_with(arrow))
            .map(|(arrow, kind)| (*kind, arrow.len())),
    }
}

fn word_length(rest: &str) -> usize {
    rest.char_indices()
        .find(|(at, c)| c.is_whitespace() || punctuation(&rest[*at..]).is_some())
        .map_or(rest.len(), |(at, _)| at)
}

fn closes(open: u8, close: u8) -> bool {
    matches!((open, close), (b'(', b')') | (b'[', b']') | (b'{', b'}'))
}

/// Tells whether the text before a quote ends in the prefix of a raw string, as in `r"…"` or
/// `rb"…"`.
fn is_raw(before: &str) -> bool {
    let prefix = before.len()
        - before.trim_end_matches(|c: char| c.is_ascii_alphanumeric() || c == '_').len();
    let prefix = &before[before.len() - prefix..];
    matches!(prefix.len(), 1 | 2)
        && prefix.bytes().all(|b| matches!(b, b'r' | b'R' | b'b' | b'B'))
        && prefix.bytes().any(|b| matches!(b, b'r' | b'R'))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn tokens(text: &str) -> Vec<(TokenKind, &str)> {
        let mut lexer = Lexer::new(text);
        std::iter::from_fn(|| Some(lexer.next()).filter(|token| token.kind != TokenKind::End))
            .map(|token| (token.kind, token.span.of(text)))
            .collect()
    }

    #[test]
    fn white_space_does_not_matter() {
        use TokenKind::{Arrow, Comma, Semicolon, Word};
        let expected = [
            (Word, "80"),
            (Comma, ","),
            (Word, "81"),
            (Arrow, "->"),
            (Word, "[fd00::1]:3"),
            (Semicolon, ";"),
            (Word, "my-laptop"),
        ];
        assert_eq!(tokens("80,81->[fd00::1]:3;my-laptop"), expected);
        assert_eq!(tokens("\t80 ,\n81 -> [fd00::1]:3 ; my-laptop\r\n"), expected);
    }

    #[rstest]
    #[case("80-->a", "-->")]
    #[case("80=>a", "=>")]
    #[case("80 → a", "→")]
    #[case("80>a", ">")]
    fn wrong_arrows_are_tokens(#[case] text: &str, #[case] arrow: &str) {
        assert_eq!(tokens(text)[1], (TokenKind::WrongArrow, arrow));
    }

    #[test]
    fn the_end_is_returned_again_and_again() {
        let mut lexer = Lexer::new(" a ");
        assert_eq!(lexer.next().kind, TokenKind::Word);
        let end = Token { kind: TokenKind::End, span: Span::new(3, 3) };
        assert_eq!((lexer.next(), lexer.next()), (end, end));
    }

    #[rstest]
    #[case("a == 1", "a == 1")]
    #[case("  a == 1  ; x", "a == 1")]
    #[case("a ttl 5m", "a")]
    #[case("a\nttl 5m", "a")]
    #[case("f(a)ttl 5m", "f(a)")]
    #[case("'a'ttl 5m", "'a'")]
    #[case("request.ttl > 1 ttl 5m", "request.ttl > 1")]
    #[case("ttl(1) percent 5", "ttl(1)")]
    #[case("my_ttl percent", "my_ttl")]
    #[case("ttlx with", "ttlx")]
    #[case("[a ; b, ttl ] ; c", "[a ; b, ttl ]")]
    #[case("'; ttl ' == \"; when\" ;", "'; ttl ' == \"; when\"")]
    #[case(r#""\"; " ;"#, r#""\"; ""#)]
    #[case(r#"r"\" ; x"#, r#"r"\""#)]
    #[case(r#"Rb'\' ; x"#, r#"Rb'\'"#)]
    #[case(r#"bar"\"; " ; x"#, r#"bar"\"; ""#)]
    #[case("'''it's; \n ''' ;", "'''it's; \n '''")]
    #[case("'' ;", "''")]
    #[case("a / b ;", "a / b")]
    #[case("ttl 5m", "")]
    #[case("ä == 'ö;' ;", "ä == 'ö;'")]
    fn the_end_of_a_condition_is_found(#[case] text: &str, #[case] condition: &str) {
        let mut lexer = Lexer::new(text);
        assert_eq!(lexer.condition().expect("is well-formed").of(text), condition);
    }

    #[rstest]
    #[case("a == 'b", Broken::Quote(Span::new(5, 6)))]
    #[case("a == 'b\n'", Broken::Quote(Span::new(5, 6)))]
    #[case("'''a''", Broken::Quote(Span::new(0, 1)))]
    #[case("'\\", Broken::Quote(Span::new(0, 1)))]
    #[case("f(g[1]", Broken::Open(Span::new(1, 2)))]
    #[case("a)", Broken::Close(Span::new(1, 2)))]
    #[case("(a]", Broken::Mismatch { open: Span::new(0, 1), close: Span::new(2, 3) })]
    #[case("a // b", Broken::Comment(Span::new(2, 4)))]
    fn a_broken_condition_is_refused(#[case] text: &str, #[case] broken: Broken) {
        assert_eq!(Lexer::new(text).condition(), Err(broken));
    }
}
