//! The core linked and run without an operating system's library.
//!
//! `#![no_std]` on a library proves nothing: the program that uses it would quietly bring libc along. So a
//! small program (`examples/freestanding`) with its own entry point, allocator and panic handler is
//! linked with no other library at all, its symbols are looked through, and it is run.

use std::path::Path;
use std::process::Command;

use object::{Object, ObjectSymbol};

use super::Outcome;
use crate::workspace::{Workspace, output, succeed};

/// The bare target, linked as well where its library is installed.
const BARE: &str = "x86_64-unknown-none";
/// The target of wasm modules, for which the core is built where its library is installed.
const WASM: &str = "wasm32-unknown-unknown";

pub(super) fn run(workspace: &Workspace) -> Result<Outcome, String> {
    if !(cfg!(target_os = "linux") && cfg!(any(target_arch = "x86_64", target_arch = "aarch64"))) {
        return Ok(Outcome::Skipped("needs Linux on x86_64 or aarch64".into()));
    }
    let target = workspace.target.join("freestanding");
    succeed(build(workspace, &target).args(["build", "--quiet", "--release"]))?;
    let program = target.join("release/freestanding");
    no_foreign_symbols(&program)?;
    succeed(&mut Command::new(&program)).map_err(|e| {
        format!("{e}; the exit statuses are listed in examples/freestanding/src/main.rs")
    })?;
    println!("linked without any library, no undefined symbol, and it ran");
    refuses_std(workspace, &target)?;
    if is_installed(BARE) {
        let mut command = build(workspace, &target);
        succeed(command.args(["build", "--quiet", "--release", "--target", BARE]))?;
        println!("linked for {BARE}");
    } else {
        println!("not linked for {BARE}; for that, `rustup target add {BARE}`");
    }
    if is_installed(WASM) {
        let mut command = workspace.cargo();
        command.env("CARGO_TARGET_DIR", &target);
        succeed(command.args(["build", "--quiet", "--package", "lvs-core", "--target", WASM]))?;
        println!("lvs-core builds for {WASM}");
    } else {
        println!("not built for {WASM}; for that, `rustup target add {WASM}`");
    }
    Ok(Outcome::Passed)
}

fn build(workspace: &Workspace, target: &Path) -> Command {
    let mut command = workspace.cargo();
    command.current_dir(workspace.root.join("examples/freestanding"));
    command.env("CARGO_TARGET_DIR", target).env_remove("RUSTFLAGS");
    command
}

/// A check that cannot fail is none: the same program with the standard library in the core must not
/// build.
fn refuses_std(workspace: &Workspace, target: &Path) -> Result<(), String> {
    let mut command = build(workspace, target);
    command.args(["check", "--quiet", "--release", "--features", "std"]);
    let refusal = command.output().map_err(|e| format!("cannot run cargo: {e}"))?;
    let said = String::from_utf8_lossy(&refusal.stderr);
    if refusal.status.success() {
        return Err("the program builds with the standard library too, so it proves nothing".into());
    }
    if !said.contains("panic_impl") {
        return Err(format!(
            "expected std to clash over the panic handler, but cargo says: {said}"
        ));
    }
    println!("with std in the core it does not build, as it should");
    Ok(())
}

/// Nothing may be left for a dynamic linker, and no library of the system may have come along.
fn no_foreign_symbols(program: &Path) -> Result<(), String> {
    let bytes =
        std::fs::read(program).map_err(|e| format!("cannot read {}: {e}", program.display()))?;
    let file = object::File::parse(&*bytes)
        .map_err(|e| format!("cannot read {}: {e}", program.display()))?;
    let mut foreign = Vec::new();
    for symbol in file.symbols().chain(file.dynamic_symbols()) {
        let name = symbol.name().unwrap_or_default();
        if !name.is_empty() && (symbol.is_undefined() || is_of_a_system_library(name)) {
            foreign.push(name.to_owned());
        }
    }
    if foreign.is_empty() {
        return Ok(());
    }
    Err(format!("{} needs symbols of a system: {}", program.display(), foreign.join(", ")))
}

/// Signs of libc and of Rust's std.
fn is_of_a_system_library(name: &str) -> bool {
    let marks = ["__libc_start_main", "malloc", "pthread_", "_ZN3std"];
    let v0_std = name.starts_with("_R") && name.contains("3std");
    v0_std || marks.iter().any(|mark| name.starts_with(mark))
}

fn is_installed(target: &str) -> bool {
    let sysroot = output(Command::new("rustc").args(["--print", "sysroot"])).unwrap_or_default();
    Path::new(sysroot.trim()).join("lib/rustlib").join(target).is_dir()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symbols_of_std_and_libc_are_told_from_those_of_the_core() {
        assert!(is_of_a_system_library("_ZN3std2io5stdio6_print17h0123456789abcdefE"));
        assert!(is_of_a_system_library("__libc_start_main"));
        assert!(!is_of_a_system_library("_ZN4core9panicking5panic17h0123456789abcdefE"));
        assert!(!is_of_a_system_library("memcpy"));
    }

    #[test]
    fn a_program_of_this_system_is_seen_to_need_it() {
        let this = std::env::current_exe().unwrap();
        assert!(no_foreign_symbols(&this).unwrap_err().contains("symbols of a system"));
    }
}
