//! nginx, with one configuration for all that tests need.

use std::{fs, path::Path, process::Command, time::Duration};

use anyhow::{Context as _, Result};

use crate::{Namespace, Process};

/// Starts nginx on `port`, for IPv4 and IPv6. It answers each request with `<tag> <peer> <local>`,
/// as [`TcpService::http`](crate::TcpService::http) does.
pub fn nginx(netns: &Namespace, port: u16, tag: &str) -> Result<Process> {
    let http = format!(
        "keepalive_requests 1000000;
    server {{
        listen {port} backlog=4096;
        listen [::]:{port} backlog=4096;
        return 200 \"{tag} $remote_addr:$remote_port $server_addr:$server_port\\n\";
    }}"
    );
    nginx_with(netns, &format!("nginx-{}-{port}", netns.label()), port, &http)
}

/// Starts nginx with `http` inside of its http block, and waits until it listens on `port`.
/// `name` is the folder of its files, below that of the topology.
pub fn nginx_with(netns: &Namespace, name: &str, port: u16, http: &str) -> Result<Process> {
    let dir = netns.dir().join(name);
    fs::create_dir_all(&dir).with_context(|| format!("create {}", dir.display()))?;
    let mut process = netns.spawn(&mut nginx_command(netns, &dir, http)?)?;
    process.wait_for_port(port, Duration::from_secs(10))?;
    Ok(process)
}

/// Writes a configuration with `http` inside of its http block to a folder, and returns the command
/// that runs nginx with it.
pub fn nginx_command(netns: &Namespace, dir: &Path, http: &str) -> Result<Command> {
    let config = format!(
        "daemon off;
user root;
worker_processes 1;
error_log stderr;
pid {dir}/pid;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    client_body_temp_path {dir}/body;
    proxy_temp_path {dir}/proxy;
    fastcgi_temp_path {dir}/fastcgi;
    uwsgi_temp_path {dir}/uwsgi;
    scgi_temp_path {dir}/scgi;
    {http}
}}
",
        dir = dir.display(),
    );
    let file = dir.join("nginx.conf");
    fs::write(&file, config).with_context(|| format!("write {}", file.display()))?;
    let mut command = netns.command("nginx");
    // Without -e, nginx first reports an error about its compiled-in log file.
    command.arg("-e").arg("stderr").arg("-p").arg(dir).arg("-c").arg(&file);
    Ok(command)
}
