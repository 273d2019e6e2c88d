//! Shows client addresses to apps: the `getpeername` programs, and their map from the relay's
//! connections to client addresses.
//!
//! The relay passes a connection on to the app from a socket of its own, whose address the app
//! would see. The programs replace it with the client's address. They are attached at the root of
//! the cgroups, above the processes of all pods, so they run for every process of the node. They
//! are attached only while a workload is armed.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

use aya::{
    EbpfLoader,
    maps::{HashMap, MapData},
    programs::{CgroupAttachMode, CgroupSockAddr, cgroup_sock_addr::CgroupSockAddrLink},
};
use interceptor_common::{addr::Source, caller::Relayed};
use nix::{getsockopt_impl, sockopt_impl, sys::socket::GetSockOpt as _};
use parking_lot::Mutex;
use socket2::Socket;

pub mod cgroup;
mod error;
mod self_test;

use self::cgroup::CgroupRoot;
pub use self::error::CallerError;
use super::{
    error::DatapathError,
    object::{in_map, missing, take},
};
use crate::netns::{self, Netns};

static OBJECT: &[u8] = aya::include_bytes_aligned!(env!("EBPF_CALLER"));

/// The names of the programs, for IPv4 and IPv6 sockets.
const PROGRAMS: [&str; 2] = ["peer4", "peer6"];

sockopt_impl!(
    /// The kernel's number for the network namespace of a socket (Linux 5.14).
    NetnsCookie,
    GetOnly,
    libc::SOL_SOCKET,
    libc::SO_NETNS_COOKIE,
    u64
);

/// Shows client addresses to the apps of all workloads, or has the reason why it can't.
#[derive(Debug)]
pub struct Callers {
    programs: Result<Programs, CallerError>,
    count: Arc<Count>,
}

/// Shows client addresses to the apps of one network namespace, or has the reason why it can't.
#[derive(Debug)]
pub struct NetnsCallers {
    hook: Result<Hook, CallerError>,
    count: Count,
    /// The counts over all namespaces.
    total: Arc<Count>,
}

/// The app sees the client's address while this lives.
#[derive(Debug)]
#[must_use = "the app sees the client's address only while this lives"]
pub struct ShownCaller {
    callers: Arc<NetnsCallers>,
    relayed: Relayed,
}

/// Counts of connections that were passed on to apps.
#[derive(Debug, Default)]
pub struct Count {
    shown: AtomicU64,
    not_shown: AtomicU64,
}

/// The programs, loaded while the daemon runs.
#[derive(Debug)]
struct Programs {
    object: Mutex<aya::Ebpf>,
    cgroup: CgroupRoot,
    callers: Arc<CallerMap>,
    /// The links, while a namespace needs them.
    attached: Mutex<Weak<Attached>>,
}

