//! TLS with a server name, by curl.

use std::{fs, time::Duration};

use anyhow::{Result, ensure};
use interceptor_tests::software::{output, server, software_test, tool};
use rstest::rstest;
use testbed::{Daemon, Namespace, Process, workload};

use crate::{Fixture, PORT, pattern::Pattern};

/// Who changes one byte of TLS breaks it.
#[rstest]
#[case::name("connection.requested_server_name == 'debug.example'", [("shop.example", "app"), ("debug.example", "laptop")])]
#[case::hidden("request.headers['x-user'] == 'debug'", [("shop.example", "app"), ("debug.example", "app")])]
fn curl_speaks_tls_to_whom_it_names(#[case] condition: &str, #[case] expected: [(&str, &str); 2]) {
    software_test("tls", &["curl", "nginx", "openssl"], |t| {
        let fixture = Fixture::new(t)?;
        let (_app, _target) =
            (tls_server(&fixture.pod, "app")?, tls_server(&fixture.laptop, "laptop")?);
        let rule = format!("{PORT} -> {}:{PORT} when {condition}", fixture.laptop.ip4());
        let daemon = Daemon::start(t, &workload(&fixture.pod, &rule), &[])?;
        daemon.wait_active("web")?;
        for (name, tag) in expected {
            let resolve = format!("{name}:{PORT}:{}", fixture.pod.ip4());
            let url = format!("https://{name}:{PORT}/large");
            for version in ["--http1.1", "--http2"] {
                let mut curl = fixture.curl(
                    "debug",
                    &["-k", version, "--tlsv1.3", "--resolve", &resolve, &url, &url],
                );
                let got = output(&mut curl)?;
                let file = fs::read(t.dir().join(format!("tls-{tag}/large")))?;
                ensure!(
                    got == [&*file, &*file].concat(),
                    "{name} got {} bytes, of {tag}?",
                    got.len()
                );
            }
        }
        Ok(())
    });
}

/// nginx with a certificate of its own.
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
    let config = format!(
        "daemon off;\nuser root;\nerror_log stderr;\npid {dir}/pid;\nevents {{}}\nhttp {{\naccess_log off;\n\
         client_body_temp_path {dir}/body;\nproxy_temp_path {dir}/proxy;\nfastcgi_temp_path {dir}/fastcgi;\n\
         uwsgi_temp_path {dir}/uwsgi;\nscgi_temp_path {dir}/scgi;\nserver {{\nlisten {PORT} ssl http2;\n\
         ssl_protocols TLSv1.2 TLSv1.3;\nssl_certificate {dir}/certificate;\nssl_certificate_key {dir}/key;\nroot {dir};\n}}\n}}\n",
        dir = dir.display(),
    );
    fs::write(dir.join("config"), config)?;
    let mut nginx = server(netns, "nginx");
    nginx.args(["-e", "stderr", "-p"]).arg(&dir).arg("-c").arg(dir.join("config"));
    let mut process = netns.spawn(&mut nginx)?;
    process.wait_for_port(PORT, Duration::from_secs(10))?;
    Ok(process)
}
