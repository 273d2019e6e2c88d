//! Functions: those of CEL's standard and of its extension for strings that a condition can use.

use interceptor_rule::Span;

use super::{Checker, Typed, folded, pattern};
use crate::error::Mistake;
use crate::limits::MAX_REGEXES;
use crate::syntax::expression::{Expression, Kind, Name};
use crate::tree::{Change, Number, Part, Predicate, Text, Texts};

/// How a function is called, for messages.
const FUNCTIONS: [(&str, &str); 12] = [
    ("startsWith", "text.startsWith(\"…\")"),
    ("endsWith", "text.endsWith(\"…\")"),
    ("contains", "text.contains(\"…\")"),
    ("matches", "text.matches(\"…\")"),
    ("has", "has(request.host)"),
    ("size", "size(text)"),
    ("int", "int(text)"),
    ("string", "string(number)"),
    ("lowerAscii", "text.lowerAscii()"),
    ("upperAscii", "text.upperAscii()"),
    ("trim", "text.trim()"),
    ("split", "text.split(\",\")"),
];

/// Functions of other languages.
const SYNONYMS: [(&str, &str); 19] = [
    ("hasPrefix", "startsWith"),
    ("starts_with", "startsWith"),
    ("beginsWith", "startsWith"),
    ("prefix", "startsWith"),
    ("hasSuffix", "endsWith"),
    ("ends_with", "endsWith"),
    ("suffix", "endsWith"),
    ("includes", "contains"),
    ("match", "matches"),
    ("regex", "matches"),
    ("test", "matches"),
    ("len", "size"),
    ("length", "size"),
    ("lower", "lowerAscii"),
    ("toLower", "lowerAscii"),
    ("toLowerCase", "lowerAscii"),
    ("upper", "upperAscii"),
    ("toUpperCase", "upperAscii"),
    ("exist", "has"),
];

/// CEL's macros, which are loops.
const LOOPS: [&str; 7] =
    ["all", "exists", "exists_one", "existsOne", "map", "filter", "transformList"];

/// The function that is called `name` or was meant by it.
pub(super) fn meant(name: &str) -> Option<&'static str> {
    let known = FUNCTIONS.iter().map(|(function, _)| *function);
    known
        .clone()
        .find(|function| *function == name)
        .or_else(|| {
            SYNONYMS.iter().find(|(other, _)| *other == name).map(|(_, function)| *function)
        })
        .or_else(|| interceptor_rule::nearest(name, known))
}

