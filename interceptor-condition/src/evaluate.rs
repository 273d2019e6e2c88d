//! Asks a checked condition about a request.
//!
//! Nothing is allocated but for texts that are made (`+`, `lowerAscii()`), headers that are there more than once, and
//! lists of `split()`; a regular expression builds its tables when it first runs on a thread.

use std::cell::Cell;

use interceptor_rule::Span;

use crate::attribute::{NumberAttribute, TextAttribute};
use crate::facts::Facts;
use crate::limits::{MAX_COPIED, MAX_MATCHED};
use crate::outcome::{EvaluationError, EvaluationErrorKind as Kind};
use crate::text::{AddressText, Value};
use crate::tree::{Calculation, Change, Number, Part, Predicate, Relation, Text, Texts};

/// One evaluation.
pub(crate) struct Evaluation<'a> {
    facts: &'a Facts<'a>,
    /// Bytes that may still be copied.
    copied: Cell<usize>,
}

type Outcome<T> = Result<T, EvaluationError>;

fn error<T>(kind: Kind, span: Span) -> Outcome<T> {
    Err(EvaluationError::new(kind, span))
}

impl<'a> Evaluation<'a> {
    pub(crate) fn new(facts: &'a Facts<'a>) -> Self {
        Self { facts, copied: Cell::new(MAX_COPIED) }
    }

    pub(crate) fn predicate(&self, predicate: &'a Predicate) -> Outcome<bool> {
        match predicate {
            Predicate::Constant(value) => Ok(*value),
            Predicate::Not(inner) => Ok(!self.predicate(inner)?),
            Predicate::All(operands) => self.until(operands, false),
            Predicate::Any(operands) => self.until(operands, true),
            Predicate::Same(sides) => Ok(self.predicate(&sides[0])? == self.predicate(&sides[1])?),
            Predicate::Choice(parts) => {
                self.predicate(if self.predicate(&parts.0)? { &parts.1 } else { &parts.2 })
            }
            Predicate::Text(relation, sides) => {
                let (left, right) = (self.text(&sides[0])?, self.text(&sides[1])?);
                Ok(match relation {
                    Relation::Equal => *left == *right,
                    Relation::NotEqual => *left != *right,
                    // UTF-8 sorts as the characters do.
                    _ => relation.holds(left.cmp(&right)),
                })
            }
            Predicate::Part(part, sides) => {
                let (text, wanted) = (self.text(&sides[0])?, self.text(&sides[1])?);
                Ok(match part {
                    Part::Start => text.starts_with(&*wanted),
                    Part::End => text.ends_with(&*wanted),
                    Part::Anywhere => text.contains(&*wanted),
                })
            }
            Predicate::Matches(parts, span) => {
                let text = self.text(&parts.0)?;
                if text.len() > MAX_MATCHED {
                    return error(Kind::TooCostly, *span);
                }
                Ok(parts.1.is_match(&text))
            }
            Predicate::TextIn(parts) => {
                let text = self.text(&parts.0)?;
                self.any_item(&parts.1, |item| *item == *text)
            }
            Predicate::Number(relation, sides) => {
                Ok(relation.holds(self.number(&sides[0])?.cmp(&self.number(&sides[1])?)))
            }
            Predicate::NumberIn(parts) => {
                let number = self.number(&parts.0)?;
                let mut found = false;
                for item in &parts.1 {
                    found |= self.number(item)? == number;
                }
                Ok(found)
            }
            Predicate::Present(text) => self.is_present(text),
        }
    }

