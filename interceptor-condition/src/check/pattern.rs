//! Regular expressions: compiled once, of bounded size, and matched in time that is linear in the text.

use interceptor_rule::Span;
use regex::{Regex, RegexBuilder};

use crate::error::Mistake;
use crate::limits::{MAX_REGEX, MAX_REGEX_CACHE};

/// Groups inside each other.
const MAX_GROUPS: u32 = 32;

pub(super) fn compile(pattern: &str, place: Span) -> Result<Regex, Mistake> {
    RegexBuilder::new(pattern)
        .size_limit(MAX_REGEX)
        .dfa_size_limit(MAX_REGEX_CACHE)
        .nest_limit(MAX_GROUPS)
        .build()
        .map_err(|error| wrong(&error, pattern, place))
}

fn wrong(error: &regex::Error, pattern: &str, place: Span) -> Mistake {
    if let regex::Error::CompiledTooBig(limit) = error {
        let problem = format!("this regular expression takes more than {limit} bytes (MAX_REGEX)");
        return Mistake::new(place, problem)
            .suggest("`[0-9]` and `[a-z]` are much smaller than `\\d` and `\\w`");
    }
    // The message is a picture of several lines; what is wrong stands in the last.
    let picture = error.to_string();
    let reason = picture.lines().last().unwrap_or_default().trim().trim_start_matches("error: ");
    let mistake = Mistake::new(place, format!("this is no regular expression: {reason}"));
    if pattern.starts_with(['*', '?']) {
        return mistake.suggest("in a regular expression `.*` stands for anything");
    }
    mistake
}
