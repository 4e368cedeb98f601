//! Reading a rules file.

use std::io::Read;
use std::path::{Path, PathBuf};

use lvs_admin::names::Services;
use lvs_admin::rules::{RuleErrors, Rules, Supported};

/// Why there are no rules.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RulesError {
    /// The file cannot be read.
    #[error("cannot read the rules file {}: {source}", path.display())]
    Unreadable { path: PathBuf, source: std::io::Error },
    /// It has mistakes.
    #[error("{errors}\n{} has {}; nothing was applied", path.display(), mistakes(errors.count()))]
    Wrong { path: PathBuf, errors: RuleErrors },
}

/// Reads and checks a rules file; `-` is standard input.
pub(crate) fn read(path: &Path) -> Result<Rules, RulesError> {
    let unreadable = |source| RulesError::Unreadable { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    if path == Path::new("-") {
        std::io::stdin().read_to_end(&mut bytes).map_err(unreadable)?;
    } else {
        bytes = std::fs::read(path).map_err(unreadable)?;
    }
    let name = path.display().to_string();
    Rules::parse_bytes(&name, &bytes, &names(), &Supported::THIS_VERSION)
        .map_err(|errors| RulesError::Wrong { path: path.to_owned(), errors })
}

/// The names of ports: the host's, or the well-known ones where it has no list.
pub(crate) fn names() -> Services {
    match std::fs::read_to_string("/etc/services") {
        Ok(text) => Services::parse(&text),
        Err(_) => Services::well_known(),
    }
}

fn mistakes(count: usize) -> String {
    if count == 1 { "1 mistake".to_owned() } else { format!("{count} mistakes") }
}
