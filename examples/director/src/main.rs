//! `lvs-director`: a Linux Virtual Server director in user space.
//!
//! `run` forwards traffic between network interfaces by the rules of a file in ipvsadm's own lines;
//! `check` says whether such a file is right; `replay` plays scenarios and captures in virtual time;
//! `realserver` makes a host a real server. Exit status: 0, 1 for a failure, 2 for wrong usage.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser;

mod check;
mod cli;
mod demo;
mod mac;
mod realserver;
mod replay;
mod rules;
mod run;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    match &cli.command {
        cli::Command::Run(args) => exit(run::run(args), |_| FAILURE),
        cli::Command::Check(args) => exit(check::check(args), |_| FAILURE),
        cli::Command::Demo(args) => exit(demo::demo(args), |_| FAILURE),
        cli::Command::RealServer(args) => {
            exit(
                realserver::real_server(args),
                |failure| {
                    if failure.is_usage() { USAGE } else { FAILURE }
                },
            )
        }
        cli::Command::Replay(args) => {
            exit(replay::replay(args), |failure| if failure.is_usage() { USAGE } else { FAILURE })
        }
    }
}

/// The exit status for something that went wrong.
const FAILURE: u8 = 1;
/// The exit status for wrong usage, which clap gives, too.
const USAGE: u8 = 2;

fn exit<E: std::fmt::Display>(done: Result<(), E>, status: impl FnOnce(&E) -> u8) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("lvs-director: {failure}");
            ExitCode::from(status(&failure))
        }
    }
}
