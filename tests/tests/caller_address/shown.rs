//! The app sees the address of its client, and no other connection is affected.

use std::{
    collections::BTreeSet,
    io::{BufRead as _, BufReader, Write as _},
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use interceptor_tests::{Hosts, TIMEOUT, run};
use rstest::rstest;
use socket2::{Domain, Socket, Type};
use testbed::{
    Connection, Daemon, Namespace, Protocol, TcpService, TcpState, Topology, netns_test,
    tcp_sockets, wait_until, workload,
};

use crate::{check_client_seen, counts, refused_rule};

#[rstest]
#[case::ipv4(Ipv4Addr::UNSPECIFIED.into(), false)]
#[case::ipv6(Ipv6Addr::UNSPECIFIED.into(), true)]
#[case::ipv4_at_an_ipv6_socket(Ipv6Addr::UNSPECIFIED.into(), false)]
fn the_app_sees_the_clients_address(#[case] listens_on: std::net::IpAddr, #[case] ipv6: bool) {
    netns_test("client-address", |t| {
        let Hosts { pod, laptop, client, .. } = Hosts::new(t)?;
        let _app = TcpService::tagged(&pod, (listens_on, 8080), "app")?;
        let _greets = TcpService::greets_first(&pod, (listens_on, 8081), "greets")?;
        let rule = format!("8080,8081 -> {}:1", laptop.ip4());
        let daemon = Daemon::start_active(t, &pod, &rule)?;
        let at = |port| {
            if ipv6 {
                SocketAddr::new(pod.ip6().into(), port)
            } else {
                SocketAddr::new(pod.ip4().into(), port)
            }
        };
        let mut connection = Connection::open(&client, at(8080), Protocol::Line)?;
        for _ in 0..3 {
            check_client_seen(&mut connection, "app")?;
        }
        // The greeting needs no byte of the client.
        let mut greeted = Connection::open(&client, at(8081), Protocol::Line)?;
        assert_eq!(greeted.answer()?.peer, Some(greeted.stream().local_addr()?));
        assert_eq!(counts(&daemon)?, (2, 0));

        // Clients in the pod itself, and on the node.
        for host in [&pod, t.node()] {
            let mut connection = Connection::open(host, at(8080), Protocol::Line)?;
            check_client_seen(&mut connection, "app").with_context(|| host.label().to_owned())?;
        }
        let loopback: std::net::IpAddr =
            if ipv6 { Ipv6Addr::LOCALHOST.into() } else { Ipv4Addr::LOCALHOST.into() };
        let mut connection =
            Connection::open(&pod, SocketAddr::new(loopback, 8080), Protocol::Line)?;
        check_client_seen(&mut connection, "app").context("loopback")
    });
}

#[test]
fn the_app_sees_each_of_many_clients() {
    run(|f| {
        let daemon = f.daemon_with(&refused_rule(&f.laptop), &[])?;
        let (ip4, ip6): (SocketAddr, SocketAddr) = (f.port(), (f.pod.ip6(), 8080).into());
        thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|n| {
                    let (client, to) = (&f.client, if n % 2 == 0 { ip4 } else { ip6 });
                    scope.spawn(move || -> Result<()> {
                        for _ in 0..10 {
                            let mut open: Vec<_> = (0..10)
                                .map(|_| Connection::open(client, to, Protocol::Line))
                                .collect::<Result<_, _>>()?;
                            open.iter_mut()
                                .try_for_each(|connection| check_client_seen(connection, "app"))?;
                        }
                        Ok(())
                    })
                })
                .collect();
            threads.into_iter().try_for_each(|thread| thread.join().expect("no panic"))
        })?;
        wait_until("the end of all map entries", TIMEOUT, || {
            let counts = counts(&daemon).map_err(|error| format!("{error:#}"))?;
            if counts == (0, 0) { Ok(()) } else { Err(format!("{counts:?}")) }
        })?;
        Ok(())
    });
}

/// The source ports of the relay's connections to an app that listens on an IPv6 socket.
fn relay_ports(pod: &Namespace) -> BTreeSet<u16> {
    let sockets = tcp_sockets(pod).into_iter();
    // The app's end of a connection from the pod itself: the relay's, since no client runs there.
    let accepted = sockets.filter(|socket| {
        socket.state == TcpState::Established
            && socket.local.port() == 8080
            && socket.local.ip() == socket.remote.ip()
    });
    accepted.map(|socket| socket.remote.port()).collect()
}

#[test]
fn pods_with_equal_addresses_show_their_own_clients() {
    run(|f| {
        let other = Topology::new("the same addresses again")?;
        let Hosts { pod, laptop, client, .. } = Hosts::new(&other)?;
        assert_eq!(pod.ip4(), f.pod.ip4());
        let _app = TcpService::tagged(&pod, (Ipv6Addr::UNSPECIFIED, 8080), "other")?;
        for pod in [&f.pod, &pod] {
            // So few ports that both relays use the same.
            pod.sysctl("net/ipv4/ip_local_port_range", "20000 20011")?;
        }
        let twin = |name: &str, netns: &Namespace, laptop: &Namespace| {
            workload(netns, &refused_rule(laptop)).replace("name: web", &format!("name: {name}"))
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
            check_client_seen(connection, app)?;
        }
        let (ours, others) = (relay_ports(&f.pod), relay_ports(&pod));
        ensure!(
            !ours.is_disjoint(&others),
            "the relays have no address in common: {ours:?} {others:?}"
        );
        assert_eq!(daemon.workload("web")?["caller_address"]["shown"], 5);
        assert_eq!(daemon.workload("other")?["caller_address"]["shown"], 5);
        Ok(())
    });
}

/// Only the relay's own connection shows the client, and only while it is open.
#[test]
fn another_socket_with_the_relays_address_shows_its_own_address() {
    run(|f| {
        let daemon = f.daemon_with(&refused_rule(&f.laptop), &[])?;
        let _other = TcpService::tagged(&f.pod, (Ipv6Addr::UNSPECIFIED, 8081), "other")?;
        let mut connection = Connection::open(&f.client, f.port(), Protocol::Line)?;
        check_client_seen(&mut connection, "app")?;
        let relay = relay_ports(&f.pod).pop_first().context("the relay's connection")?;

        let same_address = || {
            f.pod.run(|| -> Result<()> {
                let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
                socket.set_reuse_address(true)?;
                // A reset avoids TIME_WAIT, so that the next socket can have the address.
                socket.set_linger(Some(Duration::ZERO))?;
                socket.bind(&SocketAddr::from((f.pod.ip4(), relay)).into())?;
                socket.connect(&SocketAddr::from((f.pod.ip4(), 8081)).into())?;
                let mut stream = TcpStream::from(socket);
                stream.write_all(b"who are you?\n")?;
                let mut answer = String::new();
                BufReader::new(&stream).read_line(&mut answer)?;
                let expected = format!("other {0}:{relay} {0}:8081\n", f.pod.ip4());
                ensure!(answer == expected, "expected {expected:?}, got {answer:?}");
                Ok(())
            })
        };
        same_address().context("while the relay uses the address")?;
        check_client_seen(&mut connection, "app")?;
        drop(connection);
        wait_until("the end of all map entries", TIMEOUT, || {
            counts(&daemon).is_ok_and(|counts| counts == (0, 0))
        })?;
        same_address().context("after the relay has used the address")
    });
}
