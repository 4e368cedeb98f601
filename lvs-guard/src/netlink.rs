//! The netlink socket: sends a transaction, and reads what the kernel says about its messages.

use std::io;
use std::time::Duration;

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_APPEND, NLM_F_CREATE, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage,
    NetlinkPayload,
};
use netlink_packet_netfilter::nftables::NfTablesMessage;
use netlink_packet_netfilter::none::ControlMessage;
use netlink_packet_netfilter::{
    NetfilterHeader, NetfilterMessage, NetfilterMessageInner, NetfilterProtoFamily,
};
use netlink_sys::protocols::NETLINK_NETFILTER;
use netlink_sys::{Socket, SocketAddr};
use rustix::io::Errno;
use rustix::net::netdevice;
use rustix::net::sockopt::{Timeout, set_socket_send_buffer_size_force, set_socket_timeout};

use crate::error::{GuardError, Step};

/// How long the kernel may take to answer. It answers within the send call; this only keeps a bug from
/// turning into a hang.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Room for one answer: an error, without the message that caused it.
const ANSWER_MAX: usize = 8 * 1024;

/// Every message of a netlink stream begins at a multiple of this (netlink(7)).
const ALIGNMENT: usize = 4;

/// What the send buffer must hold beyond the transaction itself: the kernel's bookkeeping.
const SEND_SLACK: usize = 64 * 1024;

/// The number of the nftables subsystem (linux/netfilter/nfnetlink.h), which a transaction names.
const SUBSYSTEM_NFTABLES: u16 = 10;

/// One message of a transaction and what it is for.
pub(crate) type Message = (Step, NfTablesMessage);

/// A socket of the netfilter family.
pub(crate) struct Connection {
    socket: Socket,
    port_number: u32,
    /// The next sequence number; answers carry that of their message.
    sequence: u32,
}

impl Connection {
    pub(crate) fn open() -> Result<Connection, GuardError> {
        let failed = |what| move |source| GuardError::Netlink { what, source };
        let mut socket = Socket::new(NETLINK_NETFILTER).map_err(|source| {
            match source.raw_os_error().map(Errno::from_raw_os_error) {
                Some(Errno::PROTONOSUPPORT | Errno::AFNOSUPPORT) => GuardError::NoNftables,
                _ => GuardError::Netlink { what: "socket", source },
            }
        })?;
        let port_number = socket.bind_auto().map_err(failed("bind"))?.port_number();
        socket.connect(&SocketAddr::new(0, 0)).map_err(failed("connect"))?;
        // Without this an error brings the whole message back that caused it.
        socket.set_cap_ack(true).map_err(failed("NETLINK_CAP_ACK"))?;
        set_socket_timeout(&socket, Timeout::Recv, Some(ANSWER_TIMEOUT))
            .map_err(|error| failed("SO_RCVTIMEO")(error.into()))?;
        Ok(Connection { socket, port_number, sequence: 1 })
    }

    /// The socket's address, unique in the network namespace.
    pub(crate) fn port_number(&self) -> u32 {
        self.port_number
    }

