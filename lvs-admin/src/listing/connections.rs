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

/// One line. Time is cut off to whole seconds (rule T2); minutes may have more than two digits.
pub(super) fn line(out: &mut dyn Write, entry: &ConnectionEntry, names: &dyn Names) -> fmt::Result {
    let seconds = entry.expires.as_secs();
    let expires = format!("{:02}:{:02}", seconds / 60, seconds % 60);
    let end = |end| endpoint(end, entry.protocol, names);
    writeln!(
        out,
        "{:<3} {expires:<6} {:<11} {:<18} {:<18} {}",
        entry.protocol,
        entry.state,
        end(entry.client),
        end(entry.virt),
        end(entry.destination),
    )
}
