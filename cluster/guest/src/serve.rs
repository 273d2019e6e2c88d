//! A server that answers with `<name> <address of the client> <own address>`.
//!
//! It answers each HTTP/1 request, each gRPC health check (`SERVING`), and any other line by a
//! line.

use std::{
    env,
    io::{self, BufRead as _, BufReader, Write as _},
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream},
    process::{self, ExitCode},
    sync::Arc,
    thread,
    time::Duration,
};

use nix::sys::signal::{SigSet, Signal};

use crate::grpc;

/// Serves on `ports` until SIGTERM.
///
/// The name is `NAME` in the environment, or else `HOSTNAME`, the name of the pod. After SIGTERM
/// the server continues for `LINGER` seconds, because clients of a Service still use the endpoint
/// for a moment.
pub(crate) fn serve(ports: &[&str], signals: &SigSet) -> ExitCode {
    let name = ["NAME", "HOSTNAME"].into_iter().find_map(|key| env::var(key).ok());
    let name: Arc<str> = name.unwrap_or_else(|| "unnamed".into()).into();
    for port in ports {
        let listening = port.parse().map_err(io::Error::other).and_then(listen);
        match listening {
            Ok(listener) => {
                let name = name.clone();
                thread::spawn(move || accept(&listener, &name));
            }
            Err(error) => {
                eprintln!("guest: listen on {port}: {error}");
                return ExitCode::FAILURE;
            }
        }
    }
    println!("{name} serves on {}", ports.join(", "));
    while signals.wait() == Ok(Signal::SIGCHLD) {}
    let linger = env::var("LINGER").ok().and_then(|seconds| seconds.parse().ok()).unwrap_or(0.0);
    thread::sleep(Duration::from_secs_f64(linger));
    process::exit(0)
}

/// Listens for IPv6 and IPv4, or for IPv4 only if the host has no IPv6.
fn listen(port: u16) -> io::Result<TcpListener> {
    TcpListener::bind((Ipv6Addr::UNSPECIFIED, port))
        .or_else(|_| TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)))
}

fn accept(listener: &TcpListener, name: &Arc<str>) {
    for stream in listener.incoming().flatten() {
        let name = name.clone();
        // The client sees the end of its connection. An error needs no report here.
        thread::spawn(move || answer(stream, &name));
    }
}

/// Answers until the client closes its side.
fn answer(mut stream: TcpStream, name: &str) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let about = format!("{name} {} {}", plain(stream.peer_addr()?), plain(stream.local_addr()?));
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    while {
        line.clear();
        reader.read_line(&mut line)? > 0
    } {
        match line.trim_end().rsplit_once(' ') {
            Some(("PRI *", "HTTP/2.0")) => return grpc::answer(reader, stream),
            Some((request, "HTTP/1.1" | "HTTP/1.0")) => {
                let is_probe = skip_message(&mut reader)?;
                if !is_probe && !request.ends_with(" /") {
                    println!("{name}: {request}");
                }
                let body = format!("{about} {request}\n");
                let head = format!(
                    "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n",
                    body.len()
                );
                let end = if line.trim_end().ends_with("HTTP/1.0") {
                    "Connection: close\r\n"
                } else {
                    ""
                };
                stream.write_all(format!("{head}{end}\r\n{body}").as_bytes())?;
                if !end.is_empty() {
                    return Ok(());
                }
            }
            _ => stream.write_all(format!("{about}\n").as_bytes())?,
        }
    }
    Ok(())
}

/// Skips the headers and the body of a request. Returns true for a probe of the kubelet.
fn skip_message(reader: &mut BufReader<TcpStream>) -> io::Result<bool> {
    let (mut length, mut is_probe) = (0, false);
    let mut line = String::new();
    while {
        line.clear();
        reader.read_line(&mut line)? > 2
    } {
        match line.split_once(": ") {
            Some((key, value)) if key.eq_ignore_ascii_case("content-length") => {
                length = value.trim().parse().map_err(io::Error::other)?;
            }
            Some((_, value)) => is_probe |= value.starts_with("kube-probe/"),
            None => {}
        }
    }
    let body = &mut io::Read::take(reader, length);
    io::copy(body, &mut io::sink()).map(|_| is_probe)
}

/// Replaces an IPv4-mapped IPv6 address by the IPv4 address.
fn plain(addr: SocketAddr) -> SocketAddr {
    SocketAddr::new(addr.ip().to_canonical(), addr.port())
}
