//! Generates `values.schema.json`, by which Helm checks the admin's values before it renders them.
//!
//! The type of a key is that of its default, and `@schema` adds what the default can't tell. An
//! object accepts only the keys that the file names, unless `@schema` describes other keys.

use serde_json::{Map, Value, json};

use crate::values::{Entry, Values};

/// Renders the text of the file.
#[must_use]
pub fn render(values: &Values) -> String {
    let mut root = object();
    root.insert("$schema".into(), json!("http://json-schema.org/draft-07/schema#"));
    root.insert("title".into(), json!("Values of the chart interceptor"));
    for entry in values.entries() {
        let (last, groups) = entry.path.split_last().expect("a key has a name");
        let mut at = &mut root;
        for group in groups {
            // `null` on the command line removes a key. Templates would fail without the group.
            require(at, group);
            at = properties(at)
                .entry(group)
                .or_insert_with(|| Value::Object(object()))
                .as_object_mut()
                .expect("groups are objects");
        }
        properties(at).insert(last.clone(), Value::Object(leaf(entry)));
    }
    for (path, additions) in &values.groups {
        let group =
            path.iter().try_fold(&mut root, |at, key| properties(at).get_mut(key)?.as_object_mut());
        if let Some(group) = group {
            for (key, value) in additions {
                match (key.as_str(), value.as_array()) {
                    ("required", Some(names)) => {
                        names
                            .iter()
                            .filter_map(Value::as_str)
                            .for_each(|name| require(group, name));
                    }
                    _ => {
                        group.insert(key.clone(), value.clone());
                    }
                }
            }
        }
    }
    // Helm passes `global` to a chart that is a part of another chart.
    properties(&mut root).insert("global".into(), json!({ "type": "object" }));
    let mut text =
        serde_json::to_string_pretty(&Value::Object(root)).expect("has string keys only");
    text.push('\n');
    text
}

/// The schema of an object that accepts only the keys in `properties`.
fn object() -> Map<String, Value> {
    let object = json!({ "type": "object", "additionalProperties": false, "properties": {} });
    object.as_object().cloned().unwrap_or_default()
}

fn properties(of: &mut Map<String, Value>) -> &mut Map<String, Value> {
    let properties = of.entry("properties").or_insert_with(|| json!({}));
    properties.as_object_mut().expect("is ours, and an object")
}

/// Adds `name` to the keys that the object `of` must have.
fn require(of: &mut Map<String, Value>, name: &str) {
    let names = of.entry("required").or_insert_with(|| json!([]));
    let names = names.as_array_mut().expect("is ours, and a list");
    if !names.iter().any(|known| known == name) {
        names.push(json!(name));
    }
}

fn leaf(entry: &Entry) -> Map<String, Value> {
    let mut schema = match &entry.default {
        Value::Object(_) => object(),
        default => {
            let mut schema = Map::new();
            schema.insert("type".into(), json!(type_of(default)));
            schema
        }
    };
    schema.insert("description".into(), json!(entry.text));
    schema.insert("default".into(), entry.default.clone());
    schema.extend(entry.schema.clone());
    schema
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_i64() || number.is_u64() => "integer",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
## All
# @schema {\"required\": [\"b\"]}
a:
  # -- B
  # @schema {\"minimum\": 1}
  b: 2
# -- C
c: {}
# -- D
# @schema {\"additionalProperties\": {\"type\": \"string\"}}
d: {e: f}
";

    #[test]
    fn types_come_from_defaults_and_objects_accept_named_keys_only() {
        let values = Values::parse(TEXT).expect("is right");
        let schema: Value = serde_json::from_str(&render(&values)).expect("is JSON");
        assert_eq!(schema["additionalProperties"], false);
        assert_eq!(schema["required"], json!(["a"]));
        assert_eq!(
            schema["properties"],
            json!({
                "a": {
                    "type": "object", "additionalProperties": false, "required": ["b"],
                    "properties": {
                        "b": { "type": "integer", "minimum": 1, "description": "B", "default": 2 },
                    },
                },
                "c": {
                    "type": "object", "additionalProperties": false, "properties": {},
                    "description": "C", "default": {},
                },
                "d": {
                    "type": "object", "additionalProperties": { "type": "string" },
                    "properties": {}, "description": "D", "default": { "e": "f" },
                },
                "global": { "type": "object" },
            })
        );
    }
}
