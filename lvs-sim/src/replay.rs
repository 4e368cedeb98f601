//! Scenario files: read, play, and write records.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::player::{PlayError, PlayOptions, play};
use crate::scenario::{Scenario, ScenarioError};

/// The ending of a record's file.
const RECORD: &str = "rec";

/// Why a scenario file could not be replayed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// The file cannot be read.
    #[error("cannot read {}: {error}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        error: io::Error,
    },
    /// The record cannot be written.
    #[error("cannot write {}: {error}", path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        error: io::Error,
    },
    /// The scenario has a mistake.
    #[error(transparent)]
    Scenario(#[from] ScenarioError),
    /// The scenario cannot be played.
    #[error(transparent)]
    Play(#[from] PlayError),
}

impl ReplayError {
    /// Whether the user's input is wrong, not the world around it: exit status 2 of a program, against 1.
    pub fn is_usage(&self) -> bool {
        matches!(self, ReplayError::Scenario(_))
    }
}

/// Replays the scenario in a file and returns its record.
///
/// # Errors
/// If the file cannot be read, has a mistake, or cannot be played.
pub fn replay_file(path: &Path, options: &PlayOptions) -> Result<String, ReplayError> {
    Ok(play(&read(path)?, options)?.into_string())
}

/// Replays the scenario in a file and writes its record to `NAME.rec` in a directory, which is made if it
/// is missing. Returns the record's path.
///
/// # Errors
/// As for [`replay_file`], or if the record cannot be written.
pub fn replay_file_to(
    path: &Path,
    directory: &Path,
    options: &PlayOptions,
) -> Result<PathBuf, ReplayError> {
    let scenario = read(path)?;
    let record = play(&scenario, options)?;
    let written = |path: &Path, result: io::Result<()>| {
        result.map_err(|error| ReplayError::Write { path: path.to_owned(), error })
    };
    written(directory, fs::create_dir_all(directory))?;
    let target = directory.join(&scenario.name).with_added_extension(RECORD);
    written(&target, fs::write(&target, record.as_str()))?;
    Ok(target)
}

fn read(path: &Path) -> Result<Scenario, ReplayError> {
    let bytes =
        fs::read(path).map_err(|error| ReplayError::Read { path: path.to_owned(), error })?;
    let file = path.to_string_lossy();
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Scenario::parse(&file, &text)?),
        Err(error) => Err(ReplayError::Scenario(not_text(&file, &error))),
    }
}

fn not_text(file: &str, error: &std::string::FromUtf8Error) -> ScenarioError {
    let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
    let good = String::from_utf8_lossy(good);
    let last = good.rsplit('\n').next().unwrap_or_default();
    ScenarioError {
        file: file.to_owned(),
        line: good.matches('\n').count() + 1,
        column: last.chars().count() + 1,
        message: "a byte that is no text; save the file in UTF-8".to_owned(),
    }
}
