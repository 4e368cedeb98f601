//! Programs: what an operator, clients, servers and the clock do to a director, in order.

use std::time::Duration;

use arbitrary::Arbitrary;
use lvs_core::addr::{Family, Granularity, Prefix};
use lvs_core::command::{
    Command, DestinationSpec, ForwardingMethod, IcmpPacing, MarkRule, Persistence, PortSpec,
    RouteSpec, SchedulerFlags, ServiceKey, ServiceSpec, TimeoutsSpec, Tunables, Tunnel,
};
use lvs_core::flow::{Endpoint, Protocol};
use lvs_core::ids::{FwMark, L4Port, PortId};

use crate::packet::{DIRECTOR, Host, Ip, NEIGHBOR, Packet, Port};

/// One step.
#[derive(Arbitrary, Clone, Debug)]
pub enum Step {
    /// A burst of frames on one of two ports.
    Burst {
        /// The second port.
        second: bool,
        /// The frames.
        packets: Vec<Packet>,
    },
    /// A command.
    Operate(Operation),
    /// Time passes: up to four seconds in 16 ms, or up to four hours in minutes.
    Pass {
        /// Minutes instead of 16 ms.
        minutes: bool,
        /// How many.
        count: u8,
    },
    /// Timers are handled with this budget, and what is to be sent is sent.
    Timers {
        /// The budget.
        budget: u8,
    },
}

/// What an operator does.
#[derive(Arbitrary, Clone, Debug)]
pub enum Operation {
    /// `-A` or `-E`.
    Service {
        /// `-E`.
        edit: bool,
        /// Which.
        service: Service,
        /// `-s`, by its place in the table.
        scheduler: u8,
        /// `-p`, in seconds.
        persistence: Option<u16>,
        /// Bits of `-M`.
        granularity: u8,
        /// `-o`.
        one_packet: bool,
        /// `-b`, by bits.
        flags: u8,
    },
    /// `-D`.
    DeleteService(Service),
    /// `-a` or `-e`.
    Destination {
        /// `-e`.
        edit: bool,
        /// At which service.
        service: Service,
        /// Which server.
        server: Server,
        /// `-w`.
        weight: u8,
        /// `-x`.
        upper: u8,
        /// `-y`.
        lower: u8,
        /// `-g`, `-i`, `-m`.
        method: u8,
    },
    /// `-d`.
    DeleteDestination(Service, Server),
    /// `-C`.
    Clear,
    /// `-Z`.
    Zero(Option<Service>),
    /// `--set`, in seconds.
    Timeouts([Option<u16>; 3]),
    /// The switches, by bits.
    Tunables(u8),
    /// Pacing on or off.
    Pacing(bool),
    /// One mark rule for the ports of a virtual address, or none.
    Mark(Option<(Ip, u8, Port)>),
    /// A port's MTU.
    Mtu {
        /// The second port.
        second: bool,
        /// The MTU.
        mtu: u16,
    },
    /// A route for real servers, or none.
    Route {
        /// The family.
        ip: Ip,
        /// Through a gateway.
        gateway: bool,
        /// To nowhere.
        unreachable: bool,
        /// Bits of the prefix.
        bits: u8,
    },
    /// A local address appears or goes.
    Local {
        /// It appears.
        add: bool,
        /// Which.
        host: Host,
        /// The family.
        ip: Ip,
        /// Whether the director answers for it.
        answer: bool,
    },
    /// A neighbour becomes known.
    Neighbor(Ip, Host),
}

/// A virtual service.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Service {
    /// By address.
    Address(Ip, u8, Port, bool),
    /// By mark.
    Mark(Ip, bool),
}

/// A real server.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub struct Server(Ip, Host, Port);

