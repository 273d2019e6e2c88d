//! Generates the chart's `README.md`: a handwritten frame with tables of the values in it.

use std::fmt::Write as _;

use serde_json::Value;

use crate::values::Values;

/// The placeholder for the tables in the frame.
const PLACE: &str = "{{values}}";
/// The first line of the file, which tells people not to edit it.
const WARNING: &str =
    "<!-- Generated from README.md.in and values.yaml by `cargo xtask gen`. -->\n\n";

/// Renders the text of the file. `frame` is the text of `README.md.in`.
#[must_use]
pub fn render(frame: &str, values: &Values) -> String {
    format!("{WARNING}{}", frame.replace(PLACE, tables(values).trim_end()))
}

fn tables(values: &Values) -> String {
    let mut text = String::new();
    for section in &values.sections {
        // Writing to a `String` does not fail.
        let _ =
            write!(text, "### {}\n\n| value | default | meaning |\n|---|---|---|\n", section.title);
        for entry in &section.entries {
            let default = code(&entry.default);
            let _ = writeln!(text, "| `{}` | {default} | {} |", entry.key(), cell(&entry.text));
        }
        text.push('\n');
    }
    text
}

/// A default value in the notation of YAML, or nothing if it is empty.
fn code(value: &Value) -> String {
    let text = match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(list) if list.is_empty() => String::new(),
        Value::Object(map) if map.is_empty() => String::new(),
        other => other.to_string(),
    };
    if text.is_empty() { String::new() } else { format!("`{}`", cell(&text)) }
}

/// Escapes `|`, which ends a cell of a table even inside of code.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_section_becomes_a_table_in_the_frame() {
        let text =
            "## One\n# -- A or|and B.\na: x\n# -- None.\nb: []\n\n## Two\n# -- C.\nc: {d: 1}\n";
        let values = Values::parse(text).expect("is right");
        assert_eq!(
            render("# Title\n\n{{values}}\n\nEnd\n", &values),
            format!(
                "{WARNING}# Title\n\n### One\n\n| value | default | meaning |\n|---|---|---|\n\
                 | `a` | `x` | A or\\|and B. |\n| `b` |  | None. |\n\n\
                 ### Two\n\n| value | default | meaning |\n|---|---|---|\n\
                 | `c` | `{{\"d\":1}}` | C. |\n\nEnd\n"
            )
        );
    }
}
