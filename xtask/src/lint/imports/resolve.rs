//! From a path in the source to the module that defines the thing.

use super::tree::Tree;

/// What a path leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Resolved {
    /// Something that this module's file defines.
    Item(usize),
    /// A module itself. Its name alone uses nothing of it: what follows the name does.
    Module(usize),
    /// Something of another crate, or a name of the language.
    Elsewhere,
}

/// Maximum depth of re-exports of re-exports. No crate here comes close.
const MAXIMUM_DEPTH: usize = 16;

/// Resolves a path that a module mentions.
pub(crate) fn resolve(tree: &Tree, module: usize, path: &[String]) -> Resolved {
    from_module(tree, module, path, MAXIMUM_DEPTH)
}

fn from_module(tree: &Tree, module: usize, path: &[String], depth: usize) -> Resolved {
    let Some((first, mut rest)) = path.split_first() else { return Resolved::Module(module) };
    let mut at = match first.as_str() {
        "crate" => 0,
        "self" => module,
        "super" => tree.parent(module),
        _ => return named(tree, module, path, depth).unwrap_or(Resolved::Elsewhere),
    };
    while let Some((name, after)) = rest.split_first()
        && name == "super"
    {
        at = tree.parent(at);
        rest = after;
    }
    inside(tree, at, rest, depth)
}

/// The rest of a path, behind a module's name.
fn inside(tree: &Tree, module: usize, rest: &[String], depth: usize) -> Resolved {
    match rest {
        [] => Resolved::Module(module),
        [glob] if glob == "*" => Resolved::Item(module),
        _ => named(tree, module, rest, depth).unwrap_or(Resolved::Item(module)),
    }
}

/// A path that begins with a name that the module declares or imports.
fn named(tree: &Tree, module: usize, path: &[String], depth: usize) -> Option<Resolved> {
    let (name, rest) = path.split_first()?;
    let depth = depth.checked_sub(1)?;
    if let Some(child) = tree.child(module, name) {
        return Some(inside(tree, child, rest, depth));
    }
    if tree.defines(module, name) {
        return Some(Resolved::Item(module));
    }
    for (import, source) in tree.imports(module) {
        // `use std;` and a path to itself lead nowhere.
        if import.name == *name && (source.len() > 1 || source.first() != Some(name)) {
            return Some(match from_module(tree, module, source, depth) {
                Resolved::Module(target) => inside(tree, target, rest, depth),
                other => other,
            });
        }
    }
    tree.imports(module).filter(|(import, _)| import.name == "*").find_map(|(_, source)| {
        let source = source.strip_suffix(&["*".to_owned()])?;
        let Resolved::Module(target) = from_module(tree, module, source, depth) else {
            return None;
        };
        (target != module).then(|| named(tree, target, path, depth)).flatten()
    })
}
