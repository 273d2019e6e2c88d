//! Two hundred redirected pods on one node.

use std::time::Instant;

use anyhow::{Context as _, ensure};
use interceptor_e2e::{Kind, LONG_TIMEOUT, Manifest, run};
use serde_json::Value;
use testbed::wait_until;

const PODS: usize = 200;
/// Maximum number of API requests per annotated pod: its condition during the proof, its condition
/// afterwards, an Event, and a margin.
const REQUESTS_PER_POD: f64 = 5.0;

#[test]
fn two_hundred_pods_are_redirected_within_the_budget_of_memory_and_requests() {
    run("scale", |f| {
        f.installed(&[])?;
        let daemon = f.product.first_daemon()?;
        let workload =
            f.start(Manifest::new(Kind::Deployment, "scale").replicas(PODS).on("node1"))?;
        let pods = wait_until("all pods to be ready", LONG_TIMEOUT * 4, || workload.pods())?;
        let requests =
            || daemon.metrics().map(|metrics| metrics.sum("interceptor_api_requests_total", &[]));
        let before = requests()?;
        let load = f.load_on(
            &pods.iter().step_by(20).map(interceptor_e2e::Pod::address).collect::<Vec<_>>(),
        )?;

        let began = Instant::now();
        let rule = format!("debug.redirect={}", f.to_laptop());
        workload.annotate(&rule)?;
        let annotated = began.elapsed();
        // Not `kubectl wait`, which asks for one pod after the other, five per second.
        let is_active = |pod: &Value| {
            let mut conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
            conditions.any(|one| one["type"] == "debug.redirect/Active" && one["status"] == "True")
        };
        wait_until("all pods to be active", LONG_TIMEOUT, || {
            let active = workload.list()?.iter().filter(|pod| is_active(pod)).count();
            ensure!(active == PODS, "{active}");
            Ok(())
        })?;
        println!("annotated in {annotated:.1?}, all active after {:.1?}", began.elapsed());
        for pod in pods.iter().step_by(10) {
            assert_eq!(pod.served_by()?, "laptop");
        }

        let rss = daemon.rss_kib()?;
        println!("{rss} KiB resident with {PODS} pods");
        assert!(rss <= 50 * 1024, "{rss} KiB");
        let spent = requests()? - before;
        println!("{spent} requests of the API");
        ensure!(spent > 0.0, "requests are not counted");
        assert!(spent <= REQUESTS_PER_POD * PODS as f64, "{spent} requests");
        let throttled = daemon.metrics()?.sum("interceptor_api_requests_total", &[("code", "429")]);
        assert_eq!(throttled, 0.0, "the API server throttled the daemon");

        // Without a change there are no requests; only the watch stays open.
        let calm = requests()?;
        load.wait_for_calls(1000)?;
        assert_eq!(requests()?, calm, "there were requests without a change");

        workload.annotate("debug.redirect-")?;
        wait_until("the end of the product's conditions", LONG_TIMEOUT, || {
            let all = workload.list()?;
            let of = |pod: &Value| {
                pod["status"]["conditions"].as_array().cloned().context("no conditions")
            };
            let mut left = 0;
            for pod in &all {
                left += usize::from(of(pod)?.iter().any(|one| {
                    one["type"].as_str().is_some_and(|kind| kind.starts_with("debug."))
                }));
            }
            ensure!(left == 0, "{left} pods have a condition");
            Ok(())
        })?;
        load.stop().assert_none_failed();
        Ok(())
    });
}
