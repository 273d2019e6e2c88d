//! Rules that can't be: the pod says why, and the app never notices.

use interceptor_e2e::{Kind, LAPTOP, Manifest, run};
use rstest::rstest;

#[rstest]
#[case::typo("8080 => 10.99.0.100:3000", "RuleInvalid", "did you mean `->`?")]
#[case::no_target("8080 ->", "RuleInvalid", "target")]
#[case::loopback("8080 -> 127.0.0.1:3000", "TargetDenied", "loopback")]
#[case::the_node("8080 -> 10.99.0.1:3000", "TargetDenied", "node")]
#[case::metadata("8080 -> 169.254.169.254:80", "TargetDenied", "linkLocal")]
#[case::metadata_ipv6("8080 -> [fd00:ec2::254]:80", "TargetDenied", "linkLocal")]
#[case::not_built_yet("8080 -> alice", "NotSupported", "session")]
#[case::condition(
    "8080 -> 10.99.0.100:3000 when request.pth == \"/\"",
    "RuleInvalid",
    "request.path"
)]
fn a_rule_that_can_not_be_is_refused_with_its_reason(
    #[case] rule: &str,
    #[case] reason: &str,
    #[case] says: &str,
) {
    run("refused", |f| {
        f.installed(&[])?;
        // For one of the rules it matters which node is its own.
        let app = f.start(Manifest::new(Kind::Pod, "app").on("node1"))?.pod()?;
        let looked = app.looks()?;
        let callers = f.callers(app.address())?;
        app.annotate("debug.redirect", rule)?;
        let condition = app.wait_refused(reason)?;
        assert!(condition.message.contains(says), "{condition}");
        let event = app.wait_event("RedirectRefused")?;
        assert!(event["note"].to_string().contains(says), "{event}");
        assert_eq!(event["type"], "Warning");

        app.unannotate("debug.redirect")?;
        app.wait_untouched()?;
        assert_eq!(app.looks()?, looked);
        let calls = callers.stop();
        calls.assert_none_failed();
        assert_eq!(calls.by("app"), calls.len(), "{calls}");
        Ok(())
    });
}

#[test]
fn more_annotations_than_a_pod_can_be_told_of_are_refused_and_the_rest_goes_on() {
    run("many", |f| {
        f.installed(&[])?;
        let [many, other] =
            ["many", "other"].map(|name| f.start(Manifest::new(Kind::Pod, name).on("node1")));
        let (many, other) = (many?.pod()?, other?.pod()?);
        // What an annotation may hold in all: 256 KiB.
        let all: Vec<_> =
            (0..3000).map(|n| format!("debug.redirect/dev{n}=9000 -> {LAPTOP}:3000")).collect();
        many.kubectl("annotate", &all.iter().map(String::as_str).collect::<Vec<_>>())?;
        let condition = many.wait_refused("LimitExceeded")?;
        assert!(condition.message.contains("3000 annotations"), "{condition}");
        assert_eq!(
            many.conditions()?.keys().filter(|kind| kind.starts_with("debug.redirect/")).count(),
            65
        );
        other.annotate("debug.redirect", &f.to_laptop())?;
        other.wait_active()?;
        other.wait_for_answer("laptop")?;

        let none: Vec<_> = (0..3000).map(|n| format!("debug.redirect/dev{n}-")).collect();
        many.kubectl("annotate", &none.iter().map(String::as_str).collect::<Vec<_>>())?;
        many.wait_untouched()?;
        assert_eq!(many.who()?, "many");
        Ok(())
    });
}

#[test]
fn a_rule_without_ports_needs_a_pod_that_declares_some() {
    run("no-ports", |f| {
        f.installed(&[])?;
        let app = f.start(Manifest::new(Kind::Pod, "app").declares_no_ports())?.pod()?;
        app.annotate("debug.redirect", &format!("{LAPTOP}:3000"))?;
        app.wait_refused("NoPorts")?;
        app.wait_event("RedirectRefused")?;
        assert_eq!(app.who()?, "app");

        // A port that it names itself needs no declaration.
        app.annotate("debug.redirect", &f.to_laptop())?;
        app.wait_active()?;
        app.wait_for_answer("laptop")?;
        Ok(())
    });
}

#[test]
fn the_second_rule_for_a_port_is_refused_and_the_first_stays() {
    run("taken-port", |f| {
        f.installed(&[])?;
        let app = f.start(Manifest::new(Kind::Pod, "app"))?.pod()?;
        let callers = f.callers(app.address())?;
        app.annotate("debug.redirect/alice", &f.to_laptop())?;
        app.wait_for("condition=debug.redirect/Active-alice")?;
        callers.wait_for("laptop")?;

        app.annotate("debug.redirect/bob", &f.to_laptop().replace("3000", "3001"))?;
        app.wait_for("condition=debug.redirect/Active-bob=False")?;
        let bobs = app.conditions()?.remove("debug.redirect/Active-bob");
        assert!(
            bobs.is_some_and(|bobs| bobs.reason == "PortTaken" && bobs.message.contains("alice"))
        );
        app.wait_event("RedirectRefused")?;
        assert_eq!(app.who()?, "laptop");
        callers.stop().assert_none_failed();
        Ok(())
    });
}

#[test]
fn of_two_rules_for_a_port_in_one_annotation_the_first_holds() {
    run("port-twice", |f| {
        f.installed(&[])?;
        let app = f.start(Manifest::new(Kind::Pod, "app"))?.pod()?;
        app.annotate("debug.redirect", &format!("{}; 8080 -> {LAPTOP}:3001", f.to_laptop()))?;
        let condition = app.wait_refused("PortTaken")?;
        assert!(condition.message.contains("8080"), "{condition}");
        app.wait_event("RedirectRefused")?;
        app.wait_for_answer("laptop")?;
        Ok(())
    });
}

#[test]
fn a_pod_in_the_nodes_own_network_is_refused() {
    run("host-network", |f| {
        f.installed(&[])?;
        let app = f.start(Manifest::new(Kind::Pod, "app").ports(&[18099]).host_network())?.pod()?;
        app.annotate("debug.redirect", &f.to_laptop().replace("8080", "18099"))?;
        app.wait_refused("HostNetwork")?;
        app.wait_event("RedirectRefused")?;
        assert_eq!(app.who()?, "app");
        Ok(())
    });
}

#[test]
fn after_a_mistake_the_rule_before_stays_in_force() {
    run("mistake", |f| {
        f.installed(&[])?;
        let app = f.start(Manifest::new(Kind::Pod, "app"))?.pod()?;
        app.annotate("debug.redirect", &f.to_laptop())?;
        app.wait_active()?;
        let callers = f.callers(app.address())?;

        app.annotate("debug.redirect", "8080 => 10.99.0.100:3000")?;
        app.wait_event("RedirectRefused")?;
        callers.wait_for_calls(100)?;
        let calls = callers.stop();
        calls.assert_none_failed();
        assert_eq!(calls.by("laptop"), calls.len(), "{calls}");
        Ok(())
    });
}
