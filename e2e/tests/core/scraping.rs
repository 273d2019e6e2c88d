//! A real Prometheus scrapes the daemons, reads the chart's alerts, and has data for the chart's
//! dashboard.

use std::{fs, path::Path, process::Command};

use anyhow::{Context as _, Result, ensure};
use interceptor_e2e::{Kind, LONG_TIMEOUT, Manifest, Probe, Prometheus, TIMEOUT, run};
use serde_json::Value;
use testbed::wait_until;

/// A file of the chart.
fn chart(file: &str) -> Result<String> {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/charts/interceptor").join(file);
    fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))
}

/// All queries of the dashboard, with its variables set: title and expression.
fn queries() -> Result<Vec<(String, String)>> {
    let dashboard: Value = serde_json::from_str(&chart("dashboards/interceptor.json")?)?;
    let panels = dashboard["panels"].as_array().cloned().unwrap_or_default();
    let mut queries = Vec::new();
    for panel in &panels {
        for target in panel["targets"].as_array().into_iter().flatten() {
            let query = target["expr"].as_str().context("a target without a query")?;
            let query = query
                .replace("$job", "interceptor")
                .replace("$workload", ".*")
                .replace("$__rate_interval", "30s");
            queries.push((panel["title"].as_str().unwrap_or_default().to_owned(), query));
        }
    }
    ensure!(queries.len() > 10, "the dashboard has only {} queries", queries.len());
    Ok(queries)
}

#[test]
fn prometheus_scrapes_the_daemons_and_has_data_for_alerts_and_dashboard() {
    run("scraped", |f| {
        f.installed(&[])?;
        let daemons = f.product.daemons()?;
        let prometheus = Prometheus::start(&daemons)?;
        wait_until("all daemons to be scraped", TIMEOUT, || {
            let targets = prometheus.targets()?;
            ensure!(
                targets.len() == daemons.len() && targets.iter().all(|health| health == "up"),
                "{targets:?}"
            );
            Ok(())
        })?;

        // Data for the whole dashboard: redirected calls, and calls that fall back because nothing
        // listens at the target. HTTP probes of kubelet reach the app and have a counter of their
        // own. TCP probes would count as calls.
        let redirected =
            f.start(Manifest::new(Kind::Pod, "redirected").probe(Probe::Http))?.pod()?;
        let fallen_back = f.start(Manifest::new(Kind::Pod, "fallen-back"))?.pod()?;
        // With a condition, so that there are decisions.
        redirected
            .annotate("debug.redirect", &format!("{} when source.port > 0", f.to_laptop()))?;
        fallen_back.annotate("debug.redirect", &f.to_laptop().replace("3000", "3666"))?;
        redirected.wait_active()?;
        fallen_back.wait_refused("TargetRefuses")?;
        let load = f.load_on(&[redirected.address(), fallen_back.address()])?;
        for (title, query) in queries()? {
            wait_until(&format!("data for {title:?}: {query}"), LONG_TIMEOUT, || {
                let values = prometheus.query(&query)?;
                ensure!(!values.is_empty(), "no data");
                Ok(())
            })?;
        }

        // Prometheus has the same count as the load.
        let calls = load.stop();
        calls.assert_none_failed();
        let count = format!(
            r#"sum(interceptor_connections_total{{{job},namespace="{namespace}",pod="{pod}",{outcome}}})"#,
            job = r#"job="interceptor""#,
            namespace = redirected.namespace(),
            pod = redirected.name(),
            outcome = r#"outcome="redirected""#,
        );
        wait_until("Prometheus to have all calls", TIMEOUT, || {
            let counted = prometheus.query(&count)?;
            ensure!(
                counted == [calls.by("laptop") as f64],
                "Prometheus has {counted:?}, the load {}",
                calls.by("laptop")
            );
            Ok(())
        })?;

        let alerts = prometheus.alerts()?;
        let written = chart("alerts/interceptor.yaml")?.matches("- alert: ").count();
        ensure!(
            written > 0 && alerts.len() == written,
            "the chart has {written} alerts, and Prometheus loaded {alerts:?}"
        );
        wait_until("all alerts to be evaluated", TIMEOUT, || {
            let alerts = prometheus.alerts()?;
            let unhealthy = alerts.iter().filter(|(_, health)| health != "ok").collect::<Vec<_>>();
            ensure!(unhealthy.is_empty(), "{unhealthy:?}");
            Ok(())
        })?;
        let firing = prometheus.query(r#"ALERTS{alertstate="firing",severity!="info"}"#)?;
        assert!(firing.is_empty(), "alerts fire without a fault");
        Ok(())
    });
}

#[test]
fn promtool_accepts_alerts_and_metrics() {
    run("promtool", |f| {
        let rules = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../deploy/charts/interceptor/alerts/interceptor.yaml");
        let output = Command::new("promtool").args(["check", "rules"]).arg(rules).output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

        f.installed(&[])?;
        let metrics = f.product.first_daemon()?.get("/metrics")?;
        for line in metrics.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
            ensure!(line.starts_with("interceptor_"), "{line}");
        }
        Ok(())
    });
}
