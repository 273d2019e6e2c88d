//! What the admin's values forbid, a developer is told with the name of the value.

use anyhow::Result;
use interceptor_e2e::{Condition, Fixture, Kind, LAPTOP, Manifest, Pod, run};
use rstest::rstest;

fn refused(f: &Fixture, values: &[&str], rule: &str, reason: &str) -> Result<(Pod, Condition)> {
    f.installed(values)?;
    let app = f.start(Manifest::new(Kind::Pod, "app"))?.pod()?;
    app.annotate("debug.redirect", rule)?;
    let condition = app.wait_refused(reason)?;
    app.wait_event("RedirectRefused")?;
    assert_eq!(app.who()?, "app");
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
fn a_refusal_names_the_value_that_refused(
    #[case] value: &str,
    #[case] rule: &str,
    #[case] reason: &str,
    #[case] says: &str,
) {
    run("policy", |f| {
        let (_, condition) = refused(f, &[value], rule, reason)?;
        assert!(condition.message.contains(says), "{condition}");
        Ok(())
    });
}

#[test]
fn only_namespaces_with_the_label_are_served_from_the_moment_they_have_it() {
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
fn a_ttl_ends_a_rule_and_says_so() {
    run("ttl", |f| {
        f.installed(&[])?;
        let app = f.start(Manifest::new(Kind::Pod, "app"))?.pod()?;
        let callers = f.callers(app.address())?;
        app.annotate("debug.redirect", &format!("8080 -> {LAPTOP}:3000 ttl 10s"))?;
        app.wait_active()?;
        callers.wait_for("laptop")?;
        app.wait_refused("TtlExpired")?;
        app.wait_event("RedirectExpired")?;
        callers.wait_for("app")?;
        callers.stop().assert_none_failed();
        Ok(())
    });
}
