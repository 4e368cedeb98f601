//! Interfaces, addresses and routes over a netlink socket (rtnetlink(7)).

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use lvs_core::addr::{Family, Prefix};
use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage,
    NetlinkPayload,
};
use netlink_packet_route::address::{
    AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage,
};
use netlink_packet_route::link::{LinkFlags, LinkMessage};
use netlink_packet_route::route::{RouteHeader, RouteMessage, RouteType};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};
use rustix::net::sockopt::{Timeout, set_socket_timeout};

/// How long the kernel may take to answer. It answers within the send call; this only keeps a bug from
/// turning into a hang.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Every message of a netlink stream begins at a multiple of this (netlink(7)).
const ALIGNMENT: usize = 4;

/// A socket that asks and changes.
pub(crate) struct RouteSocket {
    socket: Socket,
    sequence: u32,
}

impl RouteSocket {
    /// A socket of the calling thread's network namespace.
    pub(crate) fn open() -> io::Result<RouteSocket> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        set_socket_timeout(&socket, Timeout::Recv, Some(ANSWER_TIMEOUT))?;
        Ok(RouteSocket { socket, sequence: 0 })
    }

    /// All interfaces.
    pub(crate) fn links(&mut self) -> io::Result<Vec<LinkMessage>> {
        let found = self.dump(RouteNetlinkMessage::GetLink(LinkMessage::default()))?;
        let link = |message| match message {
            RouteNetlinkMessage::NewLink(link) => Some(link),
            _ => None,
        };
        Ok(found.into_iter().filter_map(link).collect())
    }

    /// All addresses of all interfaces: the interface's number, and the address with its network's length.
    pub(crate) fn addresses(&mut self) -> io::Result<Vec<(u32, Prefix)>> {
        let found = self.dump(RouteNetlinkMessage::GetAddress(AddressMessage::default()))?;
        let address = |message| match message {
            RouteNetlinkMessage::NewAddress(message) => {
                let prefix = Prefix::new(own_address(&message)?, message.header.prefix_len)?;
                Some((message.header.index, prefix))
            }
            _ => None,
        };
        Ok(found.into_iter().filter_map(address).collect())
    }

    /// The unicast routes of a family's main table.
    pub(crate) fn routes(&mut self, family: Family) -> io::Result<Vec<RouteMessage>> {
        let mut ask = RouteMessage::default();
        ask.header.address_family = match family {
            Family::V4 => AddressFamily::Inet,
            Family::V6 => AddressFamily::Inet6,
        };
        let found = self.dump(RouteNetlinkMessage::GetRoute(ask))?;
        let route = |message| match message {
            RouteNetlinkMessage::NewRoute(route)
                if route.header.table == RouteHeader::RT_TABLE_MAIN
                    && route.header.kind == RouteType::Unicast =>
            {
                Some(route)
            }
            _ => None,
        };
        Ok(found.into_iter().filter_map(route).collect())
    }

    /// Puts an address on an interface, usable at once.
    ///
    /// # Errors
    /// `EEXIST` if it is there.
    pub(crate) fn add_address(&mut self, index: u32, prefix: Prefix) -> io::Result<()> {
        let message = RouteNetlinkMessage::NewAddress(address_message(index, prefix));
        self.change(message, NLM_F_CREATE | NLM_F_EXCL)
    }

    /// Takes an address off an interface.
    ///
    /// # Errors
    /// `EADDRNOTAVAIL` if it is not there, `ENODEV` if the interface is not.
    pub(crate) fn remove_address(&mut self, index: u32, prefix: Prefix) -> io::Result<()> {
        self.change(RouteNetlinkMessage::DelAddress(address_message(index, prefix)), 0)
    }

    /// Brings an interface up.
    pub(crate) fn set_up(&mut self, index: u32) -> io::Result<()> {
        let mut message = LinkMessage::default();
        message.header.index = index;
        message.header.flags = LinkFlags::Up;
        message.header.change_mask = LinkFlags::Up;
        self.change(RouteNetlinkMessage::SetLink(message), 0)
    }

    /// Sends a change and waits for the kernel's answer.
    fn change(&mut self, message: RouteNetlinkMessage, flags: u16) -> io::Result<()> {
        self.send(message, NLM_F_REQUEST | NLM_F_ACK | flags)?;
        self.answers().map(drop)
    }

    fn dump(&mut self, message: RouteNetlinkMessage) -> io::Result<Vec<RouteNetlinkMessage>> {
        self.send(message, NLM_F_REQUEST | NLM_F_DUMP)?;
        self.answers()
    }

    fn send(&mut self, message: RouteNetlinkMessage, flags: u16) -> io::Result<()> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut header = NetlinkHeader::default();
        header.flags = flags;
        header.sequence_number = self.sequence;
        let mut message = NetlinkMessage::new(header, NetlinkPayload::from(message));
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        self.socket.send(&bytes, 0).map(drop)
    }

    /// Everything up to the end of the answer, or the error that it is.
    fn answers(&mut self) -> io::Result<Vec<RouteNetlinkMessage>> {
        let mut found = Vec::new();
        loop {
            let (datagram, _) = self.socket.recv_from_full()?;
            let mut bytes = &datagram[..];
            while let Some(len) = message_len(bytes) {
                let message = NetlinkMessage::<RouteNetlinkMessage>::deserialize(&bytes[..len]);
                bytes = bytes.get(len.next_multiple_of(ALIGNMENT)..).unwrap_or_default();
                // What the library cannot read is none of what was asked for.
                let Ok(message) = message else { continue };
                if message.header.sequence_number != self.sequence {
                    continue;
                }
                match message.payload {
                    NetlinkPayload::Done(_) => return Ok(found),
                    NetlinkPayload::Error(error) if error.raw_code() == 0 => return Ok(found),
                    NetlinkPayload::Error(error) => return Err(error.to_io()),
                    NetlinkPayload::InnerMessage(message) => found.push(message),
                    _ => {}
                }
            }
        }
    }
}

impl std::fmt::Debug for RouteSocket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RouteSocket").finish_non_exhaustive()
    }
}

/// The length of the message that a datagram begins with, if it is all there.
fn message_len(bytes: &[u8]) -> Option<usize> {
    let len = u32::from_ne_bytes(*bytes.first_chunk()?) as usize;
    (16..=bytes.len()).contains(&len).then_some(len)
}

/// The address of the host itself: on a link between two points `Address` is the other one's.
fn own_address(message: &AddressMessage) -> Option<IpAddr> {
    let local = message.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Local(addr) => Some(*addr),
        _ => None,
    });
    local.or_else(|| {
        message.attributes.iter().find_map(|attribute| match attribute {
            AddressAttribute::Address(addr) => Some(*addr),
            _ => None,
        })
    })
}

fn address_message(index: u32, prefix: Prefix) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.index = index;
    message.header.prefix_len = prefix.len();
    message.header.family = AddressFamily::Inet;
    message.attributes =
        vec![AddressAttribute::Local(prefix.addr()), AddressAttribute::Address(prefix.addr())];
    if prefix.addr().is_ipv6() {
        message.header.family = AddressFamily::Inet6;
        // The director has the address, too: duplicate address detection would find it there.
        message.header.flags = AddressHeaderFlags::Nodad;
        message.attributes.push(AddressAttribute::Flags(AddressFlags::Nodad));
    }
    message
}
