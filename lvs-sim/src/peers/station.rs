//! A station: a smoltcp stack, the services it offers and the streams it opened.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddrV4};

use lvs_core::addr::MacAddr;
use lvs_core::time::Instant;
use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::socket::tcp::{Socket, SocketBuffer, State};
use smoltcp::wire::{
    ArpOperation, ArpPacket, ArpRepr, EthernetAddress, EthernetFrame, EthernetProtocol, IpAddress,
    IpCidr, IpEndpoint, Ipv4Cidr,
};

use super::queue::Queue;
use super::{Service, StreamError, StreamState};

/// Bytes that a socket buffers in each direction.
const BUFFER_LEN: usize = 4096;
/// Sockets that wait at each port for clients that come at one moment.
pub(super) const BACKLOG: usize = 16;

/// What a station is made of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Identity<'a> {
    pub(super) mac: MacAddr,
    pub(super) address: Ipv4Cidr,
    /// Addresses it takes packets to besides its own.
    pub(super) further: &'a [Ipv4Addr],
    pub(super) seed: u64,
}

pub(super) struct Station {
    mac: MacAddr,
    address: Ipv4Addr,
    interface: Interface,
    sockets: SocketSet<'static>,
    device: Queue,
    /// Addresses it answers no ARP for.
    silent: Vec<Ipv4Addr>,
    listeners: Vec<Listener>,
    /// Something was asked of a socket since the stack last ran.
    touched: bool,
    due: Option<smoltcp::time::Instant>,
}

struct Listener {
    port: u16,
    service: Box<dyn Service>,
    /// Waiting and connected ones; those that are over are taken out.
    sockets: Vec<Served>,
}

struct Served {
    handle: SocketHandle,
    greeted: bool,
    received: Vec<u8>,
}

impl fmt::Debug for Station {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Station").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Station {
    pub(super) fn new(now: Instant, identity: &Identity<'_>) -> Station {
        let mut device = Queue::default();
        let mut config = Config::new(EthernetAddress(identity.mac.0).into());
        config.random_seed = identity.seed;
        let mut interface = Interface::new(config, &mut device, stack_time(now));
        interface.update_ip_addrs(|addresses| {
            // The own address stands first: the stack asks its neighbours from the first that fits, and
            // must never ask from a virtual one (`arp_announce=2`).
            let further = identity.further.iter().map(|addr| Ipv4Cidr::new(*addr, 32));
            for cidr in std::iter::once(identity.address).chain(further) {
                // More than the stack has room for; checked by the caller.
                let _full = addresses.push(IpCidr::Ipv4(cidr));
            }
        });
        Station {
            mac: identity.mac,
            address: identity.address.address(),
            interface,
            sockets: SocketSet::new(Vec::new()),
            device,
            silent: Vec::new(),
            listeners: Vec::new(),
            touched: false,
            due: None,
        }
    }

    /// Leaves ARP requests for some of its addresses unanswered.
    pub(super) fn keep_silent(&mut self, addrs: &[Ipv4Addr]) {
        self.silent = addrs.to_vec();
    }

    /// Takes a frame from the wire, but for questions that a real server is told to leave unanswered
    /// (`arp_ignore=1`).
    pub(super) fn take(&mut self, frame: &[u8]) {
        if !self.is_silent_about(frame) {
            self.device.received.push_back(frame.to_vec());
        }
    }

