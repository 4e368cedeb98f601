//! Counters of a port.

/// What happened at a port since the backend was built; reopening does not reset them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PortCounters {
    /// Frames that the kernel handed over.
    pub received: u64,
    /// Of these, frames lent to the director.
    pub lent: u64,
    /// Of these, frames to another station, not lent. Always 0 of a TAP device, which lends all frames.
    pub other_host: u64,
    /// Of these, frames that the kernel could not hand over whole
    /// ([`ReceiveTruncated`](lvs_core::drop::DropReason::ReceiveTruncated)). Always 0 of a TAP device.
    pub truncated: u64,
    /// Of these, frames refused: longer than any frame may be (BIG TCP), or with offload metadata that
    /// makes no sense.
    pub refused: u64,
    /// Frames that the kernel dropped because the receive ring, or the TAP device's queue, was full.
    pub kernel_drops: u64,
    /// Frames sent.
    pub transmitted: u64,
    /// Frames not sent because the send buffer or the interface's queue was full, or memory was short
    /// ([`TransmitFull`](lvs_core::drop::DropReason::TransmitFull)).
    pub transmit_full: u64,
    /// Frames that cannot be sent: longer than the MTU, shorter than an Ethernet header, or refused by the
    /// kernel ([`TransmitError`](lvs_core::drop::DropReason::TransmitError)).
    pub transmit_error: u64,
    /// Frames not sent because the interface was down or gone
    /// ([`PortDown`](lvs_core::drop::DropReason::PortDown)).
    pub port_down: u64,
    /// How often the port was reopened on a new interface of its name.
    pub reopened: u64,
}
