//! Rules that the admin's values forbid are refused with the name of the value.

use anyhow::Result;
use interceptor_e2e::{Condition, Fixture, Kind, LAPTOP, Manifest, Pod, run};
use rstest::rstest;

/// Installs the product with these values, and waits until the rule is refused.
fn refused(f: &Fixture, values: &[&str], rule: &str, reason: &str) -> Result<(Pod, Condition)> {
    f.installed(values)?;
    let app = f.start(Manifest::new(Kind::Pod, "app"))?.pod()?;
    app.annotate("debug.redirect", rule)?;
    let condition = app.wait_refused(reason)?;
    app.wait_event("RedirectRefused")?;
    assert_eq!(app.served_by()?, "app");
    Ok((app, condition))
}

#[rstest]
#[case::denied(
    "policy.targets.deny={10.99.0.100/32}",
    "8080 -> 10.99.0.100:3000",
    "TargetDenied",
    "targets.deny"
)]
#[case::denied_ipv6(
    "policy.targets.deny={10.99.0.100/32,fd3e:9c51:a7d2:99::/64}",
    "8080 -> [fd3e:9c51:a7d2:99::100]:3000",
    "TargetDenied",
    "targets.deny"
)]
#[case::not_allowed(
    "policy.targets.allow={10.244.0.0/16}",
    "8080 -> 10.99.0.100:3000",
    "TargetDenied",
    "targets.allow"
)]
#[case::mirror_only("policy.actions={mirror}", "8080 -> 10.99.0.100:3000", "NotAllowed", "actions")]
#[case::no_ttl("policy.maxTtl=1h", "8080 -> 10.99.0.100:3000", "LimitExceeded", "maxTtl")]
#[case::long_ttl("policy.maxTtl=1h", "8080 -> 10.99.0.100:3000 ttl 2h", "LimitExceeded", "maxTtl")]
#[case::many_rules(
    "policy.maxRules=1",
    "81 -> 10.99.0.100:3000; 8080 -> 10.99.0.100:3000",
    "LimitExceeded",
    "maxRules"
)]
fn a_refusal_names_the_value_that_forbids_the_rule(
    #[case] value: &str,
    #[case] rule: &str,
    #[case] reason: &str,
    #[case] word: &str,
) {
    run("policy", |f| {
        let (_, condition) = refused(f, &[value], rule, reason)?;
        assert!(condition.message.contains(word), "{condition}");
        Ok(())
    });
}

#[test]
fn a_rule_is_active_while_its_namespace_has_the_label() {
    run("labelled", |f| {
        let (app, condition) =
            refused(f, &["policy.namespaces=debug=allowed"], &f.to_laptop(), "NotAllowed")?;
        assert!(condition.message.contains("namespaces"), "{condition}");
        f.label("debug=allowed")?;
        app.wait_active()?;
        app.wait_for_answer("laptop")?;
        f.label("debug=no")?;
        app.wait_refused("NotAllowed")?;
        app.wait_for_answer("app")?;
        Ok(())
    });
}

#[test]
fn the_end_of_a_ttl_is_reported_and_the_app_serves() {
    run("ttl", |f| {
        f.installed(&[])?;
        let app = f.start(Manifest::new(Kind::Pod, "app"))?.pod()?;
        let load = f.load(app.address())?;
        app.annotate("debug.redirect", &format!("8080 -> {LAPTOP}:3000 ttl 10s"))?;
        app.wait_active()?;
        load.wait_for("laptop")?;
        app.wait_refused("TtlExpired")?;
        app.wait_event("RedirectExpired")?;
        load.wait_for("app")?;
        load.stop().assert_none_failed();
        Ok(())
    });
}
