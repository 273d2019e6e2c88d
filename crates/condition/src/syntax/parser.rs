//! A recursive-descent parser with one function for each precedence level of the grammar.

use interceptor_rule::Span;

use super::expression::{Binary, Expression, Kind, Name};
use super::lexer::{Lexer, Token, TokenKind};
use crate::error::Mistake;
use crate::limits::MAX_DEPTH;

/// Words that CEL reserves. They can't be names.
const RESERVED: [&str; 17] = [
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
];

/// Operators of other languages and of plain English, each with its equivalent here.
const OTHER_WORDS: [(&str, &str); 17] = [
    ("=", "=="),
    ("===", "=="),
    ("is", "=="),
    ("eq", "=="),
    ("equals", "=="),
    ("!==", "!="),
    ("<>", "!="),
    ("&", "&&"),
    ("and", "&&"),
    ("AND", "&&"),
    ("|", "||"),
    ("or", "||"),
    ("OR", "||"),
    ("=~", ".matches(\"…\")"),
    ("~", ".matches(\"…\")"),
    ("like", ".matches(\"…\")"),
    ("not", "!"),
];

/// Parses a whole condition.
pub(crate) fn parse(source: &str) -> Result<Expression, Mistake> {
    let mut parser = Parser { source, lexer: Lexer::new(source), next: end_of(source), inside: 0 };
    parser.take()?;
    let expression = parser.expression()?;
    match parser.next.kind {
        TokenKind::End => Ok(expression),
        _ => Err(parser.not_an_operator()),
    }
}

struct Parser<'a> {
    source: &'a str,
    lexer: Lexer<'a>,
    next: Token,
    /// The number of open brackets and signs. It bounds the recursion before any node exists whose
    /// depth could be checked.
    inside: usize,
}

fn end_of(source: &str) -> Token {
    Token { kind: TokenKind::End, span: Span::new(source.len(), source.len()) }
}

