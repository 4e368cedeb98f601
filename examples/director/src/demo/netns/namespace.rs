//! A network namespace without a name: it lives as long as this process holds on to it, and leaves
//! nothing behind however the process ends.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::fd::AsFd;
use std::process::{Command, Stdio};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::demo::DemoError;

/// A machine of the demo's network.
#[derive(Debug)]
pub(super) struct Namespace {
    name: &'static str,
    handle: File,
    /// Where other namespaces find it, to move an interface in.
    path: String,
}

impl Namespace {
    /// Makes a namespace with only a loopback interface, which is up.
    pub(super) fn new(name: &'static str) -> Result<Namespace, DemoError> {
        // A child makes the namespace, because a thread cannot go back to where it came from, and ends as
        // soon as we have a handle on what it made.
        let mut child = Command::new("unshare")
            .args(["--net", "sh", "-c", "echo made; read line"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| needs("unshare", "util-linux", &error))?;
        let mut said = String::new();
        if let Some(stdout) = child.stdout.take() {
            BufReader::new(stdout).read_line(&mut said)?;
        }
        let opened = File::open(format!("/proc/{}/ns/net", child.id()));
        drop(child.stdin.take());
        let ended = child.wait_with_output()?;
        if said != "made\n" {
            let why = String::from_utf8_lossy(&ended.stderr).trim().to_owned();
            return Err(DemoError::Privilege { why });
        }
        let handle = opened?;
        let path = format!("/proc/{}/fd/{}", std::process::id(), raw(&handle));
        let namespace = Namespace { name, handle, path };
        namespace.ip("link set lo up\n")?;
        Ok(namespace)
    }

    /// Runs a closure inside; sockets and programs that it makes stay there.
    pub(super) fn enter<T: Send>(&self, body: impl FnOnce() -> T + Send) -> Result<T, DemoError> {
        std::thread::scope(|scope| {
            let inside = scope.spawn(|| self.move_in().map(|()| body()));
            inside.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Moves the calling thread into the namespace, for good.
    pub(super) fn move_in(&self) -> Result<(), DemoError> {
        let moved =
            move_into_link_name_space(self.handle.as_fd(), Some(LinkNameSpaceType::Network));
        moved.map_err(|error| self.failed("enter it", error))
    }

    /// Another handle, for a thread that outlives this one.
    pub(super) fn share(&self) -> Result<Namespace, DemoError> {
        let handle = self.handle.try_clone()?;
        Ok(Namespace { name: self.name, path: self.path.clone(), handle })
    }

    /// Runs lines of `ip` (iproute2), the program's name left out.
    pub(super) fn ip(&self, lines: &str) -> Result<(), DemoError> {
        self.enter(|| self.run("ip", lines))?
    }

    /// Runs lines of `bridge` (iproute2), the program's name left out.
    pub(super) fn bridge(&self, lines: &str) -> Result<(), DemoError> {
        self.enter(|| self.run("bridge", lines))?
    }

    fn run(&self, program: &str, lines: &str) -> Result<(), DemoError> {
        let mut child = Command::new(program)
            .args(["-batch", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| needs(program, "iproute2", &error))?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(lines.as_bytes())?;
        }
        let ended = child.wait_with_output()?;
        if ended.status.success() {
            return Ok(());
        }
        let why = String::from_utf8_lossy(&ended.stderr).trim().to_owned();
        Err(self.failed(&format!("{program} {}", lines.trim()), why))
    }

    /// Runs `ip` with these words and returns what it prints.
    pub(super) fn output(&self, words: &[&str]) -> Result<String, DemoError> {
        let ran = self.enter(|| Command::new("ip").args(words).output())?;
        let ran = ran.map_err(|error| needs("ip", "iproute2", &error))?;
        Ok(String::from_utf8_lossy(&ran.stdout).into_owned())
    }

    /// Sets system controls of the namespace, named as below `/proc/sys/net`.
    pub(super) fn set(&self, controls: &[(&str, &str)]) -> Result<(), DemoError> {
        // The files show the namespace of whoever opens them.
        self.enter(|| {
            controls.iter().try_for_each(|(name, value)| {
                let written = std::fs::write(format!("/proc/sys/net/{name}"), value);
                written.map_err(|error| self.failed(&format!("set net/{name} to {value}"), error))
            })
        })?
    }

    /// Where `ip link … netns` finds this namespace.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    pub(super) fn failed(&self, what: &str, why: impl ToString) -> DemoError {
        DemoError::Namespace { name: self.name, what: what.to_owned(), why: why.to_string() }
    }
}

fn raw(file: &File) -> i32 {
    use std::os::fd::AsRawFd;
    file.as_raw_fd()
}

fn needs(program: &str, package: &str, error: &std::io::Error) -> DemoError {
    DemoError::Program {
        program: program.to_owned(),
        package: package.to_owned(),
        why: error.to_string(),
    }
}
