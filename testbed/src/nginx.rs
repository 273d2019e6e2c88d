//! nginx as a server that answers in the form of [`TcpService::http`](crate::TcpService::http).

use std::{fs, time::Duration};

use anyhow::{Context as _, Result};

use crate::{Namespace, Process};

/// Starts nginx on `port`, for IPv4 and IPv6. It answers each request with `<tag> <peer> <local>`,
/// as [`TcpService::http`](crate::TcpService::http) does.
pub fn nginx(netns: &Namespace, port: u16, tag: &str) -> Result<Process> {
    let dir = netns.dir().join(format!("nginx-{}-{port}", netns.label()));
    fs::create_dir_all(&dir).with_context(|| format!("create {}", dir.display()))?;
    let config = format!(
        r#"daemon off;
worker_processes 1;
error_log stderr;
pid {dir}/pid;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    keepalive_requests 1000000;
    client_body_temp_path {dir}/body;
    proxy_temp_path {dir}/proxy;
    fastcgi_temp_path {dir}/fastcgi;
    uwsgi_temp_path {dir}/uwsgi;
    scgi_temp_path {dir}/scgi;
    server {{
        listen {port} backlog=4096;
        listen [::]:{port} backlog=4096;
        location / {{ return 200 "{tag} $remote_addr:$remote_port $server_addr:$server_port\n"; }}
    }}
}}
"#,
        dir = dir.display(),
    );
    let file = dir.join("nginx.conf");
    fs::write(&file, config).with_context(|| format!("write {}", file.display()))?;
    let mut command = netns.command("nginx");
    // Without -e, nginx first reports an error about its compiled-in log file.
    command.arg("-e").arg("stderr").arg("-p").arg(&dir).arg("-c").arg(&file);
    let mut process = netns.spawn(&mut command)?;
    process.wait_for_port(port, Duration::from_secs(5))?;
    Ok(process)
}
