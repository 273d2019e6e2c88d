//! Regular expressions: compiled once, of bounded size, and matched in time that is linear in the text.

use interceptor_rule::Span;
use regex::RegexBuilder;
use regex_syntax::hir::{Hir, HirKind};

use crate::error::Mistake;
use crate::limits::{MAX_MATCHED, MAX_MATCHING, MAX_REGEX, MAX_REGEX_CACHE, MAX_REGEX_PLACES};
use crate::tree::Pattern;

/// Groups inside each other.
const MAX_GROUPS: u32 = 32;

/// Compiles it, and tells how long a text it may be applied to.
pub(super) fn compile(pattern: &str, place: Span) -> Result<Pattern, Mistake> {
    let regex = RegexBuilder::new(pattern)
        .size_limit(MAX_REGEX)
        .dfa_size_limit(MAX_REGEX_CACHE)
        .nest_limit(MAX_GROUPS)
        .build()
        .map_err(|error| wrong(&error, pattern, place))?;
    // At worst, each byte of the text is compared with each place that the expression can be in.
    let places = regex_syntax::parse(pattern).map_or(usize::MAX, |hir| places(&hir));
    if places > MAX_REGEX_PLACES {
        let problem = format!(
            "this regular expression has more than {MAX_REGEX_PLACES} places (MAX_REGEX_PLACES)"
        );
        return Err(Mistake::new(place, problem).suggest("`{100}` counts a hundred times"));
    }
    Ok(Pattern { regex, longest: MAX_MATCHED.min(MAX_MATCHING / places.max(1)) })
}

/// Where a match may have got to, counted generously.
fn places(hir: &Hir) -> usize {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => 1,
        HirKind::Literal(literal) => literal.0.len(),
        // Each byte of a character is a place.
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
