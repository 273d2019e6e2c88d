//! iperf3 and OpenSSH.

use std::fs;

use anyhow::Context as _;
use interceptor_tests::{
    TIMEOUT,
    software::{
        Fixture, folder, output, server, software_test, text, tool, unprivileged, unprivileged_user,
    },
};
use testbed::send;

#[test]
fn iperf3_sends_in_both_directions() {
    software_test("iperf3", &["iperf3"], |t| {
        let f = Fixture::new(t, 5201)?;
        for direction in [&[][..], &["-R"], &["-P", "4"], &["-R", "-P", "4"]] {
            // One server for each test, since iperf3 is busy for a moment after a test.
            let server = &mut server(&f.laptop, "iperf3");
            let mut server = f.laptop.spawn(server.args(["-s", "-p", "5201"]))?;
            server.wait_for_port(5201, TIMEOUT)?;
            let mut client = tool(&f.client, "iperf3");
            client.args(["-c", &f.host(), "-p", "5201", "-n", "256M", "-J"]).args(direction);
            let report: serde_json::Value = serde_json::from_slice(&output(&mut client)?)?;
            assert_eq!(report["error"], serde_json::Value::Null, "{direction:?}");
            // iperf3 stops counting when the sender has written everything, while bytes are still
            // on the way.
            let received = report["end"]["sum_received"]["bytes"].as_u64().context("no bytes")?;
            assert!(received > 128 << 20, "{direction:?}: {received} bytes arrived");
        }
        Ok(())
    });
}

#[test]
fn ssh_runs_a_command_and_scp_copies_a_file() {
    software_test("ssh", &["sshd", "ssh", "scp", "ssh-keygen"], |t| {
        const PORT: u16 = 2222;
        let f = Fixture::new(t, PORT)?;
        // sshd of an ordinary user admits that user only, and needs no folder outside of its own.
        let dir = folder(t, "ssh")?;
        for name in ["host", "user"] {
            let mut keygen = unprivileged(&f.laptop, "ssh-keygen");
            output(keygen.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(dir.join(name)))?;
        }
        let d = dir.display();
        let config = format!(
            "Port {PORT}\nListenAddress 0.0.0.0\nHostKey {d}/host\nPidFile none\nUsePAM no\n\
             StrictModes no\nAuthorizedKeysFile {d}/user.pub\nPasswordAuthentication no\n\
             Subsystem sftp internal-sftp\n",
        );
        fs::write(dir.join("config"), config)?;
        let host_key = fs::read_to_string(dir.join("host.pub"))?;
        fs::write(dir.join("known"), format!("[{}]:{PORT} {host_key}", f.host()))?;
        let mut sshd = unprivileged(&f.laptop, "sshd");
        let mut server = f.laptop.spawn(sshd.args(["-D", "-e", "-f"]).arg(dir.join("config")))?;
        server.wait_for_port(PORT, TIMEOUT)?;

        // ssh reads the key only as the user that owns it.
        let client = |program| {
            let mut command = unprivileged(&f.client, program);
            command.args([
                "-F",
                "none",
                "-o",
                "BatchMode=yes",
                "-o",
                "StrictHostKeyChecking=yes",
                "-i",
            ]);
            command.arg(dir.join("user")).arg("-o").arg(format!("UserKnownHostsFile={d}/known"));
            command
        };
        let to = format!("{}@{}", unprivileged_user(), f.host());
        let port = PORT.to_string();
        let addresses = text(client("ssh").args(["-p", &port, &to, "echo", "$SSH_CONNECTION"]))?;
        // Address and port of the client, then of the server, as the server sees them.
        assert_eq!(
            addresses.split_whitespace().nth(2),
            Some(f.laptop.ip4().to_string().as_str()),
            "{addresses}"
        );

        let mut content = Vec::new();
        send(&mut content, 16 << 20)?;
        fs::write(dir.join("sent"), &content)?;
        let remote = |file: &str| format!("{to}:{d}/{file}");
        output(client("scp").args(["-P", &port]).arg(dir.join("sent")).arg(remote("there")))?;
        assert!(fs::read(dir.join("there"))? == content, "the copy differs");
        output(client("scp").args(["-P", &port]).arg(remote("there")).arg(dir.join("back")))?;
        assert!(fs::read(dir.join("back"))? == content, "the copy of the copy differs");
        Ok(())
    });
}
