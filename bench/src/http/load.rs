//! Runs wrk and h2load, and parses their results.

use std::{fs, process::Command};

use anyhow::{Context as _, Result, ensure};
use serde::Serialize;
use testbed::Namespace;

use super::cases::Load;

/// The results of one load.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Figures {
    pub(crate) requests: f64,
    pub(crate) requests_per_second: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    /// CPU time of the proxy per request. `None` for a case without a proxy.
    pub(crate) cpu_us_per_request: Option<f64>,
}

/// Runs a load in the namespace `client`. A single failed request is an error.
pub(crate) fn run(
    client: &Namespace,
    load: Load,
    url: &str,
    user: &str,
    seconds: u32,
) -> Result<Figures> {
    match load {
        Load::H2 => h2load(client, url, user, seconds),
        _ => wrk(client, load, url, user, seconds),
    }
}

/// Sends one request to check that the expected server answers.
pub(crate) fn check(
    client: &Namespace,
    load: Load,
    url: &str,
    user: &str,
    served_by: &str,
) -> Result<()> {
    let mut command = client.command("curl");
    command.args([
        "-sS",
        "-m",
        "5",
        "-o",
        "/dev/null",
        "-D",
        "-",
        "-H",
        &format!("x-user: {user}"),
        url,
    ]);
    if load == Load::H2 {
        command.arg("--http2-prior-knowledge");
    }
    let head = output(&mut command)?.to_ascii_lowercase();
    ensure!(
        head.contains(&format!("x-served-by: {served_by}")),
        "{url} for {user}: not {served_by}: {head}"
    );
    Ok(())
}

fn wrk(client: &Namespace, load: Load, url: &str, user: &str, seconds: u32) -> Result<Figures> {
    let mut command = client.command("wrk");
    command.args(["-t", "1", "-c", "16", "-d", &format!("{seconds}s"), "--latency"]);
    command.args([
        "-H",
        &format!("x-user: {user}"),
        "-H",
        "accept: */*",
        "-H",
        "user-agent: bench",
    ]);
    if load == Load::New1 {
        command.args(["-H", "connection: close"]);
    }
    let text = output(command.arg(url))?;
    ensure!(
        !text.contains("Non-2xx") && !text.contains("Socket errors"),
        "requests failed: {text}"
    );
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.trim().strip_prefix(name));
        line.map(str::trim).with_context(|| format!("no {name} in {text}"))
    };
    let requests = text
        .lines()
        .find(|line| line.contains(" requests in "))
        .context("no number of requests")?;
    Ok(Figures {
        requests: requests.split_ascii_whitespace().next().context("a number")?.parse()?,
        requests_per_second: field("Requests/sec:")?.parse()?,
        p50_us: microseconds(field("50%")?)?,
        p99_us: microseconds(field("99%")?)?,
        cpu_us_per_request: None,
    })
}

fn h2load(client: &Namespace, url: &str, user: &str, seconds: u32) -> Result<Figures> {
    let log = client.dir().join("h2load.log");
    let _ = fs::remove_file(&log);
    let mut command = client.command("h2load");
    command.args(["-t", "1", "-c", "4", "-m", "8", "-D", &seconds.to_string()]);
    command.args(["-H", &format!("x-user: {user}")]).arg("--log-file").arg(&log).arg(url);
    let text = output(&mut command)?;
    let line = text.lines().find(|line| line.starts_with("requests: ")).context("no requests")?;
    ensure!(line.contains(" 0 failed, 0 errored, 0 timeout"), "requests failed: {text}");
    // Each line has the start, the status and the microseconds of a request.
    let log = fs::read_to_string(&log).context("the log of h2load")?;
    let mut latencies: Vec<f64> =
        log.lines().filter_map(|line| line.split('\t').nth(2)?.trim().parse().ok()).collect();
    ensure!(latencies.len() > 100, "too few requests: {text}");
    latencies.sort_by(f64::total_cmp);
    let at = |share: f64| latencies[((latencies.len() - 1) as f64 * share) as usize];
    let requests = latencies.len() as f64;
    Ok(Figures {
        requests,
        requests_per_second: requests / f64::from(seconds),
        p50_us: at(0.5),
        p99_us: at(0.99),
        cpu_us_per_request: None,
    })
}

fn output(command: &mut Command) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command
        .output()
        .with_context(|| format!("start {name}; `cargo xtask setup bench` installs it"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(output.status.success(), "{name}: {text}{}", String::from_utf8_lossy(&output.stderr));
    Ok(text)
}

/// Parses a time in wrk's format: `81.00us`, `1.23ms`, `2.00s`.
fn microseconds(text: &str) -> Result<f64> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor = match &text[digits.len()..] {
        "us" => 1.0,
        "ms" => 1e3,
        "s" => 1e6,
        "m" => 60e6,
        unit => anyhow::bail!("{text}: unknown unit {unit:?}"),
    };
    Ok(digits.parse::<f64>()? * factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_wrk_are_parsed() {
        for (text, expected) in [("81.00us", 81.0), ("1.25ms", 1250.0), ("2.00s", 2e6)] {
            assert_eq!(microseconds(text).expect("a time"), expected);
        }
        assert!(microseconds("12h").is_err());
    }
}
