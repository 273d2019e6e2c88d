//! A daemon, a target or a pod ends: the app serves, and the redirect comes back by itself.

use std::{
    net::Ipv4Addr,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use interceptor_e2e::{Kind, LAPTOP_PORT, Manifest, run};

#[test]
fn a_killed_daemon_breaks_only_its_own_connections_and_redirects_again() {
    run("killed", |f| {
        let (_app, load) = f.redirected()?;
        let daemon = f.product.first_daemon()?;
        let killed = daemon.kill_and_wait()?;
        load.wait_for("app")?;
        daemon.wait_restarted(killed.pid)?;
        load.wait_for("laptop")?;
        let calls = load.stop();
        calls.assert_broken_only_by(&killed);
        calls.since(killed.dead).assert_none_failed();
        Ok(())
    });
}

#[test]
fn no_call_fails_when_a_daemon_pod_is_deleted_and_its_successor_redirects_again() {
    run("deleted", |f| {
        let (app, load) = f.redirected()?;
        let daemon = f.product.first_daemon()?;
        daemon.delete()?;
        f.product.wait_successor(&daemon)?;
        app.wait_active()?;
        load.wait_for("laptop")?;
        load.stop().assert_none_failed();
        Ok(())
    });
}

#[test]
fn the_app_serves_when_the_target_refuses() {
    run("refusing-laptop", |f| {
        f.installed(&[])?;
        let app = f.start(Manifest::new(Kind::Pod, "app").on("node1"))?.pod()?;
        let load = f.load(app.address())?;
        app.annotate("debug.redirect", &f.to_laptop().replace("3000", "3666"))?;
        app.wait_refused("TargetRefuses")?;
        load.wait_for_calls(100)?;
        let calls = load.stop();
        calls.assert_none_failed();
        assert_eq!(calls.by("app"), calls.len(), "{calls}");
        let daemon = f.product.first_daemon()?;
        let labels = [("outcome", "fell_back"), ("reason", "target_refused")];
        daemon.wait_metric("interceptor_connections_total", &labels, |counted| counted >= 100.0)?;
        Ok(())
    });
}

#[test]
fn a_target_that_is_asleep_is_reported_and_serves_again_when_it_wakes_up() {
    run("asleep", |f| {
        f.installed(&[])?;
        let app = f.start(Manifest::new(Kind::Pod, "app").on("node1"))?.pod()?;
        let load = f.load(app.address())?;
        // No host has this address yet.
        let asleep = Ipv4Addr::new(10, 99, 0, 101);
        app.annotate("debug.redirect", &format!("8080 -> {asleep}:{LAPTOP_PORT}"))?;
        app.wait_refused("TargetSilent")?;
        app.wait_event("RedirectFellBack")?;
        let open = Instant::now();
        load.wait_for_calls(100)?;
        let calls = load.so_far();
        assert_eq!(calls.by("app"), calls.len(), "{calls}");
        assert!(calls.since(open).longest() < Duration::from_millis(500), "{calls}");

        let _awake = Address::of_laptop(asleep)?;
        load.wait_for("laptop")?;
        app.wait_event("RedirectRecovered")?;
        load.stop().assert_none_failed();
        Ok(())
    });
}

/// An additional address of the laptop. Dropping it removes the address.
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
fn deleting_a_redirected_pod_does_not_affect_another_one() {
    run("pod-deleted", |f| {
        f.installed(&[])?;
        let web = f.deployment("web", 2)?;
        let [first, second] = web.pods()?.try_into().map_err(|_| anyhow::anyhow!("two pods"))?;
        for pod in [&first, &second] {
            pod.annotate("debug.redirect", &f.to_laptop())?;
            pod.wait_active()?;
        }
        let load = f.load(second.address())?;
        first.kubectl("delete", &[])?;
        let pods = web.pods()?;
        let successor = pods.iter().find(|pod| pod.uid() != second.uid()).expect("another pod");
        // The annotation was on the pod and not in the template, so the successor has none.
        assert_eq!(successor.served_by()?, successor.name());
        let calls = load.stop();
        calls.assert_none_failed();
        assert_eq!(calls.by("laptop"), calls.len(), "{calls}");
        Ok(())
    });
}
