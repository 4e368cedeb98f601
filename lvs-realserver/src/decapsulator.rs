//! Opens tunnels: sockets in, a TUN device out.

use std::io;
use std::net::IpAddr;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use lvs_core::addr::{Family, Prefix};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::decap::{self, Policy, Refusal, Unfinished};
use crate::device::Device;
use crate::error::Error;
use crate::receiver::{Receiver, slot};
use crate::spec::{DEVICE, TunnelKind};
use crate::sys::{BATCH_MAX, Slot};

/// Bytes of the shortest outer header, with which the size of merged segments is guessed.
const OUTER_MIN: usize = 20;

/// What a [`Decapsulator`] is to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DecapsulatorConfig {
    /// The kinds of tunnels.
    pub kinds: Vec<TunnelKind>,
    /// The virtual addresses: what is inside must be for one of them.
    pub virtuals: Vec<IpAddr>,
    /// The directors; none named: anybody may send.
    pub directors: Vec<Prefix>,
    /// The largest MTU of the interfaces that packets come in by, in bytes.
    pub mtu: u32,
}

/// Packets counted since the start.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Stats {
    /// Packets that were handed to the host.
    pub opened: u64,
    /// Their bytes, without the outer headers.
    pub bytes: u64,
    /// Packets that the host did not take from the device.
    pub not_taken: u64,
    /// Packets longer than any may be, or without their outer addresses.
    pub unreadable: u64,
    /// Packets that were dropped, by [`Refusal::index`].
    pub refused: [u64; Refusal::ALL.len()],
}

/// A running decapsulator. Its device goes with it.
#[derive(Debug)]
pub struct Decapsulator {
    policy: Policy,
    receivers: Vec<Receiver>,
    device: Device,
    slots: Vec<Slot>,
    mtu: usize,
    stats: Stats,
}

impl Decapsulator {
    /// Opens the sockets and makes the device [`DEVICE`].
    ///
    /// # Errors
    /// Without CAP_NET_RAW (not for GUE) and CAP_NET_ADMIN, without `/dev/net/tun`, if a decapsulator runs
    /// already, or if the UDP port is taken.
    pub fn start(config: &DecapsulatorConfig) -> Result<Decapsulator, Error> {
        let has = |family| config.virtuals.iter().any(|addr| Family::of(*addr) == family);
        let inner: Vec<Family> =
            [Family::V4, Family::V6].into_iter().filter(|family| has(*family)).collect();
        let gue_port = config.kinds.iter().find_map(|kind| match kind {
            TunnelKind::Gue { port } => Some(*port),
            _ => None,
        });
        // The device first: that it is there says best that another decapsulator runs.
        let device = Device::create(DEVICE, &config.virtuals)?;
        let mut receivers = Vec::new();
        for kind in &config.kinds {
            receivers.extend(Receiver::open_all(*kind, &inner)?);
        }
        Ok(Decapsulator {
            policy: Policy {
                directors: config.directors.clone(),
                virtuals: config.virtuals.clone(),
                gue_port,
            },
            receivers,
            device,
            slots: (0..BATCH_MAX).map(|_| slot()).collect(),
            mtu: config.mtu as usize,
            stats: Stats::default(),
        })
    }

    /// Waits until a packet comes, `wake` becomes readable, or `timeout` has passed; then opens what has
    /// come, at most a batch from each socket.
    ///
    /// # Errors
    /// If a socket fails in a way that does not pass.
    pub fn step(&mut self, wake: BorrowedFd<'_>, timeout: Duration) -> Result<(), Error> {
        let failed = |source: io::Error| Error::system("receiving tunnelled packets", source);
        let mut fds = vec![PollFd::from_borrowed_fd(wake, PollFlags::IN)];
        let sockets = self.receivers.iter();
        fds.extend(sockets.map(|r| PollFd::from_borrowed_fd(r.as_fd(), PollFlags::IN)));
        let timeout = Timespec {
            tv_sec: timeout.as_secs().try_into().unwrap_or(i64::MAX),
            tv_nsec: timeout.subsec_nanos().into(),
        };
        match poll(&mut fds, Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(failed(error.into())),
        }
        let ready: Vec<bool> = fds[1..].iter().map(|fd| !fd.revents().is_empty()).collect();
        for (receiver, _) in self.receivers.iter().zip(ready).filter(|(_, ready)| *ready) {
            let received = receiver.receive(&mut self.slots).map_err(failed)?;
            for slot in &mut self.slots[..received] {
                take(receiver, slot, &self.policy, &self.device, self.mtu, &mut self.stats);
            }
        }
        Ok(())
    }

    /// What was counted so far.
    pub fn stats(&self) -> &Stats {
        &self.stats
    }
}

impl Stats {
    /// Packets dropped for a reason.
    pub fn refused(&self, reason: Refusal) -> u64 {
        self.refused[reason.index()]
    }

    /// The reasons that packets were dropped for, with how many.
    pub fn refusals(&self) -> impl Iterator<Item = (Refusal, u64)> {
        Refusal::ALL.into_iter().zip(self.refused).filter(|(_, count)| *count > 0)
    }
}

/// Opens one packet and hands it to the host.
fn take(
    receiver: &Receiver,
    slot: &mut Slot,
    policy: &Policy,
    device: &Device,
    mtu: usize,
    stats: &mut Stats,
) {
    let outer = receiver.outer_of(slot).filter(|_| !slot.is_cut_off);
    let Some((outer, payload)) = outer else {
        stats.unreadable += 1;
        return;
    };
    let inside = match decap::open(policy, &outer, &mut slot.bytes, payload) {
        Ok(inside) => inside,
        Err(reason) => {
            stats.refused[reason.index()] += 1;
            return;
        }
    };
    let packet = &slot.bytes[inside.at];
    // What merged segments were before is told nowhere; nearly always they filled the link.
    let segment = |packet: &Unfinished| mtu.saturating_sub(OUTER_MIN + usize::from(packet.headers));
    match device.deliver(packet, inside.unfinished, segment) {
        Ok(()) => {
            stats.opened += 1;
            stats.bytes += packet.len() as u64;
        }
        Err(_) => stats.not_taken += 1,
    }
}
