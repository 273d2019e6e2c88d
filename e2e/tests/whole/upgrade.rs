//! Upgrades and changed values under load: no call fails, and redirects come back by themselves.

use std::time::Instant;

use interceptor_e2e::{Kind, Manifest, run};

#[test]
fn no_call_fails_during_helm_upgrade_and_rollback() {
    run("upgrade", |f| {
        f.product.uninstall()?;
        f.installed(&[])?;
        let first = f.product.first_daemon()?;
        let app = f.start(Manifest::new(Kind::Pod, "app"))?.pod()?;
        let before_rule = app.snapshot()?;
        let load = f.load(app.address())?;
        app.annotate("debug.redirect", &f.to_laptop())?;
        app.wait_active()?;
        load.wait_for("laptop")?;

        f.installed(&["logLevel=debug"])?;
        let second = f.product.first_daemon()?;
        assert_ne!(first.uid(), second.uid(), "the upgrade did not replace the pod");
        let upgraded = Instant::now();
        load.wait_for("laptop")?;
        app.wait_active()?;

        f.product.rollback()?;
        let third = f.product.first_daemon()?;
        assert_ne!(second.uid(), third.uid(), "the rollback did not replace the pod");
        load.wait_for("laptop")?;
        app.wait_active()?;

        let calls = load.stop();
        println!("since the upgrade: {}", calls.since(upgraded));
        println!(
            "longest time without an answer of the target: {:.1?}",
            calls.longest_without("laptop")
        );
        calls.assert_none_failed();
        assert_eq!(app.snapshot()?, before_rule);
        Ok(())
    });
}

#[test]
fn a_changed_policy_applies_to_active_rules() {
    run("policy-changes", |f| {
        f.installed(&[])?;
        let app = f.start(Manifest::new(Kind::Pod, "app"))?.pod()?;
        let load = f.load(app.address())?;
        app.annotate("debug.redirect", &f.to_laptop())?;
        app.wait_active()?;
        load.wait_for("laptop")?;
        f.installed(&["policy.targets.deny={10.99.0.0/16}"])?;
        app.wait_refused("TargetDenied")?;
        load.wait_for("app")?;
        f.installed(&[])?;
        app.wait_active()?;
        load.wait_for("laptop")?;
        load.stop().assert_none_failed();
        Ok(())
    });
}

/// `helm --wait` waits for readiness, so users expect redirects to be active by then.
#[test]
fn redirects_are_active_when_the_daemon_is_ready() {
    run("ready", |f| {
        f.product.uninstall()?;
        let app = f
            .start(Manifest::new(Kind::Pod, "app").annotation("debug.redirect", &f.to_laptop()))?
            .pod()?;
        assert_eq!(app.served_by()?, "app");
        f.installed(&[])?;
        app.wait_active()?;
        app.wait_for_answer("laptop")?;
        Ok(())
    });
}
