//! Rules that are refused: the pod shows the reason, and the app serves.

use interceptor_e2e::{Kind, LAPTOP, Manifest, run};
use rstest::rstest;

#[rstest]
#[case::typo("8080 => 10.99.0.100:3000", "RuleInvalid", "did you mean `->`?")]
#[case::no_target("8080 ->", "RuleInvalid", "target")]
#[case::loopback("8080 -> 127.0.0.1:3000", "TargetDenied", "loopback")]
#[case::node("8080 -> 10.99.0.1:3000", "TargetDenied", "node")]
#[case::metadata("8080 -> 169.254.169.254:80", "TargetDenied", "linkLocal")]
#[case::metadata_ipv6("8080 -> [fd00:ec2::254]:80", "TargetDenied", "linkLocal")]
#[case::not_supported_yet("8080 -> alice", "NotSupported", "session")]
#[case::condition(
    "8080 -> 10.99.0.100:3000 when request.pth == \"/\"",
    "RuleInvalid",
    "request.path"
)]
fn a_refused_rule_has_a_condition_and_an_event_with_the_reason(
    #[case] rule: &str,
    #[case] reason: &str,
    #[case] word: &str,
) {
    run("refused", |f| {
        f.installed(&[])?;
        // The rule with the node's address needs a pod on that node.
        let app = f.start(Manifest::new(Kind::Pod, "app").on("node1"))?.pod()?;
        let before_rule = app.snapshot()?;
        let load = f.load(app.address())?;
        app.annotate("debug.redirect", rule)?;
        let condition = app.wait_refused(reason)?;
        assert!(condition.message.contains(word), "{condition}");
        let event = app.wait_event("RedirectRefused")?;
        assert!(event["note"].to_string().contains(word), "{event}");
        assert_eq!(event["type"], "Warning");

        app.unannotate("debug.redirect")?;
        app.wait_untouched()?;
        assert_eq!(app.snapshot()?, before_rule);
        let calls = load.stop();
        calls.assert_none_failed();
        assert_eq!(calls.by("app"), calls.len(), "{calls}");
        Ok(())
    });
}

#[rstest]
#[case::slash("debug/redirect", "debug.redirect")]
#[case::name_behind_a_dot("debug.redirect.alice", "debug.redirect/alice")]
#[case::domain("interceptor.debug/Redirect", "debug.redirect")]
fn a_key_that_is_nearly_right_is_reported_on_the_pod(#[case] key: &str, #[case] right: &str) {
    run("nearly", |f| {
        f.installed(&[])?;
        let app = f.start(Manifest::new(Kind::Pod, "app"))?.pod()?;
        app.annotate(key, "8080 -> 10.99.0.100:3000")?;
        let condition = app.wait_refused("RuleInvalid")?;
        let expected = format!("did you mean `{right}`?");
        assert!(condition.message.contains(&expected), "{condition}");
        assert_eq!(app.served_by()?, "app");
        app.unannotate(key)?;
        app.wait_untouched()
    });
}

#[test]
fn too_many_annotations_of_a_pod_are_refused_and_other_pods_are_served() {
    run("many", |f| {
        f.installed(&[])?;
        let [many, other] =
            ["many", "other"].map(|name| f.start(Manifest::new(Kind::Pod, name).on("node1")));
        let (many, other) = (many?.pod()?, other?.pod()?);
        // As many as fit into the 256 KiB of all annotations.
        let all: Vec<_> =
            (0..3000).map(|n| format!("debug.redirect/dev{n}=9000 -> {LAPTOP}:3000")).collect();
        many.kubectl("annotate", &all.iter().map(String::as_str).collect::<Vec<_>>())?;
        let condition = many.wait_refused("LimitExceeded")?;
        assert!(condition.message.contains("3000 debug annotations"), "{condition}");
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
        assert_eq!(many.served_by()?, "many");
        Ok(())
    });
}

#[test]
fn a_rule_without_ports_is_refused_for_a_pod_that_declares_none() {
    run("no-ports", |f| {
        f.installed(&[])?;
        let app = f.start(Manifest::new(Kind::Pod, "app").declares_no_ports())?.pod()?;
        app.annotate("debug.redirect", &format!("{LAPTOP}:3000"))?;
        app.wait_refused("NoPorts")?;
        app.wait_event("RedirectRefused")?;
        assert_eq!(app.served_by()?, "app");

        // A port that the rule names needs no declaration.
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
        let load = f.load(app.address())?;
        app.annotate("debug.redirect/alice", &f.to_laptop())?;
        app.wait_for("condition=debug.redirect/Active-alice")?;
        load.wait_for("laptop")?;

        app.annotate("debug.redirect/bob", &f.to_laptop().replace("3000", "3001"))?;
        app.wait_for("condition=debug.redirect/Active-bob=False")?;
        let bobs = app.conditions()?.remove("debug.redirect/Active-bob");
        assert!(
            bobs.is_some_and(|bobs| bobs.reason == "PortTaken" && bobs.message.contains("alice"))
        );
        app.wait_event("RedirectRefused")?;
        assert_eq!(app.served_by()?, "laptop");
        load.stop().assert_none_failed();
        Ok(())
    });
}

#[test]
fn the_first_of_two_rules_for_a_port_in_one_annotation_is_active() {
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

/// kube-proxy translates the destination, and perhaps the source. The daemon sees neither.
#[test]
fn the_pods_own_service_is_refused_as_a_target() {
    run("own-service", |f| {
        f.installed(&[])?;
        let web = f.deployment("web", 1)?;
        let (pod, service) = (web.pod()?, web.cluster_ip()?);
        f.wait_answering(service)?;
        // No client has to come for it.
        pod.annotate("debug.redirect", &format!("8080 -> {service}"))?;
        let condition = pod.wait_refused("Loop")?;
        assert!(condition.message.contains("leads back to port 8080"), "{condition}");
        pod.wait_event("RedirectRefused")?;
        assert_eq!(f.ask(service)?.tag, pod.name());
        Ok(())
    });
}

#[test]
fn a_pod_in_the_host_network_is_refused() {
    run("host-network", |f| {
        f.installed(&[])?;
        let app = f.start(Manifest::new(Kind::Pod, "app").ports(&[18099]).host_network())?.pod()?;
        app.annotate("debug.redirect", &f.to_laptop().replace("8080", "18099"))?;
        app.wait_refused("HostNetwork")?;
        app.wait_event("RedirectRefused")?;
        assert_eq!(app.served_by()?, "app");
        Ok(())
    });
}

#[test]
fn the_previous_rule_stays_in_force_after_a_mistake() {
    run("mistake", |f| {
        f.installed(&[])?;
        let app = f.start(Manifest::new(Kind::Pod, "app"))?.pod()?;
        app.annotate("debug.redirect", &f.to_laptop())?;
        app.wait_active()?;
        let load = f.load(app.address())?;

        app.annotate("debug.redirect", "8080 => 10.99.0.100:3000")?;
        app.wait_event("RedirectRefused")?;
        load.wait_for_calls(100)?;
        let calls = load.stop();
        calls.assert_none_failed();
        assert_eq!(calls.by("laptop"), calls.len(), "{calls}");
        Ok(())
    });
}
