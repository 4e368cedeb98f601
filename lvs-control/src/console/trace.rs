//! `trace`: decisions as they are made.

use lvs_core::flow::Protocol;

use super::why::end;
use super::{Failure, Typed, json, steps};
use crate::data::{PacketStep, Traced, TracedPacket};
use crate::desk::TraceFilter;
use crate::protocol::{Reply, Request};

const USAGE: &str = "lvsadm trace [tcp|udp|sctp] [--client ADDR[:PORT]] [--vip ADDR[:PORT]] \
                     [--server ADDR[:PORT]] [--drops] [-c N]";

/// `lvsadm trace [filter] [-c N]`.
pub(super) fn trace(typed: &mut Typed<'_, '_>, words: &[&str]) -> Result<(), Failure> {
    let (filter, packets) = parse(typed, words)?;
    typed.client()?;
    let Some(mut client) = typed.client.take() else { return Ok(()) };
    for reply in client.ask(Request::Trace { filter, packets })? {
        let Reply::Traced(traced) = reply? else { continue };
        show(typed, &traced)?;
        typed.console.output.flush()?;
    }
    Ok(())
}

fn show(typed: &mut Typed<'_, '_>, traced: &Traced) -> Result<(), Failure> {
    if typed.wants_json() {
        return traced.packets.iter().try_for_each(|packet| json::print(typed, packet));
    }
    if traced.lost > 0 {
        writeln!(typed.console.output, "… {} more came too fast", traced.lost)?;
    }
    for packet in &traced.packets {
        typed.console.output.write_all(text(packet).as_bytes())?;
    }
    Ok(())
}

fn text(packet: &TracedPacket) -> String {
    let flow = packet.steps.iter().find_map(|step| match step {
        PacketStep::Flow(flow) => Some(steps::flow(flow)),
        _ => None,
    });
    let flow = flow.unwrap_or_else(|| "a frame that makes no sense".to_owned());
    let (seconds, ms) = (packet.at_ms / 1000, packet.at_ms % 1000);
    let outcome = steps::outcome(&packet.steps);
    let mut text = format!("{seconds}.{ms:03} {} {flow} => {outcome}\n", packet.interface);
    for line in packet.steps.iter().filter_map(steps::line) {
        text += &format!("    {line}\n");
    }
    text
}

fn parse(typed: &Typed<'_, '_>, words: &[&str]) -> Result<(TraceFilter, Option<u64>), Failure> {
    let mut filter = TraceFilter::default();
    let mut packets = None;
    let mut words = words.iter();
    while let Some(&word) = words.next() {
        match word {
            "--drops" => filter.drops = true,
            "tcp" | "udp" | "sctp" => filter.protocol = Some(word.to_owned()),
            "-c" | "--client" | "--vip" | "--server" => {
                let value = words.next().copied();
                let value = value
                    .ok_or_else(|| Failure::usage(format!("{word}: missing argument"), USAGE))?;
                let addr = || end(typed, value, Protocol::TCP).map(Some);
                match word {
                    "--client" => filter.client = addr()?,
                    "--vip" => filter.virt = addr()?,
                    "--server" => filter.server = addr()?,
                    _ => packets = Some(count(value)?),
                }
            }
            _ => return Err(Failure::usage(format!("{word}: unknown filter"), USAGE)),
        }
    }
    Ok((filter, packets))
}

fn count(text: &str) -> Result<u64, Failure> {
    text.parse().ok().filter(|&n| n > 0).ok_or_else(|| {
        Failure::usage(format!("-c: {text} is no number of packets"), "such as -c 10")
    })
}
