//! The parser. Each production of the grammar has a function of its own.

use std::time::Duration;

use interceptor_common::port::{Port, Protocol};

use crate::ast::{Condition, Local, Percent, Places, Ports, ProxyProtocol, Rule, Target};
use crate::error::{ErrorKind, ParseError};
use crate::lexer::{Broken, Lexer, Token, TokenKind};
use crate::limits::{Limit, MAX_CONDITION, MAX_PORTS, MAX_RULE_TEXT, MAX_RULES, MAX_TTL, MIN_TTL};
use crate::span::Span;
use crate::{advice, suggest, target, visible};

mod mistakes;

/// Parses the value of an annotation.
///
/// ```text
/// rules   = rule { ";" rule } [ ";" ]
/// rule    = [ ports "->" ] target { clause }
/// ports   = port { "," port }
/// port    = number [ "/udp" ]
/// target  = ipv4 ":" port | "[" ipv6 "]" ":" port | hostname ":" port | session-name
/// clause  = "when" condition | "percent" number | "ttl" duration
///         | "with" option { "," option }
/// option  = "proxy-v2" | "local-to-app" | "local-to-target"
/// ```
///
/// White space between the parts is ignored. Keywords are case-sensitive. A rule has each clause at
/// most once, in any order.
///
/// A condition ends at the next clause keyword that stands alone, at a `;`, or at the end of the
/// text. Keywords and `;` inside quotes or brackets belong to the condition.
///
/// The result has at least one rule.
///
/// # Errors
/// `text` does not follow the grammar, exceeds a limit (`MAX_*`, `MIN_TTL`), or has control or
/// invisible characters. The error describes the first mistake only.
pub fn parse(text: &str) -> Result<Vec<Rule>, ParseError> {
    check_text(text)?;
    let mut parser = Parser { text, lexer: Lexer::new(text), session: None, alone: None };
    let mut rules = Vec::new();
    loop {
        let next = parser.lexer.peek();
        if next.kind == TokenKind::End && !rules.is_empty() {
            return Ok(rules);
        }
        if rules.len() == MAX_RULES {
            let span = Span::new(next.span.start, text.len());
            return Err(ParseError::limit(text, Limit::Rules, span, "one more".to_owned()));
        }
        rules.push(parser.rule()?);
    }
}

/// Checks the text as a whole: its size and its characters.
fn check_text(text: &str) -> Result<(), ParseError> {
    if text.len() > MAX_RULE_TEXT {
        let span = Span::new(text.floor_char_boundary(MAX_RULE_TEXT), text.len());
        return Err(ParseError::limit(
            text,
            Limit::RuleText,
            span,
            format!("{} bytes", text.len()),
        ));
    }
    if let Some((start, c)) = text.char_indices().find(|(_, c)| visible::is_invisible(*c)) {
        let span = Span::new(start, start + c.len_utf8());
        let expected = "only visible characters, spaces, tabs and line breaks";
        return Err(ParseError::new(text, ErrorKind::InvisibleCharacter, span, expected));
    }
    Ok(())
}

const EXPECTED_OPTION: &str = "`proxy-v2`, `local-to-app` or `local-to-target` after `with`";

struct Parser<'a> {
    text: &'a str,
    lexer: Lexer<'a>,
    /// The place of the current rule's target, if that is a word without a port.
    session: Option<Span>,
    /// The place of the current rule's target, if the rule names no ports.
    alone: Option<Span>,
}

/// The clauses of one rule that the parser has read so far, each with its place.
#[derive(Default)]
struct Clauses {
    when: Option<(Condition, Span)>,
    percent: Option<(Percent, Span)>,
    ttl: Option<(Duration, Span)>,
    with: Option<Options>,
}

/// The options of a clause `with`.
#[derive(Clone, Copy, Default)]
struct Options {
    proxy_protocol: Option<ProxyProtocol>,
    local: Option<Local>,
}

