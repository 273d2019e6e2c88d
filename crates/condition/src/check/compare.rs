//! Checks comparisons and `in`: both sides have one type, and the result is not always the same.

use std::net::IpAddr;

use interceptor_rule::Span;

use super::{Checker, Typed, attribute_of, folded, header, name};
use crate::attribute::TextAttribute;
use crate::error::Mistake;
use crate::syntax::expression::{Binary, Expression, Kind};
use crate::tree::{Number, Predicate, Relation, Text, Texts};

/// The standard methods: RFC 9110 section 9.3, and RFC 5789 for `PATCH`.
const METHODS: [&str; 9] =
    ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];

/// The values of [`Request::protocol`](crate::Request::protocol).
const PROTOCOLS: [&str; 3] = ["HTTP/1.0", "HTTP/1.1", "HTTP/2"];

impl Checker<'_> {
    pub(super) fn compare(
        &self,
        operator: Binary,
        sides: &[Expression; 2],
        at: Span,
    ) -> Result<Typed, Mistake> {
        let relation = match operator {
            Binary::Equal => Relation::Equal,
            Binary::NotEqual => Relation::NotEqual,
            Binary::Less => Relation::Less,
            Binary::LessOrEqual => Relation::LessOrEqual,
            Binary::Greater => Relation::Greater,
            _ => Relation::GreaterOrEqual,
        };
        let equality = matches!(relation, Relation::Equal | Relation::NotEqual);
        match (self.check(&sides[0])?, self.check(&sides[1])?) {
            (Typed::Text(left), Typed::Text(right)) => {
                if equality {
                    possible(&left, &right, sides[1].span)?;
                    possible(&right, &left, sides[0].span)?;
                    let sides =
                        name::without_case([left, right], sides.each_ref().map(|side| side.span));
                    return folded(Predicate::Text(relation, Box::new(sides)));
                }
                folded(Predicate::Text(relation, Box::new([left, right])))
            }
            (Typed::Number(left), Typed::Number(right)) => {
                possible_port(&left, &right, sides[1].span)?;
                possible_port(&right, &left, sides[0].span)?;
                folded(Predicate::Number(relation, Box::new([left, right])))
            }
            (Typed::Bool(left), Typed::Bool(right)) if equality => {
                let same = Predicate::Same(Box::new([left, right]));
                folded(match relation {
                    Relation::Equal => same,
                    _ => Predicate::Not(Box::new(same)),
                })
            }
            (left, right) => Err(self.incomparable(&left, &right, sides, at)),
        }
    }

    fn incomparable(
        &self,
        left: &Typed,
        right: &Typed,
        sides: &[Expression; 2],
        at: Span,
    ) -> Mistake {
        let operator = at.of(self.source);
        let problem = format!(
            "`{operator}` can't compare {} with {}: {} is {}, {} is {}",
            left.name(),
            right.name(),
            self.shown(&sides[0]),
            left.name(),
            self.shown(&sides[1]),
            right.name(),
        );
        let same = left.name() == right.name();
        let problem =
            if same { format!("`{operator}` can't compare {}", plural(left)) } else { problem };
        let sorting = !matches!(operator, "==" | "!=");
        match (left, right) {
            (Typed::Text(_), Typed::Number(_)) if sorting => {
                let text = sides[0].span.of(self.source);
                Mistake::new(sides[0].span, problem).did_you_mean(&format!("int({text})"))
            }
            (Typed::Text(_), Typed::Number(Number::Constant(value))) => {
                Mistake::new(sides[1].span, problem).did_you_mean(&format!("\"{value}\""))
            }
            (Typed::Number(Number::Constant(value)), Typed::Text(_)) => {
                Mistake::new(sides[0].span, problem).did_you_mean(&format!("\"{value}\""))
            }
            (Typed::Number(_), Typed::Text(Text::Constant(text))) => {
                let mistake = Mistake::new(sides[1].span, problem);
                if text.parse::<i64>().is_ok() { mistake.did_you_mean(text) } else { mistake }
            }
            (Typed::Text(Text::Constant(text)), Typed::Number(_)) => {
                let mistake = Mistake::new(sides[0].span, problem);
                if text.parse::<i64>().is_ok() { mistake.did_you_mean(text) } else { mistake }
            }
            (Typed::Text(_) | Typed::Number(_), Typed::Texts(_) | Typed::Numbers(_)) => {
                Mistake::new(at, problem).did_you_mean("in")
            }
            _ => Mistake::new(sides[0].span.to(sides[1].span), problem),
        }
    }

    pub(super) fn contained(
        &self,
        item: &Expression,
        container: &Expression,
    ) -> Result<Typed, Mistake> {
        let place = "before `in`, like the items of the list";
        match self.check(container)? {
            Typed::Headers => {
                let Kind::Text(name) = &item.kind else {
                    return Err(Mistake::new(item.span, header::NOT_LITERAL));
                };
                let span = item.span.to(container.span);
                Ok(Typed::Bool(Predicate::Present(header::named(name, item.span, span)?)))
            }
            Typed::Texts(texts) => {
                let text = self.text(item, place)?;
                if let (Texts::Listed(listed), Kind::List(written)) = (&texts, &container.kind) {
                    for (wanted, written) in listed.iter().zip(written) {
                        possible(&text, wanted, written.span)?;
                    }
                }
                let parts = match texts {
                    Texts::Listed(items) if name::is_name(&text) => {
                        let items = items.into_iter();
                        let lower = items.map(|item| name::lower_case(item, container.span));
                        let listed = Texts::Listed(lower.collect());
                        (name::lower_case(text, item.span), listed)
                    }
                    texts => (text, texts),
                };
                folded(Predicate::TextIn(Box::new(parts)))
            }
            Typed::Numbers(numbers) => {
                let number = self.number(item, place)?;
                if let Kind::List(written) = &container.kind {
                    for (wanted, written) in numbers.iter().zip(written) {
                        possible_port(&number, wanted, written.span)?;
                    }
                }
                folded(Predicate::NumberIn(Box::new((number, numbers))))
            }
            other => {
                let shown = self.shown(container);
                let mistake = Mistake::new(
                    container.span,
                    format!("`in` searches a list, but {shown} is {}", other.name()),
                );
                Err(match other {
                    Typed::Text(_) => {
                        let (part, whole) =
                            (item.span.of(self.source), container.span.of(self.source));
                        mistake.did_you_mean(&format!("{whole}.contains({part})"))
                    }
                    _ => mistake,
                })
            }
        }
    }
}

