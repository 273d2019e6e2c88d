//! The app sees the address of its client, and nothing else is changed.

use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead as _, BufReader, Write as _},
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use interceptor_tests::{TIMEOUT, run};
use rstest::rstest;
use socket2::{Domain, Socket, Type};
use testbed::{
    Connection, Daemon, Namespace, Protocol, TcpService, Topology, netns_test, wait_until, workload,
};

use crate::{counts, refused, sees_the_caller};

#[rstest]
#[case::ipv4(Ipv4Addr::UNSPECIFIED.into(), false)]
#[case::ipv6(Ipv6Addr::UNSPECIFIED.into(), true)]
#[case::ipv4_at_an_ipv6_socket(Ipv6Addr::UNSPECIFIED.into(), false)]
fn the_app_sees_the_caller(#[case] listens_on: std::net::IpAddr, #[case] ipv6: bool) {
    netns_test("callers", |t| {
        let (pod, laptop, client) = (t.pod("web")?, t.host("laptop")?, t.host("client")?);
        let _app = TcpService::tagged(&pod, (listens_on, 8080), "app")?;
        let _greets = TcpService::greets_first(&pod, (listens_on, 8081), "greets")?;
        let rule = format!("8080,8081 -> {}:1", laptop.ip4());
        let daemon = Daemon::start(t, &workload(&pod, &rule), &[])?;
        daemon.wait_active("web")?;
        let at = |port| {
            if ipv6 {
                SocketAddr::new(pod.ip6().into(), port)
            } else {
                SocketAddr::new(pod.ip4().into(), port)
            }
        };
        let mut connection = Connection::open(&client, at(8080), Protocol::Line)?;
        for _ in 0..3 {
            sees_the_caller(&mut connection, "app")?;
        }
        // Without a byte from the caller.
        let mut greeted = Connection::open(&client, at(8081), Protocol::Line)?;
        assert_eq!(greeted.answer()?.peer, Some(greeted.stream().local_addr()?));
        assert_eq!(counts(&daemon)?, (2, 0));

        // The pod itself, and the node.
        for caller in [&pod, t.node()] {
            let mut connection = Connection::open(caller, at(8080), Protocol::Line)?;
            sees_the_caller(&mut connection, "app").with_context(|| caller.label().to_owned())?;
        }
        let loopback: std::net::IpAddr =
            if ipv6 { Ipv6Addr::LOCALHOST.into() } else { Ipv4Addr::LOCALHOST.into() };
        let mut connection =
            Connection::open(&pod, SocketAddr::new(loopback, 8080), Protocol::Line)?;
        sees_the_caller(&mut connection, "app").context("loopback")
    });
}

#[test]
fn many_callers_at_once_are_each_seen() {
    run(|f| {
        let daemon = f.daemon_with(&refused(&f.laptop), &[])?;
        let (ip4, ip6): (SocketAddr, SocketAddr) = (f.port(), (f.pod.ip6(), 8080).into());
        thread::scope(|scope| {
            let callers: Vec<_> = (0..8)
                .map(|n| {
                    let (client, to) = (&f.client, if n % 2 == 0 { ip4 } else { ip6 });
                    scope.spawn(move || -> Result<()> {
                        for _ in 0..10 {
                            let mut open: Vec<_> = (0..10)
                                .map(|_| Connection::open(client, to, Protocol::Line))
                                .collect::<Result<_, _>>()?;
                            open.iter_mut()
                                .try_for_each(|connection| sees_the_caller(connection, "app"))?;
                        }
                        Ok(())
                    })
                })
                .collect();
            callers.into_iter().try_for_each(|caller| caller.join().expect("no panic"))
        })?;
        wait_until("the end of all entries", TIMEOUT, || {
            let counts = counts(&daemon).map_err(|error| format!("{error:#}"))?;
            if counts == (0, 0) { Ok(()) } else { Err(format!("{counts:?}")) }
        })?;
        Ok(())
    });
}

