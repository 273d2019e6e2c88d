//! The app sees the caller's address and port, as if we were not there, whenever it serves him in the target's place.

use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead as _, BufReader, Write as _},
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use interceptor_tests::{SOON, Scene, play};
use nix::sys::signal::Signal;
use rstest::rstest;
use serde_json::Value;
use socket2::{Domain, Socket, Type};
use testbed::{
    BpfKind, Capability, Cgroup, CommandExt as _, Connection, Daemon, Namespace, Question,
    TcpService, Topology, binary, bpf_inventory, netns_test, wait_until, workload,
};

/// A rule with a target that refuses, so that the app serves.
fn refused(laptop: &Namespace) -> String {
    format!("8080 -> {}:1", laptop.ip4())
}

/// What the app says of a caller, which should be what the caller says of himself.
fn sees_the_caller(connection: &mut Connection, app: &str) -> Result<()> {
    let answer = connection.ask()?;
    let own = connection.stream().local_addr()?;
    ensure!(answer.tag == app && answer.peer == Some(own), "the caller {own} is told {answer:?}");
    Ok(())
}

/// What the daemon says of callers' addresses: (connections shown at present, connections not shown).
fn counts(daemon: &Daemon) -> Result<(u64, u64)> {
    let state = daemon.state()?;
    let told = &state["caller_address"];
    let number = |key: &str| told[key].as_u64().with_context(|| format!("no {key} in {told}"));
    let counts = (number("shown")?, number("not_shown")?);
    let metrics = daemon.metrics()?;
    let measured = ["interceptor_callers_shown", "interceptor_callers_not_shown_total"]
        .map(|name| metrics.sum(name, &[]) as u64);
    ensure!(measured == [counts.0, counts.1], "status says {counts:?}, metrics say {measured:?}");
    Ok(counts)
}

/// The daemon's links, those at the root of the cgroups apart: (network namespaces, cgroups).
fn links(daemon: &Daemon) -> Result<(usize, usize)> {
    let held = bpf_inventory()?.still_here(&daemon.bpf_objects()?);
    let (netns, cgroup): (Vec<_>, Vec<_>) = held
        .into_iter()
        .filter(|object| object.kind == BpfKind::Link)
        .partition(|link| link.netns_inode.is_some());
    Ok((netns.len(), cgroup.len()))
}

// --- what the app sees ------------------------------------------------------------------------------------------------

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
        let mut connection = Connection::open(&client, at(8080), Question::Line)?;
        for _ in 0..3 {
            sees_the_caller(&mut connection, "app")?;
        }
        // Without a byte from the caller.
        let mut greeted = Connection::open(&client, at(8081), Question::Line)?;
        assert_eq!(greeted.answer()?.peer, Some(greeted.stream().local_addr()?));
        assert_eq!(counts(&daemon)?, (2, 0));

        // The pod itself, and the node.
        for caller in [&pod, t.node()] {
            let mut connection = Connection::open(caller, at(8080), Question::Line)?;
            sees_the_caller(&mut connection, "app").with_context(|| caller.label().to_owned())?;
        }
        let loopback: std::net::IpAddr =
            if ipv6 { Ipv6Addr::LOCALHOST.into() } else { Ipv4Addr::LOCALHOST.into() };
        let mut connection =
            Connection::open(&pod, SocketAddr::new(loopback, 8080), Question::Line)?;
        sees_the_caller(&mut connection, "app").context("loopback")
    });
}

