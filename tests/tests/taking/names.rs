//! Targets given by name: look-ups, time to live, addresses that the policy denies.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::{Duration, Instant},
};

use anyhow::Result;
use interceptor_tests::{Dns, Fixture, TIMEOUT, counted, outcomes, run};
use rstest::rstest;
use testbed::{CommandExt as _, Daemon, Load, Protocol, TcpService, call, wait_until};

const NAME: &str = "laptop.test";

/// Starts the daemon with port 8080 of `web` redirected to port 3000 of [`NAME`], and waits for
/// nothing else.
fn by_name(f: &Fixture<'_>, dns: &Dns) -> Result<Daemon> {
    to_name(f, dns, NAME)
}

/// The same with another name.
fn to_name(f: &Fixture<'_>, dns: &Dns, name: &str) -> Result<Daemon> {
    Daemon::start_with(f.t, &f.web(&format!("8080 -> {name}:3000")), |command| {
        command.resolv_conf(&dns.resolv_conf()?)?;
        Ok(())
    })
}

/// Reason and message of the rule.
fn reason(daemon: &Daemon) -> Result<String> {
    let rule = &daemon.workload("web")?["rules"][0];
    Ok(format!(
        "{} {}",
        rule["reason"].as_str().unwrap_or_default(),
        rule["message"].as_str().unwrap_or_default()
    ))
}

#[test]
fn a_name_is_looked_up_once_per_ttl_and_not_per_connection() {
    run(|f| {
        let second = f.t.host("second")?;
        let _second = TcpService::tagged(&second, (second.ip4(), 3000), "second")?;
        let dns = Dns::start(f.t, 1)?;
        dns.set(NAME, &[f.laptop.ip4().into()]);
        let daemon = by_name(&f, &dns)?;
        daemon.wait_active("web")?;
        let load = Load::new(&f.client, f.port()).start()?;
        load.wait_for_tag("laptop", TIMEOUT)?;

        dns.set(NAME, &[second.ip4().into()]);
        let (changed, queries) = (Instant::now(), dns.queries());
        let arrived = load.wait_for_tag("second", TIMEOUT)?;
        assert!(arrived - changed < Duration::from_secs(2), "took {:?}", arrived - changed);
        load.wait_for_calls(200, TIMEOUT)?;
        let report = load.stop();
        assert_eq!(report.failures().len(), 0, "{report}");
        assert_eq!(report.count("app"), 0, "{report}");
        let look_ups = (dns.queries() - queries) / 2;
        assert!(
            look_ups <= changed.elapsed().as_secs() + 2,
            "{look_ups} look-ups in {:?}",
            changed.elapsed()
        );
        Ok(())
    });
}

#[test]
fn a_name_with_a_long_ttl_is_looked_up_once() {
    run(|f| {
        let dns = Dns::start(f.t, 3600)?;
        dns.set(NAME, &[f.laptop.ip4().into()]);
        let daemon = by_name(&f, &dns)?;
        daemon.wait_active("web")?;
        let queries = dns.queries();
        let load = Load::new(&f.client, f.port()).start()?;
        load.wait_for_calls(500, 3 * TIMEOUT)?;
        assert_eq!(load.stop().count("app"), 0);
        assert_eq!(dns.queries(), queries);
        Ok(())
    });
}

#[rstest]
#[case::underscore("my_app.test")]
#[case::underscore_first("_app.test")]
#[case::no_punycode("xn--a.test")]
#[case::capitals("Laptop.Test")]
fn a_name_that_a_rule_may_have_is_looked_up(#[case] name: &str) {
    run(|f| {
        let dns = Dns::start(f.t, 1)?;
        dns.set(&name.to_ascii_lowercase(), &[f.laptop.ip4().into()]);
        let daemon = to_name(&f, &dns, name)?;
        daemon.wait_active("web")?;
        assert_eq!(f.served_by()?, "laptop");
        Ok(())
    });
}

#[test]
fn all_addresses_of_a_name_are_tried() {
    run(|f| {
        let (refuses, asleep) = (f.t.host("refuses")?, f.t.host("asleep")?);
        asleep.fall_asleep()?;
        let dns = Dns::start(f.t, 1)?;
        dns.set(NAME, &[refuses.ip4().into(), asleep.ip4().into(), f.laptop.ip4().into()]);
        let daemon = by_name(&f, &dns)?;
        daemon.wait_active("web")?;
        for _ in 0..5 {
            assert_eq!(f.served_by()?, "laptop");
        }
        // Only the IPv6 address answers now.
        dns.set(NAME, &[refuses.ip4().into(), f.laptop.ip6().into()]);
        wait_until("a call by IPv6", TIMEOUT, || {
            let peer = call(&f.client, f.port(), Protocol::Line).ok()?.peer?;
            peer.is_ipv6().then_some(())
        })?;
        let outcomes = outcomes(&daemon, "web")?;
        assert_eq!(outcomes["redirected"], f.target.connections(), "{outcomes:?}");
        assert_eq!(outcomes.len(), 1, "{outcomes:?}");
        Ok(())
    });
}