    /// Makes a neighbour known to a station that offers something, as an answer to its ARP request would.
    /// The stack asks for one neighbour a second at most, where a kernel asks for as many as it has
    /// clients; nobody wants to wait for that.
    pub(super) fn meet(&mut self, addr: Ipv4Addr, mac: MacAddr) {
        let own = EthernetAddress(self.mac.0);
        if self.listeners.is_empty() || mac == self.mac {
            return;
        }
        let arp = ArpRepr::EthernetIpv4 {
            operation: ArpOperation::Reply,
            source_hardware_addr: EthernetAddress(mac.0),
            source_protocol_addr: addr,
            target_hardware_addr: own,
            target_protocol_addr: self.address,
        };
        let mut bytes = vec![0; EthernetFrame::<&[u8]>::header_len() + arp.buffer_len()];
        let mut frame = EthernetFrame::new_unchecked(&mut bytes[..]);
        frame.set_src_addr(EthernetAddress(mac.0));
        frame.set_dst_addr(own);
        frame.set_ethertype(EthernetProtocol::Arp);
        arp.emit(&mut ArpPacket::new_unchecked(frame.payload_mut()));
        self.device.received.push_back(bytes);
    }

    fn is_silent_about(&self, frame: &[u8]) -> bool {
        let Ok(frame) = EthernetFrame::new_checked(frame) else { return false };
        if frame.ethertype() != EthernetProtocol::Arp {
            return false;
        }
        let arp = ArpPacket::new_checked(frame.payload()).and_then(|arp| ArpRepr::parse(&arp));
        matches!(
            arp,
            Ok(ArpRepr::EthernetIpv4 { operation: ArpOperation::Request, target_protocol_addr, .. })
                if self.silent.contains(&target_protocol_addr)
        )
    }

    /// Lets the stack and the services work, if there is anything to be done by now. Returns the frames
    /// to be sent.
    pub(super) fn run(&mut self, now: Instant) -> Vec<Vec<u8>> {
        let time = stack_time(now);
        let due = self.due.is_some_and(|due| due <= time);
        if !due && !self.touched && self.device.received.is_empty() {
            return Vec::new();
        }
        self.touched = false;
        loop {
            self.interface.poll(time, &mut self.device, &mut self.sockets);
            if !self.serve() {
                break;
            }
        }
        self.due = self.interface.poll_at(time, &self.sockets);
        std::mem::take(&mut self.device.sent)
    }

    /// When it wants to run next.
    pub(super) fn due(&self) -> Option<Instant> {
        if self.touched {
            return Some(Instant::ZERO);
        }
        let micros = self.due?.total_micros();
        Some(Instant::from_nanos(u64::try_from(micros).unwrap_or(0).saturating_mul(1000)))
    }

    pub(super) fn listen(&mut self, port: u16, service: Box<dyn Service>) {
        let mut listener = Listener { port, service, sockets: Vec::new() };
        listener.refill(&mut self.sockets);
        self.listeners.push(listener);
    }

    pub(super) fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// Starts to connect from a port of its own.
    pub(super) fn connect(
        &mut self,
        port: u16,
        remote: SocketAddrV4,
    ) -> Result<SocketHandle, StreamError> {
        let mut socket = new_socket();
        let endpoint = IpEndpoint::new(IpAddress::Ipv4(*remote.ip()), remote.port());
        socket
            .connect(self.interface.context(), endpoint, port)
            .map_err(|_| StreamError::Unaddressable(remote))?;
        self.touched = true;
        Ok(self.sockets.add(socket))
    }

    /// Passes bytes to a stream.
    pub(super) fn send(&mut self, handle: SocketHandle, bytes: &[u8]) -> Result<(), StreamError> {
        self.touched = true;
        let socket = self.sockets.get_mut::<Socket<'_>>(handle);
        match socket.send_slice(bytes) {
            Ok(taken) if taken == bytes.len() => Ok(()),
            Ok(taken) => Err(StreamError::Full { taken, given: bytes.len() }),
            Err(_) => Err(StreamError::NotOpen),
        }
    }

