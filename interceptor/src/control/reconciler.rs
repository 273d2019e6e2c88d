//! One task that brings every workload to what is written.
//!
//! It sleeps until something wakes it (the file, a mount, a process, a fact that a background task found out, a time
//! that came), then steps the workloads concerned. Wake-ups that arrive together are one.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use futures_util::FutureExt as _;
use parking_lot::Mutex;
use prometheus_client::metrics::histogram::Histogram;
use tokio::{
    sync::mpsc::{UnboundedReceiver, UnboundedSender},
    task::yield_now,
    time::{Instant, sleep, sleep_until},
};

use super::{
    claims::Claims,
    draining::Draining,
    facts::watch::{FileWatch, MountWatch, process_ended},
    registry::Registry,
    status::Reason,
    task::OwnedTask,
    workload::WorkloadController,
};
use crate::{
    config::{
        policy::Policy,
        workloads::{self, NetnsSource, WorkloadSpec},
    },
    datapath::{Callers, Loader},
    kubernetes::store::Store,
    limits::Limits,
    netns::{HomeNetns, finder::Finder},
    relay::{loop_guard::LoopGuard, worker::Workers},
};

/// How often a process or a folder that is not there is looked for.
const ABSENT_RETRY: Duration = Duration::from_secs(1);

/// What everything on the control side may use.
pub struct Context {
    /// Where the daemon lives.
    pub home: &'static HomeNetns,
    /// The admin's limits.
    pub policy: Arc<Policy>,
    /// What is to be shared between connections and armed workloads.
    pub limits: Limits,
    /// Finds pods' namespaces.
    pub finder: Finder,
    /// Who relays.
    pub workers: Arc<Workers>,
    /// The daemon's upstream connections.
    pub loop_guard: Arc<LoopGuard>,
    /// Loads the kernel program for each namespace.
    pub loader: Mutex<Loader>,
    /// Lets applications see their callers.
    pub callers: Arc<Callers>,
    /// From looking at a workload to its program being attached, in seconds.
    pub arm_seconds: Histogram,
    /// Wakes the reconciler.
    pub wakes: UnboundedSender<Wake>,
    /// Whose each port of an armed namespace is.
    pub claims: Claims,
    /// What was given back and may still have connections.
    pub leaving: Mutex<Vec<Draining>>,
}

/// Where workloads are written.
#[derive(Debug)]
pub enum Source {
    /// In a file that may change at any time.
    File(PathBuf),
    /// On the command line.
    Fixed(Vec<WorkloadSpec>),
    /// On the pods of this node.
    Pods(Arc<Store>),
}

/// What the reconciler is to look at.
#[derive(Clone, Debug)]
pub enum Wake {
    /// One workload, by name.
    WorkloadSpec(Arc<str>),
    /// Every workload: the mounts changed.
    Mounts,
    /// The process that a workload is known by has ended.
    Ended(Arc<str>),
    /// What is written.
    Source,
}

/// Wakes the reconciler for one workload.
#[derive(Clone, Debug)]
pub struct Waker {
    name: Arc<str>,
    wakes: UnboundedSender<Wake>,
}

/// The reconciler's own state.
pub struct Reconciler {
    context: Arc<Context>,
    registry: Arc<Registry>,
    source: Source,
    workloads: BTreeMap<Arc<str>, Slot>,
    /// Rules that were admitted, of all workloads.
    rules: usize,
}

struct Slot {
    managed: WorkloadController,
    /// When to step again at the latest.
    next: Option<Instant>,
    /// Rules that were admitted, and whether a limit stood in the way of others.
    rules: usize,
    short_of_room: bool,
    /// Tells when the workload's process ends, if it is known by a process.
    _process: Option<OwnedTask>,
}

// === impl Context ===

impl Context {
    /// Watches over what was given back until its connections have ended.
    pub fn leave(&self, leaving: Draining) {
        let mut list = self.leaving.lock();
        list.retain(|leaving| !leaving.is_over());
        list.push(leaving);
    }

    /// A waker for the workload `name`.
    #[must_use]
    pub fn waker(&self, name: &Arc<str>) -> Waker {
        Waker { name: Arc::clone(name), wakes: self.wakes.clone() }
    }
}

// === impl Waker ===

