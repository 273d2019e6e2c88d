//! Targets given by name: look-ups, time to live, addresses that the policy denies.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use interceptor_tests::{Dns, Fixture, SECOND, TIMEOUT, counted, outcomes, run};
use rstest::rstest;
use testbed::{CommandExt as _, Daemon, Load, Protocol, TcpService, call, wait_until};

const NAME: &str = "laptop.test";

/// `resolv.conf` of a resolver that gives up after a second.
const HASTY: &str = "options timeout:1 attempts:1";
/// `resolv.conf` of a resolver as most are. It repeats a query after 5 s.
const PATIENT: &str = "options timeout:5 attempts:2";

/// Starts the daemon with port 8080 of `web` redirected to port 3000 of [`NAME`], and waits for
/// nothing else.
fn by_name(f: &Fixture<'_>, dns: &Dns, options: &str) -> Result<Daemon> {
    Daemon::start_with(f.t, &f.web(&format!("8080 -> {NAME}:3000")), |command| {
        command.resolv_conf(&dns.resolv_conf(options)?)?;
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
        let daemon = by_name(&f, &dns, HASTY)?;
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
        let daemon = by_name(&f, &dns, HASTY)?;
        daemon.wait_active("web")?;
        let queries = dns.queries();
        let load = Load::new(&f.client, f.port()).start()?;
        load.wait_for_calls(500, 3 * TIMEOUT)?;
        assert_eq!(load.stop().count("app"), 0);
        assert_eq!(dns.queries(), queries);
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
        let daemon = by_name(&f, &dns, HASTY)?;
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
        let daemon = by_name(&f, &dns, HASTY)?;
        let says = |words: &str| {
            let asked = format!(" (asked {})", f.t.node().ip4());
            let expected = format!("NameNotResolved {words}{asked}");
            wait_until(&expected, 2 * TIMEOUT, || match reason(&daemon) {
                Ok(why) if why == expected => Ok(()),
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
#[case::silent(true)]
#[case::not_running(false)]
fn a_dns_server_that_does_not_answer_is_reported_after_two_seconds(#[case] runs: bool) {
    run(|f| {
        let mut dns = Some(Dns::start(f.t, 1)?);
        let server = dns.as_ref().context("a server")?;
        server.leave_unanswered(u64::MAX);
        let daemon = by_name(&f, server, PATIENT)?;
        let started = Instant::now();
        dns = dns.filter(|_| runs);
        let silent = format!(
            "NameNotResolved no DNS server has answered for {NAME} within 2 s (asked {}); ",
            f.t.node().ip4()
        );
        let mut all = Reasons::of(&daemon);
        all.watch_until("the report", 4 * SECOND, |now| now.starts_with(&silent))?;
        assert!(started.elapsed() > SECOND, "{:?}", started.elapsed());
        assert_eq!(f.served_by()?, "app");
        // Longer than the resolver waits.
        let pause = Instant::now() + 8 * SECOND;
        all.watch_until("some seconds to pass", TIMEOUT, |_| Instant::now() > pause)?;

        let server = dns.map_or_else(|| Dns::start(f.t, 1), Ok)?;
        server.set(NAME, &[f.laptop.ip4().into()]);
        server.leave_unanswered(0);
        all.watch_until("an active rule", 3 * SECOND, |now| now.starts_with("Intercepting"))?;
        assert_eq!(f.served_by()?, "laptop");
        assert_eq!(all.words(), ["Resolving", "NameNotResolved", "Intercepting"]);
        assert_eq!(outcomes(&daemon, "web")?, counted([("redirected", 1)]));
        Ok(())
    });
}

#[test]
fn a_lost_first_answer_is_no_failure() {
    run(|f| {
        let dns = Dns::start(f.t, 1)?;
        dns.set(NAME, &[f.laptop.ip4().into()]);
        // The queries for A and AAAA.
        dns.leave_unanswered(2);
        let daemon = by_name(&f, &dns, PATIENT)?;
        let mut all = Reasons::of(&daemon);
        all.watch_until("an active rule", TIMEOUT, |now| now.starts_with("Intercepting"))?;
        assert_eq!(all.words(), ["Resolving", "Intercepting"]);
        Ok(())
    });
}

#[test]
fn a_name_that_flaps_is_reported_once_and_followed_at_once() {
    run(|f| {
        let dns = Dns::start(f.t, 1)?;
        dns.set(NAME, &[f.laptop.ip4().into()]);
        let daemon = by_name(&f, &dns, HASTY)?;
        daemon.wait_active("web")?;
        let mut all = Reasons::of(&daemon);
        for _ in 0..4 {
            for (addresses, tag) in [(vec![], "app"), (vec![f.laptop.ip4().into()], "laptop")] {
                dns.set(NAME, &addresses);
                all.watch_until(tag, TIMEOUT, |_| f.served_by().is_ok_and(|by| by == tag))?;
            }
        }
        all.watch_until("an active rule", TIMEOUT, |now| now.starts_with("Intercepting"))?;
        assert_eq!(all.words(), ["Intercepting", "NameNotResolved", "Intercepting"]);
        Ok(())
    });
}

/// The different reasons of the rule, in their order.
struct Reasons<'d> {
    daemon: &'d Daemon,
    all: Vec<String>,
}

impl<'d> Reasons<'d> {
    fn of(daemon: &'d Daemon) -> Self {
        Self { daemon, all: Vec::new() }
    }

    /// Waits until `is_there` accepts reason and message, and notes each new one meanwhile.
    fn watch_until(
        &mut self,
        what: &str,
        timeout: Duration,
        is_there: impl Fn(&str) -> bool,
    ) -> Result<()> {
        wait_until(what, timeout, || {
            let now = reason(self.daemon)?;
            if self.all.last() != Some(&now) {
                self.all.push(now.clone());
            }
            ensure!(is_there(&now), "{now}");
            Ok(())
        })
    }

    /// The reasons. What lasts for milliseconds may be missed, and is left out.
    fn words(&self) -> Vec<&str> {
        let all = self.all.iter().filter_map(|one| one.split(' ').next());
        all.filter(|word| *word != "Proving").collect()
    }
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
            command.arg("--policy").arg(&policy).resolv_conf(&dns.resolv_conf(HASTY)?)?;
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
            command.resolv_conf(&dns.resolv_conf(HASTY)?)?;
            Ok(())
        })?;
        daemon.wait_rules("web", "refused")?;
        let why = reason(&daemon)?;
        assert!(why.contains("redirected port of this workload: connections would loop"), "{why}");
        assert_eq!(f.served_by()?, "app");
        Ok(())
    });
}