impl<'a> Parser<'a> {
    /// Reads one rule and the `;` after it.
    fn rule(&mut self) -> Result<Rule, ParseError> {
        let start = self.lexer.peek().span;
        let (ports, udp) = self.ports()?;
        let (target, target_place) = self.target(&ports)?;
        let mut clauses = Clauses::default();
        let mut end = target_place;
        loop {
            let token = self.lexer.next();
            match token.kind {
                TokenKind::End | TokenKind::Semicolon => break,
                TokenKind::Word => end = self.clause(token.span, &mut clauses)?,
                _ => return Err(self.not_a_clause(token)),
            }
        }
        let places = Places {
            rule: start.to(end),
            udp,
            target: target_place,
            when: clauses.when.as_ref().map(|(_, span)| *span),
            percent: clauses.percent.map(|(_, span)| span),
        };
        Ok(Rule {
            ports,
            target,
            when: clauses.when.map(|(condition, _)| condition),
            percent: clauses.percent.map(|(percent, _)| percent),
            ttl: clauses.ttl.map(|(ttl, _)| ttl),
            proxy_protocol: clauses.with.and_then(|options| options.proxy_protocol),
            local: clauses.with.and_then(|options| options.local).unwrap_or_default(),
            places,
        })
    }

    /// Reads the ports and the arrow, if the rule has them. The second token tells. Returns the
    /// place of the first UDP port, too.
    fn ports(&mut self) -> Result<(Ports, Option<Span>), ParseError> {
        let mut ahead = self.lexer;
        let first = ahead.next();
        let second = ahead.next();
        if first.kind != TokenKind::Word {
            return Err(self.not_a_rule(first));
        }
        let word = first.span.of(self.text);
        let number = word.strip_suffix("/udp").unwrap_or(word).bytes().all(|b| b.is_ascii_digit());
        match second.kind {
            TokenKind::Comma | TokenKind::Arrow | TokenKind::WrongArrow => {}
            TokenKind::Word if number => {}
            _ => return Ok((Ports::Declared, None)),
        }

        let (mut ports, mut udp) = (Vec::new(), None);
        loop {
            let word = self.lexer.next();
            let port = self.listed_port(word, &ports)?;
            if port.protocol() == Protocol::Udp {
                udp.get_or_insert(word.span);
            }
            ports.push(port);
            let separator = self.lexer.next();
            match separator.kind {
                TokenKind::Comma => {}
                TokenKind::Arrow => return Ok((Ports::Listed(ports), udp)),
                _ => return Err(self.not_an_arrow(separator)),
            }
        }
    }

    fn listed_port(&self, token: Token, before: &[Port]) -> Result<Port, ParseError> {
        if token.kind != TokenKind::Word {
            return Err(ParseError::new(
                self.text,
                ErrorKind::Port,
                token.span,
                "a port after the `,`",
            ));
        }
        if before.len() == MAX_PORTS {
            return Err(ParseError::limit(
                self.text,
                Limit::Ports,
                token.span,
                "one more".to_owned(),
            ));
        }
        let port = target::listed_port(self.text, token.span).map_err(|error| {
            let alone = before.is_empty();
            let target = self.target_behind(token.span).filter(|_| alone);
            match advice::for_port(token.span.of(self.text), target) {
                Some(advice) if error.suggestion().is_none() => error.suggest(advice),
                _ => error,
            }
        })?;
        // A linear search is fine for at most MAX_PORTS entries.
        if before.contains(&port) {
            let expected = "each port once";
            return Err(ParseError::new(self.text, ErrorKind::DuplicatePort, token.span, expected)
                .with_found(format!("a second `{port}`")));
        }
        Ok(port)
    }

