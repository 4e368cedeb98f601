//! The control socket as a client meets it: a director in a loop of its own thread behind it.

mod answers;
mod bad_input;
mod console;
mod daemons;
mod director;
mod file;
mod metrics;
mod why;
