//! Differences between two calls that are not the daemon's, removed from records before they are
//! compared. Each has its reason.

use std::sync::LazyLock;

use regex::Regex;
use serde_json::Value;

/// What is replaced in every text of a record: a pattern, what replaces it, and why.
const RULES: [(&str, &str, &str); 5] = [
    (r"(?i)\b(date: )[^\r\n\\]*", "${1}DATE", "the calls may be made in different seconds"),
    (
        r"(10\.99\.\d+\.\d+:)(1[0-9]{4}|[2-6][0-9]{4})\b",
        "${1}PORT",
        "the kernel chooses the client's port",
    ),
    (
        r"grpc-timeout: \d+[munS]",
        "grpc-timeout: TIME",
        "it is the time that is left when the client sends its head",
    ),
    (r"after \d+ ms\b", "after TIME", "curl's messages measure time"),
    (r"(?m)^(\s*)\(\d+\) ", "${1}", "curl numbers concurrent transfers"),
];

/// The rules with their patterns compiled.
static COMPILED: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
    let compile = |(pattern, instead, _): &(&str, &'static str, &str)| {
        (Regex::new(pattern).expect("the pattern is a constant"), *instead)
    };
    RULES.iter().map(compile).collect()
});

/// The rules' patterns and reasons, for reports.
pub fn reasons() -> impl Iterator<Item = (&'static str, &'static str)> {
    RULES.iter().map(|(pattern, _, reason)| (*pattern, *reason))
}

/// Applies the rules to all texts of a record.
pub fn normalise(value: &mut Value) {
    match value {
        Value::String(text) => {
            for (pattern, instead) in &*COMPILED {
                if pattern.is_match(text) {
                    *text = pattern.replace_all(text, *instead).into_owned();
                }
            }
        }
        Value::Array(values) => values.iter_mut().for_each(normalise),
        Value::Object(fields) => fields.values_mut().for_each(normalise),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_differs_between_any_two_calls_is_replaced() {
        let mut record = json!({
            "fields": ["date: Mon, 1 Jan", "last: 10.99.1.2:8080"],
            "error": "read 10.99.3.2:43210->10.99.1.2:8081: reset",
        });
        normalise(&mut record);
        assert_eq!(
            record,
            json!({
                "fields": ["date: DATE", "last: 10.99.1.2:8080"],
                "error": "read 10.99.3.2:PORT->10.99.1.2:8081: reset",
            })
        );
    }
}
