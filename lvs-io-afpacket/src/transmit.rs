//! Carrying out verdicts: frames leave from where they lie.

use arrayvec::ArrayVec;
use lvs_core::ids::PortId;
use lvs_core::io::{Frame, Verdict, vnet};
use lvs_io_linux::{BURST_MAX, ETHERNET_LEN, Events, PortState, Settled};

use crate::link::Link;
use crate::sys::{self, Message};

const _: () = assert!(BURST_MAX <= sys::BATCH_MAX, "a burst goes out in one system call per port");

/// Carries out every frame's verdict, per port in the order of the slots.
pub(crate) fn settle(links: &mut [Link], frames: &[Frame<'_>], events: &mut Events) -> Settled {
    let mut settled = Settled::default();
    let report = &mut settled.report;
    report.received = frames.len() as u32;
    let mut to_send = 0;
    for frame in frames {
        match frame.verdict {
            Verdict::Pass(_) => report.passed += 1,
            Verdict::Drop(_) => report.dropped += 1,
            Verdict::Absorb => {}
            Verdict::Transmit(port) | Verdict::Reply(port) if port.index() < links.len() => {
                to_send += 1;
            }
            Verdict::Transmit(_) | Verdict::Reply(_) => report.unsent += 1,
        }
    }
    for link in links {
        if to_send == 0 {
            break;
        }
        let mut messages = ArrayVec::<Message<'_>, BURST_MAX>::new();
        for frame in frames.iter().filter(|frame| leaves_by(frame, link.watch.port())) {
            to_send -= 1;
            if frame.len() < ETHERNET_LEN {
                link.counters.transmit_error += 1;
                settled.report.unsent += 1;
            } else {
                let header = vnet::encode(&frame.offload);
                messages.push(Message { header, frame: frame.bytes() });
            }
        }
        if !messages.is_empty() {
            send(link, &messages, &mut settled, events);
        }
    }
    settled
}

fn leaves_by(frame: &Frame<'_>, port: PortId) -> bool {
    frame.verdict == Verdict::Transmit(port) || frame.verdict == Verdict::Reply(port)
}

/// Sends messages in order. The system call stops at the first that fails without saying why; repeated
/// from there it tells the error, and then goes on behind it.
fn send(link: &mut Link, messages: &[Message<'_>], settled: &mut Settled, events: &mut Events) {
    let mut rest = messages;
    while !rest.is_empty() {
        match sys::send_batch(link.fd(), rest) {
            Ok(sent) if sent > 0 => {
                link.counters.transmitted += sent as u64;
                settled.report.transmitted += sent as u32;
                rest = &rest[sent..];
                continue;
            }
            Ok(_) => link.counters.transmit_error += 1,
            Err(error) => match error.raw_os_error() {
                Some(libc::EINTR) => continue,
                Some(libc::ENOBUFS | libc::EAGAIN) => {
                    link.counters.transmit_full += 1;
                    settled.full = true;
                }
                Some(libc::ENETDOWN | libc::ENXIO | libc::ENODEV) => {
                    link.counters.port_down += rest.len() as u64;
                    settled.report.unsent += rest.len() as u32;
                    link.note_trouble(events);
                    return;
                }
                _ => link.counters.transmit_error += 1,
            },
        }
        settled.report.unsent += 1;
        rest = &rest[1..];
    }
    if link.watch.state() == PortState::Down {
        link.note_trouble(events);
    }
}
