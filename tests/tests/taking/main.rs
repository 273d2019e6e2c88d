//! Taking connections and giving them back: each test is one promise.

mod end;
mod loops;
mod names;
mod namespaces;
mod scope;
mod start;
mod workloads_file;

use std::{
    fs,
    net::{IpAddr, SocketAddr},
    path::Path,
};

use testbed::Namespace;

/// Every address on which somebody in a namespace listens.
fn listeners(netns: &Namespace) -> Vec<SocketAddr> {
    let tables = netns.run(|| {
        ["tcp", "tcp6"].map(|table| {
            fs::read_to_string(Path::new("/proc/thread-self/net").join(table)).unwrap_or_default()
        })
    });
    let mut found: Vec<SocketAddr> = tables
        .iter()
        .flat_map(|table| table.lines().skip(1))
        .filter_map(|line| {
            // Slot, local address, remote address, state; 0A is LISTEN.
            let fields: Vec<&str> = line.split_whitespace().collect();
            (fields.get(3) == Some(&"0A")).then(|| address(fields[1])).flatten()
        })
        .collect();
    found.sort();
    found
}

/// Reads an address of `/proc/net/tcp`: words of four bytes in the machine's order, each printed as a number.
fn address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let words = ip.as_bytes().chunks(8).map(|word| {
        let word = u32::from_str_radix(std::str::from_utf8(word).ok()?, 16).ok()?;
        Some(word.to_ne_bytes())
    });
    let bytes = words.collect::<Option<Vec<_>>>()?.concat();
    let ip: IpAddr = match <[u8; 4]>::try_from(bytes.as_slice()) {
        Ok(bytes) => bytes.into(),
        Err(_) => <[u8; 16]>::try_from(bytes.as_slice()).ok()?.into(),
    };
    Some(SocketAddr::new(ip, u16::from_str_radix(port, 16).ok()?))
}
