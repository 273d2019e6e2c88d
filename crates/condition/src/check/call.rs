//! Checks function calls. Conditions have some of CEL's standard functions and string extensions.

use interceptor_rule::Span;

use super::{Checker, Typed, folded, function, name, pattern};
use crate::error::Mistake;
use crate::limits::MAX_REGEXES;
use crate::syntax::expression::{Expression, Kind, Name};
use crate::tree::{Change, Number, Part, Predicate, Text, Texts};

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
            let spans = [on.map_or(span, |on| on.span), wanted.span];
            let wanted = self.text(wanted, "in the parentheses")?;
            folded(Predicate::Part(part, Box::new(name::without_case([text, wanted], spans))))
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
                        "`split` needs a quoted separator that is not empty",
                    )),
                }
            }
            "size" => {
                let [of] = self.either(function, on, arguments)?;
                match self.check(of)? {
                    Typed::Text(text) => Ok(Typed::Number(Number::Characters(Box::new(text)))),
                    Typed::Texts(texts) => Ok(Typed::Number(Number::Items(Box::new(texts)))),
                    other => {
                        Err(self.wrong(of, &other, "a string or a list of strings", "in `size()`"))
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
            _ => Err(function::unknown(function)),
        }
    }

    fn matches(&self, text: &Expression, regex: &Expression, span: Span) -> Result<Typed, Mistake> {
        let text = self.text(text, "as the subject of `matches`")?;
        let Kind::Text(pattern) = &regex.kind else {
            let problem =
                "a regular expression must be a quoted string, because it is compiled only once";
            return Err(Mistake::new(regex.span, problem));
        };
        self.regexes.set(self.regexes.get() + 1);
        if self.regexes.get() > MAX_REGEXES {
            let problem = format!("more than {MAX_REGEXES} regular expressions in one condition");
            return Err(
                Mistake::new(regex.span, problem).suggest("`a|b` is one regular expression")
            );
        }
        let regex = pattern::compile(pattern, regex.span, name::is_name(&text))?;
        folded(Predicate::Matches(Box::new((text, regex)), span))
    }

    /// `has(a.b)`. As in CEL, the argument must have a dot.
    fn has(&self, of: &Expression) -> Result<Typed, Mistake> {
        let wrong = Mistake::new(
            of.span,
            "`has` takes an attribute or a header, as in `has(request.host)`",
        );
        match (&of.kind, self.check(of)?) {
            (Kind::Select { .. }, Typed::Text(text)) => Ok(Typed::Bool(Predicate::Present(text))),
            (Kind::Select { .. }, Typed::Number(_) | Typed::Headers) => {
                Err(wrong.suggest("this attribute is always present"))
            }
            (_, Typed::Text(Text::Header(name, _))) => {
                Err(wrong.did_you_mean(&format!("\"{name}\" in request.headers")))
            }
            _ => Err(wrong),
        }
    }

    /// Checks a call of the form `text.function(…)`. Returns the text and the arguments.
    fn method<'e, const N: usize>(
        &self,
        function: &Name,
        on: Option<&'e Expression>,
        arguments: &'e [Expression],
    ) -> Result<(Text, &'e [Expression; N]), Mistake> {
        let Some(on) = on else {
            let mistake =
                Mistake::new(function.span, format!("`{}` is a method of strings", function.text));
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
        // Report mistakes from left to right: the subject first, then the arguments.
        let text = self.text(on, &format!("before `.{}`", function.text))?;
        Ok((text, counted(function, arguments)?))
    }

    /// Checks a call of the form `function(…)`. Returns the arguments.
    fn global<'e, const N: usize>(
        &self,
        function: &Name,
        on: Option<&'e Expression>,
        arguments: &'e [Expression],
    ) -> Result<&'e [Expression; N], Mistake> {
        match on {
            None => counted(function, arguments),
            Some(on) => {
                let problem = format!("`{}` is a function, not a method", function.text);
                Err(Mistake::new(function.span, problem).did_you_mean(&format!(
                    "{}({})",
                    function.text,
                    on.span.of(self.source)
                )))
            }
        }
    }

    /// Checks a call of the form `text.function(…)` or `function(text, …)`. Returns the text and
    /// the arguments.
    fn either<'e, const N: usize>(
        &self,
        function: &Name,
        on: Option<&'e Expression>,
        arguments: &'e [Expression],
    ) -> Result<[&'e Expression; N], Mistake> {
        let all: Vec<&Expression> = on.into_iter().chain(arguments).collect();
        all.try_into().map_err(|_| function::miscounted(function))
    }
}

fn counted<'e, const N: usize>(
    function: &Name,
    arguments: &'e [Expression],
) -> Result<&'e [Expression; N], Mistake> {
    arguments.try_into().map_err(|_| function::miscounted(function))
}
