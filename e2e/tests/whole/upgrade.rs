//! Another version or other values, under load: no call fails, and redirects come back by themselves.

use std::time::Instant;

use interceptor_e2e::{Kind, Manifest, run};

#[test]
fn helm_upgrade_and_rollback_fail_no_call() {
    run("upgrade", |f| {
        f.product.uninstall()?;
        f.installed(&[])?;
        let first = f.product.first_daemon()?;
        let app = f.start(Manifest::new(Kind::Pod, "app"))?.pod()?;
        let looked = app.looks()?;
        let callers = f.callers(app.address())?;
        app.annotate("debug.redirect", &f.to_laptop())?;
        app.wait_active()?;
        callers.wait_for("laptop")?;

        f.installed(&["logLevel=debug"])?;
        let second = f.product.first_daemon()?;
        assert_ne!(first.uid(), second.uid(), "an upgrade makes another pod");
        let upgraded = Instant::now();
        callers.wait_for("laptop")?;
        app.wait_active()?;

        f.product.rollback()?;
        let third = f.product.first_daemon()?;
        assert_ne!(second.uid(), third.uid(), "a rollback makes another pod");
        callers.wait_for("laptop")?;
        app.wait_active()?;

        let calls = callers.stop();
        println!("from upgrade on: {}", calls.since(upgraded));
        println!(
            "longest time with the app instead of the laptop: {:.1?}",
            calls.longest_without("laptop")
        );
        calls.assert_none_failed();
        assert_eq!(app.looks()?, looked);
        Ok(())
    });
}

#[test]
fn a_policy_that_changes_is_applied_to_rules_that_stand() {
    run("policy-changes", |f| {
        f.installed(&[])?;
        let app = f.start(Manifest::new(Kind::Pod, "app"))?.pod()?;
        let callers = f.callers(app.address())?;
        app.annotate("debug.redirect", &f.to_laptop())?;
        app.wait_active()?;
        callers.wait_for("laptop")?;
        f.installed(&["policy.targets.deny={10.99.0.0/16}"])?;
        app.wait_refused("TargetDenied")?;
        callers.wait_for("app")?;
        f.installed(&[])?;
        app.wait_active()?;
        callers.wait_for("laptop")?;
        callers.stop().assert_none_failed();
        Ok(())
    });
}

/// Where helm's `--wait` and what people see differ would be a surprise: the daemon is ready when its rules are looked at.
#[test]
fn as_soon_as_the_daemon_is_ready_its_redirects_stand() {
    run("ready", |f| {
        f.product.uninstall()?;
        let app = f
            .start(Manifest::new(Kind::Pod, "app").annotation("debug.redirect", &f.to_laptop()))?
            .pod()?;
        assert_eq!(app.who()?, "app");
        f.installed(&[])?;
        app.wait_active()?;
        app.wait_for_answer("laptop")?;
        Ok(())
    });
}
