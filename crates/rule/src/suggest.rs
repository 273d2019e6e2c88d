//! Guesses what somebody meant, from the mistakes that people make.

/// The words that begin a clause.
pub(crate) const CLAUSES: [&str; 4] = ["when", "percent", "ttl", "with"];

/// Words of other tools and of plain English that stand for a clause here.
const SYNONYMS: [(&str, &str); 9] = [
    ("if", "when"),
    ("where", "when"),
    ("match", "when"),
    ("weight", "percent"),
    ("for", "ttl"),
    ("timeout", "ttl"),
    ("expires", "ttl"),
    ("proxy-v2", "with proxy-v2"),
    ("proxy", "with proxy-v2"),
];

/// The clause that `word` was probably meant to begin.
pub(crate) fn clause(word: &str) -> Option<&'static str> {
    // No clause word is longer than this with two typing errors; it also bounds the work below.
    if word.len() > 12 {
        return None;
    }
    let lower = word.to_ascii_lowercase();
    let synonym = SYNONYMS.iter().find(|(other, _)| *other == lower).map(|(_, clause)| *clause);
    synonym.or_else(|| nearest(&lower, CLAUSES))
}

/// The candidate that `word` was probably meant to be: at most two typing errors away, and one for each three letters, or
/// anything would be near `ttl`.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    candidates
        .into_iter()
        // Also bounds the work for a long word.
        .filter(|candidate| word.len().abs_diff(candidate.len()) <= 8)
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= candidate.len().div_ceil(3).min(2))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Edits (insert, delete, replace, swap neighbours) that turn `a` into `b`.
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
    fn guesses(#[case] word: &str, #[case] clause: Option<&str>) {
        assert_eq!(super::clause(word), clause);
    }
}
