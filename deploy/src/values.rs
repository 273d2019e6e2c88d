//! Reads `values.yaml` with its comments. The head of that file describes the notation.

use serde_json::{Map, Value};

/// The values of the chart, with their documentation.
#[derive(Clone, Debug, PartialEq)]
pub struct Values {
    /// The sections, in the order of the file.
    pub sections: Vec<Section>,
    /// The keys that only contain other keys: the path of each, and its additions to the schema.
    pub groups: Vec<(Vec<String>, Map<String, Value>)>,
}

/// The keys below one heading.
#[derive(Clone, Debug, PartialEq)]
pub struct Section {
    /// The text of the heading.
    pub title: String,
    /// The keys, in the order of the file.
    pub entries: Vec<Entry>,
}

/// A key that an admin can set.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The names that lead to the key, the outermost first.
    pub path: Vec<String>,
    /// The explanation after `# --`.
    pub text: String,
    /// The value in the file.
    pub default: Value,
    /// The JSON after `# @schema`: keywords of JSON Schema that the default does not imply.
    pub schema: Map<String, Value>,
}

/// The reason why a file can't be read.
#[derive(Debug, thiserror::Error)]
pub enum ValuesError {
    /// The file is not YAML.
    #[error("{0}")]
    Yaml(String),
    /// A comment or a key does not follow the notation.
    #[error("line {line}: {problem}")]
    Notation {
        /// The number of the line, from 1.
        line: usize,
        /// The problem, as a sentence.
        problem: String,
    },
}

/// Reads a file line by line.
struct Reader<'a> {
    /// The whole file as YAML.
    defaults: &'a Value,
    /// The keys read so far.
    values: Values,
    /// The comments directly above the current line.
    comment: Comment,
    /// The keys that enclose the current line, each with its indentation.
    around: Vec<(usize, String)>,
    /// The indentation of the last documented key. Lines below it are its default and are skipped.
    skip_below: Option<usize>,
}

/// The comments above a key.
#[derive(Debug, Default)]
struct Comment {
    text: Option<String>,
    schema: Map<String, Value>,
    /// What the next comment line may continue.
    open: Open,
}

/// The part of a comment that its next line may continue.
#[derive(Debug, Default)]
enum Open {
    #[default]
    Nothing,
    /// The text after `# --`.
    Text,
    /// The JSON after `# @schema`, which is incomplete so far.
    Schema {
        /// The line on which the JSON begins.
        line: usize,
        json: String,
        /// The reason why it is incomplete.
        error: serde_json::Error,
    },
}

// === impl Values ===

impl Values {
    /// Reads the text of `values.yaml`.
    ///
    /// # Errors
    /// The text is not YAML, or the comments do not follow the notation, for example because a key
    /// has no explanation.
    pub fn parse(text: &str) -> Result<Self, ValuesError> {
        let defaults: Value =
            serde_saphyr::from_str(text).map_err(|error| ValuesError::Yaml(error.to_string()))?;
        let mut reader = Reader {
            defaults: &defaults,
            values: Self { sections: Vec::new(), groups: Vec::new() },
            comment: Comment::default(),
            around: Vec::new(),
            skip_below: None,
        };
        for (index, line) in text.lines().enumerate() {
            reader.line(index + 1, line)?;
        }
        Ok(reader.values)
    }

    /// Every key that an admin can set.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.sections.iter().flat_map(|section| &section.entries)
    }
}

// === impl Entry ===

impl Entry {
    /// The key in the notation of Helm's `--set`, such as `image.tag`.
    #[must_use]
    pub fn key(&self) -> String {
        self.path.join(".")
    }
}

// === impl Reader ===

impl Reader<'_> {
    /// Reads the line with the given number, which counts from 1.
    fn line(&mut self, number: usize, line: &str) -> Result<(), ValuesError> {
        let indent = line.len() - line.trim_start().len();
        let line = line.trim();
        if line.is_empty() {
            return std::mem::take(&mut self.comment).complete().map(drop);
        }
        if self.skip_below.is_some_and(|above| indent > above) {
            return Ok(());
        }
        self.skip_below = None;
        if let Some(title) = line.strip_prefix("## ") {
            self.values.sections.push(Section { title: title.to_owned(), entries: Vec::new() });
            return Ok(());
        }
        if line.starts_with('#') {
            return self.comment.add(number, line);
        }
        let comment = std::mem::take(&mut self.comment).complete()?;
        self.key(indent, line, comment)
            .map_err(|problem| ValuesError::Notation { line: number, problem })
    }

    /// Reads a line with a key.
    fn key(&mut self, indent: usize, line: &str, comment: Comment) -> Result<(), String> {
        let Some((key, _)) = line.split_once(':').filter(|(key, _)| !key.starts_with(['-', ' ']))
        else {
            return Err(format!("expected `key: value`, found `{line}`"));
        };
        self.around.retain(|(of, _)| *of < indent);
        self.around.push((indent, key.to_owned()));
        let path: Vec<String> = self.around.iter().map(|(_, key)| key.clone()).collect();
        let default = path
            .iter()
            .try_fold(self.defaults, |value, key| value.get(key))
            .ok_or_else(|| format!("YAML has no key `{}`; write one key per line", path.join(".")))?
            .clone();
        let Comment { text, schema, open: _ } = comment;
        match text {
            Some(text) => {
                self.skip_below = Some(indent);
                let Some(section) = self.values.sections.last_mut() else {
                    return Err(format!("`{key}` comes before the first `## Heading`"));
                };
                section.entries.push(Entry { path, text, default, schema });
                Ok(())
            }
            None if default.as_object().is_some_and(|keys| !keys.is_empty()) => {
                self.values.groups.push((path, schema));
                Ok(())
            }
            None => Err(format!("`{key}` has no `# -- Text` that explains it")),
        }
    }
}

// === impl Comment ===

impl Comment {
    /// Adds the comment `line` with the given number.
    fn add(&mut self, number: usize, line: &str) -> Result<(), ValuesError> {
        let line = line.trim_start_matches('#').trim();
        if let Open::Schema { line: first, json, .. } = &mut self.open {
            let (first, json) = (*first, format!("{json} {line}"));
            return self.add_schema(first, json);
        }
        if let Some(text) = line.strip_prefix("-- ") {
            self.text = Some(text.to_owned());
            self.open = Open::Text;
        } else if let Some(json) = line.strip_prefix("@schema ") {
            return self.add_schema(number, json.to_owned());
        } else if let (Open::Text, Some(text)) = (&self.open, &mut self.text) {
            text.push(' ');
            text.push_str(line);
        }
        Ok(())
    }

    /// Adds the JSON of `@schema`, which begins on line `first`, if it is complete.
    fn add_schema(&mut self, first: usize, json: String) -> Result<(), ValuesError> {
        match serde_json::from_str::<Map<String, Value>>(&json) {
            Ok(schema) => {
                self.schema.extend(schema);
                self.open = Open::Nothing;
            }
            Err(error) if error.is_eof() => self.open = Open::Schema { line: first, json, error },
            Err(error) => return Err(not_json(first, &error)),
        }
        Ok(())
    }

    /// Checks that the comment has no incomplete JSON.
    fn complete(self) -> Result<Self, ValuesError> {
        match &self.open {
            Open::Schema { line, error, .. } => Err(not_json(*line, error)),
            Open::Nothing | Open::Text => Ok(self),
        }
    }
}

fn not_json(line: usize, error: &serde_json::Error) -> ValuesError {
    ValuesError::Notation { line, problem: format!("`@schema` is not JSON: {error}") }
}

#[cfg(test)]
mod tests;
