//! Calls by curl.

use std::{net::SocketAddr, process::Command};

use interceptor_tests::software::tool;
use testbed::Namespace;

use crate::kinds::{Kind, PORT, Upload};

/// The arguments of each call, with `URL` for the server's.
pub(crate) fn curls(kind: Kind) -> Vec<Vec<&'static str>> {
    // curl prints the number of connections, which must be the same.
    let connects = ["-w", "%{http_code} with %{num_connects} connections\n"];
    let expect = ["-H", "Expect: 100-continue", "--expect100-timeout", "20"];
    let to = if kind.upload == Upload::Echo { "URL/echo" } else { "URL/up/c" };
    let mut all = vec![
        [&connects[..], &["URL/hello", "URL/stream", "URL/large", "URL/hello"]].concat(),
        vec!["-I", "URL/hello"],
        vec!["-r", "5-70000", "URL/large"],
        vec!["-0", "URL/hello"],
        vec!["URL/nothing"],
        vec!["--compressed", "URL/text"],
        // By upgrade, which some servers accept. One request only: with more, curl 7.88 fails with
        // Apache directly, too.
        vec!["--http2", "URL/hello"],
    ];
    let uploads = [
        [&expect[..], &["-T", "upload", to]].concat(),
        [&expect[..], &["-T", "-", to]].concat(),
        [&expect[..], &["-X", "PUT", "--data-binary", "@upload", to]].concat(),
    ];
    for upload in uploads {
        all.push(upload);
        if kind.upload == Upload::File {
            all.push(vec!["-X", "DELETE", to]);
        }
    }
    if kind.upload == Upload::File {
        // The server refuses the body while curl sends it, and before.
        let too_large = ["-T", "server-web/root/large", "URL/small/c"];
        all.push([&["-H", "Expect:"], &too_large[..]].concat());
        all.push([&expect[..], &too_large].concat());
    }
    all
}

/// curl with these arguments for a server.
pub(crate) fn curl(client: &Namespace, server: &Namespace, user: &str, args: &[&str]) -> Command {
    let url = format!("http://{}", SocketAddr::from((server.ip4(), PORT)));
    let mut command = tool(client, "curl");
    command.args(["-sS", "-i", "--http1.1", "-H", "Host: web", "-H", user]);
    command.args(args.iter().map(|arg| arg.replace("URL", &url)));
    command
}
