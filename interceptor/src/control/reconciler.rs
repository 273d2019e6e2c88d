//! One task that brings every workload to its spec.
//!
//! The task sleeps until an event wakes it: a change of the source, a mount, a process or a fact,
//! or a deadline. Then it steps the workloads concerned. Wake-ups that arrive together count as
//! one.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use futures_util::FutureExt as _;
use interceptor_api::Reason;
use tokio::{
    sync::mpsc::UnboundedReceiver,
    task::yield_now,
    time::{Instant, sleep, sleep_until},
};

use super::{
    context::{Context, Wake},
    facts::watch::{MountWatch, process_ended},
    registry::Registry,
    source::Source,
    task::OwnedTask,
    workload::WorkloadController,
};
use crate::{
    config::workloads::{NetnsSource, WorkloadSpec},
    readiness::ReadyTask,
};

/// The delay between checks for a process that does not exist.
const ABSENT_RETRY: Duration = Duration::from_secs(1);

/// Owns the controllers of all workloads, and steps them.
pub struct Reconciler {
    context: Arc<Context>,
    registry: Arc<Registry>,
    source: Arc<dyn Source>,
    workloads: BTreeMap<Arc<str>, Slot>,
    /// The number of admitted rules of all workloads.
    rules: usize,
    /// Held until the source has delivered all its specs.
    source_task: Option<ReadyTask>,
    /// Held until every workload has had its first step.
    first_steps: Option<ReadyTask>,
}

struct Slot {
    controller: WorkloadController,
    /// The latest time of the next step.
    next: Option<Instant>,
    /// The number of admitted rules.
    rules: usize,
    /// Whether a limit refused a rule.
    at_limit: bool,
    /// Wakes the reconciler when the process in the spec ends.
    _process: Option<OwnedTask>,
}

// === impl Reconciler ===

impl Reconciler {
    /// A reconciler of `workloads`, the specs that `source` had at start.
    #[must_use]
    pub fn new(
        context: Arc<Context>,
        registry: Arc<Registry>,
        source: Arc<dyn Source>,
        workloads: Vec<WorkloadSpec>,
    ) -> Self {
        let (source_task, first_steps) = {
            let readiness = registry.readiness();
            (Some(readiness.task("source")), Some(readiness.task("first steps")))
        };
        let mut reconciler = Self {
            context,
            registry,
            source,
            workloads: BTreeMap::new(),
            rules: 0,
            source_task,
            first_steps,
        };
        reconciler.adopt(workloads);
        reconciler
    }

    /// Reconciles until `shutdown`, then disarms every workload.
    pub async fn run(
        mut self,
        mut wakes: UnboundedReceiver<Wake>,
        shutdown: impl Future<Output = ()>,
    ) {
        let _watches = self.watch();
        let mut due: BTreeSet<Arc<str>> = self.workloads.keys().cloned().collect();
        tokio::pin!(shutdown);
        loop {
            for name in std::mem::take(&mut due) {
                self.step(&name).await;
                // A step may wait for a worker that hangs. The end of the daemon, or of a rule,
                // does not wait for the steps of all workloads.
                if shutdown.as_mut().now_or_never().is_some() {
                    return self.end();
                }
                self.listen(None, &mut wakes, &mut due);
            }
            if self.source.is_complete() {
                self.source_task = None;
                if due.is_empty() {
                    self.first_steps = None;
                }
            }
            let next = self.workloads.values().filter_map(|slot| slot.next).min();
            tokio::select! {
                biased;
                () = &mut shutdown => return self.end(),
                wake = wakes.recv() => {
                    let Some(wake) = wake else { return self.end() };
                    self.listen(Some(wake), &mut wakes, &mut due);
                }
                // Workloads that became due between steps. Other tasks of this thread run first.
                () = yield_now(), if !due.is_empty() => {}
                () = sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => {}
            }
            let now = Instant::now();
            let ripe =
                self.workloads.iter().filter(|(_, slot)| slot.next.is_some_and(|at| at <= now));
            due.extend(ripe.map(|(name, _)| Arc::clone(name)));
        }
    }

    fn end(self) {
        for (name, slot) in self.workloads {
            self.registry.remove(&name);
            slot.controller.end(&self.context);
        }
    }

