//! Another version or other values, under load: no call fails, and redirects come back by themselves.

use std::time::Instant;

use interceptor_e2e::{Kind, Manifest, play};

#[test]
fn helm_upgrade_and_rollback_fail_no_call() {
    play("upgrade", |s| {
        s.product.uninstall()?;
        s.installed(&[])?;
        let first = s.product.first_daemon()?;
        let app = s.start(Manifest::new(Kind::Pod, "app"))?.pod()?;
        let looked = app.looks()?;
        let callers = s.callers(app.address())?;
        app.annotate("debug.redirect", &s.to_laptop())?;
        app.wait_active()?;
        callers.wait_for("laptop")?;

        s.installed(&["logLevel=debug"])?;
        let second = s.product.first_daemon()?;
        assert_ne!(first.uid(), second.uid(), "an upgrade makes another pod");
        let upgraded = Instant::now();
        callers.wait_for("laptop")?;
        app.wait_active()?;

        s.product.rollback()?;
        let third = s.product.first_daemon()?;
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
    play("policy-changes", |s| {
        s.installed(&[])?;
        let app = s.start(Manifest::new(Kind::Pod, "app"))?.pod()?;
        let callers = s.callers(app.address())?;
        app.annotate("debug.redirect", &s.to_laptop())?;
        app.wait_active()?;
        callers.wait_for("laptop")?;
        s.installed(&["policy.targets.deny={10.99.0.0/16}"])?;
        app.wait_refused("TargetDenied")?;
        callers.wait_for("app")?;
        s.installed(&[])?;
        app.wait_active()?;
        callers.wait_for("laptop")?;
        callers.stop().assert_none_failed();
        Ok(())
    });
}

/// Where helm's `--wait` and what people see differ would be a surprise: the daemon is ready when its rules are looked at.
#[test]
fn as_soon_as_the_daemon_is_ready_its_redirects_stand() {
    play("ready", |s| {
        s.product.uninstall()?;
        let app = s
            .start(Manifest::new(Kind::Pod, "app").annotation("debug.redirect", &s.to_laptop()))?
            .pod()?;
        assert_eq!(app.who()?, "app");
        s.installed(&[])?;
        app.wait_active()?;
        app.wait_for_answer("laptop")?;
        Ok(())
    });
}