impl Service {
    fn key(self) -> ServiceKey {
        match self {
            Service::Address(ip, vip, port, udp) => ServiceKey::Address {
                protocol: if udp { Protocol::UDP } else { Protocol::TCP },
                virt: Endpoint::new(Host::Virtual(vip).addr(ip), port.number()),
            },
            Service::Mark(ip, second) => {
                ServiceKey::Mark { mark: FwMark(if second { 2 } else { 1 }), family: family(ip) }
            }
        }
    }
}

impl Server {
    fn endpoint(self) -> Endpoint {
        Endpoint::new(self.1.addr(self.0), self.2.number())
    }
}

fn family(ip: Ip) -> Family {
    match ip {
        Ip::V4 => Family::V4,
        Ip::V6 => Family::V6,
    }
}

fn seconds(count: u16) -> Duration {
    Duration::from_secs(count.into())
}

/// The port, with addresses of both families.
pub fn port(second: bool, mtu: u32) -> Command {
    let addresses = match second {
        false => vec![prefix(Host::Director, Ip::V4, 16), prefix(Host::Director, Ip::V6, 48)],
        true => vec![prefix(Host::Client(0xf0), Ip::V4, 24)],
    };
    Command::SetPort(PortSpec { id: PortId(second.into()), mac: DIRECTOR, mtu, addresses })
}

fn prefix(host: Host, ip: Ip, bits: u8) -> Prefix {
    let addr = host.addr(ip);
    Prefix::new(addr, bits.min(family(ip).bits())).expect("cut to the address's length")
}

/// Commands that most programs want at their beginning: a port, local addresses, one service of each family.
pub fn preamble(scheduler: u8, persistence: Option<u16>) -> Vec<Command> {
    let mut commands = vec![port(false, 1500)];
    for ip in [Ip::V4, Ip::V6] {
        for n in 0..3 {
            let addr = Host::Virtual(n).addr(ip);
            commands.push(Command::AddLocal { addr, answer: n == 0 });
        }
        let virt = Endpoint::new(Host::Virtual(0).addr(ip), 80);
        let key = ServiceKey::Address { protocol: Protocol::TCP, virt };
        let granularity = Granularity::single(family(ip));
        let mut spec = ServiceSpec::new(key);
        spec.scheduler = scheduler_name(scheduler).into();
        spec.persistence =
            persistence.map(|count| Persistence { timeout: seconds(count), granularity });
        commands.push(Command::AddService(spec));
        for n in 0..3 {
            let addr = Host::Server(n).addr(ip);
            commands.push(Command::SetNeighbor { port: PortId(0), addr, mac: NEIGHBOR });
            let server = DestinationSpec::new(Endpoint::new(addr, 80));
            commands.push(Command::AddDestination(key, server));
        }
    }
    commands
}

fn scheduler_name(n: u8) -> &'static str {
    let all = lvs_core::sched::SCHEDULERS;
    all.get(usize::from(n) % (all.len() + 1)).map_or("no-such-scheduler", |info| info.name)
}

impl Operation {
    /// Whether connections may be left without a listed real server.
    pub fn may_orphan(&self) -> bool {
        use Operation::{Clear, DeleteDestination, DeleteService};
        matches!(self, DeleteService(_) | DeleteDestination(..) | Clear)
    }

