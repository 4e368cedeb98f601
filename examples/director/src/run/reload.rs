//! Applying rules: at the start, on SIGHUP, and when an interface came back.

use lvs_admin::diff::{Running, diff};
use lvs_admin::rules::Rules;
use lvs_core::command::{MarkRule, PortSpec};
use lvs_guard::{GuardRule, GuardSpec};
use lvs_io_afpacket::interfaces;

use super::takeover::{Takeover, Virtual, local_servers, marks_without_address};
use super::{RunError, Runtime, port_named};
use crate::rules;

impl Runtime<'_> {
    /// SIGHUP: reads the file anew and applies what changed. A file with a mistake changes nothing.
    pub(super) fn reload(&mut self) {
        match self.try_reload() {
            Ok(changes) => {
                let plural = if changes == 1 { "" } else { "s" };
                tracing::info!("{} applied: {changes} change{plural}", self.args.rules.display());
            }
            Err(error) => tracing::error!("{error}; going on with the old rules"),
        }
    }

    fn try_reload(&mut self) -> Result<usize, RunError> {
        let rules = rules::read(&self.args.rules)?;
        let mark_rules = rules.mark_rules(|name| port_named(self.args, name))?;
        let plan = self.plan(&rules);
        if plan != self.takeover {
            let before = self.takeover.virtuals.clone();
            self.take_over(plan)?;
            self.say_what_changed_hands(&before);
        }
        let changes = self.apply_rules(rules, mark_rules)?;
        self.give_warnings();
        Ok(changes)
    }

    /// What there is to take over by these rules, on the host as it is now.
    pub(super) fn plan(&self, rules: &Rules) -> Takeover {
        let mut plan = Takeover::plan(rules, &interfaces(), &self.args.interface, &self.args.vip)
            .with_gateways(rules, &self.args.interface);
        plan.carry_over(&self.takeover);
        plan
    }

    /// The host's addresses and routes may have changed. The rules are those in force, not those of the
    /// file, which somebody may be editing.
    pub(super) fn follow_host(&mut self) {
        let plan = self.plan(&self.rules);
        if plan == self.takeover {
            return;
        }
        let before = self.takeover.clone();
        if let Err(error) = self.take_over(plan) {
            tracing::error!("{error}; trying again");
            return;
        }
        for (new, old) in self.takeover.virtuals.iter().zip(&before.virtuals) {
            say_who_moved(new, old);
        }
        for port in self.takeover.ports.iter().filter(|port| !before.ports.contains(port)) {
            self.say_port(port);
        }
    }

    /// An interface came back or up: its MAC address may be another, its guard is gone with an interface
    /// that was deleted, and the link is to hear again where the virtual addresses are.
    pub(super) fn renew(&mut self) {
        let plan = self.plan(&self.rules);
        if let Err(error) = self.take_over(plan) {
            tracing::error!("{error}");
        }
        let now = self.now();
        self.watch.came_up(now);
    }

    /// Brings the director to what the rules say; returns how many commands that took.
    pub(super) fn apply_rules(
        &mut self,
        rules: Rules,
        mark_rules: Vec<MarkRule>,
    ) -> Result<usize, RunError> {
        let now = self.now();
        let services = self.director.services(now);
        let running = Running {
            services: &services,
            timeouts: self.director.timeouts(),
            tunables: *self.director.tunables(),
            mark_rules: &self.mark_rules,
        };
        let commands = diff(&running, &rules, &mark_rules);
        let count = commands.len();
        for command in commands {
            tracing::debug!("{command:?}");
            self.director.apply(now, command)?;
        }
        (self.rules, self.mark_rules) = (rules, mark_rules);
        Ok(count)
    }

    /// A few lines about everything the director took over.
    pub(super) fn say_what_was_taken_over(&self) {
        self.takeover.ports.iter().for_each(|port| self.say_port(port));
        self.takeover.virtuals.iter().for_each(say_who_answers);
        match &self.guard {
            Some(guard) => tracing::info!(
                "guard: nftables table {} hides from this host {}",
                guard.table(),
                hidden(&self.takeover.guard)
            ),
            None => tracing::warn!(
                "no guard: the host's own stack sees the same packets and may answer or forward them"
            ),
        }
        let limits = self.director.limits();
        tracing::info!(
            "room for {} connections, {} templates, {} real servers",
            limits.connections_max,
            limits.templates_max,
            limits.destinations_max
        );
        let rules = &self.rules;
        let servers: usize = rules.services().iter().map(|s| s.destinations.len()).sum();
        tracing::info!(
            "{}: services: {}, real servers: {servers}, mark rules: {}",
            self.args.rules.display(),
            rules.services().len(),
            self.mark_rules.len()
        );
        self.give_warnings();
        tracing::info!(
            "forwarding on {}; SIGHUP applies the rules file anew, SIGUSR1 prints listings, SIGTERM stops",
            self.args.interface.join(" and ")
        );
    }

    /// Which virtual addresses are new, and which are served no longer.
    fn say_what_changed_hands(&self, before: &[Virtual]) {
        let has = |list: &[Virtual], addr| list.iter().any(|virt| virt.addr == addr);
        let now = &self.takeover.virtuals;
        now.iter().filter(|virt| !has(before, virt.addr)).for_each(say_who_answers);
        for gone in before.iter().filter(|virt| !has(now, virt.addr)) {
            tracing::info!("{}: given up, no service is left on it", gone.addr);
        }
    }

    fn say_port(&self, port: &PortSpec) {
        let name = &self.args.interface[port.id.index()];
        let addresses: Vec<String> = port.addresses.iter().map(|a| a.to_string()).collect();
        let addresses = match addresses.is_empty() {
            true => "no address of its own".to_owned(),
            false => addresses.join(" "),
        };
        tracing::info!("{name}: MAC {}, MTU {}, {addresses}", port.mac, port.mtu);
    }

    fn give_warnings(&self) {
        let rules = &self.rules;
        for warning in rules.warnings() {
            tracing::warn!("{warning}");
        }
        if self.guard.is_some() {
            for server in local_servers(rules, &interfaces()) {
                tracing::warn!(
                    "real server {server} is this host itself, which the guard hides the service from: \
                     its clients will get no answer; run it elsewhere, or start with --no-guard"
                );
            }
        }
        for mark in marks_without_address(rules, &self.args.vip) {
            tracing::warn!(
                "mark {mark} has no single address (-d): name the virtual addresses with --vip, or \
                 the director only takes packets to addresses that are its own"
            );
        }
    }
}

