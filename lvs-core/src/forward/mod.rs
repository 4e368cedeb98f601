//! What forwarding methods write around a packet. Nothing here decides anything: the director says which
//! packet goes where.

pub mod tunnel;
