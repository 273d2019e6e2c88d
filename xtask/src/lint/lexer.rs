//! Splits Rust source into tokens, comments included.
//!
//! The checks need the text of comments and strings, and paths inside macro calls. Parsers of the
//! language drop the first and leave the second unparsed, so this file has a lexer of its own.

/// One token with the place where it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Token<'t> {
    pub(crate) kind: Kind,
    /// As in the source, with quotes and comment signs.
    pub(crate) text: &'t str,
    /// From 1.
    pub(crate) line: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `//`, `///`, `//!` up to the end of the line, or `/* … */`.
    Comment,
    /// A string of any kind: plain, raw, of bytes, of C.
    String,
    /// A character or a byte.
    Char,
    Lifetime,
    /// A keyword, too.
    Ident,
    Number,
    /// One sign. `::` is one token, every other sign is a token by itself.
    Sign,
}

/// The tokens of a source file. Source that does not compile gives some tokens, never an error.
pub(crate) fn tokens(source: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let (mut rest, mut line) = (source, 1);
    // `#!/usr/bin/env` is not an attribute.
    if rest.starts_with("#!") && !rest.starts_with("#![") {
        rest = &rest[rest.find('\n').unwrap_or(rest.len())..];
    }
    while let Some(first) = rest.chars().next() {
        if first.is_whitespace() {
            line += usize::from(first == '\n');
            rest = &rest[first.len_utf8()..];
            continue;
        }
        let (kind, length) = token(rest, first);
        let (text, after) = rest.split_at(length);
        tokens.push(Token { kind, text, line });
        line += text.matches('\n').count();
        rest = after;
    }
    tokens
}

/// Leaves out comments, and what is compiled for tests only: items with `#[cfg(test)]`.
pub(crate) fn code_without_tests<'t>(tokens: &[Token<'t>]) -> Vec<Token<'t>> {
    let code = tokens.iter().filter(|token| token.kind != Kind::Comment).copied();
    without_tests(&code.collect::<Vec<_>>())
}

/// Leaves out items with `#[cfg(test)]`, and keeps comments elsewhere.
pub(crate) fn without_tests<'t>(tokens: &[Token<'t>]) -> Vec<Token<'t>> {
    const CFG_TEST: [&str; 7] = ["#", "[", "cfg", "(", "test", ")", "]"];
    let mut kept = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let ahead = tokens[at..].iter().map(|token| token.text);
        if ahead.take(CFG_TEST.len()).eq(CFG_TEST) {
            at += CFG_TEST.len() + item_length(&tokens[at + CFG_TEST.len()..]);
        } else {
            kept.push(tokens[at]);
            at += 1;
        }
    }
    kept
}

/// The number of tokens of an item: up to its `;`, or its last brace if it has none.
fn item_length(tokens: &[Token<'_>]) -> usize {
    let words = tokens.iter().filter(|token| token.kind == Kind::Ident).map(|token| token.text);
    // `use a::{b};` and `const A: B = B {};` go on behind a brace.
    let needs_semicolon = words
        .filter(|word| !matches!(*word, "pub" | "crate" | "super" | "in"))
        .take(2)
        .collect::<Vec<_>>();
    let needs_semicolon = match needs_semicolon[..] {
        ["const", "fn" | "unsafe" | "extern" | "async"] => false,
        [word, ..] => matches!(word, "use" | "const" | "static" | "type" | "let"),
        [] => false,
    };
    let mut depth = 0_usize;
    for (at, token) in tokens.iter().enumerate() {
        match token.text {
            _ if token.kind != Kind::Sign => {}
            "{" | "(" | "[" => depth += 1,
            "}" | ")" | "]" => {
                depth = depth.saturating_sub(1);
                if depth == 0 && token.text == "}" && !needs_semicolon {
                    return at + 1;
                }
            }
            ";" if depth == 0 => return at + 1,
            _ => {}
        }
    }
    tokens.len()
}

/// The kind and length of the first token.
fn token(rest: &str, first: char) -> (Kind, usize) {
    if rest.starts_with("//") {
        return (Kind::Comment, rest.find('\n').unwrap_or(rest.len()));
    }
    if rest.starts_with("/*") {
        return (Kind::Comment, block_comment(rest));
    }
    if let Some(length) = string(rest) {
        return (Kind::String, length);
    }
    if let Some(length) = char_or_byte(rest) {
        return (Kind::Char, length);
    }
    if first == '\'' {
        return (Kind::Lifetime, 1 + word(&rest[1..]));
    }
    if first.is_ascii_digit() {
        return (Kind::Number, number(rest));
    }
    if is_word(first) {
        // `r#type`
        let raw = if rest.starts_with("r#") { 2 } else { 0 };
        return (Kind::Ident, raw + word(&rest[raw..]));
    }
    if rest.starts_with("::") { (Kind::Sign, 2) } else { (Kind::Sign, first.len_utf8()) }
}

/// Block comments nest.
fn block_comment(rest: &str) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at < rest.len() {
        let step = match rest.as_bytes()[at..] {
            [b'/', b'*', ..] => {
                depth += 1;
                2
            }
            [b'*', b'/', ..] => {
                depth -= 1;
                2
            }
            _ => 1,
        };
        at += step;
        if depth == 0 {
            return at;
        }
    }
    rest.len()
}

