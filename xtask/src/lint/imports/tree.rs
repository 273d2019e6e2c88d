//! The modules of a crate, read from its files.

use std::{
    collections::BTreeMap,
    fs,
    path::{Component, Path, PathBuf},
};

use anyhow::{Context as _, Result};

use super::mentions::{Import, Mention, Source};
use crate::lint::lexer;

/// The modules of a crate. The root is number 0.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    modules: Vec<Module>,
}

#[derive(Debug)]
struct Module {
    /// The path below the base.
    file: PathBuf,
    parent: usize,
    children: BTreeMap<String, usize>,
    source: Source,
}

// === impl Tree ===

impl Tree {
    pub(crate) const ROOT: usize = 0;

    /// Reads the root file and every file that a `mod` line names. Their paths are given below
    /// `base`, which is any folder above the root file. A file that is missing is left
    /// out: it is generated, or not for this platform.
    pub(crate) fn read(base: &Path, root: &Path) -> Result<Self> {
        let folder = root.parent().context("a root file without a folder")?;
        let mut tree = Self::default();
        tree.add_file(base, root.strip_prefix(base)?, folder, 0)?;
        Ok(tree)
    }

    /// `children` is the folder in which the files of child modules lie.
    fn add_file(
        &mut self,
        base: &Path,
        file: &Path,
        children: &Path,
        parent: usize,
    ) -> Result<usize> {
        let path = base.join(file);
        let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        let source = Source::read(&lexer::code_without_tests(&lexer::tokens(&text)));
        self.add(base, file, children, parent, source)
    }

    fn add(
        &mut self,
        base: &Path,
        file: &Path,
        children: &Path,
        parent: usize,
        mut source: Source,
    ) -> Result<usize> {
        let (files, inline) =
            (std::mem::take(&mut source.files), std::mem::take(&mut source.inline));
        let module = self.modules.len();
        let file = file.to_owned();
        self.modules.push(Module { file: file.clone(), parent, children: BTreeMap::new(), source });
        for (name, path) in files {
            let beside = base.join(&file);
            let beside = beside.parent().unwrap_or(base);
            // Each with the folder of its own children.
            let candidates = match path {
                Some(path) => {
                    let path = plain(&beside.join(path));
                    vec![(path.clone(), path.with_file_name(""))]
                }
                None => {
                    let folder = children.join(&name);
                    vec![
                        (folder.with_extension("rs"), folder.clone()),
                        (folder.join("mod.rs"), folder),
                    ]
                }
            };
            let found = candidates.into_iter().find(|(path, _)| path.is_file());
            let Some((found, folder)) = found else { continue };
            let file = found.strip_prefix(base).unwrap_or(&found).to_owned();
            let child = self.add_file(base, &file, &folder, module)?;
            self.modules[module].children.insert(name, child);
        }
        for (name, source) in inline {
            let child = self.add(base, &file, &children.join(&name), module, source)?;
            self.modules[module].children.insert(name, child);
        }
        Ok(module)
    }

    /// Every path that is mentioned, with the module that mentions it.
    pub(crate) fn mentions(&self) -> impl Iterator<Item = (usize, &Mention)> {
        let each = self.modules.iter().enumerate();
        each.flat_map(|(at, module)| module.source.mentions.iter().map(move |it| (at, it)))
    }

    pub(crate) fn file(&self, module: usize) -> &Path {
        &self.modules[module].file
    }

    /// The parent module. The root is its own parent.
    pub(crate) fn parent(&self, module: usize) -> usize {
        self.modules[module].parent
    }

    pub(crate) fn child(&self, module: usize, name: &str) -> Option<usize> {
        self.modules[module].children.get(name).copied()
    }

    pub(crate) fn defines(&self, module: usize, name: &str) -> bool {
        self.modules[module].source.defines.contains(name)
    }

    /// The `use` lines of a module: what each calls its thing, and the thing's path.
    pub(crate) fn imports(&self, module: usize) -> impl Iterator<Item = (&Import, &[String])> {
        let mentions = self.modules[module].source.mentions.iter();
        mentions.filter_map(|mention| Some((mention.import.as_ref()?, &mention.path[..])))
    }

    /// Whether any module has this word in its code.
    pub(crate) fn has_word(&self, word: &str) -> bool {
        self.modules.iter().any(|module| module.source.words.contains_key(word))
    }

    /// Whether the code of a module has this word outside of `use` lines. `*` can't be looked for.
    pub(crate) fn uses_name(&self, module: usize, name: &str) -> bool {
        self.modules[module].source.words.contains_key(name)
    }
}

/// The path without `..`.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                plain.pop();
            }
            part => plain.push(part),
        }
    }
    plain
}
