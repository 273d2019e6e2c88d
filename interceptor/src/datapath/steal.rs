//! The `sk_lookup` program of one namespace, with its maps: the ports that it takes, and the counts
//! of its verdicts.

use std::{collections::BTreeSet, os::fd::AsFd, os::fd::AsRawFd, sync::Arc};

use aya::{
    EbpfLoader,
    maps::{HashMap, Map, MapData, MapError, PerCpuArray, PerCpuValues, SockMap},
    programs::{SkLookup, sk_lookup::SkLookupLink},
};
use interceptor_common::{
    port::Port,
    steal::{
        Family, MAX_PORTS, MAX_WORKERS, NEVER, PortEntry, PortKey, Verdict, counter_index,
        listener_index,
    },
};

pub mod bypass;
pub mod heartbeat;
pub mod others;

use self::{bypass::Bypass, heartbeat::HeartbeatPage, others::OwnProgram};
use super::{
    error::DatapathError,
    object::{in_map, missing, take},
};

static OBJECT: &[u8] = aya::include_bytes_aligned!(env!("EBPF_STEAL"));

/// Loads the program once for each namespace.
///
/// One loader serves the whole process. Making one reads the kernel's type information by default,
/// which takes 30 ms. This program relocates nothing and does not need it.
pub struct Loader(EbpfLoader<'static>);

/// Every possible number of workers. The loader keeps a reference to one of them.
static WORKERS: [u32; MAX_WORKERS as usize + 1] = {
    let mut counts = [0; MAX_WORKERS as usize + 1];
    let mut n = 0;
    while n < counts.len() {
        counts[n] = n as u32;
        n += 1;
    }
    counts
};

/// The program and maps of one network namespace.
///
/// Set it up as [`PodPrograms`](super::PodPrograms) says.
pub struct Steal {
    /// Detaches when dropped. `None` until attached. First field: the link is dropped before the
    /// maps.
    link: Option<SkLookupLink>,
    program: aya::Ebpf,
    ports: HashMap<MapData, PortKey, PortEntry>,
    listeners: SockMap<MapData>,
    verdicts: PerCpuArray<MapData, u64>,
    heartbeats: Arc<HeartbeatPage>,
    bypass: Arc<Bypass>,
    /// The port of each row of the counters.
    slots: [Option<Port>; MAX_PORTS as usize],
    /// The taken ports whose new connections stay with the app.
    full: BTreeSet<Port>,
    /// Tells this program from those of other processes.
    _own: OwnProgram,
}

// === impl Loader ===

impl Loader {
    /// A loader for a daemon with this many workers, at most [`MAX_WORKERS`].
    #[must_use]
    pub fn new(workers: u32) -> Self {
        let mut loader = EbpfLoader::new();
        loader.btf(None).override_global("WORKERS", &WORKERS[workers as usize], true);
        Self(loader)
    }
}

// === impl Steal ===

impl Steal {
    /// Loads and verifies the program. It is attached to nothing yet. Needs CAP_BPF, CAP_NET_ADMIN
    /// and CAP_PERFMON.
    ///
    /// # Errors
    /// When the kernel has no `sk_lookup` (before 5.9), or a right is missing.
    pub fn load(loader: &mut Loader) -> Result<Self, DatapathError> {
        let mut program = loader.0.load(OBJECT)?;
        // Before any map is taken: until it is loaded, the program refers to maps by descriptor.
        let hook = hook(&mut program)?;
        hook.load()?;
        let own = OwnProgram::new(hook.info()?.id());
        let heartbeats = match program.take_map("HEARTBEATS") {
            Some(Map::Array(map)) => Arc::new(HeartbeatPage::new(map.fd().as_fd())?),
            _ => return Err(missing("HEARTBEATS")),
        };
        let bypass = HashMap::try_from(take(&mut program, "BYPASS")?).map_err(in_map("BYPASS"))?;
        let steal = Self {
            link: None,
            ports: HashMap::try_from(take(&mut program, "PORTS")?).map_err(in_map("PORTS"))?,
            listeners: SockMap::try_from(take(&mut program, "LISTENERS")?)
                .map_err(in_map("LISTENERS"))?,
            verdicts: PerCpuArray::try_from(take(&mut program, "VERDICTS")?)
                .map_err(in_map("VERDICTS"))?,
            heartbeats,
            bypass: Bypass::new(bypass),
            slots: [None; MAX_PORTS as usize],
            full: BTreeSet::new(),
            _own: own,
            program,
        };
        Ok(steal)
    }

    /// The cells into which the workers store their heartbeats.
    #[must_use]
    pub fn heartbeats(&self) -> Arc<HeartbeatPage> {
        Arc::clone(&self.heartbeats)
    }

    /// Registers the relay's own connections, which the program leaves alone.
    #[must_use]
    pub fn bypass(&self) -> Arc<Bypass> {
        Arc::clone(&self.bypass)
    }

    /// Sets the listener of `worker` for `family`. The socket must be listening already.
    ///
    /// # Errors
    /// When the kernel refuses the socket.
    pub fn set_listener(
        &mut self,
        family: Family,
        worker: u32,
        socket: &impl AsRawFd,
    ) -> Result<(), DatapathError> {
        self.listeners.set(listener_index(family, worker), socket, 0).map_err(in_map("LISTENERS"))
    }

    /// Takes `port` until `expires_at`, in nanoseconds of `CLOCK_MONOTONIC`. `None`: until it is
    /// released.
    ///
    /// # Errors
    /// When all rows of the counters are in use, or the kernel refuses.
    pub fn take_port(&mut self, port: Port, expires_at: Option<u64>) -> Result<(), DatapathError> {
        let slot = self
            .slots
            .iter()
            .position(|&owner| owner == Some(port))
            .or_else(|| self.slots.iter().position(Option::is_none))
            .ok_or(DatapathError::TooManyPorts)?;
        if self.slots[slot].is_none() {
            self.reset_verdicts(slot as u32)?;
        }
        let full = u32::from(self.full.contains(&port));
        let entry = PortEntry { expires_at: expires_at.unwrap_or(NEVER), slot: slot as u32, full };
        self.ports.insert(PortKey::from(port), entry, 0).map_err(in_map("PORTS"))?;
        self.slots[slot] = Some(port);
        Ok(())
    }

    /// Releases `port`: its next connection goes to the app. Does nothing for a port that is not
    /// taken.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn release_port(&mut self, port: Port) -> Result<(), DatapathError> {
        if let Some(slot) = self.slots.iter_mut().find(|owner| **owner == Some(port)) {
            *slot = None;
        }
        self.full.remove(&port);
        match self.ports.remove(&PortKey::from(port)) {
            Ok(()) | Err(MapError::KeyNotFound) => Ok(()),
            Err(error) => Err(in_map("PORTS")(error)),
        }
    }

    /// Sets whether new connections to `port` stay with the app: its rule has its maximum number.
    /// Does nothing for a port that is not taken.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn set_full(&mut self, port: Port, full: bool) -> Result<(), DatapathError> {
        if self.full.contains(&port) == full || !self.slots.contains(&Some(port)) {
            return Ok(());
        }
        let key = PortKey::from(port);
        let entry = self.ports.get(&key, 0).map_err(in_map("PORTS"))?;
        let entry = PortEntry { full: u32::from(full), ..entry };
        self.ports.insert(key, entry, 0).map_err(in_map("PORTS"))?;
        if full {
            self.full.insert(port);
        } else {
            self.full.remove(&port);
        }
        Ok(())
    }

    /// Attaches to the network namespace `netns`.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn attach(&mut self, netns: impl AsFd) -> Result<(), DatapathError> {
        let program = hook(&mut self.program)?;
        let id = program.attach(netns)?;
        let link = program.take_link(id)?;
        self.link = Some(link);
        Ok(())
    }

    /// Detaches: no further look-up runs the program. Listeners and counters stay.
    pub fn detach(&mut self) {
        self.link = None;
    }

    /// Returns the count of each verdict about `port` since it was taken. Empty if it is not taken.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn verdicts(&self, port: Port) -> Result<Vec<(Verdict, u64)>, DatapathError> {
        let Some(slot) = self.slots.iter().position(|&owner| owner == Some(port)) else {
            return Ok(Vec::new());
        };
        Verdict::ALL
            .into_iter()
            .map(|verdict| {
                let cells = self
                    .verdicts
                    .get(&counter_index(slot as u32, verdict), 0)
                    .map_err(in_map("VERDICTS"))?;
                Ok((verdict, cells.iter().sum()))
            })
            .collect()
    }

    fn reset_verdicts(&mut self, slot: u32) -> Result<(), DatapathError> {
        for verdict in Verdict::ALL {
            let index = counter_index(slot, verdict);
            let cpus = self.verdicts.get(&index, 0).map_err(in_map("VERDICTS"))?.len();
            let zeros = PerCpuValues::try_from(vec![0; cpus])
                .map_err(|source| DatapathError::Map { name: "VERDICTS", source: source.into() })?;
            self.verdicts.set(index, zeros, 0).map_err(in_map("VERDICTS"))?;
        }
        Ok(())
    }
}

fn hook(program: &mut aya::Ebpf) -> Result<&mut SkLookup, DatapathError> {
    let program = program.program_mut("steal").ok_or_else(|| missing("steal"))?;
    program.try_into().map_err(DatapathError::Program)
}
