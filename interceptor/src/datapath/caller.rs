//! The application sees the caller: the `getpeername` programs, and the map of the relay's connections with their callers.
//!
//! The relay passes a connection on from a socket of its own, which is what the application would see. The programs tell
//! it the caller's address instead. They have to be attached at the root of the cgroups, above the processes of all pods,
//! so they run for everybody on the node. They are attached only while some workload is armed.

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

/// The hooks.
const PROGRAMS: [&str; 2] = ["peer4", "peer6"];

sockopt_impl!(
    /// The kernel's number for the network namespace of a socket (Linux 5.14).
    NetnsCookie,
    GetOnly,
    libc::SOL_SOCKET,
    libc::SO_NETNS_COOKIE,
    u64
);

/// Callers' addresses for the applications of all workloads, or the reason why they are lost.
#[derive(Debug)]
pub struct Callers {
    programs: Result<Programs, CallerError>,
    count: Arc<Count>,
}

/// The same for one network namespace.
#[derive(Debug)]
pub struct NetnsCallers {
    way: Result<Way, CallerError>,
    count: Count,
    /// Of all namespaces.
    total: Arc<Count>,
}

/// An application is shown a caller, as long as this lives.
#[derive(Debug)]
#[must_use = "the application sees the caller only while this lives"]
pub struct ShownCaller {
    callers: Arc<NetnsCallers>,
    relayed: Relayed,
}

/// Connections that were passed on to applications.
#[derive(Debug, Default)]
pub struct Count {
    shown: AtomicU64,
    lost: AtomicU64,
}

/// Loaded for as long as the daemon runs.
#[derive(Debug)]
struct Programs {
    object: Mutex<aya::Ebpf>,
    cgroup: CgroupRoot,
    callers: Arc<CallerMap>,
    /// In force while some namespace needs it.
    attached: Mutex<Weak<Attached>>,
}

/// Detaches when dropped.
#[derive(Debug)]
struct Attached(#[expect(dead_code, reason = "held")] [CgroupSockAddrLink; 2]);

/// How addresses get from the relay to the application.
#[derive(Debug)]
struct Way {
    cookie: u64,
    callers: Arc<CallerMap>,
    /// As long as connections are open whose application may ask.
    _attached: Arc<Attached>,
}

type CallerMap = Mutex<HashMap<MapData, Relayed, Source>>;

// === impl Callers ===

impl Callers {
    /// Loads the programs and tries them with a connection of our own. Where that fails, addresses are lost.
    ///
    /// Needs CAP_BPF, CAP_NET_ADMIN and a view of the node's cgroups.
    pub async fn new() -> Self {
        let callers = Self { programs: Programs::load(), count: Arc::default() };
        let Ok(programs) = &callers.programs else { return callers };
        // In the daemon's own network namespace; attached no longer than that takes.
        match Self::proven(programs, &netns::tcp_socket).await {
            Ok(_) => callers,
            Err(error) => Self { programs: Err(error), ..callers },
        }
    }

    /// Without a try: addresses are lost.
    #[must_use]
    pub fn nowhere() -> Self {
        Self { programs: Err(CallerError::Nowhere), count: Arc::default() }
    }

    /// Whether addresses are kept, and if not, why.
    ///
    /// # Errors
    /// The reason why they are lost on the whole host.
    pub fn state(&self) -> Result<(), &CallerError> {
        self.programs.as_ref().map(drop)
    }

    /// Of all namespaces.
    #[must_use]
    pub fn count(&self) -> &Count {
        &self.count
    }

    /// Attaches the programs if they are not, and proves that they work inside of `netns`.
    pub async fn enter(&self, netns: &Netns) -> Arc<NetnsCallers> {
        let way = match &self.programs {
            Ok(programs) => Self::proven(programs, &|ip| netns.tcp_socket(ip)).await,
            Err(_) => Err(CallerError::Nowhere),
        };
        Arc::new(NetnsCallers { way, count: Count::default(), total: Arc::clone(&self.count) })
    }

    /// The way into the network namespace in which `socket` makes sockets, proven.
    async fn proven(
        programs: &Programs,
        socket: &impl Fn(IpAddr) -> io::Result<Socket>,
    ) -> Result<Way, CallerError> {
        let cookie = socket(Ipv4Addr::LOCALHOST.into())
            .and_then(|socket| Ok(NetnsCookie.get(&socket)?))
            .map_err(CallerError::Cookie)?;
        let attached = programs.attach()?;
        let way = Way { cookie, callers: Arc::clone(&programs.callers), _attached: attached };
        // Tried connections count for nothing.
        let callers = NetnsCallers { way: Ok(way), count: Count::default(), total: Arc::default() };
        let callers = Arc::new(callers);
        self_test::prove(&|relay, port, caller| callers.show(relay, port, caller), socket).await?;
        Arc::into_inner(callers).expect("the trial has ended").way
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
        let mut attached = lock(&self.attached);
        if let Some(attached) = attached.upgrade() {
            return Ok(attached);
        }
        let mut object = lock(&self.object);
        let mut link = |name| {
            let program = hook(&mut object, name)?;
            // Links always allow others beside them; said so, the kernel refuses.
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
    /// From now on, an application that has a connection from `relay` to its `port` sees it come from `caller`.
    ///
    /// `None` when that can't be had; see [`count_lost`](Self::count_lost).
    pub fn show(
        self: &Arc<Self>,
        relay: SocketAddr,
        port: u16,
        caller: SocketAddr,
    ) -> Option<ShownCaller> {
        let shown = self.way.as_ref().ok().and_then(|way| {
            let relayed = Relayed::new(way.cookie, Source::from(relay), port);
            match lock(&way.callers).insert(relayed, Source::from(caller), 0) {
                Ok(()) => Some(ShownCaller { callers: Arc::clone(self), relayed }),
                Err(error) => {
                    tracing::debug!(%error, "the application sees the relay's address");
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

    /// An application has a connection whose caller it does not see.
    pub fn count_lost(&self) {
        for count in [&self.count, &*self.total] {
            count.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Whether addresses are kept in this namespace, and if not, why.
    ///
    /// # Errors
    /// The reason why they are lost.
    pub fn state(&self) -> Result<(), &CallerError> {
        self.way.as_ref().map(drop)
    }

    /// Of this namespace.
    #[must_use]
    pub fn count(&self) -> &Count {
        &self.count
    }
}

// === impl ShownCaller ===

impl Drop for ShownCaller {
    fn drop(&mut self) {
        if let Ok(way) = &self.callers.way
            && let Err(error) = lock(&way.callers).remove(&self.relayed)
        {
            tracing::warn!(%error, "forget whom an application was shown");
        }
        for count in [&self.callers.count, &*self.callers.total] {
            count.shown.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

// === impl Count ===

impl Count {
    /// Connections at present that show the application their caller.
    #[must_use]
    pub fn shown(&self) -> u64 {
        self.shown.load(Ordering::Relaxed)
    }

    /// Connections so far that did not.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}

/// For what can't be left half-written.
fn lock<T>(mutex: &Mutex<T>) -> parking_lot::MutexGuard<'_, T> {
    mutex.lock()
}
