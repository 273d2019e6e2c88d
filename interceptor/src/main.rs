//! The daemon's binary: command line, logging, exit code.

#![forbid(unsafe_code)]

use std::{io::IsTerminal as _, process::ExitCode};

use anyhow::Result;
use interceptor::{
    app::{Failure, run},
    cli::{self, Cli, Command, LogFormat, Output},
    commands::{check, rule, selftest, status, uninstall},
    exit::Exit,
};
use interceptor_api::StateReport;
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    let exit = match Cli::read().command {
        Command::Run(args) => {
            if let Err(error) = log(&args.log, args.log_format) {
                eprintln!("error: --log '{}': {error}", args.log);
                return Exit::Usage.into();
            }
            match run(args) {
                Ok(()) => Exit::Ok,
                Err(Failure { error, exit }) => {
                    eprintln!("error: {error:#}");
                    exit
                }
            }
        }
        Command::Check { output } => match print_check(output) {
            Ok(exit) => exit,
            Err(error) => {
                eprintln!("error: {error:#}");
                Exit::Failure
            }
        },
        Command::Rule(options) => print_rule(options),
        Command::Status { admin, output } => match print_status(admin, output) {
            Ok(()) => Exit::Ok,
            Err(error) => {
                eprintln!("error: {error:#}");
                Exit::Failure
            }
        },
        Command::Selftest(options) => finish(|| selftest::run(&options)),
        Command::Uninstall(options) => finish(|| uninstall::run(&options)),
    };
    exit.into()
}

/// Runs an asynchronous command to its end.
fn finish<F: Future<Output = Result<()>>>(work: impl FnOnce() -> F) -> Exit {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime.map_err(Into::into).and_then(|runtime| runtime.block_on(work())) {
        Ok(()) => Exit::Ok,
        Err(error) => {
            eprintln!("error: {error:#}");
            Exit::Failure
        }
    }
}

fn log(filter: &str, format: LogFormat) -> Result<()> {
    let filter = EnvFilter::try_new(filter)?;
    let colour = std::io::stderr().is_terminal()
        && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(colour)
        .with_writer(std::io::stderr);
    match format {
        LogFormat::Text => subscriber.init(),
        LogFormat::Json => subscriber.json().init(),
    }
    let default = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        let thread = std::thread::current();
        tracing::error!(thread = thread.name().unwrap_or("?"), "a bug: {info}");
        default(info);
    }));
    Ok(())
}

fn print_check(output: Output) -> Result<Exit> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let findings = runtime.block_on(check::run());
    match output {
        Output::Table => print!("{}", check::table(&findings)),
        Output::Json => {
            println!(
                "{}",
                serde_json::json!({ "able": check::is_able(&findings), "findings": findings })
            );
        }
    }
    Ok(if check::is_able(&findings) { Exit::Ok } else { Exit::Failure })
}

fn print_rule(options: cli::Rule) -> Exit {
    let (rule, trial) = options.read();
    let explanation = rule::explain(&rule, trial.as_ref());
    print!("{}", explanation.out);
    eprint!("{}", explanation.err);
    explanation.exit
}

fn print_status(admin: std::net::SocketAddr, output: Output) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let document = runtime.block_on(status::fetch(admin))?;
    match output {
        Output::Json => println!("{document}"),
        Output::Table => {
            print!("{}", status::table(&serde_json::from_str::<StateReport>(&document)?));
        }
    }
    Ok(())
}