/// The source ports of the relay's connections to the app, as far as they are IPv4.
fn relays_ports(pod: &Namespace) -> BTreeSet<u16> {
    let table = pod.run(|| fs::read_to_string("/proc/thread-self/net/tcp6").unwrap_or_default());
    let port = |address: &str| u16::from_str_radix(address.rsplit_once(':')?.1, 16).ok();
    let connections = table.lines().skip(1).filter_map(|line| {
        let fields: Vec<_> = line.split_whitespace().collect();
        // Established, with the same address at both ends: the relay's connection to the app.
        let same =
            fields[3] == "01" && fields[1].rsplit_once(':')?.0 == fields[2].rsplit_once(':')?.0;
        (same && port(fields[1]) == Some(8080)).then(|| port(fields[2])).flatten()
    });
    connections.collect()
}

#[test]
fn pods_with_equal_addresses_are_told_apart() {
    run(|f| {
        let other = Topology::new("the same addresses again")?;
        let (pod, laptop, client) =
            (other.pod("web")?, other.host("laptop")?, other.host("client")?);
        assert_eq!(pod.ip4(), f.pod.ip4());
        let _app = TcpService::tagged(&pod, (Ipv6Addr::UNSPECIFIED, 8080), "other")?;
        for pod in [&f.pod, &pod] {
            // So few that both use the same.
            pod.sysctl("net/ipv4/ip_local_port_range", "20000 20011")?;
        }
        let twin = |name: &str, netns: &Namespace, laptop: &Namespace| {
            workload(netns, &refused(laptop)).replace("name: web", &format!("name: {name}"))
        };
        let second = twin("other", &pod, &laptop).replace("workloads:\n", "");
        let daemon = Daemon::start(f.t, &(twin("web", &f.pod, &f.laptop) + &second), &[])?;
        daemon.wait_active("web")?;
        daemon.wait_active("other")?;

        let mut open = Vec::new();
        for _ in 0..5 {
            open.push((Connection::open(&f.client, f.port(), Protocol::Line)?, "app"));
            open.push((Connection::open(&client, (pod.ip4(), 8080), Protocol::Line)?, "other"));
        }
        for (connection, app) in &mut open {
            sees_the_caller(connection, app)?;
        }
        let (ours, others) = (relays_ports(&f.pod), relays_ports(&pod));
        ensure!(!ours.is_disjoint(&others), "no relay had an equal address: {ours:?} {others:?}");
        assert_eq!(daemon.workload("web")?["caller_address"]["shown"], 5);
        assert_eq!(daemon.workload("other")?["caller_address"]["shown"], 5);
        Ok(())
    });
}

/// The relay's address shows the caller on its own connection, and only as long as that is open.
#[test]
fn whoever_else_has_the_relays_address_is_seen_as_himself() {
    run(|f| {
        let daemon = f.daemon_with(&refused(&f.laptop), &[])?;
        let _other = TcpService::tagged(&f.pod, (Ipv6Addr::UNSPECIFIED, 8081), "other")?;
        let mut connection = Connection::open(&f.client, f.port(), Protocol::Line)?;
        sees_the_caller(&mut connection, "app")?;
        let relay = relays_ports(&f.pod).pop_first().context("the relay's connection")?;

        let same_address = || {
            f.pod.run(|| -> Result<()> {
                let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
                socket.set_reuse_address(true)?;
                // Ends without TIME_WAIT, for the next to have the address.
                socket.set_linger(Some(Duration::ZERO))?;
                socket.bind(&SocketAddr::from((f.pod.ip4(), relay)).into())?;
                socket.connect(&SocketAddr::from((f.pod.ip4(), 8081)).into())?;
                let mut stream = TcpStream::from(socket);
                stream.write_all(b"who are you?\n")?;
                let mut answer = String::new();
                BufReader::new(&stream).read_line(&mut answer)?;
                let expected = format!("other {0}:{relay} {0}:8081\n", f.pod.ip4());
                ensure!(answer == expected, "{answer:?} instead of {expected:?}");
                Ok(())
            })
        };
        same_address().context("while the relay has it, too")?;
        sees_the_caller(&mut connection, "app")?;
        drop(connection);
        wait_until("the end of all entries", TIMEOUT, || {
            counts(&daemon).is_ok_and(|counts| counts == (0, 0))
        })?;
        same_address().context("when it was the relay's")
    });
}
