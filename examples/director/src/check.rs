//! `lvs-director check FILE`.

use crate::cli::CheckArgs;
use crate::rules::{self, RulesError};

/// Says what a rules file holds, or every mistake in it.
pub(crate) fn check(args: &CheckArgs) -> Result<(), RulesError> {
    let rules = rules::read(&args.file)?;
    for warning in rules.warnings() {
        println!("warning: {warning}");
    }
    let servers: usize = rules.services().iter().map(|service| service.destinations.len()).sum();
    let daemons = match rules.daemons().len() {
        0 => String::new(),
        some => format!(", synchronisation daemons: {some}"),
    };
    println!(
        "{}: right; services: {}, real servers: {servers}, mark rules: {}{daemons}",
        args.file.display(),
        rules.services().len(),
        rules.mark_lines().count(),
    );
    Ok(())
}
