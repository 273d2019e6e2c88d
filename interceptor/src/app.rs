//! `interceptor run`: starts the parts of the daemon, and ends them in an order that breaks no
//! connection.

use std::{io, net::SocketAddr, path::PathBuf, sync::Arc, thread, time::Duration};

use anyhow::{Context as _, anyhow};
use interceptor_api::Remaining;
use parking_lot::Mutex;
use prometheus_client::metrics::histogram::Histogram;
use tokio::{
    net::TcpListener,
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc,
};

use crate::{
    admin::{metrics, server},
    cli::Run,
    commands::check,
    config::{policy::Policy, workloads::WorkloadSpec, yaml::ReadError},
    control::{
        claims::Claims,
        context::{Context, Wake},
        reconciler::Reconciler,
        registry::Registry,
        source::{FileSource, FlagSource, Source},
    },
    datapath::{Callers, Loader},
    drain::GRACE_AT_EXIT,
    exit::Exit,
    kubernetes::{Cluster, Tasks, client},
    limits::{self, Limits},
    netns::{
        HomeNetns,
        finder::{self, Finder},
    },
    relay::{
        loop_guard::LoopGuard,
        worker::{Shared, Workers},
    },
};

/// Maximum workers by default. More have not been seen to help on one node.
const MAX_DEFAULT_WORKERS: usize = 4;
/// Maximum number of connections that are named in the log when they are cut.
const MAX_NAMED: usize = 32;

/// A failure to start, with the code that the process ends with.
#[derive(Debug)]
pub struct Failure {
    /// The error to print.
    pub error: anyhow::Error,
    /// The code to exit with.
    pub exit: Exit,
}

trait OrExit<T> {
    fn or_exit(self, exit: Exit) -> Result<T, Failure>;
}

impl<T, E: Into<anyhow::Error>> OrExit<T> for Result<T, E> {
    fn or_exit(self, exit: Exit) -> Result<T, Failure> {
        self.map_err(|error| Failure { error: error.into(), exit })
    }
}

/// Runs the daemon until SIGTERM or SIGINT.
///
/// # Errors
/// When it can't start because of the command line, a file, a right or a resource.
pub fn run(args: Run) -> Result<(), Failure> {
    let home = HomeNetns::capture()
        .context("look at the daemon's own network namespace")
        .or_exit(Exit::Os)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("start the control side")
        .or_exit(Exit::Os)?;
    let signals = runtime
        .block_on(async { Signals::listen() })
        .context("handle signals")
        .or_exit(Exit::Os)?;
    let policy = match &args.policy {
        Some(path) => Policy::read(path).map_err(unread)?,
        None => Policy::default(),
    };
    let policy = Arc::new(if args.kubernetes { policy.of_chart() } else { policy });
    let cluster = args.kubernetes.then(|| Cluster::new(&policy));
    let source = source(&args, cluster.as_ref())?;
    let workloads = source.workloads().map_err(unread)?;
    limits::raise_locked_memory();
    check::require()
        .map_err(|missing| anyhow!("this host can't run the interceptor:\n{missing}"))
        .or_exit(Exit::NoPermission)?;
    let limits = Limits::raise().context("raise the limit of open files").or_exit(Exit::Os)?;

    let workers = worker_count(&args);
    let workers = Workers::start(workers, limits.connections(workloads.len(), 0, workers))
        .context("start the workers")
        .or_exit(Exit::Os)?;
    let workers = Arc::new(workers);
    let start = Start { args, signals, home, policy, limits, workers, cluster, source, workloads };
    runtime.block_on(control(start))
}

/// The parts that exist before the control side starts.
struct Start {
    args: Run,
    signals: Signals,
    home: &'static HomeNetns,
    policy: Arc<Policy>,
    limits: Limits,
    workers: Arc<Workers>,
    cluster: Option<Cluster>,
    source: Arc<dyn Source>,
    workloads: Vec<WorkloadSpec>,
}

/// The signals that the daemon handles.
///
/// Their handlers are installed before anything else. The daemon is process 1 of its container,
/// where the kernel drops signals without a handler. A SIGTERM at start would be lost, and SIGKILL
/// would follow.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

// === impl Signals ===

impl Signals {
    fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }
}

