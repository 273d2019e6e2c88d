//! TLS with a server name, by curl. One changed byte would break the connection.

use std::fs;

use anyhow::{Result, ensure};
use interceptor_tests::software::{output, software_test, tool};
use rstest::rstest;
use testbed::{Daemon, Namespace, Process, nginx_with};

use crate::{Fixture, PORT, pattern::Pattern};

#[rstest]
#[case::name(
    "connection.requested_server_name == 'debug.example'",
    [("shop.example", "app"), ("debug.example", "laptop")]
)]
#[case::hidden(
    "request.headers['x-user'] == 'debug'",
    [("shop.example", "app"), ("debug.example", "app")]
)]
fn curl_reaches_the_tls_server_that_the_condition_selects(
    #[case] condition: &str,
    #[case] expected: [(&str, &str); 2],
) {
    software_test("tls", &["curl", "nginx", "openssl"], |t| {
        let f = Fixture::new(t)?;
        let (_app, _target) =
            (tls_server(&f.hosts.pod, "app")?, tls_server(&f.hosts.laptop, "laptop")?);
        let rule = format!("{PORT} -> {}:{PORT} when {condition}", f.hosts.laptop.ip4());
        let _daemon = Daemon::start_active(t, &f.hosts.pod, &rule)?;
        for (name, tag) in expected {
            let resolve = format!("{name}:{PORT}:{}", f.hosts.pod.ip4());
            let url = format!("https://{name}:{PORT}/large");
            for version in ["--http1.1", "--http2"] {
                let mut curl = f.curl(
                    "debug",
                    &["-k", version, "--tlsv1.3", "--resolve", &resolve, &url, &url],
                );
                let got = output(&mut curl)?;
                let file = fs::read(t.dir().join(format!("tls-{tag}/large")))?;
                ensure!(
                    got == [&*file, &*file].concat(),
                    "{name}: {} bytes, not the file of {tag} twice",
                    got.len()
                );
            }
        }
        Ok(())
    });
}

/// Starts nginx with a certificate of its own. Its file `large` begins with `tag`.
fn tls_server(netns: &Namespace, tag: &str) -> Result<Process> {
    let dir = netns.dir().join(format!("tls-{tag}"));
    fs::create_dir(&dir)?;
    let mut large = format!("{tag}\n").into_bytes();
    Pattern::default().write(&mut large, 8 << 20)?;
    fs::write(dir.join("large"), large)?;
    let mut openssl = tool(netns, "openssl");
    openssl.args([
        "req",
        "-x509",
        "-nodes",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
    ]);
    openssl.args([
        "-subj",
        "/CN=debug.example",
        "-days",
        "1",
        "-keyout",
        "key",
        "-out",
        "certificate",
    ]);
    output(openssl.current_dir(&dir))?;
    let http = format!(
        "server {{
        listen {PORT} ssl http2;
        ssl_protocols TLSv1.2 TLSv1.3;
        ssl_certificate {dir}/certificate;
        ssl_certificate_key {dir}/key;
        root {dir};
    }}",
        dir = dir.display(),
    );
    nginx_with(netns, &format!("nginx-{tag}"), PORT, &http)
}
