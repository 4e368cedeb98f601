//! `lvs-director replay`: scenarios and captures through the director, in virtual time.

use std::fs::File;
use std::io::{BufReader, BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};

use indicatif::{ProgressBar, ProgressStyle};
use lvs_sim::ReplayError;
use lvs_sim::capture::{CaptureError, CaptureOptions, replay_capture};
use lvs_sim::player::PlayOptions;

use crate::cli::ReplayArgs;
use crate::rules::{self, RulesError};

/// Captures below this size are read before a bar could be seen.
const BAR_FROM: u64 = 16 << 20;

/// Why nothing was replayed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error(transparent)]
    Scenario(#[from] ReplayError),
    #[error(transparent)]
    Rules(#[from] RulesError),
    #[error("{}: {source}", path.display())]
    Capture { path: PathBuf, source: CaptureError },
    #[error("cannot open {}: {source}", path.display())]
    Open { path: PathBuf, source: std::io::Error },
    #[error("cannot write to standard output: {0}")]
    Output(#[from] std::io::Error),
}

impl Failure {
    /// Whether the user's input is wrong, not the world around it.
    pub(crate) fn is_usage(&self) -> bool {
        match self {
            Failure::Scenario(error) => error.is_usage(),
            _ => false,
        }
    }
}

/// Replays scenarios, or a capture under rules.
pub(crate) fn replay(args: &ReplayArgs) -> Result<(), Failure> {
    match (&args.rules, &args.pcap) {
        (Some(rules), Some(pcap)) => replay_pcap(args, rules, pcap),
        _ => replay_scenarios(args),
    }
}

fn replay_scenarios(args: &ReplayArgs) -> Result<(), Failure> {
    let options =
        PlayOptions { burst: args.burst, explain: args.explain, ..PlayOptions::default() };
    for path in &args.scenarios {
        match &args.out_dir {
            Some(directory) => {
                let written = lvs_sim::replay_file_to(path, directory, &options)?;
                println!("{}", written.display());
            }
            None => {
                let record = lvs_sim::replay_file(path, &options)?;
                std::io::stdout().lock().write_all(record.as_bytes())?;
            }
        }
    }
    Ok(())
}

fn replay_pcap(args: &ReplayArgs, rules: &Path, pcap: &Path) -> Result<(), Failure> {
    let rules = rules::read(rules)?;
    let against = args.against.as_deref().map(rules::read).transpose()?;
    let options = CaptureOptions {
        addresses: args.vip.clone(),
        station: args.station,
        ..CaptureOptions::default()
    };
    let input = open(pcap)?;
    let bar = progress(&input);
    let input = BufReader::with_capacity(1 << 20, bar.wrap_read(input));
    let mut output = args.out.as_deref().map(create).transpose()?;
    let sink = output.as_mut().map(|writer| writer as &mut dyn Write);
    let report = replay_capture(&rules, against.as_ref(), input, sink, &options)
        .map_err(|source| Failure::Capture { path: pcap.to_owned(), source })?;
    bar.finish_and_clear();
    if let (Some(mac), true) = (args.station, report.packets == report.skipped) {
        eprintln!(
            "lvs-director: no frame of {} was sent to {mac}; --station is the address of the director's \
             interface, and captures of bare IP have none",
            pcap.display()
        );
    }
    if let Some(mut output) = output {
        output.flush()?;
    }
    let mut out = std::io::stdout().lock();
    if args.json {
        serde_json::to_writer_pretty(&mut out, &report.to_json()).map_err(std::io::Error::from)?;
        writeln!(out)?;
    } else if args.report || args.against.is_some() || args.out.is_none() {
        write!(out, "{report}")?;
    }
    Ok(())
}

fn open(path: &Path) -> Result<File, Failure> {
    File::open(path).map_err(|source| Failure::Open { path: path.to_owned(), source })
}

fn create(path: &Path) -> Result<BufWriter<File>, Failure> {
    let file = File::create(path).map_err(|source| Failure::Open { path: path.to_owned(), source });
    Ok(BufWriter::new(file?))
}

/// A bar for long files, where somebody looks at it.
fn progress(input: &File) -> ProgressBar {
    let len = input.metadata().map_or(0, |metadata| metadata.len());
    if len < BAR_FROM || !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:40} {bytes} of {total_bytes}, {eta} left");
    ProgressBar::new(len).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
