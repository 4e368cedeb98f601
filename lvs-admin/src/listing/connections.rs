//! `-Lc`.

use std::fmt::{self, Write};

use lvs_core::listing::ConnectionEntry;

use super::text::endpoint;
use crate::names::Names;

pub(super) fn title(out: &mut dyn Write, engine_columns: bool) -> fmt::Result {
    out.write_str("IPVS connection entries\n")?;
    write!(out, "pro expire {:<11} {:<18} {:<18} ", "state", "source", "virtual")?;
    match engine_columns {
        true => writeln!(out, "{:<18} {:<16} pe_data", "destination", "pe name"),
        false => out.write_str("destination\n"),
    }
}

/// One line, with what a persistence engine read if it is to be shown and there is something. Time is cut off to whole seconds (rule T2); minutes may have more than two digits.
pub(super) fn line(
    out: &mut dyn Write,
    entry: &ConnectionEntry,
    names: &dyn Names,
    engine_columns: bool,
) -> fmt::Result {
    let seconds = entry.expires.as_secs();
    let expires = format!("{:02}:{:02}", seconds / 60, seconds % 60);
    let end = |end| endpoint(end, entry.protocol, names);
    write!(
        out,
        "{:<3} {expires:<6} {:<11} {:<18} {:<18} ",
        entry.protocol,
        entry.state,
        end(entry.client),
        end(entry.virt),
    )?;
    let server = end(entry.destination);
    match entry.engine.as_deref().filter(|_| engine_columns) {
        Some(read) => writeln!(out, "{server:<16} {:<18} {}", read.engine(), read.text()),
        None => writeln!(out, "{server}"),
    }
}
