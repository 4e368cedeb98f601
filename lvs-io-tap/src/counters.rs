//! Counters of a port.

/// What happened at a port since the backend was built; reopening does not reset them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PortCounters {
    /// Frames that the kernel handed over.
    pub received: u64,
    /// Of these, frames lent to the director.
    pub lent: u64,
    /// Of these, frames refused: longer than any frame may be, or with offload metadata that makes no
    /// sense.
    pub refused: u64,
    /// Frames to the director that the kernel dropped because the device's queue was full. Not counted
    /// while the device is in another network namespace than the one it was opened in.
    pub kernel_drops: u64,
    /// Frames sent.
    pub transmitted: u64,
    /// Frames not sent because the [send buffer](crate::Device::send_buffer) was full or memory was short
    /// ([`TransmitFull`](lvs_core::drop::DropReason::TransmitFull)).
    pub transmit_full: u64,
    /// Frames that cannot be sent: longer than the MTU, shorter than an Ethernet header, or refused by the
    /// kernel ([`TransmitError`](lvs_core::drop::DropReason::TransmitError)).
    pub transmit_error: u64,
    /// Frames not sent because the device was down or gone
    /// ([`PortDown`](lvs_core::drop::DropReason::PortDown)).
    pub port_down: u64,
    /// How often the port was opened anew because its device had been deleted.
    pub reopened: u64,
}
