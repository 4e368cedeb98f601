//! `-S`: the commands that make what there is.

use lvs_admin::diff::TIMEOUTS_DEFAULT;
use lvs_admin::listing;
use lvs_admin::rules::{TUNABLES, TunableInfo};
use lvs_core::command::Tunables;
use lvs_core::listing::TimeoutsEntry;

use super::list::{entries, written};
use super::{Failure, Typed, json};
use crate::data::{Daemon, Service, Settings};

/// What our lines begin with. `ipvsadm-restore` leaves out every line that begins with `#`.
pub(super) const OURS: &str = "#lvs ";

/// The same as JSON.
#[derive(serde::Serialize)]
struct Saved {
    services: Vec<Service>,
    settings: Settings,
    daemons: Vec<Daemon>,
}

impl Typed<'_, '_> {
    /// ipvsadm's lines, then what ipvsadm loses in lines of our own: thresholds, timeouts, switches, marks
    /// and synchronisation daemons, as far as they are not what a new director has.
    pub(super) fn save(&mut self, numeric: bool) -> Result<(), Failure> {
        let services = self.services(None)?;
        let settings = self.settings()?;
        let daemons = self.daemons()?;
        if self.wants_json() {
            return json::print(self, &Saved { services, settings, daemons });
        }
        let entries = entries(&services)?;
        let mut text = String::new();
        written(listing::save(&mut text, &entries, self.console.names, numeric));
        let mut lost = String::new();
        written(listing::lost_by_save(&mut lost, &entries));
        let mut settings = lost_settings(&settings);
        settings.extend(daemons.iter().map(|daemon| daemon.asked().to_string()));
        for line in lost.lines().chain(settings.iter().map(String::as_str)) {
            text += &format!("{OURS}{line}\n");
        }
        Ok(self.console.output.write_all(text.as_bytes())?)
    }
}

/// Timeouts, switches and marks that a new director does not have.
fn lost_settings(settings: &Settings) -> Vec<String> {
    let mut lines = Vec::new();
    let timeouts = settings.timeouts;
    if TimeoutsEntry::from(timeouts) != TIMEOUTS_DEFAULT {
        lines.push(format!("--set {} {} {}", timeouts.tcp_s, timeouts.tcp_fin_s, timeouts.udp_s));
    }
    let value = |info: &TunableInfo| {
        let default = (info.get)(&Tunables::default());
        let value = settings.sysctls.get(info.name).copied().unwrap_or(default);
        (format!("net.ipv4.vs.{}={value}", info.name), value != default)
    };
    // These two are checked against each other, so neither may come without the other.
    let is_threshold = |info: &&TunableInfo| matches!(info.name, "sync_threshold" | "sync_period");
    let (thresholds, others): (Vec<_>, Vec<_>) = TUNABLES.iter().partition(is_threshold);
    let changed = others.into_iter().map(value).filter(|(_, changed)| *changed);
    lines.extend(changed.map(|(text, _)| format!("sysctl -w {text}")));
    let thresholds: Vec<(String, bool)> = thresholds.into_iter().map(value).collect();
    if thresholds.iter().any(|(_, changed)| *changed) {
        let texts: Vec<String> = thresholds.into_iter().map(|(text, _)| text).collect();
        lines.push(format!("sysctl -w {}", texts.join(" ")));
    }
    lines.extend(settings.marks.iter().cloned());
    lines
}
