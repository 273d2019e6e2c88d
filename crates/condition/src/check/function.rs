//! The functions of conditions by name, and their synonyms in other languages.

use crate::error::Mistake;
use crate::syntax::expression::Name;

/// The functions, each with a call as an example for messages.
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

/// Functions of other languages, each with its equivalent here.
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

/// CEL's macros that are loops.
const LOOPS: [&str; 7] =
    ["all", "exists", "exists_one", "existsOne", "map", "filter", "transformList"];

/// The function `name`, or the one that the user probably meant by it.
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

/// The mistake of a call with a wrong number of arguments.
pub(super) fn miscounted(function: &Name) -> Mistake {
    let usage = FUNCTIONS
        .iter()
        .find(|(known, _)| **known == *function.text)
        .map_or("", |(_, usage)| usage);
    let name = &function.text;
    Mistake::new(function.span, format!("wrong number of arguments for `{name}`, as in `{usage}`"))
}

/// The mistake of a call of an unknown function.
pub(super) fn unknown(function: &Name) -> Mistake {
    let name = interceptor_rule::quoted(&function.text);
    if LOOPS.contains(&&*function.text) {
        return Mistake::new(
            function.span,
            format!("{name} is a loop, and conditions have no loops"),
        )
        .suggest("for alternatives use `||`, `in`, or `a|b` in a regular expression");
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
            "the functions are {}",
            FUNCTIONS.map(|(function, _)| format!("`{function}`")).join(", ")
        )),
    }
}
