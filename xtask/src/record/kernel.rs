//! A Linux kernel with IPVS as a plain process: Debian's User Mode Linux, what it needs, and a boot.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::workspace::{Workspace, output, succeed};

/// The Debian package of the kernel.
const PACKAGE: &str = "user-mode-linux";

/// Programs that run in the guest, which has the host's file system as its root, and their packages.
const PROGRAMS: &[(&str, &str)] = &[
    ("ipvsadm", "ipvsadm"),
    ("ip", "iproute2"),
    ("tc", "iproute2"),
    ("insmod", "kmod"),
    ("python3", "python3"),
    ("taskset", "util-linux"),
    ("dpkg", "dpkg"),
];

/// How long a guest may boot and set up, besides what its scenarios last.
const BOOT: Duration = Duration::from_secs(120);

/// How much of a guest's processor scenarios may use together, of 1.
const LOAD: f64 = 0.75;

/// Memory of a guest that plays scenarios, in MiB.
const MEMORY_MIB: u32 = 768;

/// Why scenarios were not recorded.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The kernel does not come up on this machine, which is no fault of lvs.
    NoBoot(String),
    /// Anything else.
    Broken(String),
}

impl From<Failure> for String {
    fn from(failure: Failure) -> String {
        match failure {
            Failure::NoBoot(said) => {
                format!("User Mode Linux does not boot on this machine\n{said}")
            }
            Failure::Broken(said) => said,
        }
    }
}

/// The kernel, ready to boot.
#[derive(Debug)]
pub(crate) struct Kernel {
    program: PathBuf,
    modules: PathBuf,
    /// Preloaded before the kernel's process; see its source.
    xstate: PathBuf,
    agent: PathBuf,
    /// Where guests have their files.
    scratch: PathBuf,
}

