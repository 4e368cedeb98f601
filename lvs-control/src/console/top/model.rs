//! What `top` shows: the last two answers of the director, and what follows from them.

use std::collections::{BTreeMap, VecDeque};

use crate::console::steps::service_name;
use crate::data::{About, Counters, Dropped, Service, Totals};

/// Looks that are remembered, so many seconds.
const HISTORY: usize = 120;

/// One look at the director.
#[derive(Clone, Debug)]
pub(super) struct Look {
    /// When, in seconds since the first.
    pub(super) at: f64,
    pub(super) services: Vec<Service>,
    pub(super) totals: Totals,
    pub(super) drops: Vec<Dropped>,
}

/// What goes through something in a second.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub(super) struct Speed {
    pub(super) connections: f64,
    pub(super) packets: f64,
    pub(super) bytes: f64,
}

impl Speed {
    fn between(old: &Counters, new: &Counters, seconds: f64) -> Speed {
        // Counters that were set to zero meanwhile say nothing.
        let per_second = |old: u64, new: u64| new.saturating_sub(old) as f64 / seconds;
        Speed {
            connections: per_second(old.connections, new.connections),
            packets: per_second(old.packets_in, new.packets_in)
                + per_second(old.packets_out, new.packets_out),
            bytes: per_second(old.bytes_in, new.bytes_in)
                + per_second(old.bytes_out, new.bytes_out),
        }
    }
}

/// What the lines are ordered by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Order {
    Name,
    Packets,
    Connections,
    New,
}

impl Order {
    pub(super) fn next(self) -> Order {
        match self {
            Order::Name => Order::Packets,
            Order::Packets => Order::Connections,
            Order::Connections => Order::New,
            Order::New => Order::Name,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Order::Name => "name",
            Order::Packets => "packets",
            Order::Connections => "connections",
            Order::New => "new",
        }
    }
}

/// A line of the table: a service, or a real server of one that is open.
#[derive(Clone, Debug)]
pub(super) struct Line {
    /// What names it, also when lines move.
    pub(super) id: String,
    pub(super) name: String,
    pub(super) is_server: bool,
    /// Scheduler, or weight.
    pub(super) kind: String,
    pub(super) active: u32,
    pub(super) inactive: u32,
    pub(super) speed: Speed,
    /// Packets in a second, the newest last.
    pub(super) history: Vec<u64>,
}

/// Everything on the screen.
#[derive(Debug)]
pub(super) struct Model {
    pub(super) about: About,
    pub(super) look: Look,
    pub(super) speed: Speed,
    pub(super) order: Order,
    pub(super) paused: bool,
    open: Option<String>,
    chosen: Option<String>,
    speeds: BTreeMap<String, Speed>,
    histories: BTreeMap<String, VecDeque<u64>>,
    drop_speeds: BTreeMap<String, f64>,
}

impl Model {
    pub(super) fn new(about: About, look: Look) -> Model {
        Model {
            about,
            look,
            speed: Speed::default(),
            order: Order::Packets,
            paused: false,
            open: None,
            chosen: None,
            speeds: BTreeMap::new(),
            histories: BTreeMap::new(),
            drop_speeds: BTreeMap::new(),
        }
    }

    /// Takes over what the director says now.
    pub(super) fn update(&mut self, look: Look) {
        let seconds = look.at - self.look.at;
        if seconds <= 0.0 {
            return;
        }
        let old = counters(&self.look.services);
        self.speeds.clear();
        for (id, new) in counters(&look.services) {
            let Some(old) = old.get(&id) else { continue };
            self.speeds.insert(id, Speed::between(old, &new, seconds));
        }
        self.speed = Speed::between(&self.look.totals.counters, &look.totals.counters, seconds);
        self.histories.retain(|id, _| id.is_empty() || self.speeds.contains_key(id));
        let all = std::iter::once((String::new(), self.speed));
        for (id, speed) in all.chain(self.speeds.clone()) {
            let history = self.histories.entry(id).or_default();
            history.push_back(speed.packets.round() as u64);
            if history.len() > HISTORY {
                history.pop_front();
            }
        }
        let before = |reason: &str| self.look.totals.dropped.get(reason).copied().unwrap_or(0);
        self.drop_speeds = look
            .drops
            .iter()
            .map(|d| (d.reason.clone(), d.count.saturating_sub(before(&d.reason)) as f64 / seconds))
            .collect();
        self.look = look;
    }

    /// Packets of everything together.
    pub(super) fn history(&self) -> Vec<u64> {
        self.history_of("")
    }

