//! Evaluates a checked condition for a request.
//!
//! An evaluation allocates only for new texts (`+`, `lowerAscii()`), for headers that occur more
//! than once, and for items of `split()`. A regular expression builds its tables when it first runs
//! on a thread.

use std::borrow::Cow;
use std::cell::OnceCell;

use interceptor_rule::Span;

use crate::address::AddressText;
use crate::attribute::{NumberAttribute, TextAttribute};
use crate::facts::Facts;
use crate::limits::MAX_MADE;
use crate::outcome::{EvaluationError, EvaluationErrorKind as Kind};
use crate::tree::{Calculation, Change, Number, Part, Predicate, Relation, Text, Texts};

/// One evaluation.
pub(crate) struct Evaluation<'a> {
    facts: &'a Facts<'a>,
    /// The source address as text, formatted on its first use.
    source: OnceCell<AddressText>,
    /// The destination address as text, formatted on its first use.
    destination: OnceCell<AddressText>,
}

type Outcome<T> = Result<T, EvaluationError>;

fn error<T>(kind: Kind, span: Span) -> Outcome<T> {
    Err(EvaluationError::new(kind, span))
}

impl<'a> Evaluation<'a> {
    pub(crate) fn new(facts: &'a Facts<'a>) -> Self {
        Self { facts, source: OnceCell::new(), destination: OnceCell::new() }
    }

