//! The command line. Only this file and the options of commands depend on its parser.

use std::{
    net::{Ipv6Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use clap::{
    ArgMatches, Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand, ValueEnum,
};
use interceptor_common::steal::MAX_WORKERS;

use crate::{
    admin::server::DEFAULT_ADDR,
    commands::{
        rule::{Head, Header, Trial},
        selftest, uninstall,
    },
};

/// Redirects the connections of a pod's port to a developer, and gives them back.
#[derive(Debug, Parser)]
#[command(version, about, disable_help_subcommand = true)]
pub struct Cli {
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the daemon
    Run(Run),
    /// Check whether this host can run the daemon, and show how to fix what is missing
    Check {
        /// The format of the result
        #[arg(long, value_enum, default_value_t = Output::Table)]
        output: Output,
    },
    /// Explain a rule, show its mistakes, or try it with a request
    Rule(Rule),
    /// Show which rules are active, which are not, and why
    Status {
        /// The address of the daemon's admin endpoint
        #[arg(long, default_value_t = DEFAULT_ADDR)]
        admin: SocketAddr,
        /// The format of the result
        #[arg(long, value_enum, default_value_t = Output::Table)]
        output: Output,
    },
    /// Redirect the pod that this runs in, and check who answers its clients; `helm test` runs it
    Selftest(selftest::Options),
    /// Delete the DaemonSet, and wait until its pods have cleaned up; `helm uninstall` runs it
    Uninstall(uninstall::Options),
}

/// A rule, and a connection or request to try it with.
///
/// With any option, the exit code is 0 if the rule matches and 1 if it does not.
#[derive(Debug, Args)]
pub struct Rule {
    /// The value of the annotation, for example '8080 -> 10.20.0.7:3000'
    pub rule: String,

    /// A request to try the rule with, for example 'GET /cart?id=7' or 'POST / HTTP/2'
    #[arg(long = "try", value_name = "REQUEST")]
    pub request: Option<Head>,

    /// A header of the request, such as 'x-user: debug'
    #[arg(short = 'H', long = "header", value_name = "HEADER", requires = "request")]
    pub headers: Vec<Header>,

    /// The client's address [default: 127.0.0.1:40000]
    #[arg(long, value_name = "IP:PORT", value_parser = parse_addr)]
    pub source: Option<SocketAddr>,

    /// The destination address of the connection [default: 127.0.0.1 and the rule's first port]
    #[arg(long, value_name = "IP:PORT", value_parser = parse_addr)]
    pub destination: Option<SocketAddr>,

    /// The server name in the TLS ClientHello
    #[arg(long, value_name = "NAME")]
    pub server_name: Option<String>,
}

/// The daemon's options.
#[derive(Debug, Args)]
pub struct Run {
    /// A YAML file with workloads and their rules; the daemon watches it for changes
    #[arg(long, value_name = "FILE")]
    pub workloads: Option<PathBuf>,

    /// A network namespace whose ports the following --redirect options redirect
    #[arg(long, value_name = "PATH", conflicts_with = "workloads")]
    pub netns: Vec<PathBuf>,

    /// A rule for the preceding --netns
    #[arg(long, value_name = "RULE", requires = "netns")]
    pub redirect: Vec<String>,

    /// Read the rules from the annotations of this node's pods
    #[arg(long, conflicts_with_all = ["workloads", "netns"], requires = "node_name")]
    pub kubernetes: bool,

    /// This node's name in Kubernetes
    #[arg(long, value_name = "NAME", env = "NODE_NAME")]
    pub node_name: Option<String>,

    /// What other daemons of this node call this one in their messages, for example its pod
    #[arg(long, value_name = "NAME", env = "INTERCEPTOR_INSTANCE")]
    pub instance: Option<String>,

    /// A folder where the container runtime mounts pods' network namespaces
    /// [default: /run/netns and /run/docker/netns]
    #[arg(long, value_name = "DIR", requires = "kubernetes")]
    pub netns_dir: Vec<PathBuf>,

    /// Also find pods' network namespaces by process; needs hostPID and CAP_SYS_PTRACE
    #[arg(long, requires = "kubernetes")]
    pub proc_netns: bool,

    /// A YAML file with the admin's limits; the daemon reads it at start
    #[arg(long, value_name = "FILE")]
    pub policy: Option<PathBuf>,

    /// The address for metrics, health checks and state
    #[arg(long, value_name = "ADDR", default_value_t = DEFAULT_ADDR, value_parser = parse_addr)]
    pub admin: SocketAddr,

    /// Additional address for metrics and health checks; target names are not exposed there
    #[arg(long, value_name = "ADDR", value_parser = parse_addr)]
    pub metrics: Option<SocketAddr>,

    /// Number of threads that relay connections [default: one per CPU, at most 4]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_WORKERS)))]
    pub workers: Option<u32>,

    /// Maximum time for redirected connections to finish after SIGTERM
    #[arg(long, value_name = "TIME", default_value = "25s", value_parser = humantime::parse_duration)]
    pub drain_timeout: Duration,

    /// The format of log lines
    #[arg(long, value_enum, default_value_t = LogFormat::Text, env = "INTERCEPTOR_LOG_FORMAT")]
    pub log_format: LogFormat,

    /// The log filter: a level, or directives such as `info,access=debug`
    #[arg(long, value_name = "FILTER", default_value = "info", env = "INTERCEPTOR_LOG")]
    pub log: String,

    /// Each `--netns` with the rules after it.
    #[arg(skip)]
    pub pairs: Vec<(PathBuf, Vec<String>)>,
}

/// The format of a command's result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// Text for people.
    Table,
    /// A JSON document.
    Json,
}

/// The format of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One line of text each.
    Text,
    /// One JSON object each.
    Json,
}

