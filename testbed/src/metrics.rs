//! A parser of the Prometheus text format, as far as tests need it.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};

/// One line of `/metrics`.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The name as printed, with `_total`, `_bucket` and so on.
    pub name: String,
    /// The labels.
    pub labels: BTreeMap<String, String>,
    /// The value.
    pub value: f64,
}

/// All samples of one scrape.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Metrics(pub Vec<Sample>);

impl Metrics {
    /// Parses a whole scrape.
    ///
    /// # Errors
    /// A line that Prometheus would refuse.
    pub fn parse(text: &str) -> Result<Self> {
        let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        let samples =
            lines.map(|line| sample(line).with_context(|| format!("not a metric: {line:?}")));
        samples.collect::<Result<_>>().map(Self)
    }

    /// The sum over all samples with this name and at least these labels; 0 if there are none.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.matching(name, labels).map(|sample| sample.value).sum()
    }

    /// All samples with this name and at least these labels.
    pub fn matching<'a>(
        &'a self,
        name: &'a str,
        labels: &'a [(&str, &str)],
    ) -> impl Iterator<Item = &'a Sample> {
        self.0.iter().filter(move |sample| {
            sample.name == name
                && labels
                    .iter()
                    .all(|(key, value)| sample.labels.get(*key).is_some_and(|have| have == value))
        })
    }
}

fn sample(line: &str) -> Option<Sample> {
    let end = line.find(['{', ' '])?;
    let (name, mut rest) = line.split_at(end);
    let mut labels = BTreeMap::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        while !rest.starts_with('}') {
            let (key, after) = rest.split_once("=\"")?;
            let (value, after) = quoted(after)?;
            labels.insert(key.to_owned(), value);
            rest = after.strip_prefix(',').unwrap_or(after);
        }
        rest = &rest[1..];
    }
    // A timestamp or an exemplar may follow.
    let value = rest.split_whitespace().next()?.parse().ok()?;
    Some(Sample { name: name.to_owned(), labels, value })
}

/// The text up to the closing quote, unescaped, and the text behind the quote.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    loop {
        match chars.next()? {
            (at, '"') => return Some((value, &text[at + 1..])),
            (_, '\\') => match chars.next()?.1 {
                'n' => value.push('\n'),
                other => value.push(other),
            },
            (_, other) => value.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCRAPE: &str = "\
# HELP interceptor_connections How many.
# TYPE interceptor_connections counter
interceptor_connections_total{workload=\"web\",outcome=\"redirected\"} 3
interceptor_connections_total{workload=\"web\",outcome=\"fell_back\"} 1
interceptor_build_info{version=\"a\\\"b, c}\"} 1
interceptor_heartbeat_age_seconds 0.125
# EOF
";

    #[test]
    fn the_sum_is_over_all_samples_with_the_labels() {
        let metrics = Metrics::parse(SCRAPE).expect("readable");
        assert_eq!(metrics.sum("interceptor_connections_total", &[("outcome", "redirected")]), 3.0);
        assert_eq!(metrics.sum("interceptor_connections_total", &[("workload", "web")]), 4.0);
        assert_eq!(metrics.sum("interceptor_heartbeat_age_seconds", &[]), 0.125);
        assert_eq!(metrics.sum("interceptor_heartbeat_age_seconds", &[("workload", "web")]), 0.0);
        assert_eq!(metrics.0[2].labels["version"], "a\"b, c}");
    }

    #[test]
    fn lines_that_prometheus_refuses_are_errors() {
        for line in ["name", "name{a=\"b\" 1", "name{a=b} 1", "name one"] {
            assert!(Metrics::parse(line).is_err(), "{line}");
        }
    }
}