impl Parser<'_> {
    /// Returns the next token and moves past it.
    fn take(&mut self) -> Result<Token, Mistake> {
        let following = self.lexer.next()?;
        Ok(std::mem::replace(&mut self.next, following))
    }

    /// Takes the next token if it is `symbol`.
    fn takes(&mut self, symbol: &str) -> Result<Option<Span>, Mistake> {
        match self.next.kind {
            TokenKind::Symbol(next) if next == symbol => Ok(Some(self.take()?.span)),
            _ => Ok(None),
        }
    }

    fn expects(&mut self, symbol: &'static str, what: &str) -> Result<Span, Mistake> {
        match self.takes(symbol)? {
            Some(span) => Ok(span),
            None => Err(self.not_an_operator_but(&format!("`{symbol}` {what}, or an operator"))),
        }
    }

    fn expression(&mut self) -> Result<Expression, Mistake> {
        self.inside += 1;
        if self.inside > MAX_DEPTH {
            return Err(too_deep(self.next.span));
        }
        let condition = self.any()?;
        let expression = if self.takes("?")?.is_some() {
            let yes = self.any()?;
            self.expects(":", "and the alternative")?;
            let no = self.expression()?;
            let span = condition.span.to(no.span);
            node(Kind::Choice(Box::new([condition, yes, no])), span)?
        } else {
            condition
        };
        self.inside -= 1;
        Ok(expression)
    }

    fn any(&mut self) -> Result<Expression, Mistake> {
        let mut operands = vec![self.all()?];
        while self.takes("||")?.is_some() {
            operands.push(self.all()?);
        }
        joined(operands, Kind::Any)
    }

    fn all(&mut self) -> Result<Expression, Mistake> {
        let mut operands = vec![self.relation()?];
        while self.takes("&&")?.is_some() {
            operands.push(self.relation()?);
        }
        joined(operands, Kind::All)
    }

    fn relation(&mut self) -> Result<Expression, Mistake> {
        let mut left = self.sum()?;
        loop {
            let operator = match self.next.kind {
                TokenKind::Symbol("==") => Binary::Equal,
                TokenKind::Symbol("!=") => Binary::NotEqual,
                TokenKind::Symbol("<") => Binary::Less,
                TokenKind::Symbol("<=") => Binary::LessOrEqual,
                TokenKind::Symbol(">") => Binary::Greater,
                TokenKind::Symbol(">=") => Binary::GreaterOrEqual,
                TokenKind::Word if self.next.span.of(self.source) == "in" => Binary::In,
                _ => return Ok(left),
            };
            let at = self.take()?.span;
            let right = self.sum()?;
            left = binary(operator, at, left, right)?;
        }
    }

    fn sum(&mut self) -> Result<Expression, Mistake> {
        let mut left = self.product()?;
        loop {
            let operator = match self.next.kind {
                TokenKind::Symbol("+") => Binary::Add,
                TokenKind::Symbol("-") => Binary::Subtract,
                _ => return Ok(left),
            };
            let at = self.take()?.span;
            let right = self.product()?;
            left = binary(operator, at, left, right)?;
        }
    }

    fn product(&mut self) -> Result<Expression, Mistake> {
        let mut left = self.unary()?;
        loop {
            let operator = match self.next.kind {
                TokenKind::Symbol("*") => Binary::Multiply,
                TokenKind::Symbol("/") => Binary::Divide,
                TokenKind::Symbol("%") => Binary::Remainder,
                _ => return Ok(left),
            };
            let at = self.take()?.span;
            let right = self.unary()?;
            left = binary(operator, at, left, right)?;
        }
    }

    /// A value with a row of `!` or a row of `-` before it. A mixture such as `!-a` is not CEL, and
    /// no type would fit it.
    fn unary(&mut self) -> Result<Expression, Mistake> {
        for (sign, make) in [("!", Kind::Not as fn(_) -> _), ("-", Kind::Negate as fn(_) -> _)] {
            let mut signs = Vec::new();
            while let Some(at) = self.takes(sign)? {
                if signs.len() == MAX_DEPTH {
                    return Err(too_deep(at));
                }
                // The sign of a number belongs to the number.
                if let (TokenKind::Number(magnitude), "-") = (&self.next.kind, sign) {
                    let value = 0i64.checked_sub_unsigned(*magnitude);
                    let number =
                        node(Kind::Number(value.unwrap_or(i64::MIN)), at.to(self.next.span))?;
                    self.take()?;
                    let operand = self.member(number)?;
                    return wrapped(operand, &signs, make);
                }
                signs.push(at);
            }
            if !signs.is_empty() {
                let operand = self.primary()?;
                let operand = self.member(operand)?;
                return wrapped(operand, &signs, make);
            }
        }
        let operand = self.primary()?;
        self.member(operand)
    }

    /// Reads the suffixes of a value: `.name`, `.function(…)`, `[index]`.
    fn member(&mut self, mut of: Expression) -> Result<Expression, Mistake> {
        loop {
            if self.takes(".")?.is_some() {
                let name = self.name()?;
                let start = of.span;
                of = if self.takes("(")?.is_some() {
                    let (arguments, end) = self.list(")")?;
                    node(
                        Kind::Call { function: name, on: Some(Box::new(of)), arguments },
                        start.to(end),
                    )?
                } else {
                    let span = start.to(name.span);
                    node(Kind::Select { of: Box::new(of), field: name }, span)?
                };
            } else if self.takes("[")?.is_some() {
                if let Some(at) = self.takes("?")? {
                    return Err(Mistake::new(at, "optional values are not supported"));
                }
                let index = self.expression()?;
                let end = self.expects("]", "after the index")?;
                let span = of.span.to(end);
                of = node(Kind::Index { of: Box::new(of), index: Box::new(index) }, span)?;
            } else {
                return Ok(of);
            }
        }
    }

    fn name(&mut self) -> Result<Name, Mistake> {
        let span = self.next.span;
        let text = span.of(self.source);
        match self.next.kind {
            TokenKind::Word if text != "in" && !RESERVED.contains(&text) => {
                self.take()?;
                Ok(Name { text: text.into(), span })
            }
            TokenKind::Symbol("?") => Err(Mistake::new(span, "optional values are not supported")),
            TokenKind::Symbol("`") => {
                Err(Mistake::new(span, "names in backticks are not supported")
                    .suggest("write a header as `request.headers[\"x-user\"]`"))
            }
            _ => Err(Mistake::new(
                span,
                format!("expected a name after the `.`, found {}", self.found()),
            )),
        }
    }

    fn primary(&mut self) -> Result<Expression, Mistake> {
        let span = self.next.span;
        let word = span.of(self.source);
        let kind = match &self.next.kind {
            TokenKind::Word => match word {
                "true" => Kind::Bool(true),
                "false" => Kind::Bool(false),
                "null" => {
                    return Err(Mistake::new(span, "conditions have no `null`")
                        .suggest("to test for a header, write `\"x-user\" in request.headers`"));
                }
                "not" => return Err(self.not_a_value().did_you_mean("!")),
                word if word == "in" || RESERVED.contains(&word) => return Err(self.not_a_value()),
                _ => {
                    let name = Name { text: word.into(), span };
                    self.take()?;
                    if self.takes("(")?.is_some() {
                        let (arguments, end) = self.list(")")?;
                        return node(
                            Kind::Call { function: name, on: None, arguments },
                            span.to(end),
                        );
                    }
                    return node(Kind::Name(name.text), span);
                }
            },
            TokenKind::Number(magnitude) => Kind::Number(
                i64::try_from(*magnitude)
                    .map_err(|_| Mistake::new(span, "a number is at most 9223372036854775807"))?,
            ),
            TokenKind::Text(text) => Kind::Text(text.clone()),
            TokenKind::Symbol("(") => {
                self.take()?;
                let inner = self.expression()?;
                let end = self.expects(")", "to close the parenthesis")?;
                return Ok(inner.at(span.to(end)));
            }
            TokenKind::Symbol("[") => {
                self.take()?;
                let (items, end) = self.list("]")?;
                return node(Kind::List(items), span.to(end));
            }
            TokenKind::Symbol("{") => return Err(Mistake::new(span, "maps are not supported")),
            _ => return Err(self.not_a_value()),
        };
        self.take()?;
        node(kind, span)
    }

    /// Reads the items between brackets and the closing bracket. Returns the items and its place.
    fn list(&mut self, close: &'static str) -> Result<(Vec<Expression>, Span), Mistake> {
        let mut items = Vec::new();
        loop {
            // A list may have a trailing comma, but arguments may not.
            if (items.is_empty() || close == "]")
                && let Some(end) = self.takes(close)?
            {
                return Ok((items, end));
            }
            items.push(self.expression()?);
            if self.takes(",")?.is_none() {
                return Ok((items, self.expects(close, "or `,`")?));
            }
        }
    }

    fn found(&self) -> String {
        match self.next.kind {
            TokenKind::End => "the end of the condition".to_owned(),
            _ => interceptor_rule::quoted(self.next.span.of(self.source)),
        }
    }

    fn not_a_value(&self) -> Mistake {
        let expected = "an attribute such as `request.path`, a quoted string, or a number";
        Mistake::new(self.next.span, format!("expected {expected}, found {}", self.found()))
    }

    fn not_an_operator(&self) -> Mistake {
        self.not_an_operator_but("an operator such as `==` or `&&`, or the end")
    }

    fn not_an_operator_but(&self, expected: &str) -> Mistake {
        let mistake =
            Mistake::new(self.next.span, format!("expected {expected}, found {}", self.found()));
        let word = self.next.span.of(self.source);
        match OTHER_WORDS.iter().find(|(other, _)| *other == word) {
            Some((_, meant)) => mistake.did_you_mean(meant),
            None if ["startsWith", "endsWith", "contains", "matches"].contains(&word) => {
                mistake.did_you_mean(&format!(".{word}(\"…\")"))
            }
            None => match self.next.kind {
                TokenKind::Symbol("{") => mistake.suggest("maps and messages are not supported"),
                _ => mistake,
            },
        }
    }
}

