//! The errors for tokens in the wrong place, with advice from what stands around them.

use super::Parser;
use crate::error::{ErrorKind, ParseError};
use crate::lexer::{Lexer, Token, TokenKind};
use crate::span::Span;
use crate::{advice, suggest};

impl<'a> Parser<'a> {
    /// The word behind `span`, if a word follows.
    pub(super) fn word_behind(&self, span: Span) -> Option<&'a str> {
        let rest = &self.text[span.end..];
        let next = Lexer::new(rest).next();
        (next.kind == TokenKind::Word).then(|| next.span.of(rest))
    }

    /// The word behind an arrow behind `span`, if both follow.
    pub(super) fn target_behind(&self, span: Span) -> Option<&'a str> {
        let rest = &self.text[span.end..];
        let mut ahead = Lexer::new(rest);
        let arrow = ahead.next().kind;
        let target = ahead.next();
        let follows = matches!(arrow, TokenKind::Arrow | TokenKind::WrongArrow);
        (follows && target.kind == TokenKind::Word).then(|| target.span.of(rest))
    }

    /// Whether the word at `span` is followed by a sign that follows the ports of a rule.
    pub(super) fn begins_a_rule(&self, span: Span) -> bool {
        let followed = Lexer::new(&self.text[span.end..]).next().kind;
        matches!(followed, TokenKind::Arrow | TokenKind::WrongArrow | TokenKind::Comma)
    }

    /// The same of the word behind `span`.
    pub(super) fn begins_a_rule_behind(&self, span: Span) -> bool {
        let next = Lexer::new(&self.text[span.end..]).next().span;
        self.begins_a_rule(Span::new(span.end + next.start, span.end + next.end))
    }

    pub(super) fn not_a_rule(&self, token: Token) -> ParseError {
        let error =
            |kind, expected: &'static str| ParseError::new(self.text, kind, token.span, expected);
        match token.kind {
            TokenKind::Arrow | TokenKind::WrongArrow => {
                error(ErrorKind::Port, "a port before the `->`")
                    .suggest("to redirect all declared ports, write the target alone")
            }
            TokenKind::Comma => error(ErrorKind::Port, "a port before the `,`"),
            _ => error(ErrorKind::Empty, "a rule"),
        }
    }

    pub(super) fn not_an_arrow(&self, token: Token) -> ParseError {
        let error = ParseError::new(
            self.text,
            ErrorKind::Arrow,
            token.span,
            "`->` between the ports and the target",
        );
        match token.kind {
            TokenKind::WrongArrow => error.suggest("did you mean `->`?"),
            TokenKind::Word => {
                let word = token.span.of(self.text);
                let next = self.word_behind(token.span);
                let another_port = self.begins_a_rule(token.span)
                    || next.is_some_and(|next| next.bytes().all(|b| b.is_ascii_digit()));
                match advice::for_arrow(word, next, another_port) {
                    Some(advice) => error.suggest(advice),
                    None => error,
                }
            }
            _ => error,
        }
    }

    /// The error for a token in the place of a clause, `;` or the end.
    pub(super) fn not_a_clause(&self, token: Token) -> ParseError {
        let expected = "`when`, `percent`, `ttl`, `with`, `;` or the end";
        let error = ParseError::new(self.text, ErrorKind::Clause, token.span, expected);
        match token.kind {
            TokenKind::Word => {
                let word = token.span.of(self.text);
                let another_rule = self.begins_a_rule(token.span);
                let session = self.session.map(|span| span.of(self.text));
                if let Some(first) = session.filter(|_| another_rule) {
                    return error.suggest(advice::begin_with_ports(first));
                }
                let target = session.and_then(|session| advice::split_target(session, word));
                if let Some(target) = target {
                    return error.suggest(format!("did you mean `{target}`?"));
                }
                // `laptop:3000 8080`
                let is_number = word.bytes().all(|b| b.is_ascii_digit()) && !another_rule;
                let alone = self.alone.map(|span| span.of(self.text)).filter(|_| is_number);
                let turned = alone.and_then(|target| advice::for_port(target, Some(word)));
                if let Some(advice) = turned {
                    return error.suggest(advice);
                }
                match suggest::clause_with_value(word) {
                    Some(meant) => error.suggest(meant),
                    // The word looks like the beginning of another rule.
                    None if word.contains(':') || another_rule => {
                        error.suggest("rules are separated by `;`")
                    }
                    None => error,
                }
            }
            TokenKind::Comma => error.suggest("a rule has one target; rules are separated by `;`"),
            TokenKind::Arrow | TokenKind::WrongArrow => {
                error.suggest("a rule has one `->`; rules are separated by `;`")
            }
            TokenKind::Semicolon | TokenKind::End => error,
        }
    }
}
