//! Any bytes at the control socket of a small director, connection after connection: nothing panics, each
//! whole line is answered exactly once, with lines that a client understands, and what is held meanwhile is
//! bounded by what was sent and what there is to list.
#![no_main]

use std::io::BufRead as _;

use libfuzzer_sys::fuzz_target;
use lvs_control::protocol::{Envelope, VERSION};
use lvs_control::{Alone, Desk, Reply, Request};
use lvs_core::addr::{MacAddr, Prefix};
use lvs_core::command::{Command, PortSpec};
use lvs_core::director::Director;
use lvs_core::flow::{Endpoint, FlowKey, Protocol};
use lvs_core::ids::PortId;
use lvs_core::io::Frame;
use lvs_core::limits::Limits;
use lvs_core::time::{Duration, Instant};

/// Between two connections; no request has it otherwise than as an escape.
const NEXT_CONNECTION: u8 = 0;
/// Bytes that a conversation may hold whatever it is about: the host's names of ports, buffers, and the
/// listing of all that a director of this size has.
const HELD_MAX: usize = 4 << 20;
/// Bytes that it may hold for each byte that was sent. A line of iptables with a list in each of its places
/// becomes hundreds of rules.
const HELD_PER_BYTE: usize = 512;

fuzz_target!(|bytes: &[u8]| {
    let mut now = Instant::from_secs(1);
    let mut program = Alone { director: director(), interfaces: vec!["eth0".to_owned()] };
    let mut desk = Desk::new(|| {});
    for input in bytes.split(|byte| *byte == NEXT_CONNECTION) {
        let mut output = Vec::new();
        let mut answered = 0;
        let held = lvs_fuzz::memory::most_held(|| {
            let conversation = desk.converse(now, &mut program, &mut &input[..], &mut output);
            answered = conversation.expect("memory can be read and written");
        });
        let most = HELD_MAX + HELD_PER_BYTE * input.len() + 4 * output.len();
        assert!(held <= most, "{held} bytes are held for {} sent", input.len());
        check(input, &output, answered);
        packet(now, &mut desk, &mut program);
        now = now + Duration::from_millis(700);
    }
});

/// Holds the answers against the requests.
fn check(input: &[u8], output: &[u8], answered: u64) {
    let (mut wanted, mut refusals) = (0, 0);
    let mut lines = input;
    let mut traced = false;
    loop {
        let mut line = Vec::new();
        let read = lines.read_until(b'\n', &mut line).expect("memory can be read");
        if read == 0 {
            break;
        }
        let whole = line.pop_if(|last| *last == b'\n').is_some();
        match serde_json::from_slice::<Envelope>(&line) {
            Ok(envelope) if whole && envelope.version == VERSION => {
                traced = matches!(envelope.request, Request::Trace { .. });
                if traced && answered == wanted {
                    break;
                }
                wanted += 1;
            }
            _ => {
                refusals = 1;
                break;
            }
        }
    }
    assert_eq!(answered, wanted);
    let replies: Vec<Reply> = serde_json::Deserializer::from_slice(output)
        .into_iter()
        .map(|reply| reply.expect("a client can read every answer"))
        .collect();
    let last = replies.iter().filter(|reply| reply.is_last()).count() as u64;
    assert_eq!(last, wanted + refusals, "each request has one end of an answer");
    assert!(traced || replies.last().is_none_or(Reply::is_last), "an answer has no end");
    assert_eq!(output.iter().filter(|byte| **byte == b'\n').count(), replies.len());
}

/// A packet of a client's, told to whoever traces.
fn packet(now: Instant, desk: &mut Desk, program: &mut Alone) {
    let mut bytes = [0; 256];
    let frame = [
        &[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 9, 8, 0][..],
        &[0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0xa6, 0xce, 192, 0, 2, 7, 10, 0, 0, 1],
        &[0x9c, 0x40, 0, 80, 0, 8, 0, 0],
    ]
    .concat();
    bytes[128..128 + frame.len()].copy_from_slice(&frame);
    let mut frames = [Frame::new(&mut bytes, 128, frame.len(), PortId(0))];
    desk.process_burst(now, &mut program.director, &mut frames);
    let client = Endpoint::new([192, 0, 2, 7].into(), 40_000);
    let virt = Endpoint::new([10, 0, 0, 1].into(), 80);
    let _ = program.director.connection(now, &FlowKey::new(Protocol::UDP, client, virt));
}

/// A director with a port, a virtual address and little room.
fn director() -> Director {
    let limits = Limits {
        connections_max: 16,
        templates_max: 8,
        services_max: 8,
        destinations_max: 16,
        mark_rules_max: 16,
        local_addresses_max: 8,
        ports_max: 1,
        routes_max: 4,
        neighbors_max: 8,
        store_bytes: 1 << 16,
        fragment_bytes: 1 << 16,
        fragment_sets_max: 2,
        paced_clients: 2,
        outgoing_max: 8,
        ..Limits::small()
    };
    let mut director = Director::new(limits, [1, 2]).expect("the limits are within their bounds");
    let mac = |last| MacAddr([2, 0, 0, 0, 0, last]);
    let addresses = vec![Prefix::new([10, 1, 0, 1].into(), 16).expect("a length of 16")];
    let port = PortSpec { id: PortId(0), mac: mac(1), mtu: 1500, addresses };
    for command in [
        Command::SetPort(port),
        Command::SetNeighbor { port: PortId(0), addr: [10, 1, 0, 2].into(), mac: mac(2) },
        Command::AddLocal { addr: [10, 0, 0, 1].into(), answer: false },
    ] {
        director.apply(Instant::ZERO, command).expect("it is right");
    }
    director
}
