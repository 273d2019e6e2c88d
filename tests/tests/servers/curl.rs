//! What curl is asked to do.

use std::{net::SocketAddr, process::Command};

use interceptor_tests::software::tool;
use testbed::Namespace;

use crate::kinds::{Kind, PORT, Upload};

pub(crate) fn curls(kind: Kind) -> Vec<Vec<&'static str>> {
    // Says so if it had to connect anew.
    let connects = ["-w", "%{http_code} with %{num_connects} connections\n"];
    let asked = ["-H", "Expect: 100-continue", "--expect100-timeout", "20"];
    let to = if kind.upload == Upload::Echo { "URL/echo" } else { "URL/up/c" };
    let mut all = vec![
        [&connects[..], &["URL/hello", "URL/stream", "URL/large", "URL/hello"]].concat(),
        vec!["-I", "URL/hello"],
        vec!["-r", "5-70000", "URL/large"],
        vec!["-0", "URL/hello"],
        vec!["URL/nothing"],
        vec!["--compressed", "URL/text"],
        // By Upgrade. Some servers will, others won't; of more than this, curl 7.88 makes an error with Apache itself.
        vec!["--http2", "URL/hello"],
    ];
    let uploads = [
        [&asked[..], &["-T", "upload", to]].concat(),
        [&asked[..], &["-T", "-", to]].concat(),
        [&asked[..], &["-X", "PUT", "--data-binary", "@upload", to]].concat(),
    ];
    for upload in uploads {
        all.push(upload);
        if kind.upload == Upload::File {
            all.push(vec!["-X", "DELETE", to]);
        }
    }
    if kind.upload == Upload::File {
        // Refused while it is being sent, and before that.
        let too_large = ["-T", "server-web/root/large", "URL/small/c"];
        all.push([&["-H", "Expect:"], &too_large[..]].concat());
        all.push([&asked[..], &too_large].concat());
    }
    all
}

pub(crate) fn curl(client: &Namespace, server: &Namespace, mark: &str, args: &[&str]) -> Command {
    let url = format!("http://{}", SocketAddr::from((server.ip4(), PORT)));
    let mut command = tool(client, "curl");
    command.args(["-sS", "-i", "--http1.1", "-H", "Host: web", "-H", mark]);
    command.args(args.iter().map(|arg| arg.replace("URL", &url)));
    command
}