fn plural(kind: &Typed) -> &'static str {
    match kind {
        Typed::Bool(_) => "booleans",
        Typed::Headers => "header maps",
        _ => "lists",
    }
}

/// Refuses a comparison of `text` with a constant that it can never equal. `wanted` is at `place`.
fn possible(text: &Text, wanted: &Text, place: Span) -> Result<(), Mistake> {
    let (Some(attribute), Text::Constant(wanted)) = (attribute_of(text), wanted) else {
        return Ok(());
    };
    let shown = interceptor_rule::quoted(wanted);
    match attribute {
        TextAttribute::SourceAddress | TextAttribute::DestinationAddress => {
            if wanted.parse::<std::net::SocketAddr>().is_ok() {
                return Ok(());
            }
            let mistake = Mistake::new(
                place,
                format!("an address has the form `ip:port`, so it never equals {shown}"),
            );
            let side =
                if attribute == TextAttribute::SourceAddress { "source" } else { "destination" };
            let start = match wanted.parse::<IpAddr>() {
                Ok(IpAddr::V4(ip)) => format!("{ip}:"),
                Ok(IpAddr::V6(ip)) => format!("[{ip}]:"),
                Err(_) => return Err(mistake),
            };
            Err(mistake.did_you_mean(&format!("{side}.address.startsWith(\"{start}\")")))
        }
        TextAttribute::Method => {
            let upper = wanted.to_ascii_uppercase();
            if *upper != **wanted && METHODS.contains(&upper.as_str()) {
                return Err(Mistake::new(place, "methods are in upper case")
                    .did_you_mean(&format!("\"{upper}\"")));
            }
            Ok(())
        }
        TextAttribute::Protocol if !PROTOCOLS.contains(&&**wanted) => {
            let mistake = Mistake::new(
                place,
                format!("a protocol is one of {}", PROTOCOLS.map(|p| format!("`{p}`")).join(", ")),
            );
            // HTTP/2 has no minor version (RFC 9113 section 3.1), but people write `HTTP/2.0`.
            let version = wanted.to_ascii_uppercase().replace("/2.0", "/2");
            Err(match interceptor_rule::nearest(&version, PROTOCOLS) {
                Some(meant) => mistake.did_you_mean(&format!("\"{meant}\"")),
                None => mistake,
            })
        }
        TextAttribute::UrlPath if wanted.contains('?') => {
            Err(Mistake::new(place, "`request.url_path` has no query").did_you_mean("request.path"))
        }
        _ => Ok(()),
    }
}

/// Refuses a comparison of a port with a constant that is not a port. `wanted` is at `place`.
fn possible_port(number: &Number, wanted: &Number, place: Span) -> Result<(), Mistake> {
    match (number, wanted) {
        (Number::Attribute(_), Number::Constant(port)) if u16::try_from(*port).is_err() => {
            let problem = format!("a port is from 0 to 65535, so it never equals {port}");
            Err(Mistake::new(place, problem))
        }
        _ => Ok(()),
    }
}
