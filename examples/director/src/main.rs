//! `lvs-director`: a Linux Virtual Server director in user space.
//!
//! `run` forwards traffic between network interfaces by the rules of a file in ipvsadm's own lines;
//! `check` says whether such a file is right. Exit status: 0, 1 for a failure, 2 for wrong usage.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser;

mod check;
mod cli;
mod rules;
mod run;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    let done = match &cli.command {
        cli::Command::Run(args) => run::run(args),
        cli::Command::Check(args) => check::check(args).map_err(Into::into),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("lvs-director: {failure}");
            ExitCode::FAILURE
        }
    }
}