    /// Adds the workloads that `first` and all queued wake-ups concern to `due`. Disarms those that
    /// the source no longer has.
    fn listen(
        &mut self,
        first: Option<Wake>,
        wakes: &mut UnboundedReceiver<Wake>,
        due: &mut BTreeSet<Arc<str>>,
    ) {
        let (mut source, mut mounts) = (false, false);
        let rest = std::iter::from_fn(|| wakes.try_recv().ok());
        for wake in first.into_iter().chain(rest) {
            match wake {
                Wake::Workload(name) => {
                    due.insert(name);
                }
                Wake::Ended(name) => {
                    if let Some(slot) = self.workloads.get_mut(&name) {
                        slot.controller.process_ended();
                        due.insert(name);
                    }
                }
                Wake::Mounts => mounts = true,
                Wake::Source => source = true,
            }
        }
        if source {
            due.extend(self.reload());
        }
        // After the reload, which may just have disarmed workloads of namespaces that are gone.
        if mounts {
            let Context { home, workers, draining, .. } = &*self.context;
            draining.lock().retain(|disarmed| disarmed.cut_if_gone(home, workers));
            for (name, slot) in &mut self.workloads {
                slot.controller.retry_now();
                due.insert(Arc::clone(name));
            }
        }
    }

    async fn step(&mut self, name: &Arc<str>) {
        let Some(slot) = self.workloads.get_mut(name) else { return };
        let elsewhere = self.rules - slot.rules;
        let (entry, next) = slot.controller.step(&self.context, elsewhere).await;
        slot.next = next.map(|pause| Instant::now() + pause);
        let freed = entry.admitted() < slot.rules;
        slot.rules = entry.admitted();
        slot.at_limit =
            entry.rules.iter().any(|rule| rule.condition.reason == Reason::LimitExceeded);
        self.rules = elsewhere + slot.rules;
        self.registry.publish(entry);
        if freed {
            for name in self.at_limit() {
                let _ = self.context.wakes.send(Wake::Workload(name));
            }
        }
        self.fit_limit();
    }

    /// Reads the source. Returns the workloads to step: none if it can't be read or is not
    /// complete.
    fn reload(&mut self) -> Vec<Arc<str>> {
        if !self.source.is_complete() {
            return Vec::new();
        }
        match self.source.workloads() {
            Ok(specs) => {
                self.registry.set_source_error(None);
                self.adopt(specs)
            }
            Err(error) => {
                let error = format!("{error}; the last valid version stays in force");
                if self.registry.source_error().as_ref() != Some(&error) {
                    tracing::warn!("{error}");
                }
                self.registry.set_source_error(Some(error));
                Vec::new()
            }
        }
    }

    /// Applies a new set of specs. Returns the workloads to step: those that are new or changed.
    fn adopt(&mut self, specs: Vec<WorkloadSpec>) -> Vec<Arc<str>> {
        let specs: BTreeMap<Arc<str>, WorkloadSpec> =
            specs.into_iter().map(|spec| (Arc::from(spec.name.as_str()), spec)).collect();
        // A pod with the same name and another uid is another workload.
        let goes_on = |name: &Arc<str>, slot: &Slot| {
            specs.get(name).is_some_and(|spec| spec.uid() == slot.controller.spec().uid())
        };
        let gone = self.workloads.iter().filter(|(name, slot)| !goes_on(name, slot));
        let gone: Vec<_> = gone.map(|(name, _)| Arc::clone(name)).collect();
        // Workloads that go may free the limit for rules that it refused.
        let mut changed = if gone.is_empty() { Vec::new() } else { self.at_limit() };
        for name in gone {
            self.registry.remove(&name);
            if let Some(slot) = self.workloads.remove(&name) {
                self.rules -= slot.rules;
                slot.controller.end(&self.context);
            }
        }
        for (name, spec) in specs {
            match self.workloads.get_mut(&name) {
                Some(slot) if *slot.controller.spec() == spec => continue,
                Some(slot) => {
                    if slot.controller.spec().netns != spec.netns {
                        slot._process = process_watch(&spec.netns, &name, &self.context);
                    }
                    slot.controller.set_spec(spec);
                }
                None => {
                    let process = process_watch(&spec.netns, &name, &self.context);
                    let controller = WorkloadController::new(spec);
                    let slot = Slot {
                        controller,
                        next: None,
                        rules: 0,
                        at_limit: false,
                        _process: process,
                    };
                    self.workloads.insert(Arc::clone(&name), slot);
                }
            }
            changed.push(name);
        }
        changed
    }

    /// Workloads with a rule that a limit refused.
    fn at_limit(&self) -> Vec<Arc<str>> {
        let short = self.workloads.iter().filter(|(_, slot)| slot.at_limit);
        short.map(|(name, _)| Arc::clone(name)).collect()
    }

    /// Starts the tasks that wake the reconciler.
    fn watch(&self) -> Vec<OwnedTask> {
        let mut tasks = Vec::new();
        let wakes = self.context.wakes.clone();
        match MountWatch::new() {
            Ok(mut watch) => tasks.push(OwnedTask::spawn(async move {
                while watch.changed().await.is_ok() && wakes.send(Wake::Mounts).is_ok() {}
            })),
            Err(error) => {
                tracing::warn!(%error, "can't watch mounts; namespaces are found by retrying");
            }
        }
        tasks.extend(self.source.watch(&self.context.wakes));
        tasks
    }