    /// The command.
    pub fn command(&self) -> Command {
        match self {
            Operation::Service { edit, .. } => match edit {
                true => Command::EditService(self.service()),
                false => Command::AddService(self.service()),
            },
            Operation::DeleteService(service) => Command::DeleteService(service.key()),
            Operation::Destination { edit, service, .. } => match edit {
                true => Command::EditDestination(service.key(), self.destination()),
                false => Command::AddDestination(service.key(), self.destination()),
            },
            Operation::DeleteDestination(service, server) => {
                Command::DeleteDestination(service.key(), server.endpoint())
            }
            Operation::Clear => Command::Clear,
            Operation::Zero(service) => Command::Zero(service.map(Service::key)),
            Operation::Timeouts([tcp, tcp_fin, udp]) => Command::SetTimeouts(TimeoutsSpec {
                tcp: tcp.map(seconds),
                tcp_fin: tcp_fin.map(seconds),
                udp: udp.map(seconds),
            }),
            Operation::Tunables(bits) => Command::SetTunables(Tunables {
                conn_reuse_mode: bits & 3,
                expire_nodest_conn: bits & 4 != 0,
                expire_quiescent_template: bits & 8 != 0,
                sloppy_tcp: bits & 16 != 0,
                pmtu_disc: bits & 32 != 0,
                schedule_icmp: bits & 64 != 0,
                nat_icmp_send: bits & 128 != 0,
                ..Tunables::default()
            }),
            Operation::Pacing(enabled) => {
                Command::SetIcmpPacing(IcmpPacing { enabled: *enabled, ..IcmpPacing::default() })
            }
            Operation::Mtu { second, mtu } => port(*second, (*mtu).into()),
            _ => self.surroundings(),
        }
    }

    fn service(&self) -> ServiceSpec {
        let Operation::Service {
            service,
            scheduler,
            persistence,
            granularity,
            one_packet,
            flags,
            ..
        } = self
        else {
            unreachable!("called for services only")
        };
        let mut spec = ServiceSpec::new(service.key());
        spec.scheduler = scheduler_name(*scheduler).into();
        spec.granularity = match spec.key.family() {
            Family::V4 => {
                Granularity::Mask(u32::MAX.checked_shl((granularity % 33).into()).unwrap_or(0))
            }
            Family::V6 => Granularity::Prefix(granularity % 129),
        };
        spec.persistence = persistence
            .map(|count| Persistence { timeout: seconds(count), granularity: spec.granularity });
        spec.one_packet = *one_packet;
        let flag = |bit: u8| flags & bit != 0;
        spec.flags = SchedulerFlags { flag_1: flag(1), flag_2: flag(2), flag_3: flag(4) };
        spec
    }

    fn destination(&self) -> DestinationSpec {
        let Operation::Destination { server, weight, upper, lower, method, .. } = self else {
            unreachable!("called for destinations only")
        };
        DestinationSpec {
            method: match method {
                0 => ForwardingMethod::Masquerade,
                1 => ForwardingMethod::Tunnel(Tunnel::IpIp),
                _ => ForwardingMethod::DirectRoute,
            },
            weight: u32::from(*weight),
            upper_threshold: u32::from(*upper),
            lower_threshold: u32::from(*lower),
            ..DestinationSpec::new(server.endpoint())
        }
    }

    /// Commands about what surrounds the director.
    fn surroundings(&self) -> Command {
        match self {
            Operation::Mark(rule) => {
                let rule = rule.map(|(ip, vip, port)| MarkRule {
                    family: family(ip),
                    source: None,
                    destination: Some(prefix(Host::Virtual(vip), ip, 128)),
                    protocol: None,
                    source_ports: None,
                    destination_ports: Some((L4Port(port.number()), L4Port(u16::MAX))),
                    port: None,
                    mark: FwMark(1 + u32::from(vip % 2)),
                });
                Command::SetMarkRules(rule.into_iter().collect())
            }
            Operation::Route { ip, gateway, unreachable, bits } => {
                let prefix = prefix(Host::Server(0), *ip, *bits);
                let via = gateway.then(|| Host::Server(4).addr(*ip));
                let port = (!unreachable).then_some(PortId(0));
                Command::SetRoutes(vec![RouteSpec { prefix, port, via }])
            }
            Operation::Local { add: true, host, ip, answer } => {
                Command::AddLocal { addr: host.addr(*ip), answer: *answer }
            }
            Operation::Local { host, ip, .. } => Command::RemoveLocal(host.addr(*ip)),
            Operation::Neighbor(ip, host) => {
                Command::SetNeighbor { port: PortId(0), addr: host.addr(*ip), mac: NEIGHBOR }
            }
            _ => unreachable!("the other commands are made elsewhere"),
        }
    }
}
