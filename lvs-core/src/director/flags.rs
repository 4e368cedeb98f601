//! Flags in the record of a connection.

/// The connection counts as inactive (rule C4).
pub(super) const INACTIVE: u8 = 1;
/// No packet of the real server has been seen: only the client's half moves the state.
pub(super) const NO_OUTPUT: u8 = 2;