// === impl Cli ===

impl Cli {
    /// Reads the command line. Prints a mistake and ends the process.
    #[must_use]
    pub fn read() -> Self {
        let matches = Self::command().get_matches();
        let mut cli = Self::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
        if let (Command::Run(run), Some(("run", matches))) =
            (&mut cli.command, matches.subcommand())
        {
            run.pairs = pair(run, matches).unwrap_or_else(|error| error.exit());
        }
        cli
    }
}

// === impl Rule ===

impl Rule {
    /// The rule, and the trial if any option asks for one.
    #[must_use]
    pub fn read(self) -> (String, Option<Trial>) {
        let Self { rule, request, headers, source, destination, server_name } = self;
        if request.is_none() && source.is_none() && destination.is_none() && server_name.is_none() {
            return (rule, None);
        }
        let default = Trial::new();
        let request = request.map(|head| head.with(headers, server_name.is_some()));
        let trial =
            Trial { source: source.unwrap_or(default.source), destination, server_name, request };
        (rule, Some(trial))
    }
}

/// Why a text is not an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected IP:PORT (example: 127.0.0.1:9469)")]
struct AddrError;

/// Reads `IP:PORT`. An IPv6 address needs no brackets, because a DaemonSet can't add them to the
/// node's address.
fn parse_addr(text: &str) -> Result<SocketAddr, AddrError> {
    let unbracketed = || {
        let (ip, port) = text.rsplit_once(':')?;
        Some(SocketAddr::new(ip.parse::<Ipv6Addr>().ok()?.into(), port.parse().ok()?))
    };
    text.parse().ok().or_else(unbracketed).ok_or(AddrError)
}

/// Assigns each rule to the namespace before it.
fn pair(run: &Run, matches: &ArgMatches) -> Result<Vec<(PathBuf, Vec<String>)>, clap::Error> {
    let places = |id| matches.indices_of(id).into_iter().flatten();
    let mut pairs: Vec<(usize, PathBuf, Vec<String>)> =
        places("netns").zip(&run.netns).map(|(at, path)| (at, path.clone(), Vec::new())).collect();
    for (at, rule) in places("redirect").zip(&run.redirect) {
        let Some((.., rules)) = pairs.iter_mut().rev().find(|(netns, ..)| *netns < at) else {
            let message = format!(
                "--redirect '{rule}' stands before any --netns; write --netns PATH --redirect RULE"
            );
            return Err(
                Cli::command().error(clap::error::ErrorKind::MissingRequiredArgument, message)
            );
        };
        rules.push(rule.clone());
    }
    Ok(pairs.into_iter().map(|(_, path, rules)| (path, rules)).collect())
}
