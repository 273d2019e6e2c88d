//! The cells of the matrix, and a small set of them that covers all pairs.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};

use crate::{
    frames::Detail,
    oddity::{Oddity, Protocol, User},
    peer::{CLIENTS, Client, Runs, SERVERS, Server},
};

/// One oddity between one client and one server.
#[derive(Clone, Copy, Debug)]
pub struct Cell<'o> {
    /// The client.
    pub client: &'static Client,
    /// The server.
    pub server: &'static Server,
    /// What the client does.
    pub oddity: &'o Oddity,
}

/// Two of the three names of a cell, each with its place.
type Pair = [(u8, String); 2];

// === impl Cell ===

impl<'o> Cell<'o> {
    /// Every cell that makes sense, in the order of the oddities.
    ///
    /// # Errors
    /// An oddity names a peer that does not exist, or has no cell.
    pub fn all(oddities: &'o [Oddity]) -> Result<Vec<Self>> {
        let mut cells = Vec::new();
        for oddity in oddities {
            check_names(oddity)?;
            let before = cells.len();
            for server in SERVERS.iter().filter(|server| serves(server, oddity)) {
                for client in CLIENTS.iter().filter(|client| speaks(client, oddity)) {
                    cells.push(Self { client, server, oddity });
                }
            }
            ensure!(
                cells.len() > before,
                "oddity {}: none of its clients and servers speaks {}",
                oddity.name,
                oddity.protocol.name(),
            );
        }
        Ok(cells)
    }

    /// A few of the cells. Each pair that `all` has is in one of them: of client and server, of
    /// client and oddity, of server and oddity. The same input has the same result.
    pub fn covering(all: &[Self]) -> Vec<Self> {
        let pairs: Vec<_> = all.iter().map(Self::pairs).collect();
        let mut open: BTreeSet<&Pair> = pairs.iter().flatten().collect();
        let mut chosen = Vec::new();
        while !open.is_empty() {
            let gain = |at: &usize| pairs[*at].iter().filter(|pair| open.contains(pair)).count();
            // The first of the best ones: `max_by_key` returns the last.
            let Some(best) = (0..all.len()).rev().max_by_key(gain) else { break };
            for pair in &pairs[best] {
                open.remove(pair);
            }
            chosen.push(all[best]);
        }
        chosen
    }

    /// `ODDITY CLIENT SERVER`.
    pub fn name(&self) -> String {
        format!("{} {} {}", self.oddity.name, self.client.name, self.server.name)
    }

    /// Whether the order of the server's records does not matter.
    pub fn any_order(&self) -> bool {
        self.oddity.any_order || self.server.records_late()
    }

    /// What a record shows of HTTP/2: every byte at the recorder, and frames at real servers.
    pub fn frames(&self) -> Option<Detail> {
        match (self.server.runs, self.oddity.user) {
            (Runs::Recorder, _) => None,
            (_, User::None) => Some(Detail::Encoding),
            (_, User::Debug | User::Mixed) => Some(Detail::Fields),
        }
    }

    fn pairs(&self) -> [Pair; 3] {
        // Peers meet by one protocol and by another one.
        let protocol = self.oddity.protocol.name();
        let client = (0, format!("{} {protocol}", self.client.name));
        let server = (1, format!("{} {protocol}", self.server.name));
        let oddity = (2, self.oddity.name.clone());
        [[client.clone(), server.clone()], [client, oddity.clone()], [server, oddity]]
    }
}

fn speaks(client: &Client, oddity: &Oddity) -> bool {
    let is_listed = |names: &Vec<String>| names.iter().any(|name| name == client.name);
    client.protocols.contains(&oddity.protocol) && oddity.clients.as_ref().is_none_or(is_listed)
}

fn serves(server: &Server, oddity: &Oddity) -> bool {
    let speaks_it = server.protocols.contains(&oddity.protocol);
    match &oddity.servers {
        // Bytes may be sent to any server, and the recorder plays whatever the oddity says.
        Some(names) => {
            let is_free = oddity.protocol == Protocol::Raw || server.runs == Runs::Recorder;
            names.iter().any(|name| name == server.name) && (speaks_it || is_free)
        }
        None => speaks_it,
    }
}

fn check_names(oddity: &Oddity) -> Result<()> {
    let clients = CLIENTS.map(|client| client.name);
    let servers = SERVERS.map(|server| server.name);
    for (what, names, known) in
        [("client", &oddity.clients, &clients[..]), ("server", &oddity.servers, &servers[..])]
    {
        for name in names.iter().flatten() {
            ensure!(
                known.contains(&name.as_str()),
                "oddity {}: no {what} {name:?}; there are {}",
                oddity.name,
                known.join(", "),
            );
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::known::Known;

    fn corpus() -> Vec<Oddity> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("oddities");
        Oddity::all(&folder).expect("the corpus makes sense")
    }

    #[test]
    fn the_covering_set_has_every_pair_and_is_always_the_same() {
        let oddities = corpus();
        let all = Cell::all(&oddities).expect("cells");
        let covering = Cell::covering(&all);
        let pairs =
            |cells: &[Cell<'_>]| cells.iter().flat_map(Cell::pairs).collect::<BTreeSet<_>>();
        assert_eq!(pairs(&covering), pairs(&all));
        assert!(covering.len() < all.len(), "{} of {} cells", covering.len(), all.len());
        let names = |cells: &[Cell<'_>]| cells.iter().map(Cell::name).collect::<Vec<_>>();
        assert_eq!(names(&covering), names(&Cell::covering(&all)));
    }

    #[test]
    fn known_differences_name_cells_that_exist() {
        let oddities = corpus();
        let all = Cell::all(&oddities).expect("cells");
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("known.toml");
        Known::read(&file, &all).expect("the list makes sense");
    }
}
