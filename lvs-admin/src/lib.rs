//! The operators' language: what has been typed at `ipvsadm` for twenty years, as text in and data out.
//!
//! | module | one line |
//! |---|---|
//! | [`words`] | Text to words with their line and column: quotes, comments, continued lines |
//! | [`names`] | Names of ports and hosts, supplied by the caller |
//! | [`address`] | `host[:port]` and numbers, read as ipvsadm reads them |
//! | [`ipvsadm`] | One command line to an [`Action`](ipvsadm::Action), or a refusal in ipvsadm's words |
//! | [`rules`] | A whole rules file to data, with every mistake in it located and explained |
//! | [`diff`] | What must be changed for a running director to become what a rules file says |
//! | [`rates`] | What goes through in a second, estimated as the kernel does |
//! | [`listing`] | ipvsadm's listings and the kernel's `/proc/net/ip_vs*`, byte for byte |
//!
//! Nothing here opens a file, asks a name server or talks to a director: the caller does, and hands over
//! the text.
//!
//! ```
//! use lvs_admin::{names::NumericOnly, rules::{Rules, Supported}};
//!
//! let text = "-A -t 192.0.2.1:80 -s wlc -p 600\n-a -t 192.0.2.1:80 -r 10.1.0.2 -g -w 4\n";
//! let rules = Rules::parse("lvs.rules", text, &NumericOnly, &Supported::THIS_VERSION).unwrap();
//! assert_eq!(rules.services().len(), 1);
//! ```
#![forbid(unsafe_code)]

pub mod address;
pub mod diff;
pub mod ipvsadm;
pub mod listing;
pub mod names;
pub mod rates;
pub mod rules;
pub mod words;

mod fuzzing;

pub use fuzzing::parse_anything;

/// The examples of the README are compiled with the others.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