    /// Sets the connection limit to what the file descriptors of armed workloads leave.
    fn fit_limit(&self) {
        let Context { workers, limits, claims, .. } = &*self.context;
        let limit = limits.connections(self.workloads.len(), claims.count(), workers.count());
        workers.shared().set_limit(limit);
    }
}

fn process_watch(netns: &NetnsSource, name: &Arc<str>, context: &Context) -> Option<OwnedTask> {
    let NetnsSource::Pid(pid) = *netns else { return None };
    let (name, wakes) = (Arc::clone(name), context.wakes.clone());
    Some(OwnedTask::spawn(async move {
        // A process that does not exist yet can't be watched.
        while process_ended(pid).await.is_err() {
            sleep(ABSENT_RETRY).await;
        }
        let _ = wakes.send(Wake::Ended(name));
    }))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use parking_lot::Mutex;
    use prometheus_client::metrics::histogram::Histogram;
    use tokio::sync::{mpsc, oneshot};

    use super::*;
    use crate::{
        config::yaml::ReadError,
        control::claims::Claims,
        datapath::{Callers, Loader},
        limits::Limits,
        netns::{HomeNetns, finder::Finder},
        relay::{loop_guard::LoopGuard, worker::Workers},
    };

    /// A source that a test controls.
    #[derive(Default)]
    struct FakeSource {
        specs: Mutex<Vec<WorkloadSpec>>,
        is_complete: AtomicBool,
    }

    impl Source for FakeSource {
        fn workloads(&self) -> Result<Vec<WorkloadSpec>, ReadError> {
            Ok(self.specs.lock().clone())
        }

        fn is_complete(&self) -> bool {
            self.is_complete.load(Ordering::Relaxed)
        }
    }

    /// A context in which no namespace is found and no program is loaded.
    fn context(wakes: mpsc::UnboundedSender<Wake>) -> Context {
        let home = HomeNetns::capture().expect("procfs");
        Context {
            home,
            policy: Arc::default(),
            limits: Limits::raise().expect("limits"),
            finder: Finder::new(Vec::new(), false, home),
            workers: Arc::new(Workers::start(1, 1).expect("a thread")),
            loop_guard: Arc::new(LoopGuard::default()),
            probe_turn: Arc::default(),
            loader: Mutex::new(Loader::new(1)),
            callers: Arc::new(Callers::disabled()),
            arm_seconds: Histogram::new([1.0]),
            wakes,
            claims: Claims::new(None),
            draining: Mutex::default(),
        }
    }

    async fn until(registry: &Registry, condition: impl Fn(&Registry) -> bool) {
        while !condition(registry) {
            sleep(Duration::from_millis(1)).await;
        }
    }

    #[tokio::test]
    async fn a_source_is_acted_on_once_it_is_complete() {
        let web = WorkloadSpec::from_flag("/nowhere/web".as_ref(), &["8080 -> 10.20.0.7:3000"]);
        let (wakes, woken) = mpsc::unbounded_channel();
        let source = Arc::new(FakeSource::default());
        *source.specs.lock() = vec![web.expect("a spec")];
        let registry = Arc::new(Registry::default());
        let reconciler = Reconciler::new(
            Arc::new(context(wakes.clone())),
            Arc::clone(&registry),
            Arc::clone(&source) as Arc<dyn Source>,
            Vec::new(),
        );
        let (end, ended) = oneshot::channel::<()>();
        let task = tokio::spawn(reconciler.run(woken, async { drop(ended.await) }));

        wakes.send(Wake::Source).expect("the reconciler runs");
        wakes.send(Wake::Mounts).expect("the reconciler runs");
        for _ in 0..10 {
            yield_now().await;
        }
        assert!(registry.workload("web").is_none() && !registry.is_ready());

        source.is_complete.store(true, Ordering::Relaxed);
        wakes.send(Wake::Source).expect("the reconciler runs");
        until(&registry, Registry::is_ready).await;
        let entry = registry.workload("web").expect("it was stepped before the daemon is ready");
        let failure = entry.failure.as_ref().expect("there is no such namespace");
        assert_eq!(failure.reason, Reason::NetnsNotFound);

        source.specs.lock().clear();
        wakes.send(Wake::Source).expect("the reconciler runs");
        until(&registry, |registry| registry.workload("web").is_none()).await;
        drop(end);
        task.await.expect("no panic");
    }
}
