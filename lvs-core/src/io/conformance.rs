//! The suite that every backend is held to.