#[test]
fn the_app_serves_until_the_name_has_an_address() {
    run(|f| {
        let dns = Dns::start(f.t, 1)?;
        let daemon = by_name(&f, &dns)?;
        let says = |words: &str| {
            let asked = format!(" (asked {}); ", f.t.node().ip4());
            let expected = format!("NameNotResolved {words}{asked}");
            wait_until(&expected, 2 * TIMEOUT, || match reason(&daemon) {
                Ok(why) if why.starts_with(&expected) => Ok(()),
                why => Err(format!("{why:?}")),
            })
        };
        says("the name laptop.test does not exist")?;
        assert_eq!(f.served_by()?, "app");
        dns.set(NAME, &[]);
        says("laptop.test has no A or AAAA record")?;
        assert_eq!(outcomes(&daemon, "web")?, counted([]), "the port was redirected already");

        dns.set(NAME, &[f.laptop.ip4().into()]);
        daemon.wait_active("web")?;
        assert_eq!(f.served_by()?, "laptop");

        dns.set(NAME, &[]);
        let pending = daemon.wait_rules("web", "pending")?;
        assert_eq!(f.served_by()?, "app", "{pending}");
        assert_eq!(
            outcomes(&daemon, "web")?,
            counted([("redirected", 1), ("fell_back/unresolved", 1)])
        );
        Ok(())
    });
}

#[rstest]
#[case::loopback(|_: &Fixture<'_>| Ipv4Addr::LOCALHOST.into())]
#[case::metadata_service_of_a_cloud(|_: &Fixture<'_>| Ipv4Addr::new(169, 254, 169, 254).into())]
#[case::node(|f: &Fixture<'_>| f.t.node().ip4().into())]
#[case::node_on_the_link_to_the_pod(|f: &Fixture<'_>| f.pod.gateway6().into())]
#[case::denied_by_the_policy(|f: &Fixture<'_>| f.client.ip4().into())]
fn a_denied_address_of_a_name_is_refused_at_every_look_up(
    #[case] denied: fn(&Fixture<'_>) -> IpAddr,
) {
    run(|f| {
        let denied = denied(&f);
        let _trap = TcpService::tagged(f.t.node(), (Ipv6Addr::UNSPECIFIED, 3000), "trap")?;
        let dns = Dns::start(f.t, 1)?;
        dns.set(NAME, &[denied]);
        let policy = f.policy(&format!("targets:\n  deny: [{}]\n", f.client.ip4()))?;
        let daemon = Daemon::start_with(f.t, &f.web(&format!("8080 -> {NAME}:3000")), |command| {
            command.arg("--policy").arg(&policy).resolv_conf(&dns.resolv_conf()?)?;
            Ok(())
        })?;
        daemon.wait_rules("web", "refused")?;
        let why = reason(&daemon)?;
        assert!(why.starts_with("TargetDenied") && why.contains(&denied.to_string()), "{why}");
        assert_eq!(f.served_by()?, "app");

        dns.set(NAME, &[denied, f.laptop.ip4().into()]);
        daemon.wait_active("web")?;
        assert_eq!(f.served_by()?, "laptop", "the other address is allowed");

        dns.set(NAME, &[denied]);
        daemon.wait_rules("web", "refused")?;
        assert_eq!(f.served_by()?, "app");
        assert_eq!(
            outcomes(&daemon, "web")?,
            counted([("redirected", 1), ("fell_back/target_denied", 1)])
        );
        Ok(())
    });
}

#[test]
fn a_name_of_the_redirected_port_itself_is_refused_as_a_loop() {
    run(|f| {
        let dns = Dns::start(f.t, 1)?;
        dns.set(NAME, &[f.pod.ip4().into()]);
        let daemon = Daemon::start_with(f.t, &f.web(&format!("8080 -> {NAME}:8080")), |command| {
            command.resolv_conf(&dns.resolv_conf()?)?;
            Ok(())
        })?;
        daemon.wait_rules("web", "refused")?;
        let why = reason(&daemon)?;
        assert!(why.contains("redirected port of this workload: connections would loop"), "{why}");
        assert_eq!(f.served_by()?, "app");
        Ok(())
    });
}