    /// `&&` and `||` of CEL: `deciding` decides wherever it stands, also against errors; else an error does.
    fn until(&self, operands: &'a [Predicate], deciding: bool) -> Outcome<bool> {
        let mut failed = None;
        for operand in operands {
            match self.predicate(operand) {
                Ok(value) if value == deciding => return Ok(deciding),
                Ok(_) => {}
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        failed.map_or(Ok(!deciding), Err)
    }

    fn text(&self, text: &'a Text) -> Outcome<Value<'a>> {
        match text {
            Text::Constant(text) => Ok(Value::Borrowed(text)),
            Text::Attribute(attribute, span) => self.attribute(*attribute, *span),
            Text::Header(name, span) => self.header(name, *span),
            Text::Joined(sides, span) => {
                let (left, right) = (self.text(&sides[0])?, self.text(&sides[1])?);
                self.spend(left.len() + right.len(), *span)?;
                Ok(Value::Owned([&*left, &*right].concat()))
            }
            Text::Changed(change, of, span) => {
                let text = self.text(of)?;
                self.spend(text.len(), *span)?;
                Ok(Value::Owned(match change {
                    Change::LowerCase => text.to_ascii_lowercase(),
                    Change::UpperCase => text.to_ascii_uppercase(),
                    Change::Trimmed => text.trim().to_owned(),
                }))
            }
            Text::Number(number) => Ok(Value::Owned(self.number(number)?.to_string())),
            Text::Item(parts, span) => self.item(&parts.0, self.number(&parts.1)?, *span),
            Text::Choice(parts) => self.text(if self.predicate(&parts.0)? { &parts.1 } else { &parts.2 }),
        }
    }

    fn attribute(&self, attribute: TextAttribute, span: Span) -> Outcome<Value<'a>> {
        let Facts { source, destination, server_name, request } = *self.facts;
        let address = |address| Ok(Value::Address(AddressText::new(address)));
        match attribute {
            TextAttribute::SourceAddress => return address(source),
            TextAttribute::DestinationAddress => return address(destination),
            TextAttribute::ServerName => {
                return server_name
                    .map_or_else(|| error(Kind::NotKnown, span), |name| Ok(Value::Borrowed(name)));
            }
            TextAttribute::UserAgent => return self.header("user-agent", span),
            _ => {}
        }
        let Some(request) = request else { return error(Kind::NotKnown, span) };
        let path = request.path();
        Ok(Value::Borrowed(match attribute {
            TextAttribute::Method => request.method(),
            TextAttribute::UrlPath => path.split_once('?').map_or(path, |(before, _)| before),
            TextAttribute::Query => {
                let query = path.split_once('?').map_or("", |(_, query)| query);
                query.split_once('#').map_or(query, |(before, _)| before)
            }
            TextAttribute::Host => match request.host() {
                Some(host) => host,
                None => return error(Kind::MissingHeader, span),
            },
            TextAttribute::Scheme => request.scheme(),
            TextAttribute::Protocol => request.protocol(),
            _ => path,
        }))
    }

    /// The value of a header; several are joined by a comma, as in RFC 9110 section 5.3.
    fn header(&self, name: &str, span: Span) -> Outcome<Value<'a>> {
        let Some(request) = self.facts.request else { return error(Kind::NotKnown, span) };
        let (mut first, mut length, mut joined) = (None::<&'a [u8]>, 0, Vec::new());
        request.header_values(name, &mut |value| {
            length += value.len() + 1;
            match first {
                None => first = Some(value),
                // What is too long is refused below, and need not be put together.
                Some(_) if length > MAX_COPIED => {}
                Some(first) => {
                    if joined.is_empty() {
                        joined.extend_from_slice(first);
                    }
                    joined.push(b',');
                    joined.extend_from_slice(value);
                }
            }
        });
        let Some(first) = first else { return error(Kind::MissingHeader, span) };
        let not_text = EvaluationError::new(Kind::NotText, span);
        if length == first.len() + 1 {
            return std::str::from_utf8(first).map(Value::Borrowed).map_err(|_| not_text);
        }
        self.spend(length, span)?;
        String::from_utf8(joined).map(Value::Owned).map_err(|_| not_text)
    }

    fn is_present(&self, text: &Text) -> Outcome<bool> {
        let mut present = false;
        let (name, span) = match text {
            Text::Header(name, span) => (&**name, *span),
            Text::Attribute(TextAttribute::UserAgent, span) => ("user-agent", *span),
            Text::Attribute(TextAttribute::Host, span) => {
                return match self.facts.request {
                    Some(request) => Ok(request.host().is_some()),
                    None => error(Kind::NotKnown, *span),
                };
            }
            Text::Attribute(attribute, span) => return self.attribute(*attribute, *span).map(|_| true),
            _ => return Ok(true),
        };
        let Some(request) = self.facts.request else { return error(Kind::NotKnown, span) };
        request.header_values(name, &mut |_| present = true);
        Ok(present)
    }

    fn number(&self, number: &'a Number) -> Outcome<i64> {
        match number {
            Number::Constant(value) => Ok(*value),
            Number::Attribute(NumberAttribute::SourcePort) => Ok(self.facts.source.port().into()),
            Number::Attribute(NumberAttribute::DestinationPort) => Ok(self.facts.destination.port().into()),
            // No text and no list is as long as an `i64` can say.
            Number::Characters(text) => Ok(self.text(text)?.chars().count() as i64),
            Number::Items(list) => {
                let mut count = 0;
                self.any_item(list, |_| {
                    count += 1;
                    false
                })?;
                Ok(count)
            }
            Number::Parsed(text, span) => {
                let text = self.text(text)?;
                text.parse().or_else(|_| error(Kind::BadValue, *span))
            }
            Number::Negated(of, span) => {
                self.number(of)?.checked_neg().map_or_else(|| error(Kind::BadValue, *span), Ok)
            }
            Number::Calculated(calculation, sides, span) => {
                let (left, right) = (self.number(&sides[0])?, self.number(&sides[1])?);
                let result = match calculation {
                    Calculation::Add => left.checked_add(right),
                    Calculation::Subtract => left.checked_sub(right),
                    Calculation::Multiply => left.checked_mul(right),
                    Calculation::Divide => left.checked_div(right),
                    Calculation::Remainder => left.checked_rem(right),
                };
                result.map_or_else(|| error(Kind::BadValue, *span), Ok)
            }
            Number::Choice(parts) => self.number(if self.predicate(&parts.0)? { &parts.1 } else { &parts.2 }),
        }
    }

    /// Is `wanted` true of one? Every item is evaluated, since a list with an error in it is an error.
    fn any_item(&self, list: &'a Texts, mut wanted: impl FnMut(&str) -> bool) -> Outcome<bool> {
        let mut found = false;
        match list {
            Texts::Listed(items) => {
                for item in items {
                    found |= wanted(&*self.text(item)?);
                }
            }
            Texts::Split(text, separator) => {
                for item in self.text(text)?.split(&**separator) {
                    found |= wanted(item);
                }
            }
        }
        Ok(found)
    }

    fn item(&self, list: &'a Texts, index: i64, span: Span) -> Outcome<Value<'a>> {
        let Ok(index) = usize::try_from(index) else { return error(Kind::BadValue, span) };
        let mut at = 0;
        let mut item = None;
        // Copied, because what was split need not live on.
        self.any_item(list, |text| {
            if at == index {
                item = Some(text.to_owned());
            }
            at += 1;
            false
        })?;
        let Some(item) = item else { return error(Kind::BadValue, span) };
        self.spend(item.len(), span)?;
        Ok(Value::Owned(item))
    }

    fn spend(&self, bytes: usize, span: Span) -> Outcome<()> {
        match self.copied.get().checked_sub(bytes) {
            Some(left) => {
                self.copied.set(left);
                Ok(())
            }
            None => error(Kind::TooCostly, span),
        }
    }
}