impl Waker {
    /// Has the workload stepped soon.
    pub fn wake(&self) {
        // Nobody listens any more when the daemon ends.
        let _ = self.wakes.send(Wake::WorkloadSpec(Arc::clone(&self.name)));
    }
}

// === impl Reconciler ===

impl Reconciler {
    /// A reconciler of `workloads`, as they were read from `source` at start.
    #[must_use]
    pub fn new(
        context: Arc<Context>,
        registry: Arc<Registry>,
        source: Source,
        workloads: Vec<WorkloadSpec>,
    ) -> Self {
        let mut reconciler =
            Self { context, registry, source, workloads: BTreeMap::new(), rules: 0 };
        reconciler.adopt(workloads);
        reconciler
    }

    /// Reconciles until `shutdown`, then gives everything back.
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
                // A step may wait for a worker that hangs. Neither the end of the daemon nor that of a rule waits for all of
                // them.
                if shutdown.as_mut().now_or_never().is_some() {
                    return self.end();
                }
                self.listen(None, &mut wakes, &mut due);
            }
            if due.is_empty() && self.source_is_known() {
                self.registry.set_ready();
            }
            let next = self.workloads.values().filter_map(|slot| slot.next).min();
            tokio::select! {
                biased;
                () = &mut shutdown => return self.end(),
                wake = wakes.recv() => {
                    let Some(wake) = wake else { return self.end() };
                    self.listen(Some(wake), &mut wakes, &mut due);
                }
                // Heard of between steps. The other tasks of this thread have their turn first.
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
            slot.managed.end(&self.context);
        }
    }

    /// Notes whom `first` and all other wake-ups that are there concern, and ends what is not written any more.
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
                Wake::WorkloadSpec(name) => {
                    due.insert(name);
                }
                Wake::Ended(name) => {
                    if let Some(slot) = self.workloads.get_mut(&name) {
                        slot.managed.process_ended();
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
        // Behind the above, which gives back what has just gone.
        if mounts {
            let mut leaving = self.context.leaving.lock();
            leaving.retain(|leaving| leaving.look_again(&self.context));
            drop(leaving);
            for (name, slot) in &mut self.workloads {
                slot.managed.hurry();
                due.insert(Arc::clone(name));
            }
        }
    }

    async fn step(&mut self, name: &Arc<str>) {
        let Some(slot) = self.workloads.get_mut(name) else { return };
        let elsewhere = self.rules - slot.rules;
        let (entry, next) = slot.managed.step(&self.context, elsewhere).await;
        slot.next = next.map(|pause| Instant::now() + pause);
        let freed = entry.admitted() < slot.rules;
        slot.rules = entry.admitted();
        slot.short_of_room =
            entry.rules.iter().any(|rule| rule.condition.reason == Reason::LimitExceeded);
        self.rules = elsewhere + slot.rules;
        self.registry.publish(entry);
        if freed {
            for name in self.short_of_room() {
                let _ = self.context.wakes.send(Wake::WorkloadSpec(name));
            }
        }
        self.fit_limit();
    }

    /// Reads what is written now. Gives the workloads to step; none if it can't be read.
    fn reload(&mut self) -> Vec<Arc<str>> {
        let path = match &self.source {
            Source::File(path) => path,
            Source::Pods(store) if store.is_complete() => {
                let workloads = store.workloads();
                return self.adopt(workloads);
            }
            Source::Pods(_) | Source::Fixed(_) => return Vec::new(),
        };
        match workloads::read(path) {
            Ok(file) => {
                self.registry.set_source_error(None);
                self.adopt(file.workloads)
            }
            Err(error) => {
                let error = format!("{error}; what was in force stays in force");
                if self.registry.source_error().as_ref() != Some(&error) {
                    tracing::warn!("{error}");
                }
                self.registry.set_source_error(Some(error));
                Vec::new()
            }
        }
    }

    /// Whether it is known what there is to do, as opposed to not heard of yet.
    fn source_is_known(&self) -> bool {
        match &self.source {
            Source::Pods(store) => store.is_complete(),
            Source::File(_) | Source::Fixed(_) => true,
        }
    }

    /// Takes over a new set of workloads. Gives those that are new or may have changed.
    fn adopt(&mut self, specs: Vec<WorkloadSpec>) -> Vec<Arc<str>> {
        let specs: BTreeMap<Arc<str>, WorkloadSpec> =
            specs.into_iter().map(|spec| (Arc::from(spec.name.as_str()), spec)).collect();
        // Another pod of the same name has nothing to do with the one before.
        let goes_on = |name: &Arc<str>, slot: &Slot| {
            specs.get(name).is_some_and(|spec| spec.uid() == slot.managed.spec().uid())
        };
        let gone = self.workloads.iter().filter(|(name, slot)| !goes_on(name, slot));
        let gone: Vec<_> = gone.map(|(name, _)| Arc::clone(name)).collect();
        // What goes may make room for what was refused.
        let mut changed = if gone.is_empty() { Vec::new() } else { self.short_of_room() };
        for name in gone {
            self.registry.remove(&name);
            if let Some(slot) = self.workloads.remove(&name) {
                self.rules -= slot.rules;
                slot.managed.end(&self.context);
            }
        }
        for (name, spec) in specs {
            match self.workloads.get_mut(&name) {
                Some(slot) if *slot.managed.spec() == spec => continue,
                Some(slot) => {
                    if slot.managed.spec().netns != spec.netns {
                        slot._process = process_watch(&spec.netns, &name, &self.context);
                    }
                    slot.managed.set_spec(spec);
                }
                None => {
                    let process = process_watch(&spec.netns, &name, &self.context);
                    let managed = WorkloadController::new(spec);
                    let slot = Slot {
                        managed,
                        next: None,
                        rules: 0,
                        short_of_room: false,
                        _process: process,
                    };
                    self.workloads.insert(Arc::clone(&name), slot);
                }
            }
            changed.push(name);
        }
        changed
    }

    /// Workloads with rules that a limit refused.
    fn short_of_room(&self) -> Vec<Arc<str>> {
        let short = self.workloads.iter().filter(|(_, slot)| slot.short_of_room);
        short.map(|(name, _)| Arc::clone(name)).collect()
    }

    /// Tasks that wake the reconciler.
    fn watch(&self) -> Vec<OwnedTask> {
        let mut tasks = Vec::new();
        let wakes = self.context.wakes.clone();
        match MountWatch::new() {
            Ok(mut watch) => tasks.push(OwnedTask::spawn(async move {
                while watch.changed().await.is_ok() && wakes.send(Wake::Mounts).is_ok() {}
            })),
            Err(error) => {
                tracing::warn!(%error, "can't watch mounts; namespaces are found by retrying")
            }
        }
        if let Source::File(path) = &self.source {
            let wakes = self.context.wakes.clone();
            match FileWatch::new(path) {
                Ok(watch) => tasks.push(OwnedTask::spawn(watch_file(watch, path.clone(), wakes))),
                Err(error) => {
                    tracing::error!(%error, file = %path.display(), "can't watch the workloads file; send SIGHUP after a change");
                }
            }
        }
        tasks
    }

    /// Leaves room for what armed workloads themselves need of the process's file descriptors.
    fn fit_limit(&self) {
        let workers = &self.context.workers;
        workers
            .shared()
            .set_limit(self.context.limits.connections(self.workloads.len(), workers.count()));
    }
}

/// Wakes the reconciler at each change, and watches the next folder of that name when this one is replaced.
async fn watch_file(mut watch: FileWatch, path: PathBuf, wakes: UnboundedSender<Wake>) {
    loop {
        while watch.changed().await.is_ok() {
            if wakes.send(Wake::Source).is_err() {
                return;
            }
            if !watch.is_current() {
                break;
            }
        }
        tracing::info!(file = %path.display(), "the folder of the workloads file was replaced");
        watch = loop {
            match FileWatch::new(&path) {
                Ok(watch) => break watch,
                Err(_) => sleep(ABSENT_RETRY).await,
            }
        };
        let _ = wakes.send(Wake::Source);
    }
}

fn process_watch(netns: &NetnsSource, name: &Arc<str>, context: &Context) -> Option<OwnedTask> {
    let NetnsSource::Pid(pid) = *netns else { return None };
    let (name, wakes) = (Arc::clone(name), context.wakes.clone());
    Some(OwnedTask::spawn(async move {
        // A process that is not there yet has nothing to be watched by.
        while process_ended(pid).await.is_err() {
            sleep(ABSENT_RETRY).await;
        }
        let _ = wakes.send(Wake::Ended(name));
    }))
}
