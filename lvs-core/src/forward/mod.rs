//! What forwarding methods write around a packet and into it. Nothing here decides anything: the director says which
//! packet goes where.

pub mod translate;
pub mod tunnel;
