//! The report, as text and as JSON.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;

use super::arming::Arming;
use super::cases::Case;
use super::facts::Facts;
use super::goals::Goal;
use super::idle::{Held, Idle};
use super::samples::{Metric, Samples};

/// The results of a whole run.
#[derive(Serialize)]
pub(crate) struct Report {
    pub(crate) command: String,
    pub(crate) machine: Facts,
    pub(crate) load_average_after: String,
    pub(crate) elapsed_seconds: f64,
    pub(crate) rounds: usize,
    pub(crate) seconds_per_load: f64,
    pub(crate) cases: Vec<Case>,
    pub(crate) goals: Vec<Goal>,
    pub(crate) arming: Option<Arming>,
    pub(crate) idle: Option<Idle>,
    pub(crate) held: Option<Held>,
    pub(crate) samples: Samples,
}

/// A text table whose columns are as wide as their widest cell.
struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    fn new(head: &[&str]) -> Self {
        Self { rows: vec![head.iter().map(|cell| (*cell).into()).collect()] }
    }

    fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    fn print(&self, out: &mut String) {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or_default();
        let width = |column: usize| {
            self.rows
                .iter()
                .filter_map(|row| row.get(column))
                .map(|cell| cell.chars().count())
                .max()
                .unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        for row in &self.rows {
            let mut line = String::new();
            for (column, cell) in row.iter().enumerate() {
                let wide = widths[column];
                // Align names to the left and numbers to the right.
                let _ = match column {
                    0 => write!(line, "{cell:<wide$}"),
                    _ => write!(line, "  {cell:>wide$}"),
                };
            }
            out.push_str(line.trim_end());
            out.push('\n');
        }
        out.push('\n');
    }
}

