//! The type checker: turns an expression into a typed tree, or reports a mistake with its place.

mod call;
mod compare;
mod function;
mod header;
mod name;
mod pattern;

use std::cell::Cell;

use interceptor_rule::Span;

use crate::attribute::{self, Attribute, TextAttribute};
use crate::error::Mistake;
use crate::evaluate::Evaluation;
use crate::facts::Facts;
use crate::syntax::expression::{Binary, Expression, Kind};
use crate::tree::{Calculation, Number, Predicate, Text, Texts};

/// Checks a whole condition, whose type must be boolean.
pub(crate) fn check(source: &str, expression: &Expression) -> Result<Predicate, Mistake> {
    let checker = Checker { source, regexes: Cell::new(0) };
    match checker.check(expression)? {
        Typed::Bool(predicate) => Ok(predicate),
        other => {
            let mistake = Mistake::new(
                expression.span,
                format!(
                    "a condition must be a boolean, but {} is {}",
                    checker.shown(expression),
                    other.name()
                ),
            );
            let whole = expression.span.of(source);
            Err(match other {
                Typed::Text(Text::Header(name, _)) => mistake.suggest(format!(
                    "did you mean `{whole} == \"…\"` or `\"{name}\" in request.headers`?"
                )),
                Typed::Text(_) => mistake.did_you_mean(&format!("{whole} == \"…\"")),
                Typed::Number(_) => mistake.did_you_mean(&format!("{whole} == …")),
                _ => mistake,
            })
        }
    }
}

/// A checked expression, by its type.
pub(crate) enum Typed {
    Bool(Predicate),
    Text(Text),
    Number(Number),
    Texts(Texts),
    Numbers(Box<[Number]>),
    Headers,
}

pub(crate) struct Checker<'a> {
    source: &'a str,
    /// The number of regular expressions so far. `call::matches` counts up and checks the limit.
    regexes: Cell<usize>,
}

