//! Applying rules: at the start, on SIGHUP, and when an interface came back.

use std::fmt::Display;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use lvs_admin::rules::Rules;
use lvs_control::data::Plan;
use lvs_control::replacement::{self, Replacement, Survey};
use lvs_core::command::PortSpec;
use lvs_core::ids::L4Port;
use lvs_guard::{GuardRule, GuardSpec};
use lvs_io_afpacket::interfaces;

use super::backend::Backend;
use super::configuration::Configuration;
use super::masquerade::answering_from_any_port;
use super::routes;
use super::station;
use super::takeover::{Takeover, Virtual, local_servers, marks_without_address};
use super::{RunError, Runtime};
use crate::cli::RoutesOf;
use crate::rules;

/// The file is read anew by one thread at a time, so that what was read last is in force in the end.
static READING: Mutex<()> = Mutex::new(());

impl Runtime<'_> {
    /// SIGHUP: reads the file anew and applies what changed. A file with a mistake changes nothing. Where the
    /// loop can be asked, all but the change itself is done beside it.
    pub(super) fn reload(&mut self) {
        let Some(file) = self.args.rules.clone() else {
            tracing::warn!("there is no rules file to apply; start with --rules FILE");
            return;
        };
        let Some(asker) = self.control.asker() else {
            let done = rules::read(&file).map_err(RunError::from).and_then(|r| self.replace(r));
            return say_what_was_applied(&file, done);
        };
        let beside = move || {
            let _alone = READING.lock().unwrap_or_else(PoisonError::into_inner);
            let done = rules::read(&file).map_err(|error| error.to_string()).and_then(|rules| {
                replacement::replace_by(&asker, rules).map_err(|refusal| refusal.to_string())
            });
            say_what_was_applied(&file, done);
        };
        let thread = std::thread::Builder::new().name("reload".to_owned()).spawn(beside);
        if let Err(error) = thread {
            tracing::error!(
                "no thread to read the rules file: {error}; going on with the old rules"
            );
        }
    }

    /// Becomes what a rules file says, in one step.
    pub(super) fn replace(&mut self, rules: Rules) -> Result<Plan, RunError> {
        let now = self.now();
        let around = (self.names.clone(), self.daemons.asked());
        let survey = Survey::of(&mut self.director, now, around);
        let mut replacement = Replacement::prepare(&survey, Arc::new(rules))?;
        self.take_place(&replacement)?;
        Ok(std::mem::take(&mut replacement.plan))
    }

    /// Carries out what was prepared, and has the host follow.
    pub(super) fn take_place(&mut self, replacement: &Replacement) -> Result<(), RunError> {
        let Replacement { rules, marks, commands, daemons, .. } = replacement;
        for command in commands {
            tracing::debug!("{command:?}");
        }
        // What may fail of the daemons comes before anything is changed.
        let prepared = self.daemons.prepare(daemons, &rules.tunables())?;
        self.transact(commands, Configuration::of_rules(rules, marks))?;
        let now = self.now();
        self.daemons.commit(now, &mut self.director, prepared);
        self.give_warnings(&replacement.plan.warnings);
        Ok(())
    }

    /// What there is to take over by this configuration, on the host as it is now.
    pub(super) fn plan(&self, configuration: &Configuration) -> Takeover {
        let (names, extra) = (&self.names, &self.args.vip);
        let own = |ports: &[PortSpec]| {
            routes::of_ports(&self.args.route, names, ports).into_iter().flatten()
        };
        let mut plan = match &self.io {
            Backend::Interfaces(_) => {
                let interfaces = interfaces();
                let plan = Takeover::plan(configuration, &interfaces, names, extra);
                let own = own(&plan.ports);
                let of_host = (self.args.routes == RoutesOf::Host)
                    .then(|| routes::through_gateways(&interfaces, names, configuration));
                let mut plan = plan.with_routes(own).with_routes(of_host.into_iter().flatten());
                plan.forwards = routes::forwarding();
                plan
            }
            Backend::Taps(io) => {
                let plan = Takeover::of_stations(configuration, &self.args.tap, io, extra);
                let own = own(&plan.ports);
                plan.with_routes(own)
            }
        };
        if self.args.no_arp {
            plan.virtuals.iter_mut().for_each(|virt| virt.answer = false);
        }
        plan.carry_over(&self.takeover);
        plan
    }

    /// The host's addresses and routes may have changed. The rules are those in force, not those of the
    /// file, which somebody may be editing.
    pub(super) fn follow_host(&mut self) {
        let plan = self.plan(&self.configuration);
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
        let plan = self.plan(&self.configuration);
        if let Err(error) = self.take_over(plan) {
            tracing::error!("{error}");
        }
        let now = self.now();
        self.watch.came_up(now);
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
            None if !self.args.tap.is_empty() => {
                tracing::info!("no guard is needed: the host is at the other end of each wire");
            }
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
        let Configuration { services, servers, marks, .. } = &self.configuration;
        let file = self.args.rules.as_ref().map_or("no rules file".into(), |f| f.to_string_lossy());
        tracing::info!(
            "{file}: services: {}, real servers: {}, mark rules: {}",
            services.len(),
            servers.len(),
            marks.len()
        );
        match self.control.path() {
            Some(path) => tracing::info!("lvsadm may be used: control socket {}", path.display()),
            None => tracing::info!("no control socket; start with --control to use lvsadm"),
        }
        tracing::info!(
            "forwarding on {}; SIGHUP applies the rules file anew, SIGUSR1 prints listings, SIGTERM stops",
            self.names.join(" and ")
        );
    }

    /// Which virtual addresses are new, and which are served no longer.
    pub(super) fn say_what_changed_hands(&self, before: &[Virtual]) {
        let has = |list: &[Virtual], addr| list.iter().any(|virt| virt.addr == addr);
        let now = &self.takeover.virtuals;
        now.iter().filter(|virt| !has(before, virt.addr)).for_each(say_who_answers);
        for gone in before.iter().filter(|virt| !has(now, virt.addr)) {
            tracing::info!("{}: given up, no service is left on it", gone.addr);
        }
    }

    fn say_port(&self, port: &PortSpec) {
        let name = &self.names[port.id.index()];
        let addresses: Vec<String> = port.addresses.iter().map(|a| a.to_string()).collect();
        let addresses = match addresses.is_empty() {
            true => "no address of its own".to_owned(),
            false => addresses.join(" "),
        };
        tracing::info!("{name}: MAC {}, MTU {}, {addresses}", port.mac, port.mtu);
    }

    fn give_warnings(&self, of_file: &[String]) {
        for warning in of_file {
            tracing::warn!("{warning}");
        }
        if let Backend::Taps(io) = &self.io {
            for warning in
                station::warnings(&self.args.tap, io, &self.configuration, &self.takeover)
            {
                tracing::warn!("{warning}");
            }
        }
        if self.guard.is_some() {
            for server in local_servers(&self.configuration, &interfaces()) {
                tracing::warn!(
                    "real server {server} is this host itself, which the guard hides the service from: \
                     its clients will get no answer; run it elsewhere, or start with --no-guard"
                );
            }
        }
        if self.guard.is_some() {
            for server in answering_from_any_port(&self.configuration.answers) {
                tracing::warn!(
                    "real server {server} is masqueraded on any port: whatever it sends through this \
                     host passes the director, and not the host's own packet filter"
                );
            }
        }
        for mark in marks_without_address(&self.configuration, &self.args.vip) {
            tracing::warn!(
                "mark {mark} has no single address (-d): name the virtual addresses with --vip, or \
                 the director only takes packets to addresses that are its own"
            );
        }
    }
}

fn say_what_was_applied(file: &Path, done: Result<Plan, impl Display>) {
    match done {
        Ok(plan) => {
            plan.steps.iter().for_each(|step| tracing::info!("{step}"));
            let changes = plan.steps.len();
            let plural = if changes == 1 { "" } else { "s" };
            tracing::info!("{} applied: {changes} change{plural}", file.display());
        }
        Err(error) => tracing::error!("{error}; going on with the old rules"),
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
        GuardRule::Answers { protocol, addr, port: L4Port::ANY } => {
            format!("answers from {protocol} {addr}")
        }
        GuardRule::Answers { protocol, addr, port } => {
            format!("answers from {protocol} {}", std::net::SocketAddr::new(addr, port.0))
        }
    };
    let mut words: Vec<String> = guard.rules.iter().take(SHOWN).map(word).collect();
    match guard.rules.len() {
        0 => words.push("nothing".to_owned()),
        all if all > SHOWN => words.push(format!("and {} more", all - SHOWN)),
        _ => {}
    }
    words.join(", ")
}
