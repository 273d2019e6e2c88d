//! Tests of the `sk_lookup` program by `BPF_PROG_TEST_RUN` (Linux 5.14) with artificial look-ups:
//! the listener that it selects, and the verdicts that it counts. The program is not attached, so
//! the tests need no namespace.

use std::{
    net::{SocketAddr, TcpListener},
    num::NonZeroU16,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use interceptor::datapath::{Loader, PodPrograms, TakePorts as _, Via, steal::heartbeat};
use interceptor_common::{
    heartbeat::{AT_LIMIT, NO_BEAT, STALE_AFTER_MS},
    port::Port,
    steal::{Family, Verdict, worker_for},
};
use rstest::rstest;
use socket2::SockRef;

const WORKERS: u32 = 2;
/// Room for more connections than any test makes.
const ROOM: i64 = 1_000;
const TAKEN: Port = Port::tcp(NonZeroU16::new(8080).expect("not zero"));
const OTHER: Port = Port::tcp(NonZeroU16::new(8081).expect("not zero"));
/// The UDP port with the number of [`OTHER`].
const OTHER_UDP: Port = Port::udp(NonZeroU16::new(8081).expect("not zero"));
const CALLER4: &str = "10.0.0.9:40000";
const CALLER6: &str = "[fd00::9]:40000";

/// The program with two workers, which have listeners but no heartbeat.
struct Fixture {
    programs: PodPrograms,
    program: test_run::Program,
    /// The listeners, by family and worker.
    listeners: [Vec<TcpListener>; 2],
}

impl Fixture {
    fn new() -> Result<Self> {
        let (mut programs, program) =
            test_run::Program::made_by(|| PodPrograms::load(&mut Loader::new(WORKERS)))?;
        let mut listeners = [Vec::new(), Vec::new()];
        for (family, any) in [(Family::V4, "127.0.0.1:0"), (Family::V6, "[::1]:0")] {
            for worker in 0..WORKERS {
                let listener = TcpListener::bind(any)?;
                programs.set_listener(family, worker, &listener)?;
                listeners[family as usize].push(listener);
            }
        }
        Ok(Self { programs, program, listeners })
    }

    /// The same, but both workers are alive and port [`TAKEN`] is taken.
    fn ready() -> Result<Self> {
        let mut fixture = Self::new()?;
        fixture.beat([alive(); WORKERS as usize]);
        fixture.programs.take(TAKEN, Via::Relay, None)?;
        Ok(fixture)
    }

    fn beat(&self, beats: [u64; WORKERS as usize]) {
        for (worker, beat) in (0..).zip(beats) {
            self.programs.heartbeats().store(worker, beat);
            self.programs.heartbeats().grant(worker, ROOM);
        }
    }

    /// The worker whose listener the program selects for a TCP connection from `caller` to `port`.
    fn call(&self, caller: &str, port: Port) -> Result<Option<usize>> {
        let caller: SocketAddr = caller.parse()?;
        let Some(cookie) = self.program.look_up(test_run::TCP, caller, port.number())? else {
            return Ok(None);
        };
        let family = if caller.is_ipv4() { Family::V4 } else { Family::V6 };
        let mut listeners = self.listeners[family as usize].iter();
        let worker =
            listeners.position(|listener| SockRef::from(listener).cookie().ok() == Some(cookie));
        worker.map(Some).context("a listener that is of the other family, or not ours at all")
    }

    /// The verdicts on [`TAKEN`] with a count above zero.
    fn verdicts(&self) -> Result<Vec<(Verdict, u64)>> {
        let mut verdicts = self.programs.counters(TAKEN)?;
        verdicts.retain(|(_, count)| *count > 0);
        Ok(verdicts)
    }
}

/// Runs `body` if this machine allows it.
fn program_test(body: impl FnOnce() -> Result<()>) {
    if testbed::require_root().is_some()
        && let Err(error) = body()
    {
        panic!("{error:?}");
    }
}

/// The worker of a client while all workers are alive.
fn first_choice(caller: &str) -> usize {
    let caller: SocketAddr = caller.parse().expect("an address");
    worker_for(caller.port(), 0, WORKERS) as usize
}

/// A heartbeat in the future, which does not become stale while a test waits for the CPU.
fn alive() -> u64 {
    heartbeat::now() + Duration::from_secs(60).as_nanos() as u64
}

fn millis_ago(millis: u64) -> u64 {
    heartbeat::now() - Duration::from_millis(millis).as_nanos() as u64
}

#[rstest]
fn a_port_that_is_not_taken_is_left_alone(#[values(CALLER4, CALLER6)] caller: &str) {
    program_test(|| {
        let fixture = Fixture::ready()?;
        assert_eq!(fixture.call(caller, OTHER)?, None);
        assert_eq!(fixture.verdicts()?, []);
        Ok(())
    });
}

#[rstest]
fn a_taken_port_goes_to_the_callers_worker(
    #[values(CALLER4, "10.0.0.9:40002", CALLER6, "[fd00::9]:40002")] caller: &str,
) {
    program_test(|| {
        let fixture = Fixture::ready()?;
        // Always the same worker, because a retransmitted SYN must reach the same listener.
        for _ in 0..3 {
            assert_eq!(fixture.call(caller, TAKEN)?, Some(first_choice(caller)));
        }
        assert_eq!(fixture.verdicts()?, [(Verdict::Steered, 3)]);
        Ok(())
    });
}

#[test]
fn callers_are_spread_over_both_workers() {
    assert_ne!(first_choice(CALLER4), first_choice("10.0.0.9:40002"));
    assert_ne!(first_choice(CALLER6), first_choice("[fd00::9]:40002"));
}

#[test]
fn udp_is_left_alone() {
    program_test(|| {
        let fixture = Fixture::ready()?;
        assert_eq!(fixture.program.look_up(test_run::UDP, CALLER4.parse()?, TAKEN.number())?, None);
        assert_eq!(fixture.verdicts()?, []);
        Ok(())
    });
}

#[test]
fn a_udp_port_is_another_port_than_the_tcp_port_of_the_same_number() {
    program_test(|| {
        let mut fixture = Fixture::ready()?;
        fixture.programs.take(OTHER_UDP, Via::Relay, None)?;
        assert_eq!(fixture.call(CALLER4, OTHER)?, None);
        fixture.programs.take(OTHER, Via::Relay, None)?;
        assert!(fixture.call(CALLER4, OTHER)?.is_some());
        fixture.programs.release(OTHER_UDP)?;
        assert!(fixture.call(CALLER4, OTHER)?.is_some());
        Ok(())
    });
}

#[rstest]
fn no_heartbeat_or_an_old_one_leaves_the_port_to_the_app(#[values(CALLER4, CALLER6)] caller: &str) {
    program_test(|| {
        let fixture = Fixture::ready()?;
        for beat in [NO_BEAT, 2, millis_ago(STALE_AFTER_MS), millis_ago(10_000)] {
            fixture.beat([beat; 2]);
            assert_eq!(fixture.call(caller, TAKEN)?, None, "{beat}");
        }
        assert_eq!(fixture.verdicts()?, [(Verdict::Stale, 4)]);

        // The first new heartbeat takes the port again. Half of the limit is enough for a slow
        // machine.
        fixture.beat([millis_ago(STALE_AFTER_MS / 2); 2]);
        assert_eq!(fixture.call(caller, TAKEN)?, Some(first_choice(caller)));
        Ok(())
    });
}

#[rstest]
fn the_other_worker_takes_over_from_one_that_hangs(
    #[values(CALLER4, "10.0.0.9:40002", CALLER6)] caller: &str,
    #[values(NO_BEAT, AT_LIMIT, 2)] beat: u64,
) {
    program_test(|| {
        let fixture = Fixture::ready()?;
        let (first, second) = (first_choice(caller), 1 - first_choice(caller));
        let mut beats = [alive(); 2];
        beats[first] = beat;
        fixture.beat(beats);
        assert_eq!(fixture.call(caller, TAKEN)?, Some(second));
        assert_eq!(fixture.verdicts()?, [(Verdict::Steered, 1)]);
        Ok(())
    });
}

#[test]
fn a_daemon_without_room_leaves_the_port_to_the_app_and_says_so() {
    program_test(|| {
        let fixture = Fixture::ready()?;
        fixture.beat([AT_LIMIT; 2]);
        assert_eq!(fixture.call(CALLER4, TAKEN)?, None);
        assert_eq!(fixture.verdicts()?, [(Verdict::AtLimit, 1)]);
        // One worker is full and the other hangs. The verdict is the one that users can act on.
        for beats in [[AT_LIMIT, NO_BEAT], [NO_BEAT, AT_LIMIT]] {
            fixture.beat(beats);
            assert_eq!(fixture.call(CALLER4, TAKEN)?, None);
        }
        assert_eq!(fixture.verdicts()?, [(Verdict::AtLimit, 3)]);
        Ok(())
    });
}

#[test]
fn a_rule_whose_time_is_over_leaves_the_port_to_the_app() {
    program_test(|| {
        let mut fixture = Fixture::ready()?;
        let minute = Duration::from_secs(60);
        fixture.programs.take(TAKEN, Via::Relay, Some(Instant::now() + minute))?;
        assert!(fixture.call(CALLER4, TAKEN)?.is_some());
        fixture.programs.take(TAKEN, Via::Relay, Some(Instant::now()))?;
        assert_eq!(fixture.call(CALLER4, TAKEN)?, None);
        // A new time limit does not reset the counts.
        assert_eq!(fixture.verdicts()?, [(Verdict::Steered, 1), (Verdict::Expired, 1)]);
        Ok(())
    });
}

#[test]
fn a_rule_with_its_maximum_leaves_the_port_to_the_app_until_it_has_room() {
    program_test(|| {
        let mut fixture = Fixture::ready()?;
        fixture.programs.set_full(OTHER, true)?;
        fixture.programs.set_full(TAKEN, true)?;
        assert_eq!(fixture.call(CALLER4, TAKEN)?, None);
        // A new time limit does not change that.
        let minute = Duration::from_secs(60);
        fixture.programs.take(TAKEN, Via::Relay, Some(Instant::now() + minute))?;
        assert_eq!(fixture.call(CALLER4, TAKEN)?, None);
        assert_eq!(fixture.verdicts()?, [(Verdict::RuleAtLimit, 2)]);
        fixture.programs.set_full(TAKEN, false)?;
        assert!(fixture.call(CALLER4, TAKEN)?.is_some());
        // A port that was given back and taken again is not full.
        fixture.programs.set_full(TAKEN, true)?;
        fixture.programs.release(TAKEN)?;
        fixture.programs.take(TAKEN, Via::Relay, None)?;
        assert!(fixture.call(CALLER4, TAKEN)?.is_some());
        Ok(())
    });
}

#[rstest]
fn a_worker_without_room_leaves_its_share_to_the_other_and_then_to_the_app(
    #[values(CALLER4, CALLER6)] caller: &str,
) {
    program_test(|| {
        let fixture = Fixture::ready()?;
        let first = first_choice(caller);
        let (cells, other) = (fixture.programs.heartbeats(), 1 - first);
        cells.grant(first as u32, 2 - cells.credit(first as u32));
        cells.grant(other as u32, 1 - cells.credit(other as u32));
        let served: Vec<_> = (0..4).map(|_| fixture.call(caller, TAKEN)).collect::<Result<_>>()?;
        assert_eq!(served, [Some(first), Some(first), Some(other), None]);
        assert_eq!(fixture.verdicts()?, [(Verdict::Steered, 3), (Verdict::AtLimit, 1)]);
        assert_eq!((cells.credit(first as u32), cells.credit(other as u32)), (0, 0));
        cells.grant(first as u32, 1);
        assert_eq!(fixture.call(caller, TAKEN)?, Some(first));
        Ok(())
    });
}

#[rstest]
fn the_relays_own_connection_passes_as_long_as_it_is_registered(
    #[values(CALLER4, CALLER6)] caller: &str,
) {
    program_test(|| {
        let fixture = Fixture::ready()?;
        let source: SocketAddr = caller.parse()?;
        let own = fixture.programs.bypass().register(source)?;
        assert_eq!(fixture.call(caller, TAKEN)?, None);
        // Another port of the same address does not bypass, nor does another address with the same
        // port.
        let mut neighbour = source;
        neighbour.set_port(source.port() + 2);
        assert!(fixture.call(&neighbour.to_string(), TAKEN)?.is_some());
        for other in ["10.0.0.8:40000", "[fd00::8]:40000", "[::10.0.0.9]:40000"] {
            assert!(fixture.call(other, TAKEN)?.is_some(), "{other}");
        }
        drop(own);
        assert!(fixture.call(caller, TAKEN)?.is_some());
        assert_eq!(fixture.verdicts()?, [(Verdict::Steered, 5), (Verdict::Own, 1)]);
        Ok(())
    });
}

#[rstest]
#[case(CALLER4, CALLER6, Family::V4)]
#[case(CALLER6, CALLER4, Family::V6)]
fn a_closed_listener_leaves_its_family_to_the_app(
    #[case] caller: &str,
    #[case] of_the_other_family: &str,
    #[case] family: Family,
) {
    program_test(|| {
        let mut fixture = Fixture::ready()?;
        let first = first_choice(caller);
        drop(fixture.listeners[family as usize].remove(first));
        // The list now has only the other worker's listener.
        assert_eq!(fixture.call(caller, TAKEN)?, Some(0));
        fixture.listeners[family as usize].clear();
        assert_eq!(fixture.call(caller, TAKEN)?, None);
        assert!(fixture.call(of_the_other_family, TAKEN)?.is_some());
        assert_eq!(fixture.verdicts()?, [(Verdict::Steered, 2), (Verdict::NoListener, 1)]);
        Ok(())
    });
}

#[test]
fn a_port_that_is_given_back_is_left_alone_and_counts_from_zero_when_taken_again() {
    program_test(|| {
        let mut fixture = Fixture::ready()?;
        fixture.programs.take(OTHER, Via::Relay, None)?;
        assert!(fixture.call(CALLER4, TAKEN)?.is_some());
        fixture.programs.release(TAKEN)?;
        assert_eq!(fixture.call(CALLER4, TAKEN)?, None);
        assert!(fixture.call(CALLER4, OTHER)?.is_some(), "the other port stays");
        assert_eq!(fixture.verdicts()?, []);

        fixture.programs.take(TAKEN, Via::Relay, None)?;
        assert_eq!(fixture.verdicts()?, []);
        assert!(fixture.call(CALLER4, TAKEN)?.is_some());
        assert_eq!(fixture.verdicts()?, [(Verdict::Steered, 1)]);
        let other = fixture.programs.counters(OTHER)?;
        assert!(other.contains(&(Verdict::Steered, 1)), "{other:?}");
        Ok(())
    });
}

/// `BPF_PROG_TEST_RUN` for `sk_lookup`, which aya does not have.
mod test_run {
    #![allow(unsafe_code, reason = "bpf(2) has no wrapper in libc, nix or aya for this")]

    use std::{
        collections::BTreeMap,
        fs, io,
        net::{IpAddr, SocketAddr},
        os::fd::{AsRawFd as _, BorrowedFd, OwnedFd, RawFd},
    };

    use anyhow::{Context as _, Result, ensure};
    use parking_lot::Mutex;

    pub(super) const TCP: u32 = 6;
    pub(super) const UDP: u32 = 17;

    const SK_PASS: u32 = 1;
    const BPF_PROG_TEST_RUN: libc::c_int = 10;

    /// `struct bpf_sk_lookup` of `<linux/bpf.h>`.
    #[repr(C)]
    #[derive(Clone, Copy, Debug, Default)]
    struct Context {
        /// The cookie of the selected socket. The kernel sets it in the output.
        cookie: u64,
        family: u32,
        protocol: u32,
        remote_ip4: [u8; 4],
        remote_ip6: [u8; 16],
        /// The client's port, in network byte order.
        remote_port: [u8; 2],
        padding: u16,
        local_ip4: [u8; 4],
        local_ip6: [u8; 16],
        /// The destination port, in host byte order.
        local_port: u32,
        /// Must be zero, like the padding after it.
        ingress_ifindex: u32,
        tail: u32,
    }

    const _: () = assert!(size_of::<Context>() == 72);

    /// The part of `union bpf_attr` for this command.
    #[repr(C)]
    #[derive(Debug, Default)]
    struct Attr {
        program: u32,
        retval: u32,
        data_sizes: [u32; 2],
        data: [u64; 2],
        repeat: u32,
        duration: u32,
        context_size_in: u32,
        context_size_out: u32,
        context_in: u64,
        context_out: u64,
        flags: u32,
        cpu: u32,
        batch_size: u32,
        padding: u32,
    }

    const _: () = assert!(size_of::<Attr>() == 80);

    /// A loaded program.
    pub(super) struct Program(OwnedFd);

    impl Program {
        /// Finds the program that `make` loads, among the file descriptors of this process. The
        /// result of `make` has no access to its file descriptor.
        pub(super) fn made_by<T, E>(make: impl FnOnce() -> Result<T, E>) -> Result<(T, Self)>
        where
            E: std::error::Error + Send + Sync + 'static,
        {
            // Tests run in parallel. The lock keeps out the programs of others.
            static LOADING: Mutex<()> = Mutex::new(());
            let _alone = LOADING.lock();
            let before = open_programs()?;
            let made = make()?;
            let mut new = open_programs()?;
            new.retain(|id, _| !before.contains_key(id));
            ensure!(new.len() == 1, "new programs: {new:?}");
            let fd = new.into_values().next().context("one program")?;
            // SAFETY: the descriptor is open while `made` lives, and is borrowed only for the copy.
            let program = unsafe { BorrowedFd::borrow_raw(fd) };
            Ok((made, Self(program.try_clone_to_owned()?)))
        }

        /// The cookie of the socket that the program selects, if any.
        pub(super) fn look_up(
            &self,
            protocol: u32,
            remote: SocketAddr,
            local_port: u16,
        ) -> Result<Option<u64>> {
            let mut context = Context {
                protocol,
                remote_port: remote.port().to_be_bytes(),
                local_port: local_port.into(),
                ..Context::default()
            };
            match remote.ip() {
                IpAddr::V4(ip) => {
                    context.family = libc::AF_INET as u32;
                    context.remote_ip4 = ip.octets();
                }
                IpAddr::V6(ip) => {
                    context.family = libc::AF_INET6 as u32;
                    context.remote_ip6 = ip.octets();
                }
            }
            let size = size_of::<Context>();
            let mut answer = Context::default();
            let mut attr = Attr {
                program: self.0.as_raw_fd().cast_unsigned(),
                context_size_in: size as u32,
                context_size_out: size as u32,
                context_in: &raw const context as u64,
                context_out: &raw mut answer as u64,
                ..Attr::default()
            };
            // SAFETY: both contexts and the attributes have the given sizes and outlive the call.
            let result = unsafe {
                libc::syscall(libc::SYS_bpf, BPF_PROG_TEST_RUN, &raw mut attr, size_of::<Attr>())
            };
            if result < 0 {
                return Err(io::Error::last_os_error()).context("BPF_PROG_TEST_RUN");
            }
            ensure!(attr.retval == SK_PASS, "the program returned {}", attr.retval);
            Ok((answer.cookie != 0).then_some(answer.cookie))
        }
    }

    /// The programs that this process has open, by the kernel's ID, which is never reused.
    fn open_programs() -> Result<BTreeMap<u32, RawFd>> {
        let mut programs = BTreeMap::new();
        for entry in fs::read_dir("/proc/self/fdinfo").context("list own files")?.flatten() {
            // Other tests open and close files at the same time.
            let Ok(info) = fs::read_to_string(entry.path()) else { continue };
            if let Some(id) = info.lines().find_map(|line| line.strip_prefix("prog_id:"))
                // A link also has the ID of its program.
                && !info.contains("link_type:")
            {
                programs.insert(id.trim().parse()?, entry.file_name().to_string_lossy().parse()?);
            }
        }
        Ok(programs)
    }
}
