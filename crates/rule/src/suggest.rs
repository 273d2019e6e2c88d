//! Corrections for mistyped words: known synonyms first, then the nearest word.

/// The keywords that begin a clause.
pub(crate) const CLAUSES: [&str; 4] = ["when", "percent", "ttl", "with"];

/// Words from other tools and from plain English, each with the clause that it stands for here.
const SYNONYMS: [(&str, &str); 18] = [
    ("if", "when"),
    ("where", "when"),
    ("match", "when"),
    ("only", "when"),
    ("weight", "percent"),
    ("share", "percent"),
    ("rate", "percent"),
    ("for", "ttl"),
    ("until", "ttl"),
    ("timeout", "ttl"),
    ("expires", "ttl"),
    ("expire", "ttl"),
    ("lifetime", "ttl"),
    ("proxy-v2", "with proxy-v2"),
    ("proxy", "with proxy-v2"),
    ("proxy-protocol", "with proxy-v2"),
    ("local-to-app", "with local-to-app"),
    ("local-to-target", "with local-to-target"),
];

/// The options of a clause `with`.
const OPTIONS: [&str; 3] = ["proxy-v2", "local-to-app", "local-to-target"];

/// Words between two targets in plain English.
const AND: [&str; 7] = ["and", "or", "&", "&&", "|", "||", "+"];

/// Advice for `word` in the place of a clause: the clause that the user probably meant, with its
/// value if `word` has one.
pub(crate) fn clause_with_value(word: &str) -> Option<String> {
    if AND.contains(&word) {
        return Some("a rule has one target; rules are separated by `;`".to_owned());
    }
    if let Some((name, value)) = word.split_once(['=', ':'])
        && let Some(clause) = clause(name)
        && !value.is_empty()
    {
        return Some(format!("did you mean `{clause} {value}`?"));
    }
    if let Some(clause) = clause(word) {
        return Some(format!("did you mean `{clause}`?"));
    }
    if !word.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    if let Some(share) = word.strip_suffix('%') {
        return Some(format!("did you mean `percent {share}`?"));
    }
    humantime::parse_duration(word).is_ok().then(|| format!("did you mean `ttl {word}`?"))
}

/// The clause keyword that the user probably meant by `word`.
pub(crate) fn clause(word: &str) -> Option<&'static str> {
    // Bounds the work. No synonym is longer.
    if word.len() > 16 {
        return None;
    }
    let lower = word.to_ascii_lowercase();
    let synonym = SYNONYMS.iter().find(|(other, _)| *other == lower).map(|(_, clause)| *clause);
    synonym.or_else(|| nearest(&lower, CLAUSES))
}

/// The option of a clause `with` that the user probably meant by `word`.
pub(crate) fn option(word: &str) -> Option<&'static str> {
    let lower = word.to_ascii_lowercase();
    let begins = lower.starts_with("proxy").then_some("proxy-v2");
    begins.or_else(|| nearest(&lower, OPTIONS))
}

/// The candidate that the user probably meant by `word`.
///
/// A candidate of up to three letters may be one typing error away, and a longer one two. With two
/// errors for all, any short word would be close to `ttl`.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    candidates
        .into_iter()
        // Bounds the work for a long word.
        .filter(|candidate| word.len().abs_diff(candidate.len()) <= 8)
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= candidate.len().div_ceil(3).min(2))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// The number of edits (insert, delete, replace, swap two neighbours) that turn `a` into `b`.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![(0..=b.len()).collect::<Vec<usize>>()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replaced = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = replaced.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    #[rstest]
    #[case("wen", Some("when"))]
    #[case("When", Some("when"))]
    #[case("hwen", Some("when"))]
    #[case("precent", Some("percent"))]
    #[case("percentage", None)]
    #[case("tll", Some("ttl"))]
    #[case("TTL", Some("ttl"))]
    #[case("wiht", Some("with"))]
    #[case("if", Some("when"))]
    #[case("for", Some("ttl"))]
    #[case("and", None)]
    #[case("ü", None)]
    #[case("", None)]
    fn a_mistyped_word_suggests_its_clause(#[case] word: &str, #[case] clause: Option<&str>) {
        assert_eq!(super::clause(word), clause);
    }
}
