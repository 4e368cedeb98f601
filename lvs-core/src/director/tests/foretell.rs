//! What is told of a packet that nobody has sent is what then becomes of it, and to ask changes nothing.

use proptest::prelude::*;

use super::*;
use crate::command::{ForwardingMethod, Tunables, Tunnel};
use crate::explain::{Event, Question};
use crate::flow::FlowKey;
use crate::ids::L4Port;
use crate::state::Signal;
use crate::wire::tcp::TcpFlags;

#[derive(Clone, Debug)]
enum Step {
    /// Client, port, flags.
    Packet(u8, u16, &'static str),
    Wait(u64),
    Weight(u8, u32, u32),
    Remove(u8),
    Method(u8, u8),
    Expire(bool, bool),
}

fn steps() -> impl Strategy<Value = Step> {
    let flags = prop::sample::select(vec!["S", "S", "A", "AF", "R"]);
    prop_oneof![
        12 => (1u8..4, 1000u16..1004, flags).prop_map(|(c, p, f)| Step::Packet(c, p, f)),
        2 => prop_oneof![0u64..5, 1000u64..70_000].prop_map(Step::Wait),
        2 => (2u8..5, 0u32..4, 0u32..3).prop_map(|(h, w, u)| Step::Weight(h, w, u)),
        1 => (2u8..5).prop_map(Step::Remove),
        1 => (2u8..5, 0u8..3).prop_map(|(h, m)| Step::Method(h, m)),
        1 => (any::<bool>(), any::<bool>()).prop_map(|(n, q)| Step::Expire(n, q)),
    ]
}

fn question(client: u8, port: u16, flags: &str) -> Question {
    let client = Endpoint::new(IpAddr::V4([192, 0, 2, client].into()), port);
    let flow = FlowKey::new(
        Protocol::TCP,
        client,
        Endpoint { addr: IpAddr::V4(VIP.into()), port: L4Port(80) },
    );
    let bits = flags.chars().map(|flag| match flag {
        'S' => TcpFlags::SYN,
        'A' => TcpFlags::ACK,
        'F' => TcpFlags::FIN,
        _ => TcpFlags::RST,
    });
    let signal = Signal::Tcp(TcpFlags(bits.fold(0, |all, flag| all | flag.0)));
    Question { port: PORT, flow, signal, data: None }
}

fn told(world: &mut World, question: &Question) -> Vec<Event> {
    let mut events = Vec::new();
    world.director.explain_flow(world.now, question, &mut |_, event| events.push(event));
    events
}

/// What happened to a frame.
fn seen(world: &mut World, bytes: &[u8]) -> Vec<Event> {
    let mut slot = vec![0; 4096];
    slot[128..128 + bytes.len()].copy_from_slice(bytes);
    let mut frames = [Frame::new(&mut slot, 128, bytes.len(), PORT)];
    let mut events = Vec::new();
    let mut explain = |_, event| events.push(event);
    world.director.process_burst_explained(world.now, &mut frames, &mut explain);
    events
}

/// An error that pacing holds back is not foretold: that depends on how often others asked.
fn without_pacing(mut events: Vec<Event>) -> Vec<Event> {
    const ANSWERED: [Option<Event>; 2] = [
        Some(Event::Dropped(DropReason::NoDestination)),
        Some(Event::Dropped(DropReason::NoRoute)),
    ];
    if ANSWERED.contains(&events.last().copied()) {
        events.pop();
    }
    events
}

fn change(world: &mut World, step: &Step) {
    let spec = |world: &mut World, host: u8| {
        let service = world.director.service(world.now, &key()).unwrap();
        let is_it = |d: &&crate::listing::DestinationEntry| d.spec.addr.addr == server(host);
        service.destinations.iter().find(is_it).map(|d| d.spec)
    };
    match *step {
        Step::Packet(..) => {}
        Step::Wait(ms) => world.advance(ms),
        Step::Weight(host, weight, upper_threshold) => {
            let new = DestinationSpec::new(Endpoint::new(server(host), 80));
            let (command, old): (fn(_, _) -> _, _) = match spec(world, host) {
                Some(old) => (Command::EditDestination, old),
                None => (Command::AddDestination, new),
            };
            world.apply(command(key(), DestinationSpec { weight, upper_threshold, ..old }));
        }
        Step::Remove(host) => {
            if let Some(spec) = spec(world, host) {
                world.apply(Command::DeleteDestination(key(), spec.addr));
            }
        }
        Step::Method(host, method) => {
            let tunnel = ForwardingMethod::Tunnel(Tunnel::IpIp);
            let method = [ForwardingMethod::DirectRoute, tunnel, ForwardingMethod::Masquerade]
                [usize::from(method)];
            if let Some(spec) = spec(world, host) {
                world.apply(Command::EditDestination(key(), DestinationSpec { method, ..spec }));
            }
        }
        Step::Expire(nodest, quiescent) => {
            let tunables = *world.director.tunables();
            world.apply(Command::SetTunables(Tunables {
                expire_nodest_conn: nodest,
                expire_quiescent_template: quiescent,
                ..tunables
            }));
        }
    }
}

/// Everything that a listing or a later packet could show.
fn everything(world: &mut World) -> impl PartialEq + core::fmt::Debug + use<> {
    let mut entries = Vec::new();
    let mut cursor = Cursor::default();
    while world.director.connections(world.now, &mut cursor, 9, &mut entries) {}
    (world.director.services(world.now), entries, *world.director.stats())
}

proptest! {
    #[test]
    fn what_is_told_of_a_packet_is_what_becomes_of_it(
        scheduler in prop::sample::select(
            crate::sched::SCHEDULERS.iter().map(|info| info.name).collect::<Vec<_>>()
        ),
        persistent in any::<bool>(),
        limit in prop::sample::select(vec![3u32, 64]),
        steps in prop::collection::vec(steps(), 1..60),
    ) {
        let granularity = Granularity::Mask(u32::MAX);
        let persistence = persistent
            .then_some(Persistence { timeout: Duration::from_secs(50), granularity });
        let limits =
            Limits { connections_max: limit, templates_max: limit - 1, ..Limits::small() };
        // The second one is never asked.
        let mut worlds = [World::new(limits), World::new(limits)];
        worlds.iter_mut().for_each(|world| world.add_service(scheduler, persistence));
        for step in &steps {
            worlds.iter_mut().for_each(|world| change(world, step));
            let [asked, other] = &mut worlds;
            if let Step::Packet(client, port, flags) = *step {
                let question = question(client, port, flags);
                let before = everything(asked);
                let foretold = told(asked, &question);
                prop_assert_eq!(&told(asked, &question), &foretold, "and the second time the same");
                prop_assert_eq!(everything(asked), before);
                let bytes = segment(client, port, flags, 64, 0);
                let seen_here = seen(asked, &bytes);
                prop_assert_eq!(seen(other, &bytes), seen_here.clone());
                prop_assert_eq!(foretold, without_pacing(seen_here));
            }
            prop_assert_eq!(everything(asked), everything(other));
        }
    }
}

#[test]
fn a_packet_for_nobody_here_is_told_to_be_so() {
    let mut world = World::with_service("rr", None);
    let mut foreign = question(7, 1, "S");
    foreign.flow = FlowKey::new(Protocol::TCP, foreign.flow.client(), Endpoint::new(server(9), 80));
    assert_eq!(told(&mut world, &foreign), [Event::Passed(PassReason::NotLocal)]);
    let mut other = question(7, 1, "S");
    let virt = Endpoint { port: L4Port(81), ..other.flow.virt() };
    other.flow = FlowKey::new(Protocol::TCP, other.flow.client(), virt);
    let events = told(&mut world, &other);
    assert_eq!(events.last(), Some(&Event::Passed(PassReason::NoService)));
}