fn too_deep(span: Span) -> Mistake {
    Mistake::new(span, format!("expressions are nested more than {MAX_DEPTH} deep"))
}

/// Makes a node of the syntax tree, unless the tree would become too deep.
fn node(kind: Kind, span: Span) -> Result<Expression, Mistake> {
    let deepest = match &kind {
        Kind::Bool(_) | Kind::Number(_) | Kind::Text(_) | Kind::Name(_) => 0,
        Kind::List(all) | Kind::All(all) | Kind::Any(all) => {
            all.iter().map(|e| e.depth).max().unwrap_or(0)
        }
        Kind::Select { of, .. } | Kind::Not(of) | Kind::Negate(of) => of.depth,
        Kind::Index { of, index } => of.depth.max(index.depth),
        Kind::Call { on, arguments, .. } => {
            on.iter().map(|on| on.depth).chain(arguments.iter().map(|e| e.depth)).max().unwrap_or(0)
        }
        Kind::Binary { sides, .. } => sides.iter().map(|e| e.depth).max().unwrap_or(0),
        Kind::Choice(parts) => parts.iter().map(|e| e.depth).max().unwrap_or(0),
    };
    if deepest >= MAX_DEPTH {
        Err(too_deep(span))
    } else {
        Ok(Expression { kind, span, depth: deepest + 1 })
    }
}

fn binary(
    operator: Binary,
    at: Span,
    left: Expression,
    right: Expression,
) -> Result<Expression, Mistake> {
    let span = left.span.to(right.span);
    node(Kind::Binary { operator, at, sides: Box::new([left, right]) }, span)
}

/// Joins the operands of one operator. A single operand is returned as it is.
fn joined(
    mut operands: Vec<Expression>,
    make: fn(Vec<Expression>) -> Kind,
) -> Result<Expression, Mistake> {
    match (operands.len(), operands.pop()) {
        (1, Some(only)) => Ok(only),
        (_, last) => {
            operands.extend(last);
            let places = operands.first().map(|e| e.span).zip(operands.last().map(|e| e.span));
            let span = places.map_or(Span::new(0, 0), |(first, last)| first.to(last));
            node(make(operands), span)
        }
    }
}

/// Applies a row of signs (`!` or `-`) to an operand.
fn wrapped(
    mut operand: Expression,
    signs: &[Span],
    make: fn(Box<Expression>) -> Kind,
) -> Result<Expression, Mistake> {
    for sign in signs.iter().rev() {
        let span = sign.to(operand.span);
        operand = node(make(Box::new(operand)), span)?;
    }
    Ok(operand)
}
