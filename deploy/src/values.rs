//! Reads `values.yaml` with its comments. The notation is described at the top of that file.

use serde_json::{Map, Value};

/// All that an admin can set.
#[derive(Clone, Debug, PartialEq)]
pub struct Values {
    /// In the order of the file.
    pub sections: Vec<Section>,
    /// Additions to the schema of keys that only hold others, by path.
    pub groups: Vec<(Vec<String>, Map<String, Value>)>,
}

/// Keys under one heading.
#[derive(Clone, Debug, PartialEq)]
pub struct Section {
    /// The heading.
    pub title: String,
    /// In the order of the file.
    pub entries: Vec<Entry>,
}

/// A key that can be set.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// From the outside in.
    pub path: Vec<String>,
    /// What it means.
    pub text: String,
    /// What it is if it is not set.
    pub default: Value,
    /// What is known of its type beyond the default.
    pub schema: Map<String, Value>,
}

/// What is wrong with the file, and where.
#[derive(Debug, thiserror::Error)]
pub enum ValuesError {
    /// It is not YAML.
    #[error("{0}")]
    Yaml(String),
    /// The notation of the comments is broken.
    #[error("line {line}: {problem}")]
    Notation {
        /// From 1.
        line: usize,
        /// What was found, and what was expected.
        problem: String,
    },
}

/// The comments in front of a key.
#[derive(Debug, Default)]
struct Comment {
    text: Option<String>,
    schema: Map<String, Value>,
    /// The last line was part of the text, so the next may go on with it.
    in_text: bool,
}

// === impl Values ===

impl Values {
    /// Reads the text of `values.yaml`.
    ///
    /// # Errors
    /// When it is not YAML, or a key is not explained.
    pub fn parse(text: &str) -> Result<Self, ValuesError> {
        let defaults: Value =
            serde_saphyr::from_str(text).map_err(|error| ValuesError::Yaml(error.to_string()))?;
        let mut values = Self { sections: Vec::new(), groups: Vec::new() };
        let mut comment = Comment::default();
        // The keys around the present line, with their indentation.
        let mut around: Vec<(usize, String)> = Vec::new();
        // What stands below an explained key is its default, and not looked at.
        let mut skip_below: Option<usize> = None;

        for (at, line) in text.lines().enumerate() {
            let wrong = |problem: String| ValuesError::Notation { line: at + 1, problem };
            let indent = line.len() - line.trim_start().len();
            let line = line.trim();
            if line.is_empty() {
                comment = Comment::default();
                continue;
            }
            if skip_below.is_some_and(|above| indent > above) {
                continue;
            }
            skip_below = None;
            if let Some(title) = line.strip_prefix("## ") {
                values.sections.push(Section { title: title.to_owned(), entries: Vec::new() });
                continue;
            }
            if line.starts_with('#') {
                comment.add(line).map_err(wrong)?;
                continue;
            }
            let Some((key, _)) =
                line.split_once(':').filter(|(key, _)| !key.starts_with(['-', ' ']))
            else {
                return Err(wrong(format!("expected `key: value`, found `{line}`")));
            };
            around.retain(|(of, _)| *of < indent);
            around.push((indent, key.to_owned()));
            let path: Vec<String> = around.iter().map(|(_, key)| key.clone()).collect();
            let default =
                path.iter().try_fold(&defaults, |value, key| value.get(key)).ok_or_else(|| {
                    wrong(format!(
                        "`{}` is not where YAML sees it; write one key a line",
                        path.join(".")
                    ))
                })?;
            let Comment { text, schema, .. } = std::mem::take(&mut comment);
            match text {
                Some(text) => {
                    skip_below = Some(indent);
                    let Some(section) = values.sections.last_mut() else {
                        return Err(wrong(format!("`{key}` stands before the first `## Heading`")));
                    };
                    section.entries.push(Entry { path, text, default: default.clone(), schema });
                }
                None if default.as_object().is_some_and(|keys| !keys.is_empty()) => {
                    values.groups.push((path, schema));
                }
                None => {
                    return Err(wrong(format!(
                        "`{key}` has no `# -- Text` that says what it means"
                    )));
                }
            }
        }
        Ok(values)
    }

    /// Every key that can be set.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.sections.iter().flat_map(|section| &section.entries)
    }
}

// === impl Entry ===

impl Entry {
    /// As on helm's command line.
    #[must_use]
    pub fn key(&self) -> String {
        self.path.join(".")
    }
}

// === impl Comment ===

impl Comment {
    fn add(&mut self, line: &str) -> Result<(), String> {
        let line = line.trim_start_matches('#').trim();
        if let Some(text) = line.strip_prefix("-- ") {
            self.text = Some(text.to_owned());
            self.in_text = true;
        } else if let Some(json) = line.strip_prefix("@schema ") {
            self.in_text = false;
            let schema: Map<String, Value> = serde_json::from_str(json)
                .map_err(|error| format!("`@schema` is not JSON: {error}"))?;
            self.schema.extend(schema);
        } else if self.in_text
            && let Some(text) = &mut self.text
        {
            text.push(' ');
            text.push_str(line);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
