//! The backend on real interfaces: veth pairs with default offloads, in namespaces that the tests make.
//! They need root, or `unshare --user --map-root-user --net`.

mod common;
mod conformance;
mod failures;
mod latency;
mod offloads;