/// The length of a string with its prefix, if the source begins with one.
fn string(rest: &str) -> Option<usize> {
    let prefix = ["br", "cr", "b", "c", "r", ""];
    let prefix = prefix.into_iter().find(|prefix| {
        rest.strip_prefix(prefix)
            .is_some_and(|after| after.trim_start_matches('#').starts_with('"'))
    })?;
    let after = &rest[prefix.len()..];
    let hashes = after.len() - after.trim_start_matches('#').len();
    let raw = prefix.ends_with('r');
    if hashes > 0 && !raw {
        return None;
    }
    let begin = prefix.len() + hashes + 1;
    let end = if raw {
        let close = format!("\"{}", "#".repeat(hashes));
        rest[begin..].find(&close).map(|at| begin + at + close.len())
    } else {
        closing(&rest[begin..], '"').map(|at| begin + at)
    };
    Some(end.unwrap_or(rest.len()))
}

/// The length of `'a'`, `'\n'` or `b'a'`. A lifetime has no second quote.
fn char_or_byte(rest: &str) -> Option<usize> {
    let begin = if rest.starts_with("b'") { 2 } else { 1 };
    let inside = rest.get(begin - 1..)?.strip_prefix('\'')?;
    if inside.starts_with('\\') {
        return closing(inside, '\'').map(|at| begin + at);
    }
    let first = inside.chars().next()?;
    inside[first.len_utf8()..].starts_with('\'').then(|| begin + first.len_utf8() + 1)
}

/// Where the text behind a closing quote begins.
fn closing(inside: &str, quote: char) -> Option<usize> {
    let mut escaped = false;
    for (at, char) in inside.char_indices() {
        match char {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if char == quote => return Some(at + 1),
            _ => {}
        }
    }
    None
}

/// Digits, a suffix, a fraction. `0..9` and `x.0.1` are several tokens.
fn number(rest: &str) -> usize {
    let whole = word(rest);
    let fraction = rest[whole..]
        .strip_prefix('.')
        .filter(|digits| digits.starts_with(|digit: char| digit.is_ascii_digit()));
    whole + fraction.map_or(0, |digits| 1 + word(digits))
}

fn word(rest: &str) -> usize {
    rest.find(|char| !is_word(char)).unwrap_or(rest.len())
}

fn is_word(char: char) -> bool {
    char == '_' || char.is_alphanumeric()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(source: &str) -> Vec<(Kind, &str)> {
        tokens(source).into_iter().map(|token| (token.kind, token.text)).collect()
    }

    fn texts<'t>(tokens: &[Token<'t>]) -> Vec<&'t str> {
        tokens.iter().map(|token| token.text).collect()
    }

    #[test]
    fn comments_and_strings_are_one_token_each() {
        use Kind::{Comment, Ident, Sign, String};
        assert_eq!(
            split("a // b \"c\"\n/* d /* e */ f */ \"g // \\\" h\" r#\"i \" j\"# b\"k\" ;"),
            [
                (Ident, "a"),
                (Comment, "// b \"c\""),
                (Comment, "/* d /* e */ f */"),
                (String, "\"g // \\\" h\""),
                (String, "r#\"i \" j\"#"),
                (String, "b\"k\""),
                (Sign, ";"),
            ],
        );
    }

    #[test]
    fn a_lifetime_is_no_character() {
        use Kind::{Char, Ident, Lifetime, Number, Sign};
        assert_eq!(
            split("'a 'b' '\\'' b'c' r#type 1.5e3 ::'static"),
            [
                (Lifetime, "'a"),
                (Char, "'b'"),
                (Char, "'\\''"),
                (Char, "b'c'"),
                (Ident, "r#type"),
                (Number, "1.5e3"),
                (Sign, "::"),
                (Lifetime, "'static"),
            ],
        );
        assert_eq!(split("0..9"), [(Number, "0"), (Sign, "."), (Sign, "."), (Number, "9")]);
    }

    #[test]
    fn lines_count_through_long_tokens() {
        let tokens = tokens("#!/bin/x\n\"a\nb\"\nc");
        assert_eq!(tokens.iter().map(|token| token.line).collect::<Vec<_>>(), [2, 4]);
    }

    #[test]
    fn test_items_are_left_out() {
        for (source, kept) in [
            ("a; #[cfg(test)] mod tests; b", vec!["a", ";", "b"]),
            ("#[cfg(test)] #[path = \"x\"] mod tests { fn c() {} } b", vec!["b"]),
            ("#[cfg(test)] pub(crate) use a::{b, c}; d", vec!["d"]),
            ("#[cfg(test)] const A: B = B { c: 1 }; d", vec!["d"]),
            ("#[cfg(test)] const fn a() { [1; 2] } d", vec!["d"]),
            ("#[cfg(test)] impl A { fn b() {} } d", vec!["d"]),
        ] {
            assert_eq!(texts(&code_without_tests(&tokens(source))), kept, "{source}");
        }
    }
}
