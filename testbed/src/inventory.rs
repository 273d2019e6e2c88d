//! Everything that a program could leave behind in a network namespace, as comparable text.

use std::{collections::BTreeMap, fmt::Write as _, fs, path::Path};

use anyhow::{Context as _, Result, ensure};

use crate::Namespace;

/// The output of each command, by command; see [`netns_inventory`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NetnsInventory(pub BTreeMap<String, String>);

impl NetnsInventory {
    /// The lines that differ: `-` for those of `before`, `+` for the new ones. Empty if none do.
    pub fn diff(&self, before: &Self) -> String {
        let mut diff = String::new();
        for command in
            before.0.keys().chain(self.0.keys().filter(|key| !before.0.contains_key(*key)))
        {
            let lines = |inventory: &Self| {
                let text = inventory.0.get(command).cloned().unwrap_or_default();
                text.lines().map(str::to_owned).collect::<Vec<_>>()
            };
            let (old, new) = (lines(before), lines(self));
            for line in old.iter().filter(|line| !new.contains(line)) {
                _ = writeln!(diff, "{command}: - {line}");
            }
            for line in new.iter().filter(|line| !old.contains(line)) {
                _ = writeln!(diff, "{command}: + {line}");
            }
        }
        diff
    }
}

/// Lists addresses, routes, rules, packet filters, traffic control and a few sysctls of a
/// namespace.
///
/// Sockets are left out: they come and go with their programs.
pub fn netns_inventory(netns: &Namespace) -> Result<NetnsInventory> {
    const COMMANDS: [&str; 9] = [
        "ip -oneline addr",
        "ip -4 route show table all",
        "ip -6 route show table all",
        "ip -4 rule",
        "ip -6 rule",
        "tc qdisc show",
        "tc filter show dev eth0 ingress",
        "tc filter show dev eth0 egress",
        "ip -oneline link",
    ];
    // These may be missing from the host, and then there are no such filters.
    const FILTERS: [&str; 3] = ["nft list ruleset", "iptables-save", "ip6tables-save"];
    const SYSCTLS: [&str; 6] = [
        "net/ipv4/ip_forward",
        "net/ipv4/conf/all/rp_filter",
        "net/ipv4/conf/all/route_localnet",
        "net/ipv4/tcp_fwmark_accept",
        "net/ipv4/ip_unprivileged_port_start",
        "net/ipv6/conf/all/forwarding",
    ];

    let mut outputs = BTreeMap::new();
    for command in
        COMMANDS.into_iter().filter(|one| !one.contains("eth0") || netns.label() != "node")
    {
        outputs.insert(command.to_owned(), output(netns, command)?);
    }
    for command in FILTERS {
        if let Ok(output) = output(netns, command) {
            outputs.insert(command.to_owned(), output);
        }
    }
    for key in SYSCTLS {
        let value = netns.run(|| fs::read_to_string(Path::new("/proc/sys").join(key)));
        outputs.insert(key.to_owned(), value.unwrap_or_default().trim().to_owned());
    }
    Ok(NetnsInventory(outputs))
}

fn output(netns: &Namespace, command: &str) -> Result<String> {
    let mut words = command.split(' ');
    let output = netns
        .command(words.next().unwrap_or_default())
        .args(words)
        .output()
        .with_context(|| format!("run `{command}`"))?;
    ensure!(
        output.status.success(),
        "`{command}`: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(stable(&String::from_utf8_lossy(&output.stdout)))
}

/// Removes everything that changes by itself: comments with times, counters, cached routes.
fn stable(text: &str) -> String {
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.contains("cache"));
    lines.map(|line| format!("{}\n", line.split('[').next().unwrap_or(line).trim_end())).collect()
}
