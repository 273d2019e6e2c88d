//! The arrows of small crates, and what the checks refuse about them.

use std::{env, fs, process};

use super::*;
use crate::lint::{circles, floors};

/// A crate in a folder for one test.
struct Fixture(PathBuf);

// === impl Fixture ===

impl Fixture {
    /// Files by their names below `interceptor/src`.
    fn new(name: &str, files: &[(&str, &str)]) -> Result<Self> {
        let root = env::temp_dir().join(format!("interceptor-lint-{}-{name}", process::id()));
        for (file, text) in files {
            let path = root.join("interceptor/src").join(file);
            fs::create_dir_all(path.parent().unwrap_or(&root))?;
            fs::write(path, text)?;
        }
        Ok(Self(root))
    }

    fn arrows(&self) -> Result<Vec<Arrow>> {
        arrows(&self.0, &self.0.join("interceptor/src/lib.rs"))
    }

    /// Each arrow as `from -> to`, without folder and suffix.
    fn shown(&self) -> Result<Vec<String>> {
        let short = |path: &Path| {
            let path = path.strip_prefix("interceptor/src").unwrap_or(path);
            path.with_extension("").display().to_string()
        };
        let arrows = self.arrows()?;
        Ok(arrows.iter().map(|it| format!("{} -> {}", short(&it.from), short(&it.to))).collect())
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn use_lines_and_paths_in_code_are_arrows() -> Result<()> {
    let fixture = Fixture::new(
        "arrows",
        &[
            ("lib.rs", "pub mod relay; mod control;"),
            ("relay.rs", "pub mod pipe; mod dial; pub struct Relay;"),
            ("relay/pipe.rs", "pub fn run() {}"),
            // By name, in a macro call, by an imported module, and by a tree of names.
            ("relay/dial.rs", "fn a() { log!(\"x\", super::Relay); }"),
            (
                "control.rs",
                "use crate::{relay::{self, Relay as R}};\nfn a() { relay::pipe::run() }",
            ),
        ],
    )?;
    let expected = ["control -> relay/pipe", "control -> relay", "relay/dial -> relay"];
    assert_eq!(fixture.shown()?, expected);
    Ok(())
}

#[test]
fn a_re_export_leads_to_the_file_that_defines_the_thing() -> Result<()> {
    let fixture = Fixture::new(
        "re-export",
        &[
            ("lib.rs", "mod a; mod b; mod c;"),
            ("a.rs", "mod inner; pub use self::inner::Thing; pub use inner::more::*;"),
            ("a/inner.rs", "pub mod more; pub struct Thing;"),
            ("a/inner/more.rs", "pub fn other() {}"),
            ("b.rs", "use crate::a::Thing;"),
            ("c.rs", "fn c() { crate::a::other() }"),
        ],
    )?;
    assert_eq!(fixture.shown()?, ["b -> a/inner", "c -> a/inner/more"]);
    Ok(())
}

#[test]
fn a_module_with_a_path_has_its_children_beside_it() -> Result<()> {
    let fixture = Fixture::new(
        "path",
        &[
            ("lib.rs", "mod a; #[path = \"../src/more/b.rs\"] mod b;"),
            ("a.rs", "use crate::b::child::C;"),
            ("more/b.rs", "pub mod child;"),
            ("more/child.rs", "pub struct C;"),
        ],
    )?;
    assert_eq!(fixture.shown()?, ["a -> more/child"]);
    Ok(())
}

#[test]
fn a_parent_that_uses_what_it_re_exports_has_an_arrow() -> Result<()> {
    let fixture = Fixture::new(
        "parent",
        &[
            ("lib.rs", "mod a;"),
            ("a.rs", "mod inner; pub use self::inner::Thing; fn make() -> Thing { Thing }"),
            ("a/inner.rs", "pub struct Thing;"),
        ],
    )?;
    assert_eq!(fixture.shown()?, ["a -> a/inner"]);
    Ok(())
}

#[test]
fn tests_comments_and_strings_have_no_arrows() -> Result<()> {
    let fixture = Fixture::new(
        "tests",
        &[
            ("lib.rs", "mod a; mod b;"),
            (
                "a.rs",
                "// crate::b::B\nconst A: &str = \"crate::b::B\";\n#[cfg(test)] mod tests;\n\
                 #[cfg(test)] mod more { use crate::b::B; }\npub struct A;",
            ),
            ("a/tests.rs", "use crate::b::B;"),
            ("b.rs", "pub struct B; use crate::a::A;"),
        ],
    )?;
    assert_eq!(fixture.shown()?, ["b -> a"]);
    Ok(())
}

#[test]
fn a_circle_of_files_is_refused_with_its_lines() -> Result<()> {
    let fixture = Fixture::new(
        "circle",
        &[
            ("lib.rs", "mod a; mod b; mod c;"),
            ("a.rs", "use crate::b::B;\npub struct A;"),
            ("b.rs", "\nuse crate::c::C;\npub struct B;"),
            ("c.rs", "pub struct C(crate::a::A);"),
        ],
    )?;
    let found = circles::find(&fixture.arrows()?);
    let [circle] = &found[..] else { panic!("{found:?}") };
    for line in [
        "interceptor/src/a.rs:1 uses `crate::b::B` of interceptor/src/b.rs",
        "interceptor/src/b.rs:2 uses `crate::c::C` of interceptor/src/c.rs",
        "interceptor/src/c.rs:1 uses `crate::a::A` of interceptor/src/a.rs",
    ] {
        assert!(circle.contains(line), "{circle}");
    }
    Ok(())
}

#[test]
fn a_parent_and_a_child_that_use_each_other_are_a_circle() -> Result<()> {
    let files = |parent| {
        [("lib.rs", "mod a;"), ("a.rs", parent), ("a/child.rs", "use super::A; pub fn run() {}")]
    };
    let declares = Fixture::new("declares", &files("pub mod child; pub struct A;"))?;
    assert_eq!(circles::find(&declares.arrows()?), [""; 0]);
    let uses = files("mod child; pub struct A; fn a() { child::run() }");
    let uses = Fixture::new("uses", &uses)?;
    assert_eq!(circles::find(&uses.arrows()?).len(), 1);
    Ok(())
}

#[test]
fn a_circle_of_modules_is_refused_even_without_one_of_files() -> Result<()> {
    let fixture = Fixture::new(
        "modules",
        &[
            ("lib.rs", "mod a; mod b;"),
            ("a.rs", "mod one; mod two;"),
            ("a/one.rs", "use crate::b::B;"),
            ("a/two.rs", "pub struct Two;"),
            ("b.rs", "use crate::a::two::Two; pub struct B;"),
        ],
    )?;
    assert_eq!(circles::find(&fixture.arrows()?).len(), 1);
    Ok(())
}

#[test]
fn an_import_that_leads_up_a_floor_is_refused() -> Result<()> {
    let fixture = Fixture::new(
        "floors",
        &[
            ("lib.rs", "pub mod relay; pub mod control; pub mod cellar; pub fn root() {}"),
            ("control.rs", "use crate::relay::Relay; pub struct Claims;"),
            ("relay.rs", "mod worker; pub struct Relay;"),
            ("relay/worker.rs", "\nuse crate::control::Claims; use crate::root;"),
            ("cellar.rs", "use crate::relay::Relay;"),
        ],
    )?;
    let found = floors::find(&fixture.arrows()?);
    let [no_floor, up, root] = &found[..] else { panic!("{found:?}") };
    assert!(no_floor.starts_with("cellar has no floor"), "{no_floor}");
    assert!(up.starts_with("interceptor/src/relay/worker.rs:2 uses `crate::control::Claims`: relay stands below control"), "{up}");
    assert!(root.contains("of the crate's root"), "{root}");
    Ok(())
}
