//! The connection table: who talks to which real server, found in two cache misses.
//!
//! [`ConnTable`] is one flat region of 64-byte lines. A packet of an established connection reads one line
//! of the index and one record, and writes three fields of that record: when it was seen, packets, bytes.
//! Everything that only opening, closing and listing need stands elsewhere in the region.
//!
//! ```
//! use lvs_core::conn::{ConnTable, Region};
//! use lvs_core::flow::{Endpoint, FlowKey, Protocol};
//!
//! let mut table = ConnTable::new(1024, [1, 2], Region::owned(1024))?;
//! let key = FlowKey::new(
//!     Protocol::TCP,
//!     Endpoint::new("192.0.2.7".parse()?, 40_000),
//!     Endpoint::new("198.51.100.1".parse()?, 80),
//! );
//! let hash = table.hash(&key);
//! let id = table.insert(&key, hash)?;
//! table.record_packet(id, 17, 1500);
//! assert_eq!(table.find(&key, hash, None), Some(id));
//! assert_eq!((table.hot(id).last_seen(), table.hot(id).bytes()), (17, 1500));
//! # Ok::<(), Box<dyn core::error::Error>>(())
//! ```
//!
//! # Ticks
//!
//! Records keep time as `u32` ticks of one millisecond, which wrap every 49.7 days. An age is
//! `now.wrapping_sub(last_seen)` and is right as long as no record is left alone for 2³² ticks. That holds
//! because no timeout is longer than 31 days (2,678,400 s = 2,678,400,000 ticks) and the timer wheel looks
//! at every record when its timeout ends at the latest. Whoever owns the table must therefore never let
//! the tick go backwards, and must expire all that is due before it lets time jump far.

mod hash;
pub(crate) mod index;
mod record;
mod slots;
mod table;
mod timeouts;

pub(crate) use hash::FlowHash;
pub use record::{Cold, Hot, HotMut, Line};
pub use table::{CAPACITY_MAX, ConnTable, Full, Region, TableError};
pub use timeouts::{Timeouts, TimeoutsFull};