    /// Takes what a stream has received.
    pub(super) fn receive(&mut self, handle: SocketHandle) -> Vec<u8> {
        self.touched = true;
        drain(self.sockets.get_mut::<Socket<'_>>(handle))
    }

    pub(super) fn close(&mut self, handle: SocketHandle) {
        self.touched = true;
        self.sockets.get_mut::<Socket<'_>>(handle).close();
    }

    pub(super) fn state(&self, handle: SocketHandle) -> StreamState {
        match self.sockets.get::<Socket<'_>>(handle).state() {
            State::Listen | State::SynSent | State::SynReceived => StreamState::Opening,
            State::Established => StreamState::Open,
            State::Closed => StreamState::Closed,
            // What remains of TIME-WAIT is waiting: both sides have said and heard that it is over.
            State::TimeWait => StreamState::Closed,
            State::FinWait1
            | State::FinWait2
            | State::CloseWait
            | State::Closing
            | State::LastAck => StreamState::Closing,
        }
    }

    /// Lets the services answer. Returns whether the stack has something new to do.
    fn serve(&mut self) -> bool {
        let mut busy = false;
        for listener in &mut self.listeners {
            busy |= listener.serve(&mut self.sockets);
            listener.refill(&mut self.sockets);
        }
        busy
    }
}

impl Listener {
    fn serve(&mut self, sockets: &mut SocketSet<'static>) -> bool {
        let mut busy = false;
        for served in &mut self.sockets {
            let socket = sockets.get_mut::<Socket<'_>>(served.handle);
            let Some(client) = socket.remote_endpoint().and_then(to_v4) else { continue };
            if socket.state() == State::CloseWait && !socket.can_recv() {
                socket.close();
                busy = true;
            }
            if !socket.may_send() || socket.state() == State::SynReceived {
                continue;
            }
            let mut reply = Vec::new();
            if !std::mem::replace(&mut served.greeted, true) {
                reply = self.service.greet(client);
            }
            if socket.can_recv() {
                served.received.extend(drain(socket));
                let answer = self.service.answer(client, &served.received);
                served.received.drain(..answer.consumed.min(served.received.len()));
                reply.extend(answer.reply);
                busy = true;
            }
            // Answers are short; one that finds no room is cut off, as by a server that dies.
            busy |= !reply.is_empty() && socket.send_slice(&reply).is_ok();
        }
        busy
    }

    /// Takes out the sockets that are over and sets up new ones to listen.
    fn refill(&mut self, sockets: &mut SocketSet<'static>) {
        self.sockets.retain(|served| {
            let over = sockets.get::<Socket<'_>>(served.handle).state() == State::Closed;
            if over {
                sockets.remove(served.handle);
            }
            !over
        });
        let listening = |served: &&Served| sockets.get::<Socket<'_>>(served.handle).is_listening();
        let missing = BACKLOG.saturating_sub(self.sockets.iter().filter(listening).count());
        for _ in 0..missing {
            let mut socket = new_socket();
            if socket.listen(self.port).is_ok() {
                let handle = sockets.add(socket);
                self.sockets.push(Served { handle, greeted: false, received: Vec::new() });
            }
        }
    }
}

fn new_socket() -> Socket<'static> {
    let buffer = || SocketBuffer::new(vec![0; BUFFER_LEN]);
    Socket::new(buffer(), buffer())
}

fn drain(socket: &mut Socket<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    while socket.can_recv() {
        let taken = socket.recv(|waiting| {
            bytes.extend_from_slice(waiting);
            (waiting.len(), waiting.len())
        });
        if !matches!(taken, Ok(1..)) {
            break;
        }
    }
    bytes
}

fn to_v4(endpoint: IpEndpoint) -> Option<SocketAddrV4> {
    match endpoint.addr {
        IpAddress::Ipv4(addr) => Some(SocketAddrV4::new(addr, endpoint.port)),
        // The stack has no IPv6 address.
        IpAddress::Ipv6(_) => None,
    }
}

fn stack_time(now: Instant) -> smoltcp::time::Instant {
    let micros = now.as_nanos() / 1000;
    smoltcp::time::Instant::from_micros(i64::try_from(micros).unwrap_or(i64::MAX))
}
