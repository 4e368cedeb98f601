//! Batching, as a receiver sees it.
