//! Tests that the daemon reads the policy that the chart renders.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use interceptor::config::policy::{Action, Dial, Policy};
use interceptor_deploy::helm::Helm;

use crate::common::{of_kind, render, render_with, scenarios, with_helm};

/// The rendered policy file.
fn file(objects: &[serde_json::Value]) -> Result<String> {
    let mut files =
        of_kind(objects, "ConfigMap").filter_map(|map| map["data"]["policy.yaml"].as_str());
    files.next().map(str::to_owned).context("no policy.yaml")
}

fn policy(helm: &Helm, more: &[&str]) -> Result<Policy> {
    Ok(Policy::parse(&file(&render_with(helm, more)?)?, "policy.yaml")?)
}

#[test]
fn the_daemon_reads_the_policy_of_every_scenario() {
    with_helm(|helm| {
        for scenario in scenarios()? {
            let text = file(&render(helm, &scenario)?)?;
            Policy::parse(&text, "policy.yaml").with_context(|| format!("{scenario}:\n{text}"))?;
        }
        Ok(())
    });
}

#[test]
fn the_default_policy_is_that_of_a_daemon_without_a_policy() {
    with_helm(|helm| {
        let (rendered, plain) = (policy(helm, &[])?, Policy::default());
        assert_eq!(rendered.dial, plain.dial);
        assert_eq!(rendered.connect_timeout, plain.connect_timeout);
        assert_eq!(rendered.silence, plain.silence);
        assert_eq!(rendered.max_rules(), plain.max_rules());
        assert_eq!(rendered.max_ttl(), plain.max_ttl());
        assert_eq!(rendered.namespaces(), plain.namespaces());
        for rules in [1, 1024, 1025] {
            let judged =
                [&rendered, &plain].map(|policy| policy.judge_rules_per_node(rules).is_ok());
            assert_eq!(judged[0], judged[1], "{rules}");
        }
        for ip in [
            "10.1.2.3",
            "1.1.1.1",
            "127.0.0.1",
            "169.254.169.254",
            "224.0.0.1",
            "::1",
            "fd00::1",
            "fe80::1",
        ] {
            let ip: IpAddr = ip.parse()?;
            let judged =
                [&rendered, &plain].map(|policy| policy.judge_target(ip, |_| false).is_ok());
            assert_eq!(judged[0], judged[1], "{ip}");
        }
        Ok(())
    });
}

#[test]
fn every_value_reaches_the_daemon() {
    with_helm(|helm| {
        let text = file(&render(helm, "strict-policy")?)?;
        let policy = Policy::parse(&text, "policy.yaml")?;
        assert_eq!(policy.dial, Dial::Node);
        assert_eq!(policy.connect_timeout, Duration::from_millis(250));
        assert_eq!(policy.silence.opening, Duration::from_millis(50));
        assert_eq!(policy.silence.head, Duration::from_secs(2));
        assert_eq!(policy.max_rules(), 2);
        assert_eq!(policy.max_ttl(), Some(Duration::from_secs(8 * 60 * 60)));
        assert_eq!(policy.namespaces(), Some("env in (dev,test)"));
        ensure!(policy.judge_rules_per_node(8).is_ok() && policy.judge_rules_per_node(9).is_err());
        ensure!(
            policy.judge_action(Action::Redirect).is_ok()
                && policy.judge_action(Action::Mirror).is_err()
        );
        for (ip, is_node, allowed) in [
            ("10.20.0.7", false, true),
            ("fd00:20::7", false, true),
            ("10.20.0.7", true, true),
            ("10.20.1.7", false, false),
            ("10.20.2.7", false, false),
            ("10.21.0.7", false, false),
            ("127.0.0.1", false, false),
        ] {
            assert_eq!(policy.judge_target(ip.parse()?, |_| is_node).is_ok(), allowed, "{ip}");
        }
        Ok(())
    });
}

#[test]
fn a_refusal_names_the_value_to_change() {
    with_helm(|helm| {
        let policy = policy(helm, &["--set", "policy.targets.deny={10.9.0.0/16}"])?;
        let refusal =
            policy.judge_target("10.9.1.1".parse()?, |_| false).expect_err("is denied").to_string();
        ensure!(refusal.contains("targets.deny: 10.9.0.0/16"), "{refusal}");
        Ok(())
    });
}

#[test]
fn an_empty_list_of_targets_allows_nothing() {
    with_helm(|helm| {
        let policy = policy(helm, &["--set-json", "policy.targets.allow=[]"])?;
        ensure!(policy.judge_target("10.9.1.1".parse()?, |_| false).is_err());
        Ok(())
    });
}