impl Kernel {
    /// Finds the kernel and what it needs, and fetches its package (unpacked below the target directory,
    /// not installed) if it is not there.
    ///
    /// # Errors
    /// What is missing and how to get it. It is no failure of lvs: the caller may skip.
    pub(crate) fn find(workspace: &Workspace) -> Result<Kernel, String> {
        if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
            return Err("User Mode Linux runs on x86-64 Linux only".into());
        }
        if output(Command::new("id").arg("-u"))?.trim() != "0" {
            return Err(
                "root is needed: the guest's root is the host's file system; use sudo".into()
            );
        }
        for (program, package) in PROGRAMS {
            if !installed(program) {
                return Err(format!("{program} is missing: `apt-get install {package}`"));
            }
        }
        let base = workspace.target.join("uml");
        fs::create_dir_all(&base).map_err(|e| format!("{}: {e}", base.display()))?;
        let installed = PathBuf::from("/");
        let root = match [installed, base.join("package")].into_iter().find(|root| is_here(root)) {
            Some(root) => root,
            None => fetch(&base, "apt-get")?,
        };
        let modules = root.join("usr/lib/uml/modules");
        let version = fs::read_dir(&modules).ok().and_then(|mut found| found.next()?.ok());
        let version = version.ok_or_else(|| format!("{} has no modules", modules.display()))?;
        let source = workspace.root.join("conformance/oracle");
        let xstate = base.join("xstate.so");
        let mut compile = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
        compile.args(["--edition", "2024", "-O", "--crate-type", "cdylib", "-o"]);
        succeed(compile.arg(&xstate).arg(source.join("xstate.rs")))?;
        Ok(Kernel {
            program: root.join("usr/bin/linux.uml"),
            modules: version.path(),
            xstate,
            agent: source.join("agent.py"),
            scratch: base,
        })
    }

    /// Plays scenarios, shared out over as many guests as there are processors, and writes `NAME.rec` of
    /// each to the directory `out`. A record whose events could not be played in time says so in a line
    /// `# late SECONDS`.
    ///
    /// # Errors
    /// If a guest does not boot, fails, or is not done in time: what its console and its log say.
    pub(crate) fn record(&self, scenarios: &[PathBuf], out: &Path) -> Result<(), Failure> {
        self.record_at_load(scenarios, out, LOAD)
    }

    /// The same with scenarios that use at most so much of a guest's processor at a time, of 1: the less,
    /// the longer it takes, and the more of other people's work goes on beside it without late events.
    pub(crate) fn record_at_load(
        &self,
        scenarios: &[PathBuf],
        out: &Path,
        load: f64,
    ) -> Result<(), Failure> {
        let broken = |e: std::io::Error| Failure::Broken(format!("{}: {e}", out.display()));
        fs::create_dir_all(out).map_err(broken)?;
        // A kernel has a persistence engine for all its namespaces or for none.
        let (with_engine, without): (Vec<_>, Vec<_>) =
            scenarios.iter().map(PathBuf::as_path).partition(|path| wants_engine(path));
        for scenarios in [without, with_engine].iter().filter(|scenarios| !scenarios.is_empty()) {
            self.record_alike(scenarios, out, load)?;
        }
        Ok(())
    }

    /// Scenarios that want the same modules.
    fn record_alike(&self, scenarios: &[&Path], out: &Path, load: f64) -> Result<(), Failure> {
        let processors = std::thread::available_parallelism().map_or(1, usize::from).min(4);
        let count = processors.min(scenarios.len());
        let mut guests = Vec::new();
        let program = format!("python3 -B '{}'", self.agent.display());
        for number in 0..count {
            let share: Vec<&Path> = scenarios.iter().skip(number).step_by(count).copied().collect();
            let config = json!({ "scenarios": share, "out": out, "load": load });
            let boot = Boot { program: &program, config, memory_mib: MEMORY_MIB, processor: None };
            guests.push(Guest::boot(self, number, boot).map_err(Failure::Broken)?);
        }
        let lasts = scenarios.iter().map(|path| duration(path)).max().unwrap_or_default();
        let each = Duration::from_secs_f64(4.0 / load)
            * u32::try_from(scenarios.len()).unwrap_or(u32::MAX);
        let deadline = Instant::now() + BOOT + lasts + each;
        // Every guest is waited for, whatever became of the others.
        let ends: Vec<_> = guests.into_iter().map(|guest| guest.finish(deadline)).collect();
        ends.into_iter().collect()
    }

    /// Runs a program in a guest, with the path of a file that has its `config` and, as `log` and `modules`,
    /// where it writes `BOOTED` and `DONE` and where the kernel's modules are.
    ///
    /// # Errors
    /// If the guest does not boot, or the program fails or is not done within `limit`.
    pub(crate) fn run(&self, boot: Boot<'_>, limit: Duration) -> Result<(), Failure> {
        let guest = Guest::boot(self, 0, boot).map_err(Failure::Broken)?;
        guest.finish(Instant::now() + BOOT + limit)
    }

    /// A path for a file that a guest and this program exchange.
    pub(crate) fn scratch(&self, name: &str) -> PathBuf {
        self.scratch.join(name)
    }
}

/// What a guest is started with.
#[derive(Debug)]
pub(crate) struct Boot<'a> {
    /// What runs in it, for a shell.
    pub(crate) program: &'a str,
    /// An object.
    pub(crate) config: Value,
    pub(crate) memory_mib: u32,
    /// The only processor that the guest may use. It has several processes, of which one runs at a time.
    pub(crate) processor: Option<u32>,
}

/// A running guest.
#[derive(Debug)]
struct Guest {
    process: Child,
    directory: PathBuf,
}

