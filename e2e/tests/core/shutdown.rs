//! Anything of ours ends, at any moment: the app serves, and the redirect comes back by itself.

use std::{
    net::Ipv4Addr,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use interceptor_e2e::{Kind, LAPTOP_PORT, Manifest, TIMEOUT, run};
use testbed::wait_until;

#[test]
fn a_daemon_that_is_killed_breaks_only_what_it_carried_and_takes_again() {
    run("killed", |f| {
        let (_app, callers) = f.redirected()?;
        let daemon = f.product.first_daemon()?;
        let pid = daemon.pid()?;
        let killed = Instant::now();
        daemon.kill()?;
        daemon.wait_ended(pid)?;
        let dead = Instant::now();
        callers.wait_for("app")?;
        daemon.wait_restarted(pid)?;
        callers.wait_for("laptop")?;
        let calls = callers.stop();
        calls.assert_broken_only_by_its_end(killed, dead);
        calls.since(dead).assert_none_failed();
        Ok(())
    });
}

#[test]
fn a_daemon_pod_that_is_deleted_fails_no_call_and_its_successor_takes_again() {
    run("deleted", |f| {
        let (app, callers) = f.redirected()?;
        let daemon = f.product.first_daemon()?;
        daemon.delete()?;
        wait_until("its successor", TIMEOUT * 3, || {
            let now = f.product.first_daemon()?;
            ensure!(now.uid() != daemon.uid(), "still the same");
            Ok(())
        })?;
        app.wait_active()?;
        callers.wait_for("laptop")?;
        callers.stop().assert_none_failed();
        Ok(())
    });
}

#[test]
fn a_laptop_where_nobody_listens_costs_callers_nothing() {
    run("refusing-laptop", |f| {
        f.installed(&[])?;
        let app = f.start(Manifest::new(Kind::Pod, "app").on("node1"))?.pod()?;
        let callers = f.callers(app.address())?;
        app.annotate("debug.redirect", &f.to_laptop().replace("3000", "3666"))?;
        app.wait_active()?;
        callers.wait_for_calls(100)?;
        let calls = callers.stop();
        calls.assert_none_failed();
        assert_eq!(calls.by("app"), calls.len(), "{calls}");
        let daemon = f.product.first_daemon()?;
        let labels = [("outcome", "fell_back"), ("reason", "target_refused")];
        daemon.wait_metric("interceptor_connections_total", &labels, |counted| counted >= 100.0)?;
        Ok(())
    });
}

#[test]
fn a_laptop_that_is_asleep_is_told_and_taken_up_again_when_it_wakes() {
    run("asleep", |f| {
        f.installed(&[])?;
        let app = f.start(Manifest::new(Kind::Pod, "app").on("node1"))?.pod()?;
        let callers = f.callers(app.address())?;
        // Nobody has this address yet.
        let asleep = Ipv4Addr::new(10, 99, 0, 101);
        app.annotate("debug.redirect", &format!("8080 -> {asleep}:{LAPTOP_PORT}"))?;
        app.wait_active()?;
        app.wait_event("RedirectFellBack")?;
        let open = Instant::now();
        callers.wait_for_calls(100)?;
        let calls = callers.so_far();
        assert_eq!(calls.by("app"), calls.len(), "{calls}");
        assert!(calls.since(open).longest() < Duration::from_millis(500), "{calls}");

        let _awake = Address::of_laptop(asleep)?;
        callers.wait_for("laptop")?;
        app.wait_event("RedirectRecovered")?;
        callers.stop().assert_none_failed();
        Ok(())
    });
}

/// One more address of the laptop, until this is dropped.
struct Address(Ipv4Addr);

impl Address {
    fn of_laptop(address: Ipv4Addr) -> Result<Self> {
        let own = Self(address);
        own.ip("add")?;
        Ok(own)
    }

    fn ip(&self, verb: &str) -> Result<()> {
        let address = format!("{}/24", self.0);
        let ip = Command::new("ip")
            .args(["-n", "interceptor-laptop", "addr", verb, &address, "dev", "eth0"])
            .status()?;
        ensure!(ip.success(), "ip addr {verb} {address}: {ip}");
        Ok(())
    }
}

impl Drop for Address {
    fn drop(&mut self) {
        let _ = self.ip("del");
    }
}

#[test]
fn a_pod_that_is_deleted_while_it_is_redirected_takes_nobody_else_with_it() {
    run("pod-deleted", |f| {
        f.installed(&[])?;
        let web = f.deployment("web", 2)?;
        let [first, second] = web.pods()?.try_into().map_err(|_| anyhow::anyhow!("two pods"))?;
        for pod in [&first, &second] {
            pod.annotate("debug.redirect", &f.to_laptop())?;
            pod.wait_active()?;
        }
        let callers = f.callers(second.address())?;
        first.kubectl("delete", &[])?;
        let pods = web.pods()?;
        let successor = pods.iter().find(|pod| pod.uid() != second.uid()).expect("another pod");
        // The annotation was on the pod, and not in the template.
        assert_eq!(successor.who()?, successor.name());
        let calls = callers.stop();
        calls.assert_none_failed();
        assert_eq!(calls.by("laptop"), calls.len(), "{calls}");
        Ok(())
    });
}
