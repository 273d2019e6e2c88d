//! One way of all calls: hosts with servers and clients, with the daemon or without it.
//!
//! Both lanes have the same addresses and the same ports, so nothing in a call tells them apart.

use std::{collections::BTreeMap, net::SocketAddr, thread, time::Duration};

use anyhow::{Context as _, Result};
use serde_json::Value;
use testbed::{Daemon, Namespace, Topology};

use crate::{
    cell::Cell,
    jobs::{self, Jobs},
    oddity::User,
    peer::{How, Runs, Runtime, Server},
    recorder,
    runtimes::Runtimes,
    servers::Running,
};

/// The first port of servers. All of them are below the clients' ports, which records don't show.
const FIRST_PORT: u16 = 8080;

/// The recorder's places. Many of its oddities wait most of the time. A workload has at most 16
/// rules, one for each place.
const RECORDERS: usize = 6;

/// The requests that the target gets.
const CONDITION: &str = "request.headers['x-user'] == 'debug'";

/// A lane.
#[derive(Debug)]
pub struct Lane {
    // In the order in which they have to end.
    daemon: Option<Daemon>,
    clients: BTreeMap<Runtime, Jobs>,
    places: Vec<Place>,
    client: Namespace,
    pod: Namespace,
    _topology: Topology,
}

/// A server as app in the pod, and the same server as target on the laptop.
#[derive(Debug)]
struct Place {
    server: &'static Server,
    port: u16,
    app: Running,
    target: Running,
}

/// What all sides of a call saw.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    /// The client.
    pub client: Value,
    /// The app.
    pub app: Vec<Value>,
    /// The target.
    pub target: Vec<Value>,
}

// === impl Lane ===

impl Lane {
    /// Starts all servers and clients, and the daemon if there has to be one.
    ///
    /// # Errors
    /// One can't be started.
    pub fn start(
        name: &str,
        runtimes: &Runtimes,
        servers: &[&'static Server],
        clients: &[Runtime],
        with_daemon: bool,
    ) -> Result<Self> {
        let topology = Topology::new(name)?;
        let pod = topology.pod("web")?;
        let laptop = topology.host("laptop")?;
        let client = topology.host("client")?;
        let mut places = Vec::new();
        for (server, port) in with_ports(servers) {
            let start = |netns| Running::start(netns, runtimes, server, port);
            let (app, target) = (start(&pod)?, start(&laptop)?);
            places.push(Place { server, port, app, target });
        }
        for Place { server, port, app, target } in &mut places {
            app.wait(*port).with_context(|| format!("start {}", server.name))?;
            target.wait(*port).with_context(|| format!("start {}", server.name))?;
        }
        let daemon = with_daemon.then(|| {
            let rule = |place: &Place| {
                format!("{0} -> {1}:{0} when {CONDITION}", place.port, laptop.ip4())
            };
            let rules = places.iter().map(rule).collect::<Vec<_>>().join("; ");
            Daemon::start_active(&topology, &pod, &rules)
        });
        let clients =
            clients.iter().map(|runtime| Ok((*runtime, Jobs::start(&client, runtimes, *runtime)?)));
        let clients = clients.collect::<Result<_>>()?;
        Ok(Self { daemon: daemon.transpose()?, clients, places, client, pod, _topology: topology })
    }

    /// The places of a server.
    pub fn places(servers: &[&'static Server]) -> Vec<&'static Server> {
        with_ports(servers).map(|(server, _)| server).collect()
    }

    /// Makes the calls of a cell at a place of its server, and returns what the client saw.
    ///
    /// # Errors
    /// A program has ended.
    pub fn call(&self, place: usize, cell: &Cell<'_>) -> Result<Value> {
        let place = &self.places[place];
        let oddity = cell.oddity;
        // Directly there is only one server, which stands for the target where it has the calls.
        let has_role_of_app = self.daemon.is_some() || oddity.user != User::Debug;
        place.app.prepare(oddity, !(oddity.app_is_down && has_role_of_app))?;
        place.target.prepare(oddity, true)?;
        let to = SocketAddr::from((self.pod.ip4(), place.port));
        if oddity.app_stands_still == Duration::ZERO || !has_role_of_app {
            return self.make(cell, to);
        }
        place.app.stand_still(true)?;
        thread::scope(|scope| {
            let call = scope.spawn(|| self.make(cell, to));
            thread::sleep(oddity.app_stands_still);
            place.app.stand_still(false)?;
            call.join().expect("no panic")
        })
    }

    /// What has happened at a place since the call began; the client's part is added.
    pub fn seen(&self, place: usize, client: &Value) -> Seen {
        let place = &self.places[place];
        Seen { client: client.clone(), app: place.app.records(), target: place.target.records() }
    }

    fn make(&self, cell: &Cell<'_>, to: SocketAddr) -> Result<Value> {
        let oddity = cell.oddity;
        match cell.client.how {
            How::Socket => Ok(recorder::client(&self.client, to, &oddity.client, cell.frames())),
            How::Curl => jobs::curl(&self.client, oddity, to),
            How::H2load => jobs::h2load(&self.client, oddity, to),
            How::Jobs(runtime) => {
                self.clients.get(&runtime).context("no such client")?.run(oddity, to)
            }
        }
    }
}

/// The servers with their ports; the recorder has several.
fn with_ports(servers: &[&'static Server]) -> impl Iterator<Item = (&'static Server, u16)> {
    let places = servers.iter().flat_map(|server| {
        let number = if server.runs == Runs::Recorder { RECORDERS } else { 1 };
        std::iter::repeat_n(*server, number)
    });
    places.zip(FIRST_PORT..)
}
