//! Redis, PostgreSQL and MariaDB.

use std::fs;

use anyhow::Result;
use interceptor_tests::{
    TIMEOUT,
    software::{Fixture, folder, output, server, software_test, text, tool, unprivileged},
};
use testbed::{Namespace, Process, send, wait_until};

#[test]
fn redis_serves_its_benchmark_and_a_large_value() {
    software_test("redis", &["redis-server", "redis-benchmark", "redis-cli"], |t| {
        let f = Fixture::new(t, 6379)?;
        let mut server = server(&f.laptop, "redis-server");
        server.args([
            "--port",
            "6379",
            "--protected-mode",
            "no",
            "--save",
            "",
            "--appendonly",
            "no",
        ]);
        let mut server = f.laptop.spawn(server.arg("--dir").arg(t.dir()))?;
        server.wait_for_port(6379, TIMEOUT)?;

        let host = f.host();
        let mut benchmark = tool(&f.client, "redis-benchmark");
        benchmark.args([
            "-h",
            &host,
            "-n",
            "4000",
            "-c",
            "50",
            "-t",
            "set,get,lpush,lrange_100",
            "--csv",
        ]);
        let report = text(&mut benchmark)?;
        for test in ["SET", "GET", "LPUSH", "LRANGE_100"] {
            let prefix = format!("\"{test}");
            assert!(
                report.lines().any(|line| line.starts_with(&prefix)),
                "{test} is missing: {report}"
            );
        }
        // With many small requests in one packet.
        benchmark.args(["-P", "100"]);
        text(&mut benchmark)?;

        let mut large = Vec::new();
        send(&mut large, 8 << 20)?;
        let file = t.dir().join("large");
        fs::write(&file, &large)?;
        let cli = || {
            let mut command = tool(&f.client, "redis-cli");
            command.args(["-h", &host]);
            command
        };
        output(cli().args(["-x", "set", "large"]).stdin(fs::File::open(&file)?))?;
        let mut back = output(cli().args(["get", "large"]))?;
        assert_eq!(back.pop(), Some(b'\n'));
        assert!(back == large, "the value differs: {} of {} bytes", back.len(), large.len());
        Ok(())
    });
}

#[test]
fn postgresql_loses_no_transaction_of_pgbench() {
    software_test("postgresql", &["initdb", "postgres", "pg_isready", "pgbench"], |t| {
        let f = Fixture::new(t, 5432)?;
        let data = folder(t, "data")?;
        let mut initdb = unprivileged(&f.laptop, "initdb");
        initdb.args(["--no-sync", "--auth", "trust", "--username", "dev", "--pgdata"]).arg(&data);
        output(&mut initdb)?;
        let mut access = fs::read_to_string(data.join("pg_hba.conf"))?;
        access.push_str("host all all all trust\n");
        fs::write(data.join("pg_hba.conf"), access)?;

        let mut server = unprivileged(&f.laptop, "postgres");
        server
            .args(["-c", "listen_addresses=*", "-c", "fsync=off", "-k"])
            .arg(&data)
            .arg("-D")
            .arg(&data);
        let mut server = f.laptop.spawn(&mut server)?;
        server.wait_for_port(5432, TIMEOUT)?;
        let host = f.host();
        let to = ["-h", &host, "-U", "dev", "postgres"];
        let [.., user, name, database] = to;
        wait_until("PostgreSQL to be ready", TIMEOUT, || {
            output(tool(&f.client, "pg_isready").args(["-h", &host, user, name, "-d", database]))
        })?;

        output(tool(&f.client, "pgbench").args(["--initialize", "--quiet"]).args(to))?;
        let mut pgbench = tool(&f.client, "pgbench");
        let report = text(pgbench.args(["-c", "8", "-j", "2", "-t", "100"]).args(to))?;
        let done = report
            .lines()
            .find(|line| line.starts_with("number of transactions actually processed"));
        assert!(done.is_some_and(|line| line.ends_with(" 800/800")), "{report}");
        Ok(())
    });
}

#[test]
fn mariadb_greets_its_client_and_answers_queries() {
    software_test("mariadb", &["mariadb-install-db", "mariadbd", "mariadb"], |t| {
        let f = Fixture::new(t, 3306)?;
        let mut server = mariadb(t.dir(), &f.laptop)?;
        // The first start writes files.
        server.wait_for_port(3306, 6 * TIMEOUT)?;

        let host = f.host();
        let query = |sql: &str| {
            let mut command = tool(&f.client, "mariadb");
            let to =
                ["--no-defaults", "--protocol", "tcp", "-h", &host, "-P", "3306", "-u", "root"];
            text(command.args(to).args(["--batch", "--skip-column-names", "-e", sql, "mysql"]))
        };
        assert_eq!(query("SELECT 1")?, "1\n");
        // A result of many packets.
        let rows = query("SELECT seq, REPEAT('x', 1000) FROM seq_1_to_4000")?;
        assert_eq!(rows.lines().count(), 4_000);
        assert!(
            rows.lines()
                .zip(1..)
                .all(|(row, number)| row == format!("{number}\t{}", "x".repeat(1_000))),
            "the result differs",
        );
        Ok(())
    });
}

/// Installs a database in `dir` and starts the server.
fn mariadb(dir: &std::path::Path, netns: &Namespace) -> Result<Process> {
    let data = dir.join("data");
    let mut install = tool(netns, "mariadb-install-db");
    install.args([
        "--no-defaults",
        "--user=root",
        "--auth-root-authentication-method=normal",
        "--skip-test-db",
    ]);
    output(install.arg(format!("--datadir={}", data.display())))?;
    let mut server = server(netns, "mariadbd");
    server.args([
        "--no-defaults",
        "--user=root",
        "--bind-address=*",
        "--port=3306",
        "--skip-name-resolve",
    ]);
    // No access checks: the test is not about rights.
    server.args([
        "--skip-grant-tables",
        "--innodb-fast-shutdown=2",
        "--innodb-flush-log-at-trx-commit=0",
    ]);
    server
        .arg(format!("--datadir={}", data.display()))
        .arg(format!("--socket={}/socket", dir.display()));
    server.arg(format!("--pid-file={}/mariadbd.pid", dir.display()));
    netns.spawn(&mut server)
}
