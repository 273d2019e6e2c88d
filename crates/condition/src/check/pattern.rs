//! Compiles regular expressions of bounded size, which match in time linear in the text.

use interceptor_rule::Span;
use regex::RegexBuilder;
use regex_syntax::ParserBuilder;
use regex_syntax::hir::{Hir, HirKind};

use crate::error::Mistake;
use crate::limits::{MAX_MATCHED, MAX_MATCHING, MAX_REGEX, MAX_REGEX_CACHE, MAX_REGEX_PLACES};
use crate::tree::Pattern;

/// Maximum nesting of groups.
const MAX_GROUPS: u32 = 32;

/// Compiles `pattern` and computes the maximum length of a text that it may be applied to.
pub(super) fn compile(pattern: &str, place: Span, any_case: bool) -> Result<Pattern, Mistake> {
    let regex = RegexBuilder::new(pattern)
        .case_insensitive(any_case)
        .size_limit(MAX_REGEX)
        .dfa_size_limit(MAX_REGEX_CACHE)
        .nest_limit(MAX_GROUPS)
        .build()
        .map_err(|error| wrong(&error, pattern, place))?;
    // At worst, the engine compares each byte of the text with each position in the expression.
    let mut parser = ParserBuilder::new().case_insensitive(any_case).build();
    let places = parser.parse(pattern).map_or(usize::MAX, |hir| places(&hir));
    if places > MAX_REGEX_PLACES {
        let problem = format!("this regular expression has more than {MAX_REGEX_PLACES} positions");
        return Err(Mistake::new(place, problem).suggest("`a{100}` counts as 100 positions"));
    }
    Ok(Pattern { regex, longest: MAX_MATCHED.min(MAX_MATCHING / places.max(1)) })
}

/// An upper bound for the number of positions in which a match can be.
fn places(hir: &Hir) -> usize {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => 1,
        HirKind::Literal(literal) => literal.0.len(),
        // Each byte of a character is a position.
        HirKind::Class(class) => class.maximum_len().unwrap_or(1),
        HirKind::Repetition(repetition) => {
            let times = repetition.max.unwrap_or(repetition.min.saturating_add(1));
            places(&repetition.sub).saturating_add(1).saturating_mul(times as usize)
        }
        HirKind::Capture(capture) => places(&capture.sub).saturating_add(1),
        HirKind::Concat(parts) | HirKind::Alternation(parts) => {
            parts.iter().map(places).fold(1, usize::saturating_add)
        }
    }
}

fn wrong(error: &regex::Error, pattern: &str, place: Span) -> Mistake {
    if let regex::Error::CompiledTooBig(limit) = error {
        let problem = format!("this regular expression compiles to over {limit} bytes");
        return Mistake::new(place, problem)
            .suggest("`[0-9]` and `[a-z]` are much smaller than `\\d` and `\\w`");
    }
    // The message is a picture of several lines. The last line has the reason.
    let picture = error.to_string();
    let reason = picture.lines().last().unwrap_or_default().trim().trim_start_matches("error: ");
    let mistake = Mistake::new(place, format!("this is not a valid regular expression: {reason}"));
    if pattern.starts_with(['*', '?']) {
        return mistake.suggest("in a regular expression, `.*` matches any text");
    }
    mistake
}