    pub(crate) fn predicate(&'a self, predicate: &'a Predicate) -> Outcome<bool> {
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
                    // The order of UTF-8 bytes is the order of the characters.
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
                if text.len() > parts.1.longest {
                    return error(Kind::TooCostly, *span);
                }
                Ok(parts.1.regex.is_match(&text))
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

    /// CEL's `&&` and `||`.
    ///
    /// An operand with the value `deciding` decides the result, even if another operand fails.
    /// Without one, the first error is the result.
    fn until(&'a self, operands: &'a [Predicate], deciding: bool) -> Outcome<bool> {
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

    fn text(&'a self, text: &'a Text) -> Outcome<Cow<'a, str>> {
        match text {
            Text::Constant(text) => Ok(Cow::Borrowed(text)),
            Text::Attribute(attribute, span) => self.attribute(*attribute, *span),
            Text::Header(name, span) => self.header(name, *span),
            Text::Joined(sides, span) => {
                let (left, right) = (self.text(&sides[0])?, self.text(&sides[1])?);
                affordable(left.len() + right.len(), *span)?;
                Ok(Cow::Owned([&*left, &*right].concat()))
            }
            Text::Changed(change, of, span) => {
                let text = self.text(of)?;
                affordable(text.len(), *span)?;
                Ok(Cow::Owned(match change {
                    Change::LowerCase => return Ok(lower_case(text)),
                    Change::UpperCase => text.to_ascii_uppercase(),
                    Change::Trimmed => text.trim().to_owned(),
                }))
            }
            Text::Number(number) => Ok(Cow::Owned(self.number(number)?.to_string())),
            Text::Item(parts, span) => self.item(&parts.0, self.number(&parts.1)?, *span),
            Text::Choice(parts) => {
                self.text(if self.predicate(&parts.0)? { &parts.1 } else { &parts.2 })
            }
        }
    }

    fn attribute(&'a self, attribute: TextAttribute, span: Span) -> Outcome<Cow<'a, str>> {
        let Facts { source, destination, server_name, request } = *self.facts;
        let address = |cell: &'a OnceCell<AddressText>, address| {
            Ok(Cow::Borrowed(cell.get_or_init(|| AddressText::new(address)).as_str()))
        };
        match attribute {
            TextAttribute::SourceAddress => return address(&self.source, source),
            TextAttribute::DestinationAddress => return address(&self.destination, destination),
            TextAttribute::ServerName => {
                return server_name.map_or_else(
                    || error(Kind::NotKnown, span),
                    |name| Ok(lower_case(Cow::Borrowed(name))),
                );
            }
            TextAttribute::UserAgent => return self.header("user-agent", span),
            _ => {}
        }
        let Some(request) = request else { return error(Kind::NotKnown, span) };
        let path = request.path();
        Ok(Cow::Borrowed(match attribute {
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

    /// The value of a header.
    ///
    /// Several values are joined by a comma (RFC 9110 section 5.3). HTTP/2 may send cookies one by
    /// one, and these are joined by a semicolon (RFC 9113 section 8.2.3).
    ///
    /// Fields may have any bytes (RFC 9110 section 5.5). What is not UTF-8 reads as U+FFFD, so that
    /// one odd cookie does not hide the others.
    fn header(&'a self, name: &str, span: Span) -> Outcome<Cow<'a, str>> {
        let Some(request) = self.facts.request else { return error(Kind::NotKnown, span) };
        let separator: &[u8] = if name == "cookie" { b"; " } else { b"," };
        let mut first = None;
        let mut joined: Option<Vec<u8>> = None;
        request.header_values(name, &mut |value: &'a [u8]| {
            let Some(first) = first else {
                first = Some(value);
                return;
            };
            let joined = joined.get_or_insert_with(|| first.to_vec());
            // A text that is too long is refused below and need not grow further.
            if joined.len() <= MAX_MADE {
                joined.extend_from_slice(separator);
                joined.extend_from_slice(value);
            }
        });
        match (first, joined) {
            (None, _) => error(Kind::MissingHeader, span),
            (Some(only), None) => match std::str::from_utf8(only) {
                Ok(only) => Ok(Cow::Borrowed(only)),
                Err(_) => lossy(only, span),
            },
            (_, Some(joined)) => {
                affordable(joined.len(), span)?;
                String::from_utf8(joined)
                    .map_or_else(|error| lossy(error.as_bytes(), span), |text| Ok(Cow::Owned(text)))
            }
        }
    }

    fn is_present(&'a self, text: &Text) -> Outcome<bool> {
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
            Text::Attribute(attribute, span) => {
                return self.attribute(*attribute, *span).map(|_| true);
            }
            _ => return Ok(true),
        };
        let Some(request) = self.facts.request else { return error(Kind::NotKnown, span) };
        request.header_values(name, &mut |_| present = true);
        Ok(present)
    }

    fn number(&'a self, number: &'a Number) -> Outcome<i64> {
        match number {
            Number::Constant(value) => Ok(*value),
            Number::Attribute(NumberAttribute::SourcePort) => Ok(self.facts.source.port().into()),
            Number::Attribute(NumberAttribute::DestinationPort) => {
                Ok(self.facts.destination.port().into())
            }
            Number::Characters(text) => {
                Ok(i64::try_from(self.text(text)?.chars().count()).unwrap_or(i64::MAX))
            }
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
            Number::Choice(parts) => {
                self.number(if self.predicate(&parts.0)? { &parts.1 } else { &parts.2 })
            }
        }
    }

    /// Tells whether `wanted` is true for any item of the list.
    ///
    /// All items are evaluated, because an error in one item makes the whole list an error.
    fn any_item(&'a self, list: &'a Texts, mut wanted: impl FnMut(&str) -> bool) -> Outcome<bool> {
        let mut found = false;
        match list {
            Texts::Listed(items) => {
                for item in items {
                    found |= wanted(&self.text(item)?);
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

    fn item(&'a self, list: &'a Texts, index: i64, span: Span) -> Outcome<Cow<'a, str>> {
        let Ok(index) = usize::try_from(index) else { return error(Kind::BadValue, span) };
        let mut at = 0;
        let mut item = None;
        // Copied, because the text that was split may not outlive this call.
        self.any_item(list, |text| {
            if at == index {
                item = Some(text.to_owned());
            }
            at += 1;
            false
        })?;
        item.map_or_else(|| error(Kind::BadValue, span), |item| Ok(Cow::Owned(item)))
    }
}

fn lower_case(text: Cow<'_, str>) -> Cow<'_, str> {
    if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Cow::Owned(text.to_ascii_lowercase());
    }
    text
}

/// The text of bytes that are not all UTF-8.
fn lossy<'a>(bytes: &[u8], span: Span) -> Outcome<Cow<'a, str>> {
    affordable(bytes.len(), span)?;
    Ok(Cow::Owned(String::from_utf8_lossy(bytes).into_owned()))
}

/// Refuses to make a text of more than [`MAX_MADE`] bytes.
fn affordable(bytes: usize, span: Span) -> Outcome<()> {
    if bytes > MAX_MADE { error(Kind::TooCostly, span) } else { Ok(()) }
}
