//! `cargo xtask bench --wire`: what a packet costs over AF_PACKET, beside the kernel's own forwarding.

use std::process::Command;

use super::priority::Priority;
use crate::workspace::{Workspace, output, succeed};

/// Measures and prints; see `benches/examples/wire/main.rs`.
const PROGRAM: &str = "wire";

/// Builds what takes part, and runs it.
pub(crate) fn run(workspace: &Workspace) -> Result<(), String> {
    if output(Command::new("id").arg("-u"))?.trim() != "0" {
        let reason = "root is needed, for network namespaces and packet sockets; use sudo";
        return Err(super::skipped(reason.into()));
    }
    let mut director = workspace.cargo();
    director.args(["build", "--release", "--package", "lvs-director"]);
    succeed(&mut director)?;
    super::build_example(workspace, PROGRAM)?;
    println!("\nframes are forwarded in network namespaces (half a minute)\n");
    let _first = Priority::first();
    let director = workspace.target.join("release/lvs-director");
    succeed(Command::new(super::example(workspace, PROGRAM)).arg(director))
}