impl Checker<'_> {
    fn check(&self, expression: &Expression) -> Result<Typed, Mistake> {
        let span = expression.span;
        match &expression.kind {
            Kind::Bool(value) => Ok(Typed::Bool(Predicate::Constant(*value))),
            Kind::Number(value) => Ok(Typed::Number(Number::Constant(*value))),
            Kind::Text(text) => Ok(Typed::Text(Text::Constant(text.clone()))),
            Kind::List(items) => self.list(items, span),
            Kind::Name(_) | Kind::Select { .. } => self.select(expression),
            Kind::Index { of, index } => self.index(of, index, span),
            Kind::Call { function, on, arguments } => {
                self.call(function, on.as_deref(), arguments, span)
            }
            Kind::Not(inner) => {
                let inner = self.bool(inner, "after `!`")?;
                folded(Predicate::Not(Box::new(inner)))
            }
            Kind::Negate(inner) => {
                let inner = self.number(inner, "after `-`")?;
                Ok(Typed::Number(Number::Negated(Box::new(inner), span)))
            }
            Kind::All(operands) => self.joined(operands, "&&"),
            Kind::Any(operands) => self.joined(operands, "||"),
            Kind::Choice(parts) => self.choice(parts),
            Kind::Binary { operator, sides, at } => match operator {
                Binary::In => self.contained(&sides[0], &sides[1]),
                Binary::Add => self.sum(sides, *at, span),
                Binary::Subtract => self.calculation(Calculation::Subtract, sides, *at, span),
                Binary::Multiply => self.calculation(Calculation::Multiply, sides, *at, span),
                Binary::Divide => self.calculation(Calculation::Divide, sides, *at, span),
                Binary::Remainder => self.calculation(Calculation::Remainder, sides, *at, span),
                _ => self.compare(*operator, sides, *at),
            },
        }
    }

    fn bool(&self, expression: &Expression, place: &str) -> Result<Predicate, Mistake> {
        match self.check(expression)? {
            Typed::Bool(predicate) => Ok(predicate),
            other => Err(self.wrong(expression, &other, "a boolean", place)),
        }
    }

    fn text(&self, expression: &Expression, place: &str) -> Result<Text, Mistake> {
        match self.check(expression)? {
            Typed::Text(text) => Ok(text),
            other @ Typed::Number(Number::Constant(value)) => Err(self
                .wrong(expression, &other, "a string", place)
                .did_you_mean(&format!("\"{value}\""))),
            other => Err(self.wrong(expression, &other, "a string", place)),
        }
    }

    fn number(&self, expression: &Expression, place: &str) -> Result<Number, Mistake> {
        self.as_number(self.check(expression)?, expression, place)
    }

    fn as_number(
        &self,
        found: Typed,
        expression: &Expression,
        place: &str,
    ) -> Result<Number, Mistake> {
        match found {
            Typed::Number(number) => Ok(number),
            other => {
                let mistake = self.wrong(expression, &other, "a number", place);
                Err(match other {
                    Typed::Text(Text::Constant(text)) if text.parse::<i64>().is_ok() => {
                        mistake.did_you_mean(&text)
                    }
                    Typed::Text(_) => {
                        mistake.did_you_mean(&format!("int({})", expression.span.of(self.source)))
                    }
                    _ => mistake,
                })
            }
        }
    }

    fn wrong(&self, expression: &Expression, found: &Typed, wanted: &str, place: &str) -> Mistake {
        let shown = self.shown(expression);
        Mistake::new(
            expression.span,
            format!("expected {wanted} {place}, but {shown} is {}", found.name()),
        )
    }

    fn shown(&self, expression: &Expression) -> String {
        interceptor_rule::quoted(expression.span.of(self.source))
    }

    /// `a.b.c`: an attribute, or a header in dotted form.
    fn select(&self, expression: &Expression) -> Result<Typed, Mistake> {
        let span = expression.span;
        if let Kind::Select { of, field } = &expression.kind {
            let path = of.path();
            if path.as_deref() == Some("request.headers") {
                return Ok(Typed::Text(header::named(&field.text, field.span, span)?));
            }
            // A field of a value. No type of a condition has fields.
            let known = path.is_none_or(|path| {
                attribute::find(&path, of.span).is_ok() || path.starts_with("request.headers.")
            });
            if known {
                let of_type = self.check(of)?;
                let mistake = Mistake::new(
                    field.span,
                    format!(
                        "{} is {} and has no field `{}`",
                        self.shown(of),
                        of_type.name(),
                        field.text
                    ),
                );
                return Err(match function::meant(&field.text) {
                    Some(function) => mistake.did_you_mean(&format!("{function}(…)")),
                    None => mistake,
                });
            }
        }
        let path = expression.path().unwrap_or_default();
        Ok(match attribute::find(&path, span)? {
            Attribute::Text(attribute) => Typed::Text(Text::Attribute(attribute, span)),
            Attribute::Number(attribute) => Typed::Number(Number::Attribute(attribute)),
            Attribute::Headers => Typed::Headers,
        })
    }

    fn index(&self, of: &Expression, index: &Expression, span: Span) -> Result<Typed, Mistake> {
        if let (Some(root), Kind::Text(field)) =
            (of.path().filter(|root| attribute::is_root(root)), &index.kind)
        {
            return Err(Mistake::new(span, "attributes are written with a dot")
                .did_you_mean(&format!("{root}.{field}")));
        }
        match self.check(of)? {
            Typed::Headers => match &index.kind {
                Kind::Text(name) => Ok(Typed::Text(header::named(name, index.span, span)?)),
                _ => Err(Mistake::new(index.span, header::NOT_LITERAL)),
            },
            Typed::Texts(texts) => {
                let index = self.number(index, "as the index")?;
                Ok(Typed::Text(Text::Item(Box::new((texts, index)), span)))
            }
            other => {
                let problem =
                    format!("{} is {} and can't be indexed", self.shown(of), other.name());
                Err(Mistake::new(of.span, problem))
            }
        }
    }

    /// A list. All items have the type of the first: string or number.
    fn list(&self, items: &[Expression], span: Span) -> Result<Typed, Mistake> {
        let Some((first, rest)) = items.split_first() else {
            return Err(Mistake::new(span, "the list is empty"));
        };
        let place = "in the list, like the first item";
        match self.check(first)? {
            Typed::Text(text) => {
                let rest = rest.iter().map(|item| self.text(item, place));
                let items = std::iter::once(Ok(text)).chain(rest).collect::<Result<_, _>>()?;
                Ok(Typed::Texts(Texts::Listed(items)))
            }
            Typed::Number(number) => {
                let rest = rest.iter().map(|item| self.number(item, place));
                let items = std::iter::once(Ok(number)).chain(rest).collect::<Result<_, _>>()?;
                Ok(Typed::Numbers(items))
            }
            other => Err(self.wrong(first, &other, "a string or a number", "in a list")),
        }
    }

    /// `&&` and `||`. A constant operand either decides the result or is dropped, even if another
    /// operand fails.
    fn joined(&self, operands: &[Expression], operator: &str) -> Result<Typed, Mistake> {
        let deciding = operator == "||";
        let mut kept = Vec::new();
        let mut decided = false;
        for operand in operands {
            let predicate = self.bool(operand, &format!("on both sides of `{operator}`")).map_err(
                |mistake| match operand.kind {
                    Kind::Text(_) => mistake
                        .suggest("repeat the whole comparison, or write `… in [\"a\", \"b\"]`"),
                    _ => mistake,
                },
            )?;
            match predicate {
                Predicate::Constant(value) => decided |= value == deciding,
                predicate => kept.push(predicate),
            }
        }
        Ok(Typed::Bool(match (decided, kept.len()) {
            (true, _) => Predicate::Constant(deciding),
            (false, 0) => Predicate::Constant(!deciding),
            (false, 1) => kept.remove(0),
            (false, _) if deciding => Predicate::Any(kept.into()),
            (false, _) => Predicate::All(kept.into()),
        }))
    }

    fn choice(&self, [condition, yes, no]: &[Expression; 3]) -> Result<Typed, Mistake> {
        let condition = self.bool(condition, "before `?`")?;
        let place = "after `:`, like after `?`";
        match self.check(yes)? {
            Typed::Bool(yes) => {
                folded(Predicate::Choice(Box::new((condition, yes, self.bool(no, place)?))))
            }
            Typed::Text(yes) => {
                Ok(Typed::Text(Text::Choice(Box::new((condition, yes, self.text(no, place)?)))))
            }
            Typed::Number(yes) => Ok(Typed::Number(Number::Choice(Box::new((
                condition,
                yes,
                self.number(no, place)?,
            ))))),
            other => Err(self.wrong(yes, &other, "a string, a number or a boolean", "after `?`")),
        }
    }

    fn sum(&self, sides: &[Expression; 2], at: Span, span: Span) -> Result<Typed, Mistake> {
        match self.check(&sides[0])? {
            Typed::Text(left) => {
                let right = self.text(&sides[1], "after `+`, like before it")?;
                Ok(Typed::Text(Text::Joined(Box::new([left, right]), span)))
            }
            left => self.calculated(Calculation::Add, left, sides, at, span),
        }
    }

    fn calculation(
        &self,
        calculation: Calculation,
        sides: &[Expression; 2],
        at: Span,
        span: Span,
    ) -> Result<Typed, Mistake> {
        match self.dashed(&sides[0], &sides[1], span) {
            Some(mistake) => Err(mistake),
            None => self.calculated(calculation, self.check(&sides[0])?, sides, at, span),
        }
    }

    fn calculated(
        &self,
        calculation: Calculation,
        left: Typed,
        sides: &[Expression; 2],
        at: Span,
        span: Span,
    ) -> Result<Typed, Mistake> {
        let sign = at.of(self.source);
        let left = self.as_number(left, &sides[0], &format!("before `{sign}`"))?;
        let right = self.number(&sides[1], &format!("after `{sign}`"))?;
        Ok(Typed::Number(Number::Calculated(calculation, Box::new([left, right]), span)))
    }

    /// Recognises `request.headers.x-user`, which CEL parses as a subtraction.
    fn dashed(&self, left: &Expression, right: &Expression, span: Span) -> Option<Mistake> {
        let Kind::Name(_) = right.kind else { return None };
        let name = span.of(self.source).strip_prefix("request.headers.")?;
        left.path().filter(|path| path.starts_with("request.headers."))?;
        Some(
            Mistake::new(span, "write a header name with `-` in brackets and quotes")
                .did_you_mean(&format!("request.headers[\"{name}\"]")),
        )
    }
}

/// Evaluates a predicate that depends on no attribute, and keeps any other.
fn folded(predicate: Predicate) -> Result<Typed, Mistake> {
    if predicate.needs().is_some() {
        return Ok(Typed::Bool(predicate));
    }
    let nowhere = std::net::SocketAddr::from(([0, 0, 0, 0], 0));
    let facts = Facts { source: nowhere, destination: nowhere, server_name: None, request: None };
    match Evaluation::new(&facts).predicate(&predicate) {
        Ok(value) => Ok(Typed::Bool(Predicate::Constant(value))),
        Err(error) => Err(Mistake::new(error.span, format!("this has no value: {error}"))),
    }
}

// === impl Typed ===

impl Typed {
    fn name(&self) -> &'static str {
        match self {
            Self::Bool(_) => "a boolean",
            Self::Text(_) => "a string",
            Self::Number(_) => "a number",
            Self::Texts(_) => "a list of strings",
            Self::Numbers(_) => "a list of numbers",
            Self::Headers => "the header map",
        }
    }
}

/// The attribute, if `text` is the unchanged value of one.
fn attribute_of(text: &Text) -> Option<TextAttribute> {
    match text {
        Text::Attribute(attribute, _) => Some(*attribute),
        _ => None,
    }
}
