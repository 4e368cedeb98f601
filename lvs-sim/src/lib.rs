//! Virtual time for lvs: scenarios replayed, records comparable with the Linux kernel's.
//!
//! A [scenario] is a timeline of `ipvsadm` commands, packets and dumps. A [record](mod@record) says
//! what a director did with it. [`compare`](compare::compare) holds two records against each other, with the
//! tolerances that two recordings of the kernel need.
#![forbid(unsafe_code)]

pub mod capture;
pub mod compare;
pub mod net;
pub mod packet;
pub mod record;
pub mod scenario;