/// The control side, in four steps: listen, load, spawn, drain.
async fn control(start: Start) -> Result<(), Failure> {
    let endpoints = Endpoints::listen(&start.args).await?;
    let (loaded, args, signals) = load(start).await;
    let Signals { mut terminate, mut interrupt, hangup } = signals;
    let Loaded { context, registry, cluster, reconciler, woken, .. } = loaded;

    endpoints.serve(admin(&context, &registry, cluster.as_ref()));
    let reports = spawn_cluster(&args, &context, &registry, cluster.as_ref()).await?;
    spawn_reload(hangup, context.wakes.clone());
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        workers = context.workers.count(),
        workloads = loaded.workloads,
        admin = %args.admin,
        "started"
    );
    let shutdown = async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    // Workers end with the last reference to them, and stolen connections with the workers.
    let workers = Arc::clone(&context.workers);
    drop(context);
    reconciler.run(woken, shutdown).await;
    let farewell = async {
        if let Some(reports) = reports {
            reports.end().await;
        }
    };
    tokio::join!(drain(workers.shared(), args.drain_timeout), farewell);
    drop(workers);
    Ok(())
}

/// The sockets of the admin endpoint. They are bound early: a second daemon fails here.
struct Endpoints {
    admin: TcpListener,
    metrics: Option<TcpListener>,
}

// === impl Endpoints ===

impl Endpoints {
    async fn listen(args: &Run) -> Result<Self, Failure> {
        let admin = listen(args.admin, "--admin").await?;
        let metrics = match args.metrics {
            Some(address) => Some(listen(address, "--metrics").await?),
            None => None,
        };
        Ok(Self { admin, metrics })
    }

    fn serve(self, admin: server::Admin) {
        let admin = Arc::new(admin);
        tokio::spawn(server::serve(self.admin, Arc::clone(&admin)));
        if let Some(metrics) = self.metrics {
            tokio::spawn(server::serve_public(metrics, admin));
        }
    }
}

/// The parts of the control side, before any of them starts.
struct Loaded {
    context: Arc<Context>,
    registry: Arc<Registry>,
    cluster: Option<Cluster>,
    reconciler: Reconciler,
    woken: mpsc::UnboundedReceiver<Wake>,
    /// The number of workloads at start.
    workloads: usize,
}

async fn load(start: Start) -> (Loaded, Run, Signals) {
    let Start { args, signals, home, policy, limits, workers, cluster, source, workloads } = start;
    let registry = Arc::new(Registry::default());
    // Held until the reconciler has registered its own tasks. Otherwise the daemon would be ready
    // too early.
    let self_test = registry.readiness().task("self-test of client addresses");
    let callers = load_callers().await;
    let (wakes, woken) = mpsc::unbounded_channel();
    let context = Arc::new(Context {
        home,
        loader: Mutex::new(Loader::new(workers.count())),
        policy,
        limits,
        finder: Finder::new(netns_folders(&args), args.proc_netns, home),
        workers,
        callers,
        loop_guard: Arc::new(LoopGuard::default()),
        probe_turn: Arc::default(),
        arm_seconds: Histogram::new([
            0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5,
        ]),
        wakes,
        claims: Claims::new(args.instance.as_deref()),
        draining: Mutex::default(),
    });
    let count = workloads.len();
    let reconciler =
        Reconciler::new(Arc::clone(&context), Arc::clone(&registry), source, workloads);
    drop(self_test);
    (Loaded { context, registry, cluster, reconciler, woken, workloads: count }, args, signals)
}

/// Loads and tests the programs that show client addresses to apps. The daemon works without them.
async fn load_callers() -> Arc<Callers> {
    let callers = Callers::new().await;
    if let Err(error) = callers.state() {
        tracing::warn!(
            reason = error.reason(),
            remedy = error.remedy(),
            "apps won't see client addresses"
        );
    }
    Arc::new(callers)
}

fn admin(context: &Context, registry: &Arc<Registry>, cluster: Option<&Cluster>) -> server::Admin {
    let (shared, callers) = (context.workers.shared(), &context.callers);
    server::Admin {
        registry: Arc::clone(registry),
        shared: Arc::clone(shared),
        callers: Arc::clone(callers),
        metrics: metrics::registry(
            Arc::clone(registry),
            Arc::clone(shared),
            Arc::clone(callers),
            context.arm_seconds.clone(),
            cluster.cloned(),
        ),
    }
}

