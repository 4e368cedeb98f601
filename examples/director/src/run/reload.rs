//! Applying rules: at the start, on SIGHUP, and when an interface came back.

use lvs_admin::diff::{Running, diff};
use lvs_admin::rules::Rules;
use lvs_core::command::MarkRule;
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
        let mut plan = Takeover::plan(&rules, &interfaces(), &self.args.interface, &self.args.vip)
            .with_gateways(&rules, &self.args.interface);
        self.keep_to_the_host(&mut plan);
        self.keep_absent_ports(&mut plan);
        if plan != self.takeover {
            let before = self.takeover.virtuals.clone();
            self.take_over(plan)?;
            self.say_what_changed_hands(&before);
        }
        let changes = self.apply_rules(&rules, mark_rules)?;
        self.warn_about(&rules);
        Ok(changes)
    }

    /// An address that the host had once is not answered for when it leaves: whoever moved it, such as
    /// keepalived, gave it to another director.
    pub(super) fn keep_to_the_host(&self, plan: &mut Takeover) {
        for virt in &mut plan.virtuals {
            let before = self.takeover.virtuals.iter().find(|v| v.addr == virt.addr);
            if before.is_some_and(|before| !before.answer) {
                virt.answer = false;
            }
        }
    }

    /// A port whose interface is gone keeps what it had until the interface is back.
    fn keep_absent_ports(&self, plan: &mut Takeover) {
        for port in &self.takeover.ports {
            if plan.ports.iter().all(|present| present.id != port.id) {
                plan.ports.push(port.clone());
                let routes = self.takeover.routes.iter();
                plan.routes.extend(routes.filter(|route| route.port == Some(port.id)).cloned());
            }
        }
    }

    /// Brings the director to what the rules say; returns how many commands that took.
    pub(super) fn apply_rules(
        &mut self,
        rules: &Rules,
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
        let commands = diff(&running, rules, &mark_rules);
        let count = commands.len();
        for command in commands {
            tracing::debug!("{command:?}");
            self.director.apply(now, command)?;
        }
        self.mark_rules = mark_rules;
        Ok(count)
    }

    /// An interface came back or up: its MAC address may be another, its guard is gone with an interface
    /// that was deleted, and the link is to hear again where the virtual addresses are.
    pub(super) fn renew(&mut self) {
        let mut plan = self.takeover.clone();
        let all = interfaces();
        for port in &mut plan.ports {
            let name = &self.args.interface[port.id.index()];
            if let Some(interface) = all.iter().find(|i| i.name == *name) {
                port.mac = interface.mac.unwrap_or_default();
                port.mtu = interface.mtu;
            }
        }
        if let Err(error) = self.take_over(plan) {
            tracing::error!("{error}");
        }
        let now = self.now();
        self.watch.announce_again(now);
    }

    /// A few lines about everything the director took over.
    pub(super) fn say_what_was_taken_over(&self, rules: &Rules) {
        for port in &self.takeover.ports {
            let name = &self.args.interface[port.id.index()];
            let addresses: Vec<String> = port.addresses.iter().map(|a| a.to_string()).collect();
            let addresses = match addresses.is_empty() {
                true => "no address of its own".to_owned(),
                false => addresses.join(" "),
            };
            tracing::info!("{name}: MAC {}, MTU {}, {addresses}", port.mac, port.mtu);
        }
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
        let servers: usize = rules.services().iter().map(|s| s.destinations.len()).sum();
        tracing::info!(
            "{}: services: {}, real servers: {servers}, mark rules: {}",
            self.args.rules.display(),
            rules.services().len(),
            self.mark_rules.len()
        );
        self.warn_about(rules);
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

    fn warn_about(&self, rules: &Rules) {
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