    fn target(&mut self, ports: &Ports) -> Result<(Target, Span), ParseError> {
        let token = self.lexer.next();
        if token.kind != TokenKind::Word {
            let expected = "a target after the `->`: `host:port` or `[ipv6]:port`";
            return Err(ParseError::new(self.text, ErrorKind::Target, token.span, expected));
        }
        let target = target::target(self.text, token.span).map_err(|error| {
            let word = token.span.of(self.text);
            let udp = *ports == Ports::Declared
                && target::listed_port(word, Span::new(0, word.len())).is_ok();
            let listed = match ports {
                Ports::Declared => None,
                Ports::Listed(_) => Some(ports.to_string()),
            };
            let next = self.word_behind(token.span);
            if next.is_some() && self.begins_a_rule_behind(token.span) {
                return error.suggest(advice::begin_with_ports(word));
            }
            match advice::for_target(word, listed.as_deref(), next) {
                Some(advice) => error.suggest(advice),
                None if udp => error.suggest(format!("did you mean `{word} -> host:3000`?")),
                None => error,
            }
        })?;
        self.session = matches!(target, Target::Session(_)).then_some(token.span);
        self.alone = (*ports == Ports::Declared).then_some(token.span);
        Ok((target, token.span))
    }

    /// Reads the clause whose keyword is at `word`. Returns the place of the whole clause.
    fn clause(&mut self, word: Span, clauses: &mut Clauses) -> Result<Span, ParseError> {
        let word = self.lexer.split_when(word);
        let name = word.of(self.text);
        let taken = match name {
            "when" => clauses.when.is_some(),
            "percent" => clauses.percent.is_some(),
            "ttl" => clauses.ttl.is_some(),
            "with" => clauses.with.is_some(),
            _ => return Err(self.not_a_clause(Token { kind: TokenKind::Word, span: word })),
        };
        if taken {
            let expected = "each clause at most once";
            return Err(ParseError::new(self.text, ErrorKind::DuplicateClause, word, expected)
                .with_found(format!("a second `{name}`")));
        }
        let end = match name {
            "when" => {
                let (condition, end) = self.condition()?;
                clauses.when = Some((condition, word.to(end)));
                end
            }
            "percent" => {
                let (percent, end) = self.percent()?;
                clauses.percent = Some((percent, word.to(end)));
                end
            }
            "ttl" => {
                let (ttl, end) = self.ttl()?;
                clauses.ttl = Some((ttl, word.to(end)));
                end
            }
            _ => {
                let (options, end) = self.with()?;
                clauses.with = Some(options);
                end
            }
        };
        Ok(word.to(end))
    }

    fn condition(&mut self) -> Result<(Condition, Span), ParseError> {
        let error =
            |span, expected| ParseError::new(self.text, ErrorKind::Condition, span, expected);
        let span = self.lexer.condition().map_err(|broken| match broken {
            Broken::Quote(quote) => error(quote, "a quote that closes this string")
                .with_found("the end of the line or text"),
            Broken::Open(open) => {
                error(open, "a bracket that closes this one").with_found("the end of the text")
            }
            Broken::Close(close) => {
                error(close, "an opening bracket before this one").with_found("none")
            }
            Broken::Mismatch { open, close } => {
                let opened = visible::quoted(open.of(self.text));
                let line = crate::Position::of(self.text, open.start);
                error(close, "a closing bracket of the same kind as the opening one").suggest(
                    format!("{opened} was opened at line {}, column {}", line.line, line.column),
                )
            }
            Broken::Comment(comment) => error(comment, "a condition without comments"),
        })?;
        if span.start == span.end {
            let next = self.lexer.peek().span;
            return Err(error(next, "a condition (a CEL expression) after `when`"));
        }
        if span.end - span.start > MAX_CONDITION {
            let found = format!("{} bytes", span.end - span.start);
            return Err(ParseError::limit(self.text, Limit::Condition, span, found));
        }
        Ok((Condition::new(span.of(self.text)), span))
    }

