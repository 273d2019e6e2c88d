//! What can be typed. Only this file knows the command line's parser.

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

/// Takes the connections of a pod's port to a developer, and gives them back.
#[derive(Debug, Parser)]
#[command(version, about, disable_help_subcommand = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the daemon
    Run(Run),
    /// Tell whether this host is able, and what to do where it is not
    Check {
        /// How to print the result
        #[arg(long, value_enum, default_value_t = Output::Table)]
        output: Output,
    },
    /// Show what a rule means, or where it is wrong; try whether it takes a request
    Rule(Rule),
    /// Show what is active, what is not and why
    Status {
        /// Where the daemon's admin endpoint is
        #[arg(long, default_value_t = DEFAULT_ADDR)]
        admin: SocketAddr,
        /// How to print the result
        #[arg(long, value_enum, default_value_t = Output::Table)]
        output: Output,
    },
    /// Redirect the pod that this runs in and check what callers get; `helm test` runs it
    Selftest(selftest::Options),
    /// Delete the DaemonSet and wait until its pods have cleaned up; `helm uninstall` runs it
    Uninstall(uninstall::Options),
}

/// A rule, and what to try it with. With any of the options the command ends with 0 if the rule matches and 1 if not.
#[derive(Debug, Args)]
pub struct Rule {
    /// As in the annotation, for example '8080 -> 10.20.0.7:3000'
    pub rule: String,

    /// Does the rule take this request? For example 'GET /cart?id=7' or 'POST / HTTP/2'
    #[arg(long = "try", value_name = "REQUEST")]
    pub request: Option<Head>,

    /// A header of the request, such as 'x-user: debug'
    #[arg(short = 'H', long = "header", value_name = "HEADER", requires = "request")]
    pub headers: Vec<Header>,

    /// The address of the caller [default: 127.0.0.1:40000]
    #[arg(long, value_name = "IP:PORT", value_parser = parse_addr)]
    pub source: Option<SocketAddr>,

    /// The address that he calls [default: 127.0.0.1 and the rule's first port]
    #[arg(long, value_name = "IP:PORT", value_parser = parse_addr)]
    pub destination: Option<SocketAddr>,

    /// The name that he asks for by TLS
    #[arg(long, value_name = "NAME")]
    pub server_name: Option<String>,
}

/// The daemon's options.
#[derive(Debug, Args)]
pub struct Run {
    /// Workloads and their rules, in YAML; watched for changes
    #[arg(long, value_name = "FILE")]
    pub workloads: Option<PathBuf>,

    /// A network namespace whose ports are redirected by the --redirect options that follow
    #[arg(long, value_name = "PATH", conflicts_with = "workloads")]
    pub netns: Vec<PathBuf>,

    /// A rule for the --netns before it
    #[arg(long, value_name = "RULE", requires = "netns")]
    pub redirect: Vec<String>,

    /// Take the rules from the annotations of this node's pods
    #[arg(long, conflicts_with_all = ["workloads", "netns"], requires = "node_name")]
    pub kubernetes: bool,

    /// This node's name in Kubernetes
    #[arg(long, value_name = "NAME", env = "NODE_NAME")]
    pub node_name: Option<String>,

    /// Where the container runtime mounts the network namespaces of pods [default: /run/netns and /run/docker/netns]
    #[arg(long, value_name = "DIR", requires = "kubernetes")]
    pub netns_dir: Vec<PathBuf>,

    /// Look for pods' network namespaces by process, too; needs the node's process ids (hostPID) and CAP_SYS_PTRACE
    #[arg(long, requires = "kubernetes")]
    pub proc_netns: bool,

    /// The admin's limits, in YAML; read at start
    #[arg(long, value_name = "FILE")]
    pub policy: Option<PathBuf>,

    /// Where metrics, health and state are served
    #[arg(long, value_name = "ADDR", default_value_t = DEFAULT_ADDR, value_parser = parse_addr)]
    pub admin: SocketAddr,

    /// Where metrics and health are served besides, for strangers: nothing there names a target
    #[arg(long, value_name = "ADDR", value_parser = parse_addr)]
    pub metrics: Option<SocketAddr>,

    /// Threads that relay [default: one per CPU, at most 4]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_WORKERS)))]
    pub workers: Option<u32>,

    /// How long stolen connections may go on after SIGTERM
    #[arg(long, value_name = "TIME", default_value = "25s", value_parser = humantime::parse_duration)]
    pub drain_timeout: Duration,

    /// How to write log lines
    #[arg(long, value_enum, default_value_t = LogFormat::Text, env = "INTERCEPTOR_LOG_FORMAT")]
    pub log_format: LogFormat,

    /// What to log: a level, or directives such as `info,access=debug`
    #[arg(long, value_name = "FILTER", default_value = "info", env = "INTERCEPTOR_LOG")]
    pub log: String,

    /// `--netns` with the rules that follow it.
    #[arg(skip)]
    pub pairs: Vec<(PathBuf, Vec<String>)>,
}

/// For people or for machines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// Text.
    Table,
    /// A JSON document.
    Json,
}

/// For people or for machines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// A line of text each.
    Text,
    /// A JSON object each.
    Json,
}

// === impl Cli ===

impl Cli {
    /// Reads the command line; on a mistake prints it and ends the process.
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
    /// The rule, and what it is tried with, if anything.
    #[must_use]
    pub fn read(self) -> (String, Option<Trial>) {
        let Self { rule, request, headers, source, destination, server_name } = self;
        if request.is_none() && source.is_none() && destination.is_none() && server_name.is_none() {
            return (rule, None);
        }
        let anybody = Trial::new();
        let request = request.map(|head| head.with(headers, server_name.is_some()));
        let trial =
            Trial { source: source.unwrap_or(anybody.source), destination, server_name, request };
        (rule, Some(trial))
    }
}

/// Reads `IP:PORT`. The brackets of an IPv6 address may be left out: a DaemonSet puts the node's address together with
/// a port and can't add them.
fn parse_addr(text: &str) -> Result<SocketAddr, String> {
    let unbracketed = || {
        let (ip, port) = text.rsplit_once(':')?;
        Some(SocketAddr::new(ip.parse::<Ipv6Addr>().ok()?.into(), port.parse().ok()?))
    };
    text.parse()
        .ok()
        .or_else(unbracketed)
        .ok_or_else(|| "expected IP:PORT (example: 127.0.0.1:9469)".to_owned())
}

/// Gives each rule to the namespace in front of it.
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
