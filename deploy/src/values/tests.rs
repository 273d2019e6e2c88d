//! Values files, and the schema and text that are read from them.

use rstest::rstest;
use serde_json::json;

use super::*;

#[test]
fn a_key_has_its_section_text_schema_and_default() {
    let text = "\
# For readers of the file.

## First

# This comment is for them, too.
image:
  # -- The place,
  # and the maker.
  # @schema {\"minLength\": 1,
  #   \"maxLength\": 9}
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
            ("First", "image.repository".to_owned(), "The place, and the maker.", json!("here")),
            ("Second", "taints".to_owned(), "Everything.", json!([{"a": 1, "b": 2}])),
            ("Second", "off".to_owned(), "Nothing.", json!({})),
        ]
    );
    assert_eq!(
        values.entries().next().map(|entry| Value::Object(entry.schema.clone())),
        Some(json!({"minLength": 1, "maxLength": 9}))
    );
    assert_eq!(values.groups, [(vec!["image".to_owned()], Map::new())]);
}

#[rstest]
#[case("## A\n\nkey: 1\n", "line 3: `key` has no `# -- Text` that explains it")]
#[case("# -- Text\n\n## A\nkey: 1\n", "line 4: `key` has no `# -- Text` that explains it")]
#[case("# -- Text\nkey: 1\n", "line 2: `key` comes before the first `## Heading`")]
#[case(
    "## A\n# -- Text\n# @schema {\nkey: 1\n",
    "line 3: `@schema` is not JSON: EOF while parsing an object at line 1 column 1"
)]
#[case(
    "## A\n# -- Text\n# @schema {\n\nkey: 1\n",
    "line 3: `@schema` is not JSON: EOF while parsing an object at line 1 column 1"
)]
#[case(
    "## A\n# -- Text\n# @schema {\n# }}\nkey: 1\n",
    "line 3: `@schema` is not JSON: trailing characters at line 1 column 4"
)]
#[case(
    "## A\n# -- Text\n\"key\": 1\n",
    "line 3: YAML has no key `\"key\"`; write one key per line"
)]
#[case("## A\n- 1\n", "line 2: expected `key: value`, found `- 1`")]
fn a_mistake_is_reported_with_its_line(#[case] text: &str, #[case] message: &str) {
    assert_eq!(Values::parse(text).expect_err("is wrong").to_string(), message);
}