impl Guest {
    fn boot(kernel: &Kernel, number: usize, boot: Boot<'_>) -> Result<Guest, String> {
        let id = format!("lvs-{}-{number}", std::process::id());
        let directory = kernel.scratch.join(&id);
        let file = |name: &str| directory.join(name);
        let fail = |e: std::io::Error| format!("{}: {e}", directory.display());
        fs::create_dir_all(&directory).map_err(fail)?;
        let mut config = boot.config;
        config["log"] = json!(file("log"));
        config["modules"] = json!(kernel.modules);
        fs::write(file("config"), config.to_string()).map_err(fail)?;
        fs::write(file("log"), "").map_err(fail)?;
        fs::write(file("init"), init(boot.program, &directory)).map_err(fail)?;
        let console = fs::File::create(file("console")).map_err(fail)?;
        let errors = console.try_clone().map_err(fail)?;
        let memory = if has_room("/dev/shm", boot.memory_mib) { "/dev/shm" } else { "/tmp" };
        let mut command = match boot.processor {
            Some(processor) => {
                let mut command = Command::new("taskset");
                command.args(["--cpu-list", &processor.to_string()]).arg(&kernel.program);
                command
            }
            None => Command::new(&kernel.program),
        };
        command
            .arg(format!("mem={}M", boot.memory_mib))
            .args(["root=/dev/root", "rootfstype=hostfs", "rootflags=/", "rw", "quiet"])
            .args(["con=null", "con0=null,fd:1", "init=/bin/sh"])
            .arg(format!("umid={id}"))
            .arg("--")
            .arg(file("init"))
            .env("TMPDIR", memory)
            .env("HOME", &directory)
            .env("LD_PRELOAD", &kernel.xstate)
            .current_dir(&directory)
            .stdin(Stdio::null())
            .stdout(console)
            .stderr(errors)
            .process_group(0);
        let process = command.spawn().map_err(|e| format!("cannot boot the kernel: {e}"))?;
        Ok(Guest { process, directory })
    }

    /// Waits until the guest has powered itself off.
    fn finish(mut self, deadline: Instant) -> Result<(), Failure> {
        let mut in_time = true;
        while in_time && matches!(self.process.try_wait(), Ok(None)) {
            in_time = Instant::now() < deadline;
            sleep(Duration::from_millis(100));
        }
        let log = fs::read_to_string(self.directory.join("log")).unwrap_or_default();
        let has = |word: &str| log.lines().any(|line| line == word);
        match (has("BOOTED"), has("DONE")) {
            (true, true) => Ok(()),
            (false, _) => Err(Failure::NoBoot(self.said())),
            (true, false) if in_time => {
                Err(Failure::Broken(format!("the agent failed\n{}", self.said())))
            }
            (true, false) => {
                Err(Failure::Broken(format!("the guest was not done in time\n{}", self.said())))
            }
        }
    }

