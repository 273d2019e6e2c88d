//! Phrases that hide who does what, and words that this project no longer uses, each with what to
//! write instead.

use std::sync::LazyLock;

use regex::Regex;

/// Case does not matter, and a space matches a line's end, too.
const PHRASES: [(&str, &str); 13] = [
    (
        r"\b(he|him|his|himself)\b",
        "write \"it\", or name the peer: the client, the app, the target",
    ),
    (r"\b(somebody|anybody|nobody)\b", "name who: the client, the user, another process"),
    (r"\b(is|are|was|were|be|been|being) (told|said)\b", "say who reports what to whom"),
    (
        r"\bwhat (is|was|are|were) (written|there|said|told|wanted|meant)\b",
        "use a noun: the spec, the state",
    ),
    (r"\bwhose (it|its|he|his|they|\w+ it) (is|are|was)\b", "use a noun: the owner"),
    (r"\b(so|as) (many|much|long)\b[^.;]*\bat (most|once)\b", "begin with \"Maximum\""),
    (
        r"\bso (many|long) (\w+ )?(at|is|are|has|have|it|a|an|the)\b",
        "give the number or the limit a name",
    ),
    (r"\bas many (\w+ )?(at|are|is)\b", "begin with \"Maximum\", or name the number"),
    (r"\banew\b", "write \"again\""),
    (r"\bstrangers?\b", "name who: other hosts, other users"),
    (r"\bby half\b", "write \"half-way\" or \"partly\""),
    (r"\blineages?\b", "this is the loop guard now"),
    (r"\bwho\b[^.;:]*\b(nobody|no one)\b", "say it without a double negation"),
];

static REGEXES: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
    let compiled = PHRASES.iter().map(|(pattern, instead)| {
        let pattern = format!("(?i){}", pattern.replace(' ', r"\s+"));
        (Regex::new(&pattern).expect("the pattern is a constant"), *instead)
    });
    compiled.collect()
});

/// The place and text of each phrase, with what to write instead.
pub(crate) fn find(text: &str) -> Vec<(usize, &str, &'static str)> {
    let each = REGEXES.iter().flat_map(|(regex, instead)| {
        regex.find_iter(text).map(|found| (found.start(), found.as_str(), *instead))
    });
    each.collect()
}
