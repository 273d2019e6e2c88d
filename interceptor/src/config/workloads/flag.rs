//! A workload from flags: `--netns` with its `--redirect`s.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use super::super::{
    annotation::{self, AnnotationKey, DeclaredPorts},
    yaml::Location,
};
use super::{
    ExecChecks, NetnsSource, WorkloadSpec,
    annotated::{AnnotatedRules, AnnotationSource},
    name::{NameError, WorkloadName},
};

/// A flag that does not describe a workload.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FlagError {
    /// The path is relative.
    #[error(
        "expected an absolute path, found `{}` (example: `--netns /run/netns/web`)",
        .0.display()
    )]
    Relative(PathBuf),
    /// The last part of the path is not a valid name.
    #[error(
        "{problem} as the last part of `{}`, because it names the workload \
         (a workloads file can give it another name)",
        path.display()
    )]
    Name {
        /// The path.
        path: PathBuf,
        /// What is wrong with its last part.
        problem: NameError,
    },
}

impl WorkloadSpec {
    /// The workload that `--netns` and the `--redirect`s after it describe.
    ///
    /// The last part of the path is its name. All rule texts together are its only annotation,
    /// `debug.redirect`.
    ///
    /// # Errors
    /// The path is relative, or its last part is not a valid name. An invalid rule is an error of
    /// the annotation instead.
    pub fn from_flag(netns: &Path, rules: &[impl AsRef<str>]) -> Result<Self, FlagError> {
        if !netns.is_absolute() {
            return Err(FlagError::Relative(netns.into()));
        }
        let last = netns.file_name().unwrap_or_default().to_string_lossy();
        let name = WorkloadName::new(&last)
            .map_err(|problem| FlagError::Name { path: netns.into(), problem })?;
        let texts: Vec<&str> = rules.iter().map(AsRef::as_ref).collect();
        let rules = if texts.is_empty() { Vec::new() } else { vec![annotation(&texts)] };
        Ok(Self {
            name,
            netns: NetnsSource::Path(netns.into()),
            ports: Vec::new(),
            rules,
            health_checks: Vec::new(),
            exec_checks: ExecChecks::default(),
            obstacle: None,
            terminating: false,
        })
    }
}

/// The annotation that stands for all texts of `--redirect`.
fn annotation(texts: &[&str]) -> AnnotatedRules {
    let key = AnnotationKey::redirect();
    let each = texts.iter().map(|text| text.trim().trim_end_matches(';'));
    let value = each.collect::<Vec<_>>().join("; ");
    // An invalid text is read alone, so that the column in the message is the column in that flag.
    let none = DeclaredPorts::default();
    let mut texts = texts.iter().copied();
    let invalid = texts.find(|text| annotation::parse(&key, text, &none).is_err());
    let text = invalid.unwrap_or(&value);
    let file: Arc<str> = "--redirect".into();
    let location = Location { line: 1, column: 1 };
    let column = (!text.contains('\n')).then_some(1);
    let source = AnnotationSource { file: &file, location, column };
    let rules =
        annotation::parse(&key, text, &none).map_err(|problem| source.error(&key, text, problem));
    AnnotatedRules { key, value, written: None, rules }
}
