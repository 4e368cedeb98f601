//! Flags in the record of a connection.

/// The connection counts as inactive (rule C4).
pub(super) const INACTIVE: u8 = 1;
/// No packet of the real server has been seen: only the client's half moves the state.
pub(super) const NO_OUTPUT: u8 = 2;
/// The forwarding method that the connection was made with, in two bits (rule L5).
pub(super) const METHOD: u8 = 0b1100;
/// [`METHOD`]: direct routing.
pub(super) const DIRECT: u8 = 0;
/// [`METHOD`]: inside a tunnel.
pub(super) const TUNNEL: u8 = 0b0100;
/// [`METHOD`]: past the service's real servers, to the packet's own destination (rule P11).
pub(super) const BYPASS: u8 = 0b1100;
/// [`METHOD`]: addresses and ports are translated.
pub(super) const MASQUERADE: u8 = 0b1000;
/// The real server is reached on the virtual port, not on the one that its destination has.
pub(super) const OWN_PORT: u8 = 0b1_0000;
/// Another connection has, or had, the same server's end and client's end: which one a packet answers is to
/// be found out.
pub(super) const SHARES_ANSWERS: u8 = 0b10_0000;
/// The connection was announced by a master of synchronisation, not opened by a packet.
pub(super) const TOLD: u8 = 0b100_0000;