impl Report {
    /// Writes the report with all samples as JSON.
    pub(crate) fn write_json(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self)?;
        fs::write(path, text + "\n").with_context(|| format!("writing {}", path.display()))
    }

    /// The report as text.
    pub(crate) fn text(&self) -> String {
        let mut out = String::new();
        let _ = writeln!(out, "{}", self.machine.line());
        let _ = writeln!(
            out,
            "medians of {} interleaved rounds, {} s per load; in brackets the median of the ratios \
             to the\ncase's base (direct, or bystander-base) in the same round\n",
            self.rounds, self.seconds_per_load
        );
        self.throughput(&mut out);
        self.latency(&mut out);
        self.price(&mut out);
        self.control(&mut out);
        for Goal { goal, measured, verdict } in &self.goals {
            let _ = writeln!(out, "{:<5}  {goal}: {measured}", verdict.word());
        }
        let _ = writeln!(
            out,
            "\n{:.0} s; load average after the run {}\nrepeat with: {}",
            self.elapsed_seconds, self.load_average_after, self.command
        );
        out
    }

    fn measured(&self, metric: Metric) -> bool {
        self.cases.iter().any(|&case| self.samples.median(case, metric).is_some())
    }

    fn throughput(&self, out: &mut String) {
        let all = [
            (Metric::ConnsPerSecond, "new conn/s", 0),
            (Metric::Bulk1Gbit, "1 stream Gbit/s", 2),
            (Metric::Bulk8Gbit, "8 streams Gbit/s", 2),
        ];
        let shown: Vec<_> = all.into_iter().filter(|(metric, ..)| self.measured(*metric)).collect();
        if shown.is_empty() {
            return;
        }
        let mut head = vec!["more is better"];
        head.extend(shown.iter().flat_map(|(_, name, _)| [*name, ""]));
        let failed =
            self.cases.iter().any(|&case| self.samples.sum(case, Metric::ConnsFailed) > 0.0);
        if failed {
            head.push("failed conns");
        }
        let mut table = Table::new(&head);
        for &case in &self.cases {
            let mut row = vec![case.name()];
            for &(metric, _, digits) in &shown {
                row.push(number(self.samples.median(case, metric), digits));
                row.push(self.bracket(case, metric));
            }
            if failed {
                row.push(number(Some(self.samples.sum(case, Metric::ConnsFailed)), 0));
            }
            table.row(row);
        }
        table.print(out);
    }

    fn latency(&self, out: &mut String) {
        let all = [
            (Metric::RrPinnedP50Us, Metric::RrPinnedP99Us, "64 B p50 us, one CPU", "p99"),
            (Metric::RrP50Us, Metric::RrP99Us, "64 B p50 us, all CPUs", "p99"),
            (Metric::ConnsP50Us, Metric::ConnsP99Us, "new conn p50 us", "p99"),
        ];
        let shown: Vec<_> = all.into_iter().filter(|(metric, ..)| self.measured(*metric)).collect();
        if shown.is_empty() {
            return;
        }
        let mut head = vec!["less is better"];
        head.extend(shown.iter().flat_map(|(_, _, p50, p99)| [*p50, "", *p99]));
        let mut table = Table::new(&head);
        for &case in &self.cases {
            let mut row = vec![case.name()];
            for &(p50, p99, ..) in &shown {
                row.push(number(self.samples.median(case, p50), 1));
                row.push(self.bracket(case, p50));
                row.push(number(self.samples.median(case, p99), 0));
            }
            table.row(row);
        }
        table.print(out);
    }

    fn price(&self, out: &mut String) {
        let all = [
            (Metric::AllCpuUsPerConn, Metric::CpuUsPerConn, "us/connection", 0),
            (Metric::AllCpuUsPerRequest, Metric::CpuUsPerRequest, "us/request", 1),
            (Metric::AllCpuPerGib1, Metric::CpuPerGib1, "s/GiB, 1 stream", 2),
            (Metric::AllCpuPerGib8, Metric::CpuPerGib8, "s/GiB, 8 streams", 2),
        ];
        let shown: Vec<_> = all.into_iter().filter(|(metric, ..)| self.measured(*metric)).collect();
        if shown.is_empty() {
            return;
        }
        let mut head = vec!["CPU time of all processes"];
        head.extend(shown.iter().flat_map(|(_, _, name, _)| [*name, "", "relay"]));
        let mut table = Table::new(&head);
        for &case in &self.cases {
            let mut row = vec![case.name()];
            for &(all, relay, _, digits) in &shown {
                row.push(number(self.samples.median(case, all), digits));
                row.push(self.bracket(case, all));
                row.push(number(self.samples.median(case, relay), digits));
            }
            table.row(row);
        }
        table.print(out);
    }

    fn control(&self, out: &mut String) {
        if let Some(Arming { changes, on, off }) = &self.arming {
            let _ = writeln!(
                out,
                "rule added: {:.1} ms p50, {:.1} ms p99 to the first connection at the laptop; \
                 removed: {:.1} ms p50, {:.1} ms p99 to the first at the app \
                 ({changes} times each)",
                on.p50_ms, on.p99_ms, off.p50_ms, off.p99_ms
            );
        }
        if let Some(Idle {
            workloads,
            seconds_to_arm,
            rss_mib,
            cpu_percent,
            wake_ups_per_second,
            seconds,
        }) = &self.idle
        {
            let _ = writeln!(
                out,
                "idle daemon, {workloads} workloads armed (in {seconds_to_arm:.1} s): \
                 {rss_mib:.1} MiB resident, {cpu_percent:.2} % of one CPU, \
                 {wake_ups_per_second:.1} wake-ups/s (over {seconds:.0} s)"
            );
        }
        if let Some(Held { connections, bytes_per_connection, rss_mib, seconds_to_open }) =
            &self.held
        {
            let _ = writeln!(
                out,
                "{connections} silent connections: {:.1} KiB of the daemon's memory each \
                 ({rss_mib:.1} MiB resident in all), opened in {seconds_to_open:.1} s",
                bytes_per_connection / 1024.0
            );
        }
        if self.arming.is_some() || self.idle.is_some() || self.held.is_some() {
            out.push('\n');
        }
    }

    /// The ratio to the case's base in brackets. Empty for the base itself.
    fn bracket(&self, case: Case, metric: Metric) -> String {
        let base = case.base();
        if case == base {
            return String::new();
        }
        self.samples
            .ratio(case, base, metric)
            .map_or_else(String::new, |ratio| format!("({ratio:.2})"))
    }
}

fn number(value: Option<f64>, digits: usize) -> String {
    value.map_or_else(|| "-".into(), |value| format!("{value:.digits$}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        let mut table = Table::new(&["case", "rate"]);
        table.row(vec!["direct".into(), "12".into()]);
        table.row(vec!["a".into(), "12345".into()]);
        let mut out = String::new();
        table.print(&mut out);
        assert_eq!(out, "case     rate\ndirect     12\na       12345\n\n");
    }
}
