//! Datagrams of connection synchronisation in words.

use lvs_core::flow::Protocol;
use lvs_sync::message::{Entry, Message, Version};

/// A line for each entry of a datagram that was sent to a port.
pub(crate) fn entries(port: u16, datagram: &[u8]) -> Vec<String> {
    let message = match Message::decode(datagram) {
        Ok(message) => message,
        Err(error) => return vec![format!("port={port} {error}")],
    };
    let (id, version) = (message.syncid(), message.version());
    let number = if version == Version::Zero { 0 } else { 1 };
    let head = format!("port={port} id={id} version={number}");
    let line = |entry: Result<Entry<'_>, _>| match entry {
        Ok(entry) => format!("{head} {}", words(&entry, version)),
        Err(error) => format!("{head} {error}"),
    };
    message.entries().map(line).collect()
}

fn words(entry: &Entry<'_>, version: Version) -> String {
    let protocol = match entry.protocol {
        Protocol::TCP => "tcp".to_owned(),
        Protocol::UDP => "udp".to_owned(),
        Protocol::SCTP => "sctp".to_owned(),
        Protocol(0) => "ip".to_owned(),
        Protocol(other) => other.to_string(),
    };
    let Entry { client, virt, server, state, timeout, mark, .. } = entry;
    let flags = entry.flags.0;
    let text = format!("{protocol} {client} > {virt} > {server} flags={flags:#x} state={state}");
    match version {
        Version::Zero => text,
        Version::One => format!("{text} timeout={timeout} mark={}", mark.0),
    }
}