/// Starts the watches of the cluster and the reports on its pods. `None` without a cluster.
async fn spawn_cluster(
    args: &Run,
    context: &Context,
    registry: &Arc<Registry>,
    cluster: Option<&Cluster>,
) -> Result<Option<Tasks>, Failure> {
    let (Some(cluster), Some(node)) = (cluster, &args.node_name) else { return Ok(None) };
    let client = client::connect(Arc::clone(&cluster.requests))
        .await
        .context(
            "reach the API server of Kubernetes (in a pod: its service account; else KUBECONFIG)",
        )
        .or_exit(Exit::NoInput)?;
    Ok(Some(cluster.start(&client, node, &context.policy, registry, &context.wakes)))
}

/// Has the reconciler read the source again at each SIGHUP.
fn spawn_reload(mut hangup: Signal, wakes: mpsc::UnboundedSender<Wake>) {
    tokio::spawn(async move {
        while hangup.recv().await.is_some() && wakes.send(Wake::Source).is_ok() {}
    });
}

async fn listen(address: SocketAddr, option: &str) -> Result<TcpListener, Failure> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("listen on {address}; another daemon? ({option})"))
        .or_exit(Exit::Os)
}

fn netns_folders(args: &Run) -> Vec<PathBuf> {
    if args.netns_dir.is_empty() {
        return finder::DEFAULT_FOLDERS.map(PathBuf::from).to_vec();
    }
    args.netns_dir.clone()
}

/// Lets stolen connections end. The kernel steers no more of them, but handshakes may be under way.
async fn drain(shared: &Shared, timeout: Duration) {
    tracing::info!(
        connections = shared.open(),
        ?timeout,
        "draining: stolen connections may end by themselves"
    );
    let drain = shared.open_connections().drain(GRACE_AT_EXIT, timeout);
    let connections = tokio::select! {
        connections = drain => connections,
        never = shared.farewell().say(timeout) => match never {},
    };
    if connections == 0 {
        return tracing::info!("ended");
    }
    for (connection, entry) in shared.farewell().remaining(MAX_NAMED) {
        tracing::warn!(
            connection,
            workload = %entry.workload,
            client = %entry.client,
            destination = %entry.original,
            reason = entry.why.as_str(),
            "cut: it has outlasted the drain timeout"
        );
    }
    let counts = shared.farewell().counts();
    let count = |why| counts.get(&why).copied().unwrap_or_default();
    tracing::warn!(
        connections,
        requests = count(Remaining::Request),
        streams = count(Remaining::Stream),
        tunnels = count(Remaining::Tunnel),
        tls = count(Remaining::Tls),
        other = count(Remaining::Other),
        "ended; connections that were still open are cut"
    );
}

fn source(args: &Run, cluster: Option<&Cluster>) -> Result<Arc<dyn Source>, Failure> {
    match (cluster, &args.workloads) {
        (Some(cluster), _) => Ok(Arc::clone(&cluster.store) as Arc<dyn Source>),
        (None, Some(path)) => Ok(Arc::new(FileSource::new(path.clone()))),
        (None, None) => Ok(Arc::new(FlagSource::new(specs_of_flags(args)?))),
    }
}

fn specs_of_flags(args: &Run) -> Result<Vec<WorkloadSpec>, Failure> {
    if args.pairs.is_empty() {
        let error = anyhow!(
            "nothing to do: give --kubernetes, --workloads FILE, or --netns PATH with \
             --redirect RULE"
        );
        return Err(Failure { error, exit: Exit::Usage });
    }
    let specs = args.pairs.iter().map(|(path, rules)| WorkloadSpec::from_flag(path, rules));
    let specs = specs.collect::<Result<Vec<_>, _>>().or_exit(Exit::Usage)?;
    // Unlike a file, the command line can't be corrected while the daemon runs.
    let mut rules = specs.iter().flat_map(|spec| &spec.rules);
    if let Some(error) = rules.find_map(|annotated| annotated.rules.as_ref().err()) {
        let caret = error.caret.as_deref().map(|caret| format!("\n\n{caret}")).unwrap_or_default();
        return Err(Failure { error: anyhow!("{error}{caret}"), exit: Exit::Usage });
    }
    Ok(specs)
}

/// The failure to start without a file that the command line names.
fn unread(error: ReadError) -> Failure {
    let exit = match error {
        ReadError::Io { .. } => Exit::NoInput,
        ReadError::Content(_) => Exit::Data,
    };
    Failure { error: error.into(), exit }
}

fn worker_count(args: &Run) -> u32 {
    let cpus = thread::available_parallelism().map_or(1, usize::from);
    args.workers.unwrap_or_else(|| cpus.min(MAX_DEFAULT_WORKERS) as u32)
}
