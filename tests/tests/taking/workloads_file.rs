//! Every way in which the workloads file may change, and mistakes in it.

use std::{fs, os::unix::fs::symlink, path::Path};

use anyhow::{Context as _, Result};
use interceptor_tests::{Fixture, TIMEOUT, outcomes, run, sum};
use nix::sys::signal::Signal;
use testbed::{Load, wait_until};

/// What the file says is in force: who answers a call follows it.
fn follows(f: &Fixture<'_>, change: impl Fn(&str) -> Result<()>) -> Result<()> {
    for (content, expected) in
        [(f.without_rule(), "app"), (f.web(&f.rule()), "laptop"), (f.without_rule(), "app")]
    {
        change(&content)?;
        wait_until(&format!("an answer by {expected}"), TIMEOUT, || {
            f.served_by().is_ok_and(|tag| tag == expected)
        })?;
    }
    Ok(())
}

#[test]
fn a_workloads_file_that_is_replaced_by_renaming_takes_effect() {
    run(|f| {
        let daemon = f.daemon()?;
        follows(&f, |content| daemon.rewrite_workloads(content))
    });
}

#[test]
fn a_workloads_file_that_is_written_in_place_takes_effect() {
    run(|f| {
        let daemon = f.daemon()?;
        follows(&f, |content| Ok(fs::write(daemon.workloads_file(), content)?))
    });
}

#[test]
fn a_workloads_file_that_is_removed_and_written_anew_takes_effect() {
    run(|f| {
        let daemon = f.daemon()?;
        follows(&f, |content| {
            fs::remove_file(daemon.workloads_file())?;
            daemon.wait_state("the missing file to be noticed", |state| {
                state["source_error"].is_string()
            })?;
            Ok(fs::write(daemon.workloads_file(), content)?)
        })
    });
}

#[test]
fn a_workloads_file_from_a_config_map_takes_effect() {
    run(|f| {
        let daemon = f.daemon()?;
        let file = daemon.workloads_file();
        let dir = file.parent().context("a folder")?;
        // As the kubelet does it: the file is a link through `..data`, which is itself a link that is replaced.
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
fn sighup_has_the_workloads_file_read_again() {
    run(|f| {
        let daemon = f.daemon()?;
        // Behind a link to another folder nobody sees it change.
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
fn a_workloads_file_that_can_not_be_read_changes_nothing() {
    run(|f| {
        let daemon = f.daemon()?;
        let caller = Load::new(&f.client, f.port()).start()?;
        caller.wait_for_tag("laptop", TIMEOUT)?;
        let good = f.web(&f.rule());
        for (broken, place) in [
            ("workloads:\n  - name: web\n    netns: nowhere\n", ":3:12"),
            ("workloads: [\n", "workloads.yaml:"),
            ("", "workloads.yaml:"),
        ] {
            daemon.rewrite_workloads(broken)?;
            let state = daemon.wait_state("the error to be told", |state| {
                state["source_error"].as_str().is_some_and(|error| error.contains(place))
            })?;
            assert_eq!(state["workloads"][0]["rules"][0]["state"], "active", "{state}");
            assert_eq!(daemon.metric("interceptor_workloads_file_invalid", &[]), 1.0);
            caller.wait_for_calls(20, TIMEOUT)?;
            daemon.rewrite_workloads(&good)?;
            daemon.wait_state("the error to be gone", |state| state["source_error"].is_null())?;
        }
        assert_eq!(daemon.metric("interceptor_workloads_file_invalid", &[]), 0.0);
        let report = caller.stop();
        assert_eq!(report.count("laptop"), report.calls.len(), "{report}");
        Ok(())
    });
}

#[test]
fn a_rule_that_can_not_be_read_leaves_the_previous_one_in_force() {
    run(|f| {
        let daemon = f.daemon()?;
        let caller = Load::new(&f.client, f.port()).start()?;
        caller.wait_for_tag("laptop", TIMEOUT)?;
        daemon.rewrite_workloads(&f.web("8080 => 10.0.0.1:3000"))?;
        let state = daemon.wait_state("the rule to be refused", |state| {
            let rules = state["workloads"][0]["rules"].as_array();
            rules.into_iter().flatten().any(|rule| rule["reason"] == "RuleInvalid")
        })?;
        let told = state["workloads"][0]["rules"].to_string();
        assert!(told.contains("the previous rules stay in force"), "{told}");
        caller.wait_for_calls(20, TIMEOUT)?;
        let report = caller.stop();
        assert_eq!(report.count("laptop"), report.calls.len(), "{report}");
        assert_eq!(sum(&outcomes(&daemon, "web")?, "redirected"), report.calls.len() as u64);
        Ok(())
    });
}

/// Puts a link to `to` at `at`, in place of whatever is there, in one step.
fn swap_link(to: &Path, at: &Path) -> Result<()> {
    let new = at.with_file_name("..new");
    symlink(to, &new)?;
    Ok(fs::rename(&new, at)?)
}
