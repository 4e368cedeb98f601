//! Developer commands of the lvs workspace, run as `cargo xtask …`.
//!
//! `ci` is the whole check and what continuous integration runs; `tidy` is the part of it that looks at
//! the sources themselves; `bench` runs the benchmarks and prints them beside their peers.

mod bench;
mod ci;
mod record;
mod tidy;
mod workspace;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::workspace::Workspace;

/// Developer commands of the lvs workspace.
#[derive(Parser, Debug)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand, Debug)]
enum Task {
    /// The whole check: packages, format, clippy, docs, tidy, tests, freestanding, fuzz, benches.
    Ci {
        /// Only these steps, by name, separated by commas.
        #[arg(long, value_delimiter = ',', value_name = "STEP")]
        only: Vec<String>,
        /// Lists the steps and does nothing.
        #[arg(long)]
        list: bool,
    },
    /// Checks the sources: lengths, import rules, names, unsafe code, manifests, documents.
    Tidy,
    /// Plays scenarios through the Linux kernel's IPVS (in User Mode Linux) and writes the records.
    Record {
        /// Scenario files, or names of shipped ones; all shipped ones if none is given.
        scenarios: Vec<String>,
        /// The directory for the records, instead of the shipped ones.
        #[arg(short, long, value_name = "DIR")]
        out: Option<PathBuf>,
        /// Holds the records against the shipped ones, which stay as they are.
        #[arg(long)]
        compare: bool,
    },
    /// Plays random scenarios through the Linux kernel and through lvs, and prints where they differ.
    Differential {
        /// The seeds, FIRST..LAST.
        #[arg(long, value_parser = record::differential::seeds)]
        seeds: std::ops::Range<u64>,
        /// Prints the scenarios and plays nothing.
        #[arg(long)]
        show: bool,
        /// Leaves scenarios that differ as long as they are.
        #[arg(long)]
        whole: bool,
    },
    /// Runs the benchmarks and prints each beside its peers.
    Bench {
        /// Only benchmarks whose name contains this.
        filter: Option<String>,
        /// Prints the figures of the last run without running anything.
        #[arg(long)]
        no_run: bool,
        /// The core beside the IPVS of a Linux kernel (in User Mode Linux), packet for packet; as root.
        #[arg(long, conflicts_with_all = ["filter", "no_run"])]
        kernel: bool,
        /// The whole director over AF_PACKET beside the kernel's own forwarding and bare loops; as root.
        #[arg(long, conflicts_with_all = ["filter", "no_run", "kernel"])]
        wire: bool,
    },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = Workspace::find().and_then(|workspace| match arguments.task {
        Task::Ci { list: true, .. } => {
            ci::list();
            Ok(())
        }
        Task::Ci { only, .. } => ci::run(&workspace, &only),
        Task::Tidy => tidy::run(&workspace),
        Task::Record { scenarios, out, compare } => {
            record::run(&workspace, &scenarios, out.as_deref(), compare)
        }
        Task::Differential { seeds, show: true, .. } => {
            record::differential::show(&seeds);
            Ok(())
        }
        Task::Differential { seeds, whole, .. } => {
            record::differential::run(&workspace, &seeds, !whole)
        }
        Task::Bench { kernel: true, .. } => bench::against_kernel(&workspace),
        Task::Bench { wire: true, .. } => bench::wire::run(&workspace),
        Task::Bench { filter, no_run, .. } => bench::run(&workspace, filter.as_deref(), !no_run),
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
    }
}