    fn history_of(&self, id: &str) -> Vec<u64> {
        self.histories.get(id).into_iter().flatten().copied().collect()
    }

    /// Reasons with their count and how many there were in the last second, the busiest first.
    pub(super) fn drops(&self) -> Vec<(&Dropped, f64)> {
        let speed = |d: &Dropped| self.drop_speeds.get(&d.reason).copied().unwrap_or(0.0);
        let mut drops: Vec<_> = self.look.drops.iter().map(|d| (d, speed(d))).collect();
        drops.sort_by(|a, b| b.1.total_cmp(&a.1).then(b.0.count.cmp(&a.0.count)));
        drops
    }

    /// The lines as they stand below each other.
    pub(super) fn lines(&self) -> Vec<Line> {
        let mut services: Vec<(Line, &Service)> =
            self.look.services.iter().map(|s| (self.service_line(s), s)).collect();
        services.sort_by(|a, b| self.compare(&a.0, &b.0));
        let mut lines = Vec::new();
        for (line, service) in services {
            let open = self.open.as_ref() == Some(&line.id);
            let of = line.id.clone();
            lines.push(line);
            if open {
                let mut servers: Vec<Line> =
                    service.servers.iter().map(|s| self.server_line(&of, s)).collect();
                servers.sort_by(|a, b| self.compare(a, b));
                lines.append(&mut servers);
            }
        }
        lines
    }

    fn service_line(&self, service: &Service) -> Line {
        let id = service_name(service.spec.service);
        Line {
            name: id.clone(),
            is_server: false,
            kind: service.spec.scheduler.clone(),
            active: service.servers.iter().map(|server| server.active).sum(),
            inactive: service.servers.iter().map(|server| server.inactive).sum(),
            speed: self.speeds.get(&id).copied().unwrap_or_default(),
            history: self.history_of(&id),
            id,
        }
    }

    fn server_line(&self, service: &str, server: &crate::data::Server) -> Line {
        let name = server_name(server);
        let id = format!("{service} {name}");
        let weight = server.spec.weight;
        let kind = match (weight, server.overloaded) {
            (0, _) => "quiet".to_owned(),
            (_, true) => format!("{weight} full"),
            (_, false) => weight.to_string(),
        };
        Line {
            name: format!("  {name}"),
            is_server: true,
            kind,
            active: server.active,
            inactive: server.inactive,
            speed: self.speeds.get(&id).copied().unwrap_or_default(),
            history: self.history_of(&id),
            id,
        }
    }

    fn compare(&self, a: &Line, b: &Line) -> std::cmp::Ordering {
        let by = |of: fn(&Line) -> f64| of(b).total_cmp(&of(a));
        let order = match self.order {
            Order::Name => std::cmp::Ordering::Equal,
            Order::Packets => by(|line| line.speed.packets),
            Order::Connections => by(|line| f64::from(line.active) + f64::from(line.inactive)),
            Order::New => by(|line| line.speed.connections),
        };
        order.then_with(|| a.id.cmp(&b.id))
    }

    /// Where the chosen line stands; the first, if it is gone.
    pub(super) fn chosen(&self, lines: &[Line]) -> usize {
        let is_it = |line: &Line| Some(&line.id) == self.chosen.as_ref();
        lines.iter().position(is_it).unwrap_or(0)
    }

    /// Chooses a line so many further down.
    pub(super) fn walk(&mut self, by: isize) {
        let lines = self.lines();
        let last = lines.len().saturating_sub(1);
        let at = self.chosen(&lines).saturating_add_signed(by).min(last);
        self.chosen = lines.get(at).map(|line| line.id.clone());
    }

    /// Shows the servers of the chosen service, or hides them.
    pub(super) fn open_or_close(&mut self) {
        let lines = self.lines();
        let at = self.chosen(&lines);
        let Some(line) = lines[..lines.len().min(at + 1)].iter().rev().find(|line| !line.is_server)
        else {
            return;
        };
        let id = line.id.clone();
        self.open = (self.open.as_ref() != Some(&id)).then(|| id.clone());
        self.chosen = Some(id);
    }
}

fn server_name(server: &crate::data::Server) -> String {
    std::net::SocketAddr::new(server.spec.address, server.spec.port).to_string()
}

/// The counters of services and servers by what names them.
fn counters(services: &[Service]) -> BTreeMap<String, Counters> {
    let mut all = BTreeMap::new();
    for service in services {
        let name = service_name(service.spec.service);
        for server in &service.servers {
            all.insert(format!("{name} {}", server_name(server)), server.counters);
        }
        all.insert(name, service.counters);
    }
    all
}
