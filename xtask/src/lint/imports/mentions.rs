//! The modules that a file declares, and the paths that it mentions.

use std::collections::{BTreeMap, BTreeSet};

use crate::lint::lexer::{Kind, Token};

/// What the source of one module says: a file, or the inside of `mod name { … }`.
#[derive(Debug, Default)]
pub(crate) struct Source {
    /// `mod name;`, each with its `#[path]`.
    pub(crate) files: Vec<(String, Option<String>)>,
    /// `mod name { … }`
    pub(crate) inline: Vec<(String, Source)>,
    pub(crate) mentions: Vec<Mention>,
    /// Names of items: types, functions, constants.
    pub(crate) defines: BTreeSet<String>,
    /// How often each word occurs outside of `use` lines.
    pub(crate) words: BTreeMap<String, usize>,
}

/// A path in a `use` line or in code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mention {
    pub(crate) path: Vec<String>,
    pub(crate) line: usize,
    /// For a `use` line.
    pub(crate) import: Option<Import>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Import {
    /// What the module calls it. `*` for all names, `_` for a trait without one.
    pub(crate) name: String,
    /// With `pub` or `pub(…)`: a re-export.
    pub(crate) is_public: bool,
}

// === impl Source ===

impl Source {
    /// Reads tokens of code: without comments and tests.
    pub(crate) fn read(tokens: &[Token<'_>]) -> Self {
        let mut source = Self::default();
        let (mut at, mut attribute_path, mut is_public) = (0, None, false);
        while let Some(token) = tokens.get(at) {
            let next = |offset: usize| tokens.get(at + offset).map_or("", |token| token.text);
            match token.text {
                "pub" => {
                    is_public = true;
                    at += 1 + if next(1) == "(" { group(&tokens[at + 1..]) } else { 0 };
                    continue;
                }
                "#" if next(2) == "path" && next(3) == "=" => {
                    attribute_path = Some(next(4).trim_matches('"').to_owned());
                    at += 6;
                    continue;
                }
                "#" => {
                    // Other attributes stand between `#[path]` and `mod`.
                    let inner = usize::from(next(1) == "!");
                    let length = 1 + inner + group(&tokens[at + 1 + inner..]);
                    source.code(&tokens[at..at + length]);
                    at += length;
                    continue;
                }
                "use" if next(1) != "<" => {
                    let end = tokens[at..].iter().position(|token| token.text == ";");
                    let end = at + end.unwrap_or(tokens.len() - at);
                    source.import(&tokens[at + 1..end], &mut Vec::new(), is_public);
                    at = end + 1;
                }
                "mod" if next(2) == ";" => {
                    source.files.push((next(1).to_owned(), attribute_path.take()));
                    at += 3;
                }
                "mod" if next(2) == "{" => {
                    let length = group(&tokens[at + 2..]);
                    let inside = &tokens[at + 3..at + 1 + length];
                    source.inline.push((next(1).to_owned(), Self::read(inside)));
                    at += 2 + length;
                }
                _ => at += source.code(&tokens[at..=at]).max(source.path(&tokens[at..])),
            }
            (attribute_path, is_public) = (None, false);
        }
        source
    }

    /// Notes the names of items and the words. Returns the number of tokens.
    fn code(&mut self, tokens: &[Token<'_>]) -> usize {
        for token in tokens.iter().filter(|token| token.kind == Kind::Ident) {
            *self.words.entry(token.text.to_owned()).or_default() += 1;
        }
        tokens.len()
    }

    /// Notes the path or the item that the tokens begin with. Returns its number of tokens.
    fn path(&mut self, tokens: &[Token<'_>]) -> usize {
        let Some(first) = tokens.first().filter(|token| token.kind == Kind::Ident) else {
            return 1;
        };
        if let "struct" | "enum" | "union" | "trait" | "type" | "fn" | "const" | "static" =
            first.text
            && let Some(name) = tokens.get(1).filter(|token| token.kind == Kind::Ident)
        {
            self.defines.insert(name.text.to_owned());
            return 1;
        }
        let mut path = vec![first.text.to_owned()];
        let mut at = 1;
        while let [colons, name, ..] = tokens[at..]
            && colons.text == "::"
            && name.kind == Kind::Ident
        {
            path.push(name.text.to_owned());
            self.code(&[name]);
            at += 2;
        }
        if path.len() > 1 {
            self.mentions.push(Mention { path, line: first.line, import: None });
        }
        at
    }

    /// Notes each leaf of a `use` tree.
    fn import(&mut self, tree: &[Token<'_>], prefix: &mut Vec<String>, is_public: bool) {
        for branch in branches(tree) {
            let depth = prefix.len();
            let mut rest = branch;
            while let [name, colons, after @ ..] = rest
                && name.kind == Kind::Ident
                && colons.text == "::"
            {
                prefix.push(name.text.to_owned());
                rest = after;
            }
            // `::crate_name::…` begins with the colons.
            match rest {
                [brace, inside @ .., _] if brace.text == "{" => {
                    self.import(inside, prefix, is_public);
                }
                [last, alias @ ..] if last.text != "::" => {
                    let mut path = prefix.clone();
                    if last.text != "self" || prefix.is_empty() {
                        path.push(last.text.to_owned());
                    }
                    let name = alias.get(1).map(|alias| alias.text.to_owned());
                    let name = name.or_else(|| path.last().cloned()).unwrap_or_default();
                    let import = Some(Import { name, is_public });
                    self.mentions.push(Mention { path, line: last.line, import });
                }
                _ => {}
            }
            prefix.truncate(depth);
        }
    }
}

/// Splits at the commas outside of braces.
fn branches<'a, 't>(tree: &'a [Token<'t>]) -> Vec<&'a [Token<'t>]> {
    let mut depth = 0_usize;
    let outer = |token: &Token<'_>| {
        match token.text {
            "{" => depth += 1,
            "}" => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth == 0 && token.text == ","
    };
    tree.split(outer).filter(|branch| !branch.is_empty()).collect()
}

/// The length of the group in brackets that the tokens begin with.
fn group(tokens: &[Token<'_>]) -> usize {
    let mut depth = 0_usize;
    for (at, token) in tokens.iter().enumerate() {
        if token.kind == Kind::Sign {
            match token.text {
                "{" | "(" | "[" => depth += 1,
                "}" | ")" | "]" => depth = depth.saturating_sub(1),
                _ => {}
            }
        }
        if depth == 0 {
            return at + 1;
        }
    }
    tokens.len()
}
