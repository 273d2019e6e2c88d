//! A real Prometheus that scrapes the product's daemons, with the chart's alerts. Debian's package
//! cannot discover the daemons by the Kubernetes API, so they are listed as static targets.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{self, Child, Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use testbed::wait_until;

use crate::{Daemon, LONG_TIMEOUT};

const ADDRESS: &str = "127.0.0.1:19090";

/// A running Prometheus. Dropping it ends it.
#[derive(Debug)]
pub struct Prometheus {
    child: Child,
    folder: PathBuf,
}

impl Prometheus {
    /// Starts Prometheus with these targets, and waits until it is ready.
    pub fn start(daemons: &[Daemon]) -> Result<Self> {
        let folder = env::temp_dir().join(format!("interceptor-prometheus-{}", process::id()));
        fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
        let config = folder.join("prometheus.yml");
        fs::write(&config, configuration(daemons)).context("write its configuration")?;
        let log = fs::File::create(folder.join("log")).context("create its log")?;
        let child = Command::new("prometheus")
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", folder.join("data").display()))
            .arg(format!("--web.listen-address={ADDRESS}"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().context("share its log")?)
            .stderr(log)
            .spawn()
            .context("start prometheus; `cargo xtask setup e2e` installs it")?;
        let mut prometheus = Self { child, folder };
        wait_until("Prometheus to be ready", LONG_TIMEOUT, || {
            let ended =
                prometheus.child.try_wait().context("check whether Prometheus has ended")?;
            Ok::<_, anyhow::Error>(match ended {
                Some(status) => Err(anyhow::anyhow!("Prometheus ended: {status}")),
                None => Ok(prometheus.get("/-/ready", &[])?),
            })
        })??;
        Ok(prometheus)
    }

    /// The health of each target: `up`, or the error of the last scrape.
    pub fn targets(&self) -> Result<Vec<String>> {
        let response = self.api("/api/v1/targets", &[("state", "active")])?;
        let targets = response["activeTargets"].as_array().cloned().unwrap_or_default();
        let health = targets.iter().map(|target| match target["health"].as_str() {
            Some("up") => "up".to_owned(),
            _ => format!("{} {}", target["health"], target["lastError"]),
        });
        Ok(health.collect())
    }

    /// The names of all loaded alerts, each with its health.
    pub fn alerts(&self) -> Result<Vec<(String, String)>> {
        let response = self.api("/api/v1/rules", &[("type", "alert")])?;
        let groups = response["groups"].as_array().cloned().unwrap_or_default();
        let rules =
            groups.iter().flat_map(|group| group["rules"].as_array().cloned().unwrap_or_default());
        let word = |rule: &Value, key: &str| rule[key].as_str().unwrap_or_default().to_owned();
        Ok(rules.map(|rule| (word(&rule, "name"), word(&rule, "health"))).collect())
    }

    /// The values of a query, without NaN.
    pub fn query(&self, query: &str) -> Result<Vec<f64>> {
        let response = self
            .api("/api/v1/query", &[("query", query)])
            .with_context(|| format!("query {query}"))?;
        let series = response["result"].as_array().cloned().unwrap_or_default();
        let values = series.iter().filter_map(|one| one["value"][1].as_str()?.parse::<f64>().ok());
        Ok(values.filter(|value| !value.is_nan()).collect())
    }

    fn api(&self, path: &str, form: &[(&str, &str)]) -> Result<Value> {
        let response: Value = serde_json::from_str(&self.get(path, form)?)
            .context("parse the response of Prometheus")?;
        ensure!(response["status"] == "success", "{response}");
        Ok(response["data"].clone())
    }

    fn get(&self, path: &str, form: &[(&str, &str)]) -> Result<String> {
        let mut curl = Command::new("curl");
        curl.args([
            "--silent",
            "--show-error",
            "--max-time",
            "5",
            "--get",
            &format!("http://{ADDRESS}{path}"),
        ]);
        for (key, value) in form {
            curl.args(["--data-urlencode", &format!("{key}={value}")]);
        }
        let output = curl.output().context("run curl")?;
        let log = || fs::read_to_string(self.folder.join("log")).unwrap_or_default();
        ensure!(
            output.status.success(),
            "{}; its log:\n{}",
            String::from_utf8_lossy(&output.stderr),
            log()
        );
        String::from_utf8(output.stdout).context("the response is not UTF-8")
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// The configuration that the chart's PodMonitor leads to.
fn configuration(daemons: &[Daemon]) -> String {
    let alerts = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../deploy/charts/interceptor/alerts/interceptor.yaml");
    let targets =
        daemons.iter().map(|daemon| format!("'{}'", daemon.metrics_address())).collect::<Vec<_>>();
    format!(
        "global: {{scrape_interval: 1s, evaluation_interval: 1s}}
rule_files: [{}]
scrape_configs: [{{job_name: interceptor, honor_labels: true, static_configs: [{{targets: [{}]}}]}}]
",
        alerts.display(),
        targets.join(", "),
    )
}
