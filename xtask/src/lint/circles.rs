//! Refuses circles: files that import each other, directly or through others, and modules that do.
//!
//! Files first: a file must not reach itself along the arrows of [`imports`](super::imports). Then
//! modules: at each level of the tree, a module with all its children counts as one. Such a module
//! must not reach itself through its siblings. So `http1/` may use `stream.rs`, or `stream.rs` may
//! use a file in `http1/`, but not both.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    path::{Path, PathBuf},
};

use super::imports::Arrow;

/// How to mend one.
const REMEDY: &str =
    "move what both need into a file below the two, or hand it over as an argument";

/// One message for each circle, with the lines that close it.
pub(crate) fn find(arrows: &[Arrow]) -> Vec<String> {
    let mut found = circles(arrows, |arrow| Some((arrow.from.clone(), arrow.to.clone())));
    // A circle of files is one of modules, too: the finer message says more.
    if found.is_empty() {
        for level in levels(arrows) {
            found.extend(circles(arrows, |arrow| siblings(arrow, &level)));
        }
    }
    found
}

/// The folders that have modules, from the root of the crate (an empty path).
fn levels(arrows: &[Arrow]) -> BTreeSet<PathBuf> {
    let files = arrows.iter().flat_map(|arrow| [&arrow.from, &arrow.to]);
    files.flat_map(|file| file.ancestors().skip(1)).map(Path::to_owned).collect()
}

/// The modules below a folder that an arrow leads between, if they are two.
fn siblings(arrow: &Arrow, level: &Path) -> Option<(PathBuf, PathBuf)> {
    let module = |file: &Path| {
        let first = file.strip_prefix(level).ok()?.components().next()?;
        Some(level.join(first).with_extension(""))
    };
    let (from, to) = (module(&arrow.from)?, module(&arrow.to)?);
    // The root file declares its siblings.
    let is_root = |module: &Path| module.ends_with("lib") || module.ends_with("main");
    (from != to && !is_root(&from) && !is_root(&to)).then_some((from, to))
}

/// The circles among the ends that `ends` gives to the arrows.
fn circles(arrows: &[Arrow], ends: impl Fn(&Arrow) -> Option<(PathBuf, PathBuf)>) -> Vec<String> {
    let mut graph = BTreeMap::<PathBuf, BTreeMap<PathBuf, &Arrow>>::new();
    for arrow in arrows {
        if let Some((from, to)) = ends(arrow) {
            graph.entry(from).or_default().entry(to).or_insert(arrow);
        }
    }
    let mut found = Vec::new();
    while let Some(circle) = shortest(&graph) {
        let mut text = String::from("circle of imports:");
        for (from, to) in circle.iter().zip(circle.iter().cycle().skip(1)) {
            let arrow = graph[from][to];
            let place = format!("{}:{}", arrow.from.display(), arrow.line);
            text += &format!("\n    {place} uses `{}` of {}", arrow.path, arrow.to.display());
        }
        found.push(format!("{text}\n    {REMEDY}"));
        // Without one of its arrows, the next search finds another circle.
        if let Some(targets) = graph.get_mut(&circle[circle.len() - 1]) {
            targets.remove(&circle[0]);
        }
    }
    found
}

/// The shortest way from an end back to itself.
fn shortest(graph: &BTreeMap<PathBuf, BTreeMap<PathBuf, &Arrow>>) -> Option<Vec<PathBuf>> {
    graph.keys().filter_map(|start| way_back(graph, start)).min_by_key(Vec::len)
}

fn way_back(
    graph: &BTreeMap<PathBuf, BTreeMap<PathBuf, &Arrow>>,
    start: &PathBuf,
) -> Option<Vec<PathBuf>> {
    let mut before = BTreeMap::<&PathBuf, &PathBuf>::new();
    let mut ahead = VecDeque::from([start]);
    while let Some(at) = ahead.pop_front() {
        for next in graph.get(at).into_iter().flat_map(BTreeMap::keys) {
            if next == start {
                let mut way = vec![at.clone()];
                while way.last() != Some(start) {
                    way.push(before[&way[way.len() - 1]].clone());
                }
                way.reverse();
                return Some(way);
            }
            if !before.contains_key(next) {
                before.insert(next, at);
                ahead.push_back(next);
            }
        }
    }
    None
}
