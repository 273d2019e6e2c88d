//! Which versions may follow, and the places of the version in this tree.

use super::*;

#[test]
fn a_version_must_be_higher_than_the_latest_release() {
    let version = |text: &str| Version::parse(text).expect(text);
    let check = |next: &str, current: &str, latest: Option<&str>| {
        let latest = latest.map(version);
        is_next(&version(next), &version(current), latest.as_ref()).map_err(|it| it.to_string())
    };
    // The first release has the version of the tree.
    assert_eq!(check("0.1.0", "0.1.0", None), Ok(()));
    assert_eq!(check("0.2.0", "0.1.0", Some("0.1.0")), Ok(()));
    assert_eq!(check("0.2.0", "0.2.0-rc.1", Some("0.2.0-rc.1")), Ok(()));
    for (next, current, latest, message) in [
        ("0.1.0", "0.1.0", Some("0.1.0"), "0.1.0 is not higher than 0.1.0, the latest release"),
        ("0.1.9", "0.2.0", Some("0.2.0"), "0.1.9 is not higher than 0.2.0"),
        ("0.0.9", "0.1.0", None, "0.0.9 is lower than 0.1.0 in Cargo.toml"),
    ] {
        let error = check(next, current, latest).expect_err(next);
        assert!(error.starts_with(message), "{error}");
    }
}

#[test]
fn every_place_in_this_tree_has_the_current_version() -> Result<()> {
    let current = current()?;
    let next = Version::new(current.major + 1, 0, 0);
    let edits = plan(&next)?;
    let changed = edits.iter().map(|edit| edit.path.as_str()).collect::<Vec<_>>();
    for path in [
        "Cargo.toml",
        "deploy/charts/interceptor/Chart.yaml",
        "Dockerfile",
        "Cargo.lock",
        "CHANGELOG.md",
    ] {
        assert!(changed.contains(&path), "{changed:?}");
    }
    Ok(())
}