    /// Whether there is an interface of this name in the socket's network namespace.
    pub(crate) fn interface_exists(&self, name: &str) -> io::Result<bool> {
        match netdevice::name_to_index(&self.socket, name) {
            Ok(_) => Ok(true),
            // A name that is too long for an interface names none.
            Err(Errno::NODEV | Errno::NXIO | Errno::NAMETOOLONG) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Carries out a transaction: all of it, or nothing.
    pub(crate) fn commit(&mut self, messages: &[Message]) -> Result<(), GuardError> {
        let first = self.sequence;
        let bytes = self.serialize(messages);
        // A transaction travels in one piece, however long. Without the privilege to enlarge the buffer
        // beyond the limit, the kernel would refuse the transaction as well, with a better reason.
        let _ = set_socket_send_buffer_size_force(&self.socket, bytes.len() * 2 + SEND_SLACK);
        let failed = |what| move |source| GuardError::Netlink { what, source };
        self.socket.send(&bytes, 0).map_err(failed("send"))?;
        let last = first + messages.len() as u32;
        let mut refused = None;
        loop {
            let mut answer = Vec::with_capacity(ANSWER_MAX);
            self.socket.recv(&mut answer, 0).map_err(failed("receive"))?;
            for (sequence, result) in answers(&answer) {
                // The kernel answers in order; what is older belongs to a transaction that failed.
                let Some(position) = sequence.checked_sub(first) else { continue };
                if let Err(error) = result {
                    let step = match position {
                        0 => Step::Begin,
                        n => messages.get(n as usize - 1).map_or(Step::Begin, |m| m.0.clone()),
                    };
                    // The first refusal is the cause, later ones may follow from it.
                    refused = refused.or(Some(GuardError::refused(step, error)));
                }
                // The last message asks for an answer. The one that opens the transaction is only
                // answered when the whole of it fails: sometimes alone, sometimes before the others.
                match refused {
                    Some(error) if position == 0 || sequence == last => return Err(error),
                    None if sequence == last => return Ok(()),
                    _ => {}
                }
            }
        }
    }

    /// The transaction as the kernel reads it.
    fn serialize(&mut self, messages: &[Message]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let control = |message| {
            let header = NetfilterHeader::new(NetfilterProtoFamily::Unspec, 0, SUBSYSTEM_NFTABLES);
            NetfilterMessage::new(header, NetfilterMessageInner::None(message))
        };
        self.push(&mut bytes, NLM_F_REQUEST, control(ControlMessage::BatchBegin));
        for (i, (_, message)) in messages.iter().enumerate() {
            let mut flags = NLM_F_REQUEST;
            if !matches!(message, NfTablesMessage::DeleteTable(_)) {
                flags |= NLM_F_CREATE;
            }
            if matches!(message, NfTablesMessage::NewRule(_)) {
                flags |= NLM_F_APPEND;
            }
            if i + 1 == messages.len() {
                flags |= NLM_F_ACK;
            }
            let header = NetfilterHeader::new(NetfilterProtoFamily::NetDev, 0, 0);
            let message = NetfilterMessage::new(header, message.clone());
            self.push(&mut bytes, flags, message);
        }
        self.push(&mut bytes, NLM_F_REQUEST, control(ControlMessage::BatchEnd));
        bytes
    }

    fn push(&mut self, bytes: &mut Vec<u8>, flags: u16, message: NetfilterMessage) {
        let mut header = NetlinkHeader::default();
        header.flags = flags;
        header.sequence_number = self.sequence;
        self.sequence = self.sequence.wrapping_add(1).max(1);
        let mut message = NetlinkMessage::new(header, NetlinkPayload::from(message));
        message.finalize();
        let start = bytes.len().next_multiple_of(ALIGNMENT);
        bytes.resize(start + message.buffer_len(), 0);
        message.serialize(&mut bytes[start..]);
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").field("port_number", &self.port_number).finish_non_exhaustive()
    }
}

/// The acknowledgements and errors in a datagram, each with the sequence number it is about.
fn answers(mut bytes: &[u8]) -> Vec<(u32, io::Result<()>)> {
    let mut found = Vec::new();
    while let Ok(message) = NetlinkMessage::<NetfilterMessage>::deserialize(bytes) {
        if let NetlinkPayload::Error(error) = &message.payload {
            let result = if error.raw_code() == 0 { Ok(()) } else { Err(error.to_io()) };
            found.push((message.header.sequence_number, result));
        }
        let len = (message.header.length as usize).next_multiple_of(ALIGNMENT);
        bytes = bytes.get(len..).unwrap_or(&[]);
    }
    found
}

#[cfg(test)]
mod tests {
    use netlink_packet_netfilter::nftables::{
        RuleAttribute, RuleMessage, TableAttribute, TableMessage,
    };

    use super::*;

    fn table() -> Message {
        let attributes = vec![TableAttribute::Name("good".to_owned())];
        (Step::Table, NfTablesMessage::NewTable(TableMessage { attributes }))
    }

    /// A rule for a chain that does not exist.
    fn stray_rule() -> Message {
        let attributes = vec![
            RuleAttribute::Table("good".to_owned()),
            RuleAttribute::Chain("absent".to_owned()),
        ];
        (Step::Rule, NfTablesMessage::NewRule(RuleMessage { attributes }))
    }

    #[test]
    fn a_refusal_anywhere_is_reported_and_leaves_all_as_it_was() {
        let host = lvs_testnet::Host::new("host");
        let mut connection = host.enter(Connection::open).unwrap();
        for batch in [
            vec![stray_rule(), table()],
            vec![table(), stray_rule(), table()],
            vec![table(), stray_rule()],
            vec![stray_rule(), stray_rule()],
        ] {
            let error = connection.commit(&batch).unwrap_err();
            assert!(matches!(error, GuardError::Refused { step: Step::Rule, .. }), "{error}");
            let tables = host.run(&["nft", "list", "tables"]).expect_success().stdout;
            assert_eq!(tables, "");
        }
        connection.commit(&[table()]).unwrap();
        let tables = host.run(&["nft", "list", "tables"]).expect_success().stdout;
        assert_eq!(tables, "table netdev good\n");
    }
}
