//! The report, as text and as JSON.

use std::{fmt::Write as _, fs, path::Path};

use anyhow::{Context as _, Result};
use serde::Serialize;

use super::{
    cases::{Case, Load},
    load::Figures,
};
use crate::{histogram::median, steal::facts::Facts};

/// The results of one case under one load in one round.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Sample {
    pub(crate) round: usize,
    pub(crate) case: Case,
    pub(crate) load: Load,
    pub(crate) figures: Figures,
}

/// The results of a whole run.
#[derive(Serialize)]
pub(crate) struct Report {
    pub(crate) command: String,
    pub(crate) machine: Facts,
    pub(crate) rounds: usize,
    pub(crate) seconds_per_load: u32,
    pub(crate) samples: Vec<Sample>,
}

type Figure = fn(&Figures) -> Option<f64>;

/// The figures that have goals, and whether a larger value is better.
const FIGURES: [(&str, Figure, bool); 3] = [
    ("requests/s", |figures| Some(figures.requests_per_second), true),
    ("p99", |figures| Some(figures.p99_us), false),
    ("CPU/request", |figures| figures.cpu_us_per_request, false),
];

impl Report {
    pub(crate) fn text(&self, cases: &[Case], loads: &[Load]) -> String {
        let mut text = format!(
            "{}\n{}\n{} rounds, {} s per load. Medians; in brackets the median of the ratios to \
             `direct` in the same round\n",
            self.command,
            self.machine.line(),
            self.rounds,
            self.seconds_per_load,
        );
        for &load in loads {
            let _ = writeln!(
                text,
                "\n{:<24}{:>18}{:>10}{:>18}{:>16}",
                load.name(),
                "requests/s",
                "p50 us",
                "p99 us",
                "CPU us/request"
            );
            for &case in cases.iter().filter(|case| case.can(load)) {
                let bracket = |figure: Figure| {
                    self.ratio(case, Case::Direct, load, figure)
                        .map_or(String::new(), |ratio| format!(" ({ratio:.2})"))
                };
                let value = |figure: Figure| self.median(case, load, figure);
                let shown = |value: Option<f64>| {
                    value.map_or_else(|| "-".into(), |value| format!("{value:.0}"))
                };
                let rate: Figure = |figures| Some(figures.requests_per_second);
                let p99: Figure = |figures| Some(figures.p99_us);
                let _ = writeln!(
                    text,
                    "{:<24}{:>18}{:>10}{:>18}{:>16}",
                    case.name(),
                    shown(value(rate)) + &bracket(rate),
                    shown(value(|figures| Some(figures.p50_us))),
                    shown(value(p99)) + &bracket(p99),
                    value(|figures| figures.cpu_us_per_request)
                        .map_or_else(|| "-".into(), |value| format!("{value:.1}")),
                );
            }
        }
        text + &self.goals(cases, loads)
    }

    /// Compares the daemon with its peers: requests per second, p99, and CPU time per request.
    fn goals(&self, cases: &[Case], loads: &[Load]) -> String {
        let mut text =
            "\ngoals: at least haproxy's requests/s, at most its p99 and its CPU time per request\n"
                .to_owned();
        for &load in loads {
            for (case, peer) in cases.iter().filter_map(|case| Some((*case, case.peer()?))) {
                for (name, figure, more_is_better) in FIGURES {
                    let Some(ratio) = self.ratio(case, peer, load, figure) else { continue };
                    let noise = self.noise(load, figure);
                    let (better, worse) = if more_is_better {
                        (ratio, 1.0 - noise)
                    } else {
                        (1.0 / ratio, 1.0 - noise)
                    };
                    let verdict = match better {
                        better if better >= 1.0 => "met",
                        better if better >= worse => "within noise",
                        _ => "MISSED",
                    };
                    let _ = writeln!(
                        text,
                        "  {verdict:<13}{:<10}{:<24}{name:<12} {ratio:.2} of {} (noise {noise:.2})",
                        load.name(),
                        case.name(),
                        peer.name()
                    );
                }
            }
        }
        text
    }

    fn of(&self, case: Case, load: Load) -> impl Iterator<Item = &Sample> {
        self.samples.iter().filter(move |sample| sample.case == case && sample.load == load)
    }

    fn median(&self, case: Case, load: Load, figure: Figure) -> Option<f64> {
        median(
            &self.of(case, load).filter_map(|sample| figure(&sample.figures)).collect::<Vec<_>>(),
        )
    }

    /// The ratios `case / base` per round. Other work of the machine affects both sides of a ratio.
    fn ratios(&self, case: Case, base: Case, load: Load, figure: Figure) -> Vec<f64> {
        let ratio = |sample: &Sample| {
            let other = self.of(base, load).find(|other| other.round == sample.round)?;
            Some(figure(&sample.figures)? / figure(&other.figures)?)
        };
        self.of(case, load).filter_map(ratio).collect()
    }

    fn ratio(&self, case: Case, base: Case, load: Load, figure: Figure) -> Option<f64> {
        median(&self.ratios(case, base, load, figure))
    }

    /// The noise of a ratio: the median distance from 1 of two equal cases.
    ///
    /// A figure that the pair does not have is assumed to be as noisy as the requests per second.
    fn noise(&self, load: Load, figure: Figure) -> f64 {
        let apart = |figure: Figure| {
            let ratios = self.ratios(Case::DirectAgain, Case::Direct, load, figure);
            median(&ratios.iter().map(|ratio| (ratio - 1.0).abs()).collect::<Vec<_>>())
        };
        apart(figure)
            .or_else(|| apart(|figures| Some(figures.requests_per_second)))
            .unwrap_or_default()
            .max(0.03)
    }

    pub(crate) fn write_json(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self)?;
        fs::write(path, text).with_context(|| format!("write {}", path.display()))
    }
}