/// Who answers ARP for a virtual address.
fn say_who_answers(virt: &Virtual) {
    let who = match &virt.on_host {
        Some(name) => format!("on this host ({name}), which answers ARP for it"),
        None if virt.answer => "on no interface of this host; the director answers ARP for it and \
                                announces it"
            .to_owned(),
        None => "on no interface of this host, and nobody here answers ARP for it".to_owned(),
    };
    tracing::info!("{}: {who}", virt.addr);
}

/// keepalived and people put virtual addresses on the host and take them away.
fn say_who_moved(new: &Virtual, old: &Virtual) {
    match (&new.on_host, &old.on_host) {
        (Some(name), None) => {
            tracing::info!("{} came to this host ({name}), which answers ARP for it now", new.addr);
        }
        (None, Some(name)) => tracing::warn!(
            "{} left this host ({name}); the director does not answer ARP for it, as another may have \
             it now",
            new.addr
        ),
        _ => {}
    }
}

/// What a guard hides, in words; only the first few of many.
fn hidden(guard: &GuardSpec) -> String {
    const SHOWN: usize = 8;
    let word = |rule: &GuardRule| match *rule {
        GuardRule::Service { protocol, addr, port } => {
            format!("{protocol} {}", std::net::SocketAddr::new(addr, port.0))
        }
        GuardRule::WholeAddress { addr, .. } => format!("everything to {addr}"),
    };
    let mut words: Vec<String> = guard.rules.iter().take(SHOWN).map(word).collect();
    match guard.rules.len() {
        0 => words.push("nothing".to_owned()),
        all if all > SHOWN => words.push(format!("and {} more", all - SHOWN)),
        _ => {}
    }
    words.join(", ")
}
