use rstest::rstest;
use serde_json::json;

use super::*;

#[test]
fn keys_have_their_section_text_type_and_default() {
    let text = "\
# for readers of the file

## First

# more for readers
image:
  # -- Where it is,
  # and who made it.
  # @schema {\"minLength\": 1}
  repository: here

## Second
# -- Everything.
taints:
  - a: 1
    b: 2
# -- Nothing.
off: {}
";
    let values = Values::parse(text).expect("is right");
    let entries: Vec<_> = values
        .sections
        .iter()
        .flat_map(|section| section.entries.iter().map(|entry| (section.title.as_str(), entry)))
        .map(|(title, entry)| (title, entry.key(), entry.text.as_str(), entry.default.clone()))
        .collect();
    assert_eq!(
        entries,
        [
            (
                "First",
                "image.repository".to_owned(),
                "Where it is, and who made it.",
                json!("here")
            ),
            ("Second", "taints".to_owned(), "Everything.", json!([{"a": 1, "b": 2}])),
            ("Second", "off".to_owned(), "Nothing.", json!({})),
        ]
    );
    assert_eq!(
        values.entries().next().map(|entry| entry.schema["minLength"].clone()),
        Some(json!(1))
    );
    assert_eq!(values.groups, [(vec!["image".to_owned()], Map::new())]);
}

#[rstest]
#[case("## A\n\nkey: 1\n", "line 3: `key` has no `# -- Text` that says what it means")]
#[case("# -- Text\n\n## A\nkey: 1\n", "line 4: `key` has no `# -- Text` that says what it means")]
#[case("# -- Text\nkey: 1\n", "line 2: `key` stands before the first `## Heading`")]
#[case(
    "## A\n# -- Text\n# @schema {\nkey: 1\n",
    "line 3: `@schema` is not JSON: EOF while parsing an object at line 1 column 1"
)]
#[case(
    "## A\n# -- Text\n\"key\": 1\n",
    "line 3: `\"key\"` is not where YAML sees it; write one key a line"
)]
#[case("## A\n- 1\n", "line 2: expected `key: value`, found `- 1`")]
fn mistakes_are_told_with_their_line(#[case] text: &str, #[case] message: &str) {
    assert_eq!(Values::parse(text).expect_err("is wrong").to_string(), message);
}
