//! Every way in which the workloads file may change, and mistakes in it.

use std::{fs, os::unix::fs::symlink, path::Path};

use anyhow::{Context as _, Result};
use interceptor_tests::{Fixture, TIMEOUT, outcomes, run, sum};
use nix::sys::signal::Signal;
use testbed::Load;

/// Changes the file three times by `change`, and waits each time until its content is in force.
fn follows(f: &Fixture<'_>, change: impl Fn(&str) -> Result<()>) -> Result<()> {
    for (content, expected) in
        [(f.without_rule(), "app"), (f.web(&f.rule()), "laptop"), (f.without_rule(), "app")]
    {
        change(&content)?;
        f.wait_served_by(expected, TIMEOUT)?;
    }
    Ok(())
}

#[test]
fn a_file_that_is_replaced_by_rename_takes_effect() {
    run(|f| {
        let daemon = f.daemon()?;
        follows(&f, |content| daemon.rewrite_workloads(content))
    });
}

#[test]
fn a_file_that_is_written_in_place_takes_effect() {
    run(|f| {
        let daemon = f.daemon()?;
        follows(&f, |content| Ok(fs::write(daemon.workloads_file(), content)?))
    });
}

#[test]
fn a_file_that_is_removed_and_written_again_takes_effect() {
    run(|f| {
        let daemon = f.daemon()?;
        follows(&f, |content| {
            fs::remove_file(daemon.workloads_file())?;
            daemon.wait_state("an error about the missing file", |state| {
                state["source_error"].is_string()
            })?;
            Ok(fs::write(daemon.workloads_file(), content)?)
        })
    });
}

#[test]
fn a_file_of_a_config_map_takes_effect() {
    run(|f| {
        let daemon = f.daemon()?;
        let file = daemon.workloads_file();
        let dir = file.parent().context("a folder")?;
        // As the kubelet does: the file is a link through `..data`, itself a link that is replaced.
        let publish = |version: usize, content: &str| -> Result<()> {
            let folder = dir.join(format!("..{version}"));
            fs::create_dir(&folder)?;
            fs::write(folder.join("workloads.yaml"), content)?;
            swap_link(&folder, &dir.join("..data"))
        };
        publish(0, &f.web(&f.rule()))?;
        swap_link(Path::new("..data/workloads.yaml"), file)?;
        let version = std::cell::Cell::new(0);
        follows(&f, |content| {
            version.set(version.get() + 1);
            publish(version.get(), content)
        })
    });
}

#[test]
fn sighup_reloads_the_file() {
    run(|f| {
        let daemon = f.daemon()?;
        // The daemon's watch does not see changes behind a link to another folder.
        let elsewhere = f.t.dir().join("elsewhere");
        fs::create_dir(&elsewhere)?;
        let real = elsewhere.join("workloads.yaml");
        fs::write(&real, f.web(&f.rule()))?;
        swap_link(&real, daemon.workloads_file())?;
        follows(&f, |content| {
            fs::write(&real, content)?;
            daemon.signal(Signal::SIGHUP)
        })
    });
}

#[test]
fn an_invalid_file_leaves_all_rules_in_force() {
    run(|f| {
        let daemon = f.daemon()?;
        let load = Load::new(&f.client, f.port()).start()?;
        load.wait_for_tag("laptop", TIMEOUT)?;
        let good = f.web(&f.rule());
        for (broken, place) in [
            ("workloads:\n  - name: web\n    netns: nowhere\n", ":3:12"),
            ("workloads: [\n", "workloads.yaml:"),
            ("", "workloads.yaml:"),
        ] {
            daemon.rewrite_workloads(broken)?;
            let state = daemon.wait_state("the error to be reported", |state| {
                state["source_error"].as_str().is_some_and(|error| error.contains(place))
            })?;
            assert_eq!(state["workloads"][0]["rules"][0]["state"], "active", "{state}");
            assert_eq!(daemon.metric("interceptor_workloads_file_invalid", &[]), 1.0);
            load.wait_for_calls(20, TIMEOUT)?;
            daemon.rewrite_workloads(&good)?;
            daemon.wait_state("the error to be gone", |state| state["source_error"].is_null())?;
        }
        assert_eq!(daemon.metric("interceptor_workloads_file_invalid", &[]), 0.0);
        let report = load.stop();
        assert_eq!(report.count("laptop"), report.calls.len(), "{report}");
        Ok(())
    });
}

#[test]
fn an_invalid_rule_leaves_the_previous_rule_in_force() {
    run(|f| {
        let daemon = f.daemon()?;
        let load = Load::new(&f.client, f.port()).start()?;
        load.wait_for_tag("laptop", TIMEOUT)?;
        daemon.rewrite_workloads(&f.web("8080 => 10.0.0.1:3000"))?;
        let state = daemon.wait_state("the rule to be refused", |state| {
            let rules = state["workloads"][0]["rules"].as_array();
            rules.into_iter().flatten().any(|rule| rule["reason"] == "RuleInvalid")
        })?;
        let rules = state["workloads"][0]["rules"].to_string();
        assert!(rules.contains("the previous rule stays in force: `"), "{rules}");
        load.wait_for_calls(20, TIMEOUT)?;
        let report = load.stop();
        assert_eq!(report.count("laptop"), report.calls.len(), "{report}");
        assert_eq!(sum(&outcomes(&daemon, "web")?, "redirected"), report.calls.len() as u64);
        Ok(())
    });
}

/// Replaces `at` by a link to `to` in one step.
fn swap_link(to: &Path, at: &Path) -> Result<()> {
    let new = at.with_file_name("..new");
    symlink(to, &new)?;
    Ok(fs::rename(&new, at)?)
}