    /// The last words of the console, the agent, and its log.
    fn said(&self) -> String {
        let last = |name: &str| {
            let text = fs::read(self.directory.join(name)).unwrap_or_default();
            let text = String::from_utf8_lossy(&text).into_owned();
            let lines: Vec<&str> = text.lines().collect();
            lines[lines.len().saturating_sub(25)..].join("\n")
        };
        ["console", "agent", "log"].map(|name| format!("--- {name}\n{}", last(name))).join("\n")
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        if !matches!(self.process.try_wait(), Ok(Some(_))) {
            // The guest's processes are its process group.
            let group = format!("-{}", self.process.id());
            let _ = Command::new("kill").args(["-KILL", "--", &group]).status();
            let _ = self.process.wait();
        }
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// The guest's first process.
fn init(program: &str, directory: &Path) -> String {
    let directory = directory.display();
    format!(
        "export PATH=/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/ LC_ALL=C.UTF-8\n\
         unset LD_PRELOAD\n\
         mount -t proc proc /proc\n\
         mount -t sysfs sys /sys\n\
         mount -t tmpfs tmpfs /run\n\
         mount -t devtmpfs dev /dev 2>/dev/null || mount -t tmpfs tmpfs /dev\n\
         [ -e /dev/net/tun ] || {{ mkdir -p /dev/net; mknod /dev/net/tun c 10 200; }}\n\
         [ -e /dev/null ] || mknod -m 666 /dev/null c 1 3\n\
         echo 0 > /proc/sys/kernel/printk\n\
         {program} '{directory}/config' > '{directory}/agent' 2>&1 < /dev/null\n\
         echo END >> '{directory}/log'\n\
         echo o > /proc/sysrq-trigger\n\
         sleep 30\n"
    )
}

/// Whether a scenario asks for the module of a persistence engine.
fn wants_engine(path: &Path) -> bool {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().any(|line| line.split_whitespace().next() == Some("@engine"))
}

/// Whether a file system has room for a guest's memory; that of a container may be small.
fn has_room(directory: &str, mib: u32) -> bool {
    let free = output(Command::new("df").args(["--output=avail", "--block-size=MiB", directory]));
    let free = free.unwrap_or_default();
    let free =
        free.lines().last().and_then(|line| line.trim().trim_end_matches("MiB").parse().ok());
    free.is_some_and(|free: u64| free >= mib.into())
}

/// How long the events of a scenario last.
fn duration(path: &Path) -> Duration {
    let text = fs::read_to_string(path).unwrap_or_default();
    let times = text.lines().filter_map(|line| line.split(' ').next()?.parse::<f64>().ok());
    Duration::try_from_secs_f64(times.fold(0.0, f64::max)).unwrap_or_default()
}

fn is_here(root: &Path) -> bool {
    root.join("usr/bin/linux.uml").is_file()
}

/// `/usr/sbin` and `/sbin` are not on every user's `PATH`.
fn installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    std::env::split_paths(&path).chain(system).any(|directory| directory.join(program).is_file())
}

/// Downloads and unpacks the kernel's package.
fn fetch(base: &Path, apt: &str) -> Result<PathBuf, String> {
    let hint = |e: String| format!("{e}\nget the kernel with `apt-get install {PACKAGE}` (Debian)");
    println!("fetching Debian's {PACKAGE}");
    let download = || output(Command::new(apt).args(["download", PACKAGE]).current_dir(base));
    if download().is_err() {
        output(Command::new(apt).args(["update", "--quiet"])).map_err(hint)?;
        download().map_err(hint)?;
    }
    let entries = fs::read_dir(base).map_err(|e| hint(e.to_string()))?;
    let package = entries.flatten().map(|entry| entry.path());
    let package = package.into_iter().find(|path| path.extension().is_some_and(|e| e == "deb"));
    let package = package.ok_or_else(|| hint("apt-get downloaded nothing".into()))?;
    let root = base.join("package");
    succeed(Command::new("dpkg").arg("-x").arg(&package).arg(&root)).map_err(hint)?;
    if is_here(&root) { Ok(root) } else { Err(hint(format!("{PACKAGE} has no linux.uml"))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_in_sbin_is_found_and_a_missing_one_is_not() {
        assert!(installed("sh"));
        assert!(!installed("no-such-program-on-any-system"));
    }

    #[test]
    fn a_directory_that_is_not_there_has_no_room() {
        assert!(has_room("/", 0));
        assert!(!has_room("/", u32::MAX) && !has_room("/no-such-directory", 0));
    }

    #[test]
    fn a_kernel_that_cannot_be_fetched_is_named_with_the_way_to_get_it() {
        let error = fetch(Path::new("."), "no-such-program-on-any-system").unwrap_err();
        assert!(error.contains("`apt-get install user-mode-linux`"), "{error}");
    }

    #[test]
    fn the_first_process_runs_the_agent_and_switches_the_guest_off() {
        let text = init("python3 -B 'a/agent.py'", Path::new("b"));
        assert!(text.contains("python3 -B 'a/agent.py' 'b/config'"), "{text}");
        assert!(text.contains("echo o > /proc/sysrq-trigger"), "{text}");
    }
}