/// The links of both programs. Dropping this detaches them.
#[derive(Debug)]
struct Attached(#[expect(dead_code, reason = "held")] [CgroupSockAddrLink; 2]);

/// What one namespace needs to show addresses.
#[derive(Debug)]
struct Hook {
    cookie: u64,
    callers: Arc<CallerMap>,
    /// Held while an app may still ask for an address.
    _attached: Arc<Attached>,
}

type CallerMap = Mutex<HashMap<MapData, Relayed, Source>>;

// === impl Callers ===

impl Callers {
    /// Loads the programs and tests them with a connection of our own. If that fails, apps see the
    /// relay's address.
    ///
    /// Needs CAP_BPF, CAP_NET_ADMIN and a view of the node's cgroups.
    pub async fn new() -> Self {
        let callers = Self { programs: Programs::load(), count: Arc::default() };
        let Ok(programs) = &callers.programs else { return callers };
        // In the daemon's own network namespace, and attached only for the test.
        match Self::proven(programs, &netns::tcp_socket).await {
            Ok(_) => callers,
            Err(error) => Self { programs: Err(error), ..callers },
        }
    }

    /// Shows no address, and tests nothing.
    #[must_use]
    pub fn disabled() -> Self {
        Self { programs: Err(CallerError::Disabled), count: Arc::default() }
    }

    /// Whether apps see client addresses.
    ///
    /// # Errors
    /// When no app of this host does. The error has the reason.
    pub fn state(&self) -> Result<(), &CallerError> {
        self.programs.as_ref().map(drop)
    }

    /// The counts over all namespaces.
    #[must_use]
    pub fn count(&self) -> &Count {
        &self.count
    }

    /// Attaches the programs if they are not attached, and proves that they work inside `netns`.
    pub async fn enter(&self, netns: &Netns) -> Arc<NetnsCallers> {
        let hook = match &self.programs {
            Ok(programs) => Self::proven(programs, &|ip| netns.tcp_socket(ip)).await,
            Err(_) => Err(CallerError::Disabled),
        };
        Arc::new(NetnsCallers { hook, count: Count::default(), total: Arc::clone(&self.count) })
    }

    /// Proves that the programs work in the network namespace in which `socket` makes sockets.
    async fn proven(
        programs: &Programs,
        socket: &impl Fn(IpAddr) -> io::Result<Socket>,
    ) -> Result<Hook, CallerError> {
        let cookie = socket(Ipv4Addr::LOCALHOST.into())
            .and_then(|socket| Ok(NetnsCookie.get(&socket)?))
            .map_err(CallerError::Cookie)?;
        let attached = programs.attach()?;
        let hook = Hook { cookie, callers: Arc::clone(&programs.callers), _attached: attached };
        // Test connections are not counted.
        let callers =
            NetnsCallers { hook: Ok(hook), count: Count::default(), total: Arc::default() };
        let callers = Arc::new(callers);
        self_test::prove(&|relay, port, caller| callers.show(relay, port, caller), socket).await?;
        Arc::into_inner(callers).expect("the trial has ended").hook
    }
}

// === impl Programs ===

impl Programs {
    fn load() -> Result<Self, CallerError> {
        let cgroup = CgroupRoot::find()?;
        let mut object = EbpfLoader::new().btf(None).load(OBJECT).map_err(DatapathError::from)?;
        for name in PROGRAMS {
            hook(&mut object, name)?.load().map_err(DatapathError::from)?;
        }
        let map = HashMap::try_from(take(&mut object, "CALLERS")?).map_err(in_map("CALLERS"))?;
        Ok(Self {
            object: Mutex::new(object),
            cgroup,
            callers: Arc::new(Mutex::new(map)),
            attached: Mutex::default(),
        })
    }

    fn attach(&self) -> Result<Arc<Attached>, CallerError> {
        let mut attached = self.attached.lock();
        if let Some(attached) = attached.upgrade() {
            return Ok(attached);
        }
        let mut object = self.object.lock();
        let mut link = |name| {
            let program = hook(&mut object, name)?;
            // A link always allows other programs beside it. The kernel refuses flags that ask for
            // it.
            program
                .attach(&self.cgroup.file, CgroupAttachMode::Single)
                .and_then(|id| program.take_link(id))
                .map_err(|source| CallerError::Attach {
                    cgroup: self.cgroup.path.display().to_string(),
                    source,
                })
        };
        let links = Arc::new(Attached([link(PROGRAMS[0])?, link(PROGRAMS[1])?]));
        *attached = Arc::downgrade(&links);
        Ok(links)
    }
}

fn hook<'a>(
    object: &'a mut aya::Ebpf,
    name: &'static str,
) -> Result<&'a mut CgroupSockAddr, DatapathError> {
    let program = object.program_mut(name).ok_or_else(|| missing(name))?;
    program.try_into().map_err(DatapathError::Program)
}

// === impl NetnsCallers ===

impl NetnsCallers {
    /// Shows `caller` to the app as the peer of a connection from `relay` to its `port`.
    ///
    /// `None` when that fails; then call [`count_not_shown`](Self::count_not_shown).
    pub fn show(
        self: &Arc<Self>,
        relay: SocketAddr,
        port: u16,
        caller: SocketAddr,
    ) -> Option<ShownCaller> {
        let shown = self.hook.as_ref().ok().and_then(|hook| {
            let relayed = Relayed::new(hook.cookie, Source::from(relay), port);
            match hook.callers.lock().insert(relayed, Source::from(caller), 0) {
                Ok(()) => Some(ShownCaller { callers: Arc::clone(self), relayed }),
                Err(error) => {
                    tracing::debug!(%error, "the app sees the relay's address");
                    None
                }
            }
        });
        if shown.is_some() {
            for count in [&self.count, &*self.total] {
                count.shown.fetch_add(1, Ordering::Relaxed);
            }
        }
        shown
    }

    /// Counts a connection whose client the app does not see.
    pub fn count_not_shown(&self) {
        for count in [&self.count, &*self.total] {
            count.not_shown.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Whether the app of this namespace sees client addresses.
    ///
    /// # Errors
    /// When it does not. The error has the reason.
    pub fn state(&self) -> Result<(), &CallerError> {
        self.hook.as_ref().map(drop)
    }

    /// The counts of this namespace.
    #[must_use]
    pub fn count(&self) -> &Count {
        &self.count
    }
}

// === impl ShownCaller ===

impl Drop for ShownCaller {
    fn drop(&mut self) {
        if let Ok(hook) = &self.callers.hook
            && let Err(error) = hook.callers.lock().remove(&self.relayed)
        {
            tracing::warn!(%error, "can't remove a client's address from the map");
        }
        for count in [&self.callers.count, &*self.callers.total] {
            count.shown.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

// === impl Count ===

impl Count {
    /// Open connections whose client the app sees.
    #[must_use]
    pub fn shown(&self) -> u64 {
        self.shown.load(Ordering::Relaxed)
    }

    /// Connections so far whose client the app did not see.
    #[must_use]
    pub fn not_shown(&self) -> u64 {
        self.not_shown.load(Ordering::Relaxed)
    }
}
