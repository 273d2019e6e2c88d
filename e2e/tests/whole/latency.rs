//! The time from `kubectl annotate` to Active, measured with a watch of the API.

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Stdio},
    sync::mpsc::{self, Receiver},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use interceptor_e2e::{Fixture, Kind, Manifest, Pod, TIMEOUT, run};

const ROUNDS: usize = 50;
/// Maximum for 99 % of the rounds, with kubectl's own time.
const MAXIMUM_TOTAL: Duration = Duration::from_millis(300);
/// Maximum for 99 % of the rounds, from the change in the API to the condition.
const MAXIMUM_OWN: Duration = Duration::from_millis(150);

/// A state of the pod, with the time when the watch showed it.
struct Observation {
    at: Instant,
    annotated: bool,
    active: bool,
}

/// `kubectl get --watch` of one pod.
struct Watch {
    child: Child,
    observations: Receiver<Observation>,
}

impl Watch {
    fn start(f: &Fixture, pod: &Pod) -> Result<Self> {
        let shown = "jsonpath={.metadata.annotations.debug\\.redirect}|\
                     {.status.conditions[?(@.type==\"debug.redirect/Active\")].status}{\"\\n\"}";
        let words = [
            "get",
            "pod",
            pod.name(),
            "--namespace",
            pod.namespace(),
            "--watch",
            "--output",
            shown,
        ];
        let mut child =
            f.cluster.kubectl_command(&words).stdout(Stdio::piped()).spawn().context("watch")?;
        let stdout = child.stdout.take().context("no output of the watch")?;
        let (sender, observations) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let Some((rule, status)) = line.split_once('|') else { continue };
                let observation = Observation {
                    at: Instant::now(),
                    annotated: !rule.is_empty(),
                    active: status == "True",
                };
                if sender.send(observation).is_err() {
                    return;
                }
            }
        });
        Ok(Self { child, observations })
    }

    fn wait_for(&self, wanted: impl Fn(&Observation) -> bool) -> Result<Instant> {
        loop {
            let observation = self
                .observations
                .recv_timeout(TIMEOUT)
                .context("the watch does not show the state")?;
            if wanted(&observation) {
                return Ok(observation.at);
            }
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The durations of all rounds.
#[derive(Default)]
struct Times(Vec<Duration>);

impl Times {
    fn percentile(&mut self, percent: usize) -> Duration {
        self.0.sort();
        self.0[(self.0.len() * percent).div_ceil(100) - 1]
    }

    fn print(&mut self, what: &str) {
        let (median, p99, longest) =
            (self.percentile(50), self.percentile(99), self.percentile(100));
        println!(
            "{what}: p50 {median:.0?}, p99 {p99:.0?}, longest {longest:.0?} of {} rounds",
            self.0.len()
        );
    }
}

#[test]
fn a_rule_is_active_within_300_ms_of_annotate_and_removed_as_fast() {
    run("latency", |f| {
        f.installed(&[])?;
        f.wait_alone()?;
        let app = f.start(Manifest::new(Kind::Pod, "app"))?.pod()?;
        let watch = Watch::start(f, &app)?;
        watch.wait_for(|observation| !observation.annotated)?;
        let (mut activation, mut own_part, mut removal) =
            (Times::default(), Times::default(), Times::default());
        for _ in 0..ROUNDS {
            let began = Instant::now();
            app.annotate("debug.redirect", &f.to_laptop())?;
            let annotated = watch.wait_for(|observation| observation.annotated)?;
            let active = watch.wait_for(|observation| observation.active)?;
            assert_eq!(app.served_by()?, "laptop");
            activation.0.push(active - began);
            own_part.0.push(active - annotated);

            let began = Instant::now();
            app.unannotate("debug.redirect")?;
            let gone =
                watch.wait_for(|observation| !observation.annotated && !observation.active)?;
            app.wait_for_answer("app")?;
            removal.0.push(gone - began);
        }
        activation.print("from the start of `kubectl annotate` to Active");
        own_part.print("of that, from the annotation in the API to Active");
        removal.print("from the start of the removal to a pod without the condition");
        ensure!(
            own_part.percentile(99) <= MAXIMUM_OWN,
            "Active only {:?} after the annotation",
            own_part.percentile(99)
        );
        if let Some(load) = busy()? {
            println!(
                "SKIPPED: kubectl's own time is not checked on a busy machine \
                 (load {load} per processor)"
            );
            return Ok(());
        }
        ensure!(
            activation.percentile(99) <= MAXIMUM_TOTAL,
            "Active only after {:?}",
            activation.percentile(99)
        );
        ensure!(
            removal.percentile(99) <= MAXIMUM_TOTAL,
            "removed only after {:?}",
            removal.percentile(99)
        );
        Ok(())
    });
}

/// The load per processor, if it is above 1.5: then every program takes long to start.
fn busy() -> Result<Option<f64>> {
    let average = std::fs::read_to_string("/proc/loadavg").context("read the load")?;
    let average =
        average.split(' ').next().unwrap_or_default().parse::<f64>().context("read the load")?;
    let load = average / thread::available_parallelism()?.get() as f64;
    Ok((load > 1.5).then_some(load))
}
