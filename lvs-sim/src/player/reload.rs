//! The rules of a running director, saved as a rules file and loaded again.
//!
//! Nothing may change by it: an operator who reloads what is there loses no connection and moves no
//! scheduler.

use lvs_admin::diff::{Running, diff};
use lvs_admin::listing;
use lvs_admin::names::NumericOnly;
use lvs_admin::rules::{Rules, Supported};

use super::Player;
use super::command::written;
use crate::net::CLIENTS;
use crate::scenario::Side;

impl Player<'_> {
    /// Saves and loads; nothing is applied if the file says what is there.
    ///
    /// # Errors
    /// What the reader of rules files or the director says.
    pub(super) fn reload(&mut self) -> Result<(), String> {
        let services = self.director.services(self.now);
        let running = Running::of(&self.director, &services);
        let interface = Side::of(CLIENTS).interface();
        let mut text = String::new();
        written(listing::rules_file(&mut text, &running, &|port| {
            (port == CLIENTS).then(|| interface.to_owned())
        }));
        let rules = Rules::parse("running", &text, &NumericOnly, &Supported::EVERYTHING)
            .map_err(|errors| format!("{errors}\n{text}"))?;
        let marks = rules
            .mark_rules(|name| (name == interface).then_some(CLIENTS))
            .map_err(|error| error.to_string())?;
        for command in diff(&running, &rules, &marks) {
            self.director.apply(self.now, command).map_err(|error| error.to_string())?;
        }
        Ok(())
    }
}
