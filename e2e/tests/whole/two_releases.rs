//! Two releases of the chart on the same nodes, with different ports. One daemon has a pod's port.

use std::{thread, time::Duration};

use anyhow::{Context as _, Result, ensure};
use interceptor_e2e::{Daemon, Kind, Manifest, Pod, Probe, TIMEOUT, run};
use testbed::wait_until;

/// The daemon of the pod's node.
fn daemon_of(daemons: Vec<Daemon>, pod: &Pod) -> Result<Daemon> {
    let mut daemons = daemons.into_iter();
    daemons.find(|daemon| daemon.node() == pod.node()).context("no daemon on the pod's node")
}

fn version(pod: &Pod) -> Result<String> {
    Ok(pod.get()?["metadata"]["resourceVersion"].to_string())
}

#[test]
fn the_daemon_of_a_second_release_waits_for_the_port_and_takes_it_when_the_first_one_ends() {
    run("two-releases", |f| {
        f.installed(&[])?;
        // Connections of other probes count as those of clients.
        let web = f.start(Manifest::new(Kind::Pod, "web").probe(Probe::Http).on("node1"))?.pod()?;
        web.annotate("debug.redirect", &f.to_laptop())?;
        web.wait_active()?;
        web.wait_event("RedirectActive")?;
        let first = daemon_of(f.product.daemons()?, &web)?;
        let (condition, before) = (web.active()?, version(&web)?);
        let load = f.load(web.address())?;

        let release = f.another_release();
        release.install()?;
        let second = daemon_of(release.daemons()?, &web)?;
        let event = web.wait_event("RedirectWaiting")?;
        let note = event["note"].as_str().unwrap_or_default();
        println!("{note}");
        assert!(note.starts_with("debug.redirect: PortTaken: another interceptor"), "{note}");
        assert!(note.contains("port 8080") && note.contains(first.name()), "{note}");
        let status = second.exec(&["status", "--admin", "127.0.0.1:9479"])?;
        assert!(status.contains("PortTaken"), "{status}");

        // Long enough for several writes, if the daemons restored each other's conditions.
        thread::sleep(Duration::from_secs(10));
        assert_eq!(web.active()?, condition);
        assert_eq!(version(&web)?, before, "a daemon wrote to the pod");
        let waits = |event: &&serde_json::Value| event["reason"] == "RedirectWaiting";
        assert_eq!(web.events()?.iter().filter(waits).count(), 1);
        let calls = load.stop();
        calls.assert_none_failed();
        let connections = (first.connections_to(&web)?, second.connections_to(&web)?);
        println!("{} calls, {connections:?} connections", calls.len());
        assert_eq!(connections, (calls.len() as f64, 0.0));

        let load = f.load(web.address())?;
        f.product.uninstall()?;
        wait_until("the second release to take the port", TIMEOUT, || {
            let taken = second.connections_to(&web)?;
            ensure!(taken > 0.0, "{taken} connections");
            Ok(())
        })?;
        web.wait_active()?;
        web.wait_for_answer("laptop")?;
        load.stop().assert_none_failed();

        release.uninstall()?;
        web.wait_untouched()?;
        web.wait_for_answer(web.name())?;
        let left = release.objects()?;
        assert_eq!(left, "", "objects of the second release are left");
        Ok(())
    });
}