impl Checker<'_> {
    pub(super) fn call(
        &self,
        function: &Name,
        on: Option<&Expression>,
        arguments: &[Expression],
        span: Span,
    ) -> Result<Typed, Mistake> {
        let part = |part| {
            let (text, [wanted]) = self.method(function, on, arguments)?;
            let wanted = self.text(wanted, "in the brackets")?;
            folded(Predicate::Part(part, Box::new([text, wanted])))
        };
        let change = |change| {
            let (text, []) = self.method(function, on, arguments)?;
            Ok(Typed::Text(Text::Changed(change, Box::new(text), span)))
        };
        match &*function.text {
            "startsWith" => part(Part::Start),
            "endsWith" => part(Part::End),
            "contains" => part(Part::Anywhere),
            "lowerAscii" => change(Change::LowerCase),
            "upperAscii" => change(Change::UpperCase),
            "trim" => change(Change::Trimmed),
            "matches" => {
                let [text, regex] = self.either(function, on, arguments)?;
                self.matches(text, regex, span)
            }
            "split" => {
                let (text, [separator]) = self.method(function, on, arguments)?;
                match &separator.kind {
                    Kind::Text(by) if !by.is_empty() => {
                        Ok(Typed::Texts(Texts::Split(Box::new(text), by.clone())))
                    }
                    _ => Err(Mistake::new(
                        separator.span,
                        "a text is split at a string in quotes that is not empty",
                    )),
                }
            }
            "size" => {
                let [of] = self.either(function, on, arguments)?;
                match self.check(of)? {
                    Typed::Text(text) => Ok(Typed::Number(Number::Characters(Box::new(text)))),
                    Typed::Texts(texts) => Ok(Typed::Number(Number::Items(Box::new(texts)))),
                    other => {
                        Err(self.wrong(of, &other, "a string", "as that of which to tell the size"))
                    }
                }
            }
            "int" => {
                let [of] = self.global(function, on, arguments)?;
                match self.check(of)? {
                    Typed::Text(text) => Ok(Typed::Number(Number::Parsed(Box::new(text), span))),
                    Typed::Number(number) => Ok(Typed::Number(number)),
                    other => Err(self.wrong(of, &other, "a string", "in `int()`")),
                }
            }
            "string" => {
                let [of] = self.global(function, on, arguments)?;
                match self.check(of)? {
                    Typed::Number(number) => Ok(Typed::Text(Text::Number(Box::new(number)))),
                    Typed::Text(text) => Ok(Typed::Text(text)),
                    other => Err(self.wrong(of, &other, "a number", "in `string()`")),
                }
            }
            "has" => {
                let [of] = self.global(function, on, arguments)?;
                self.has(of)
            }
            _ => Err(unknown(function)),
        }
    }

    fn matches(&self, text: &Expression, regex: &Expression, span: Span) -> Result<Typed, Mistake> {
        let text = self.text(text, "in front of `matches`")?;
        let Kind::Text(pattern) = &regex.kind else {
            let problem =
                "a regular expression is a string in quotes, as it is compiled once and for all";
            return Err(Mistake::new(regex.span, problem));
        };
        self.regexes.set(self.regexes.get() + 1);
        if self.regexes.get() > MAX_REGEXES {
            let problem = format!(
                "more than {MAX_REGEXES} regular expressions in one condition (MAX_REGEXES)"
            );
            return Err(
                Mistake::new(regex.span, problem).suggest("`a|b` is one regular expression")
            );
        }
        let regex = pattern::compile(pattern, regex.span)?;
        folded(Predicate::Matches(Box::new((text, regex)), span))
    }

    /// CEL's `has` takes what is written with a point, and nothing else.
    fn has(&self, of: &Expression) -> Result<Typed, Mistake> {
        let wrong = Mistake::new(
            of.span,
            "`has` asks for an attribute or a header, such as `has(request.host)`",
        );
        match (&of.kind, self.check(of)?) {
            (Kind::Select { .. }, Typed::Text(text)) => Ok(Typed::Bool(Predicate::Present(text))),
            (Kind::Select { .. }, Typed::Number(_) | Typed::Headers) => {
                Err(wrong.suggest("this one is always there"))
            }
            (_, Typed::Text(Text::Header(name, _))) => {
                Err(wrong.did_you_mean(&format!("\"{name}\" in request.headers")))
            }
            _ => Err(wrong),
        }
    }

    /// `text.function(…)`
    fn method<'e, const N: usize>(
        &self,
        function: &Name,
        on: Option<&'e Expression>,
        arguments: &'e [Expression],
    ) -> Result<(Text, &'e [Expression; N]), Mistake> {
        let Some(on) = on else {
            let mistake =
                Mistake::new(function.span, format!("`{}` stands behind a text", function.text));
            return Err(match arguments {
                [text, rest @ ..] => {
                    let of = |e: &Expression| e.span.of(self.source).to_owned();
                    let rest: Vec<_> = rest.iter().map(of).collect();
                    mistake.did_you_mean(&format!(
                        "{}.{}({})",
                        of(text),
                        function.text,
                        rest.join(", ")
                    ))
                }
                [] => mistake,
            });
        };
        // What the function is called on is looked at first: it is on the left.
        let text = self.text(on, &format!("in front of `.{}`", function.text))?;
        Ok((text, counted(function, arguments)?))
    }

    /// `function(…)`
    fn global<'e, const N: usize>(
        &self,
        function: &Name,
        on: Option<&'e Expression>,
        arguments: &'e [Expression],
    ) -> Result<&'e [Expression; N], Mistake> {
        match on {
            None => counted(function, arguments),
            Some(on) => {
                Err(Mistake::new(function.span, format!("`{}` stands in front", function.text))
                    .did_you_mean(&format!("{}({})", function.text, on.span.of(self.source))))
            }
        }
    }

    /// `text.function(…)` or `function(text, …)`
    fn either<'e, const N: usize>(
        &self,
        function: &Name,
        on: Option<&'e Expression>,
        arguments: &'e [Expression],
    ) -> Result<[&'e Expression; N], Mistake> {
        let all: Vec<&Expression> = on.into_iter().chain(arguments).collect();
        all.try_into().map_err(|_| miscounted(function))
    }
}

fn counted<'e, const N: usize>(
    function: &Name,
    arguments: &'e [Expression],
) -> Result<&'e [Expression; N], Mistake> {
    arguments.try_into().map_err(|_| miscounted(function))
}

fn miscounted(function: &Name) -> Mistake {
    let usage = FUNCTIONS
        .iter()
        .find(|(known, _)| **known == *function.text)
        .map_or("", |(_, usage)| usage);
    Mistake::new(function.span, format!("`{}` is called as in `{usage}`", function.text))
}

fn unknown(function: &Name) -> Mistake {
    let name = interceptor_rule::quoted(&function.text);
    if LOOPS.contains(&&*function.text) {
        return Mistake::new(function.span, format!("{name} is a loop, and a condition has none"))
            .suggest("alternatives are written with `||`, `in`, or `a|b` in a regular expression");
    }
    let mistake = Mistake::new(function.span, format!("there is no function {name}"));
    match meant(&function.text) {
        Some(function) => {
            let usage = FUNCTIONS
                .iter()
                .find(|(known, _)| *known == function)
                .map_or(function, |(_, usage)| usage);
            mistake.did_you_mean(usage)
        }
        None => mistake.suggest(format!(
            "there is {}",
            FUNCTIONS.map(|(function, _)| format!("`{function}`")).join(", ")
        )),
    }
}