    fn percent(&mut self) -> Result<(Percent, Span), ParseError> {
        let span = self.word(ErrorKind::Percent, "a number after `percent`")?;
        let word = span.of(self.text);
        let error = || {
            let expected = "a number above 0 and up to 100, with at most 4 decimal places";
            ParseError::new(self.text, ErrorKind::Percent, span, expected)
        };
        match parts_per_million(word).and_then(Percent::from_parts_per_million) {
            Some(percent) => Ok((percent, span)),
            None => Err(match word.strip_suffix('%') {
                Some(number) if parts_per_million(number).is_some() => {
                    error().suggest(format!("did you mean `{number}`?"))
                }
                _ => error(),
            }),
        }
    }

    fn ttl(&mut self) -> Result<(Duration, Span), ParseError> {
        let mut span = self.word(ErrorKind::Ttl, "a duration after `ttl`")?;
        // `1h 30m` is one duration. Nothing else that may follow begins with a digit.
        loop {
            let next = self.lexer.peek();
            if next.kind != TokenKind::Word
                || !next.span.of(self.text).starts_with(|c: char| c.is_ascii_digit())
            {
                break;
            }
            span = span.to(self.lexer.next().span);
        }
        let word = span.of(self.text);
        let ttl = humantime::parse_duration(word).map_err(|_| {
            let error = ParseError::new(
                self.text,
                ErrorKind::Ttl,
                span,
                "a duration such as `30m`, `8h` or `1h30m`",
            );
            if word.bytes().all(|b| b.is_ascii_digit()) {
                error.suggest(format!("add a unit: `{word}s`, `{word}m` or `{word}h`"))
            } else {
                error
            }
        })?;
        let limit = match ttl {
            short if short < MIN_TTL => Limit::MinTtl,
            long if long > MAX_TTL => Limit::MaxTtl,
            _ => return Ok((ttl, span)),
        };
        Err(ParseError::limit(self.text, limit, span, visible::quoted(word)))
    }

    fn with(&mut self) -> Result<(Options, Span), ParseError> {
        let mut options = Options::default();
        loop {
            let span = self.word(ErrorKind::With, EXPECTED_OPTION)?;
            self.option(span, &mut options)?;
            if self.lexer.peek().kind != TokenKind::Comma {
                return Ok((options, span));
            }
            self.lexer.next();
        }
    }

    /// Reads one option of a clause `with`.
    fn option(&self, span: Span, options: &mut Options) -> Result<(), ParseError> {
        let error = |expected| ParseError::new(self.text, ErrorKind::With, span, expected);
        let word = span.of(self.text);
        let is_new = match word {
            "proxy-v2" => options.proxy_protocol.replace(ProxyProtocol::V2).is_none(),
            "local-to-app" => options.local.replace(Local::ToApp).is_none(),
            "local-to-target" => options.local.replace(Local::ToTarget).is_none(),
            other => {
                let meant = suggest::option(other);
                let suggested = meant.map(|meant| format!("did you mean `{meant}`?"));
                let error = error(EXPECTED_OPTION);
                return Err(match suggested {
                    Some(suggestion) => error.suggest(suggestion),
                    None => error,
                });
            }
        };
        if is_new {
            return Ok(());
        }
        Err(error("each option at most once, and only one of `local-to-app` and `local-to-target`"))
    }

    fn word(&mut self, kind: ErrorKind, expected: &'static str) -> Result<Span, ParseError> {
        let token = self.lexer.next();
        if token.kind != TokenKind::Word {
            return Err(ParseError::new(self.text, kind, token.span, expected));
        }
        Ok(token.span)
    }
}

/// Parses a percentage as parts per million: `12.5` is 125,000.
///
/// `None` for anything but digits with an optional decimal point and at most four decimal places.
fn parts_per_million(word: &str) -> Option<u32> {
    let (whole, decimals) = match word.split_once('.') {
        Some((_, "")) => return None,
        Some(parts) => parts,
        None => (word, ""),
    };
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty()
        || whole.len() > 3
        || !digits(whole)
        || !digits(decimals)
        || decimals.len() > Percent::DECIMALS
    {
        return None;
    }
    format!("{whole}{decimals:0<width$}", width = Percent::DECIMALS).parse().ok()
}