#[test]
fn many_callers_at_once_are_each_seen() {
    play(|s| {
        let daemon = s.daemon_with(&refused(&s.laptop), &[])?;
        let (ip4, ip6): (SocketAddr, SocketAddr) = (s.port(), (s.pod.ip6(), 8080).into());
        thread::scope(|scope| {
            let callers: Vec<_> = (0..8)
                .map(|n| {
                    let (client, to) = (&s.client, if n % 2 == 0 { ip4 } else { ip6 });
                    scope.spawn(move || -> Result<()> {
                        for _ in 0..10 {
                            let mut open: Vec<_> = (0..10)
                                .map(|_| Connection::open(client, to, Question::Line))
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
        wait_until("the end of all entries", SOON, || {
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
    play(|s| {
        let other = Topology::new("the same addresses again")?;
        let (pod, laptop, client) =
            (other.pod("web")?, other.host("laptop")?, other.host("client")?);
        assert_eq!(pod.ip4(), s.pod.ip4());
        let _app = TcpService::tagged(&pod, (Ipv6Addr::UNSPECIFIED, 8080), "other")?;
        for pod in [&s.pod, &pod] {
            // So few that both use the same.
            pod.sysctl("net/ipv4/ip_local_port_range", "20000 20011")?;
        }
        let twin = |name: &str, netns: &Namespace, laptop: &Namespace| {
            workload(netns, &refused(laptop)).replace("name: web", &format!("name: {name}"))
        };
        let second = twin("other", &pod, &laptop).replace("workloads:\n", "");
        let daemon = Daemon::start(s.t, &(twin("web", &s.pod, &s.laptop) + &second), &[])?;
        daemon.wait_active("web")?;
        daemon.wait_active("other")?;

        let mut open = Vec::new();
        for _ in 0..5 {
            open.push((Connection::open(&s.client, s.port(), Question::Line)?, "app"));
            open.push((Connection::open(&client, (pod.ip4(), 8080), Question::Line)?, "other"));
        }
        for (connection, app) in &mut open {
            sees_the_caller(connection, app)?;
        }
        let (ours, others) = (relays_ports(&s.pod), relays_ports(&pod));
        ensure!(!ours.is_disjoint(&others), "no relay had an equal address: {ours:?} {others:?}");
        assert_eq!(daemon.workload("web")?["caller_address"]["shown"], 5);
        assert_eq!(daemon.workload("other")?["caller_address"]["shown"], 5);
        Ok(())
    });
}

/// The relay's address shows the caller on its own connection, and only as long as that is open.
#[test]
fn whoever_else_has_the_relays_address_is_seen_as_himself() {
    play(|s| {
        let daemon = s.daemon_with(&refused(&s.laptop), &[])?;
        let _other = TcpService::tagged(&s.pod, (Ipv6Addr::UNSPECIFIED, 8081), "other")?;
        let mut connection = Connection::open(&s.client, s.port(), Question::Line)?;
        sees_the_caller(&mut connection, "app")?;
        let relay = relays_ports(&s.pod).pop_first().context("the relay's connection")?;

        let same_address = || {
            s.pod.run(|| -> Result<()> {
                let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
                socket.set_reuse_address(true)?;
                // Ends without TIME_WAIT, for the next to have the address.
                socket.set_linger(Some(Duration::ZERO))?;
                socket.bind(&SocketAddr::from((s.pod.ip4(), relay)).into())?;
                socket.connect(&SocketAddr::from((s.pod.ip4(), 8081)).into())?;
                let mut stream = TcpStream::from(socket);
                stream.write_all(b"who are you?\n")?;
                let mut answer = String::new();
                BufReader::new(&stream).read_line(&mut answer)?;
                let expected = format!("other {0}:{relay} {0}:8081\n", s.pod.ip4());
                ensure!(answer == expected, "{answer:?} instead of {expected:?}");
                Ok(())
            })
        };
        same_address().context("while the relay has it, too")?;
        sees_the_caller(&mut connection, "app")?;
        drop(connection);
        wait_until("the end of all entries", SOON, || {
            counts(&daemon).is_ok_and(|counts| counts == (0, 0))
        })?;
        same_address().context("when it was the relay's")
    });
}

// --- bystanders -------------------------------------------------------------------------------------------------------

#[test]
fn nothing_is_attached_for_everybody_while_nothing_is_redirected() {
    play(|s| {
        let daemon = Daemon::start(s.t, &s.without_rule(), &[])?;
        daemon.wait_state("the first look", |state| state["workloads"][0]["state"] == "idle")?;
        assert_eq!(daemon.state()?["caller_address"]["state"], "kept");
        assert_eq!(links(&daemon)?, (0, 0));

        daemon.rewrite_workloads(&s.web(&refused(&s.laptop)))?;
        daemon.wait_active("web")?;
        assert_eq!(links(&daemon)?, (1, 2));
        let mut connection = Connection::open(&s.client, s.port(), Question::Line)?;
        sees_the_caller(&mut connection, "app")?;

        // As long as the app may ask.
        daemon.rewrite_workloads(&s.without_rule())?;
        wait_until("the end of the redirect", SOON, || {
            links(&daemon).is_ok_and(|links| links.0 == 0)
        })?;
        assert_eq!(links(&daemon)?, (0, 2));
        sees_the_caller(&mut connection, "app")?;
        drop(connection);
        wait_until("the end of all links", SOON, || {
            links(&daemon).is_ok_and(|links| links == (0, 0))
        })?;
        assert_eq!(counts(&daemon)?, (0, 0));
        Ok(())
    });
}

#[rstest]
#[case::in_order(Signal::SIGTERM)]
#[case::by_force(Signal::SIGKILL)]
fn nothing_is_attached_after_the_end(#[case] signal: Signal) {
    play(|s| {
        let mut daemon = s.daemon_with(&refused(&s.laptop), &[])?;
        assert_eq!(s.who()?, "app");
        let objects = daemon.bpf_objects()?;
        assert_eq!(links(&daemon)?, (1, 2));
        daemon.signal(signal)?;
        daemon.wait()?;
        wait_until("the end of all programs, maps and links", SOON, || {
            let left = bpf_inventory().map_err(|error| format!("{error:#}"))?.still_here(&objects);
            if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
        })?;
        Ok(())
    });
}

// --- where it can't be had ----------------------------------------------------------------------------------------------

/// What `interceptor check` says of the caller's address.
fn checked(adapt: impl FnOnce(&mut std::process::Command) -> Result<()>) -> Result<Value> {
    let mut command = std::process::Command::new(binary()?);
    command.args(["check", "--output", "json"]);
    adapt(&mut command)?;
    let told: Value = serde_json::from_slice(&command.output()?.stdout)?;
    assert_eq!(told["able"], true, "it works all the same: {told}");
    let findings = told["findings"].as_array().context("no findings")?;
    findings
        .iter()
        .find(|finding| finding["name"] == "caller's address")
        .cloned()
        .context("no finding")
}

fn lost(
    s: &Scene<'_>,
    why: &str,
    adapt: impl Fn(&mut std::process::Command) -> Result<()>,
) -> Result<()> {
    let daemon = s.daemon_adapted(&refused(&s.laptop), &adapt)?;
    let mut connection = Connection::open(&s.client, s.port(), Question::Line)?;
    let answer = connection.ask()?;
    assert_eq!(
        (answer.tag.as_str(), answer.peer.map(|peer| peer.ip())),
        ("app", Some(s.pod.ip4().into()))
    );
    assert_eq!(counts(&daemon)?, (0, 1));
    assert_eq!(daemon.metric("interceptor_caller_address_kept", &[]), 0.0);
    let told = daemon.state()?["caller_address"].clone();
    assert_eq!(told["state"], "lost");
    for text in [&told["reason"], &told["remedy"]] {
        ensure!(!text.as_str().unwrap_or_default().is_empty(), "{told}");
    }
    ensure!(told["reason"].as_str().is_some_and(|reason| reason.contains(why)), "{told}");
    assert_eq!(daemon.logs().matches("applications won't see callers' addresses").count(), 1);

    let finding = checked(&adapt)?;
    assert_eq!(finding["verdict"], "warning", "{finding}");
    ensure!(finding["found"].as_str().is_some_and(|found| found.contains(why)), "{finding}");
    ensure!(finding["remedy"] == told["remedy"], "{finding} {told}");
    Ok(())
}

#[test]
fn without_cgroups_of_version_2_it_works_and_says_what_is_lost() {
    play(|s| {
        lost(&s, "no cgroup v2 file system is mounted", |command| {
            command.without_cgroups();
            Ok(())
        })
    });
}

#[test]
fn a_container_that_sees_its_own_cgroup_only_says_so() {
    play(|s| {
        let cgroup = Cgroup::new("own")?;
        lost(&s, "this container's own cgroup", |command| {
            command.contained(&cgroup, None)?;
            Ok(())
        })
    });
}

#[test]
fn a_container_that_is_shown_the_hosts_cgroups_keeps_the_address() {
    play(|s| {
        let (cgroup, hosts) = (Cgroup::new("hosts")?, s.t.dir().join("cgroup"));
        fs::create_dir(&hosts)?;
        let adapt = |command: &mut std::process::Command| {
            // What the chart grants.
            let rights =
                [Capability::Bpf, Capability::NetAdmin, Capability::Perfmon, Capability::SysAdmin];
            command.contained(&cgroup, Some(&hosts))?.only(&rights);
            Ok(())
        };
        assert_eq!(checked(adapt)?["verdict"], "ok");
        let daemon = s.daemon_adapted(&refused(&s.laptop), adapt)?;
        let mut connection = Connection::open(&s.client, s.port(), Question::Line)?;
        sees_the_caller(&mut connection, "app")?;
        assert_eq!(daemon.metric("interceptor_caller_address_kept", &[]), 1.0);
        drop((connection, daemon));
        Ok(())
    });
}
