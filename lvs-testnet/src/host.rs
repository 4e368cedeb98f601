//! A host: a network namespace, and the thread that keeps it alive.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::process::{Output, Process};
use crate::sys;

/// How long [`Host::run`] waits for a command.
const RUN_TIMEOUT: Duration = Duration::from_secs(180);

type Job = Box<dyn FnOnce() + Send>;

/// A host of the test network.
///
/// It has a loopback interface that is up. Interfaces, addresses and routes come from [`crate::Net`], or
/// from commands run on the host.
#[derive(Debug)]
pub struct Host {
    name: String,
    namespace: OwnedFd,
    path: PathBuf,
    jobs: mpsc::Sender<Job>,
}

impl Host {
    /// A host without interfaces but `lo`.
    ///
    /// # Panics
    /// If the namespace cannot be made; root is needed.
    #[track_caller]
    pub fn new(name: &str) -> Host {
        let (jobs, queue) = mpsc::channel::<Job>();
        let (made, result) = mpsc::channel();
        thread::Builder::new()
            .name(format!("host-{name}"))
            .spawn(move || {
                let _ = made.send(make_namespace());
                // The namespace lives as long as this thread; programs are started here, because the
                // kernel kills them when the thread that started them ends.
                queue.into_iter().for_each(|job| job());
            })
            .unwrap_or_else(|error| panic!("cannot start the thread of host {name}: {error}"));
        let (namespace, path) = match result.recv() {
            Ok(Ok(made)) => made,
            Ok(Err(error)) => panic!(
                "cannot make a network namespace: {error}. Run the tests as root, or under \
                 `unshare --user --map-root-user`"
            ),
            Err(_) => panic!("the thread of host {name} ended early"),
        };
        let host = Host { name: name.to_owned(), namespace, path, jobs };
        host.set_quiet_defaults();
        host.ip("link set lo up");
        host
    }

    /// The host's name, for messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where the namespace can be entered: `nsenter --net=PATH`, `ip link set … netns PATH`.
    pub fn namespace_path(&self) -> &Path {
        &self.path
    }

    /// Runs a closure inside the namespace: its sockets, and those of threads and programs that it
    /// starts, belong to this host. A panic goes on in the caller.
    ///
    /// # Panics
    /// If the namespace cannot be entered.
    #[track_caller]
    pub fn enter<T: Send>(&self, body: impl FnOnce() -> T + Send) -> T {
        let entered = thread::scope(|scope| {
            scope
                .spawn(|| {
                    let kind = Some(LinkNameSpaceType::Network);
                    move_into_link_name_space(self.namespace.as_fd(), kind)
                        .unwrap_or_else(|error| panic!("cannot enter host {}: {error}", self.name));
                    body()
                })
                .join()
        });
        entered.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// Starts a program on the host.
    ///
    /// # Panics
    /// If it cannot be started, or `command` is empty.
    #[track_caller]
    pub fn start(&self, command: &[&str]) -> Process {
        let (program, arguments) = command.split_first().expect("a command has a program");
        let mut prepared = Command::new(program);
        prepared.args(arguments);
        self.start_command(prepared)
    }

    /// Starts a program prepared by the caller (environment, folder); input and output are replaced.
    ///
    /// # Panics
    /// If it cannot be started.
    #[track_caller]
    pub fn start_command(&self, mut command: Command) -> Process {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        sys::die_with_starter(&mut command);
        let line = format!("{}: {command:?}", self.name);
        let (started, result) = mpsc::channel::<io::Result<Child>>();
        let job: Job = Box::new(move || {
            let _ = started.send(command.spawn());
        });
        self.jobs.send(job).expect("the host's thread runs as long as the host");
        match result.recv() {
            Ok(Ok(child)) => Process::new(line, child),
            Ok(Err(error)) => panic!("cannot start {line}: {error}"),
            Err(_) => panic!("the thread of host {} ended early", self.name),
        }
    }

    /// Runs a program on the host to its end.
    ///
    /// # Panics
    /// If it cannot be started, or runs for more than three minutes.
    #[track_caller]
    pub fn run(&self, command: &[&str]) -> Output {
        self.start(command).finish(RUN_TIMEOUT)
    }

    /// Runs `ip` with the words of `arguments`, and returns what it printed.
    ///
    /// # Panics
    /// If it fails.
    #[track_caller]
    pub fn ip(&self, arguments: &str) -> String {
        let words: Vec<&str> = ["ip"].into_iter().chain(arguments.split_whitespace()).collect();
        self.run(&words).expect_success().stdout
    }

    /// Sets a sysctl of the namespace, named with dots or slashes: `net.ipv4.ip_forward`.
    ///
    /// # Panics
    /// If the kernel refuses it.
    #[track_caller]
    pub fn set_sysctl(&self, name: &str, value: &str) {
        let path = sysctl_path(name);
        // /proc/sys/net shows the namespace of whoever opens it.
        self.enter(|| std::fs::write(&path, value))
            .unwrap_or_else(|error| panic!("{}: cannot set {name}={value}: {error}", self.name));
    }

    /// Reads a sysctl of the namespace.
    ///
    /// # Panics
    /// If it does not exist.
    #[track_caller]
    pub fn sysctl(&self, name: &str) -> String {
        let path = sysctl_path(name);
        let value = self.enter(|| std::fs::read_to_string(&path));
        value.unwrap_or_else(|error| panic!("{}: no {name}: {error}", self.name)).trim().to_owned()
    }

    /// Adds an address with its prefix length (`10.0.0.1/24`, `fd00::1/64`), usable at once.
    ///
    /// # Panics
    /// If `ip` refuses it.
    #[track_caller]
    pub fn add_address(&self, interface: &str, address: &str) {
        let nodad = if address.contains(':') { " nodad" } else { "" };
        self.ip(&format!("addr add {address} dev {interface}{nodad}"));
    }

    /// The Ethernet address of an interface.
    ///
    /// # Panics
    /// If there is no such interface, or it has none.
    #[track_caller]
    pub fn mac(&self, interface: &str) -> [u8; 6] {
        let line = self.ip(&format!("-o link show dev {interface}"));
        let mut words = line.split_whitespace().skip_while(|word| *word != "link/ether").skip(1);
        let mac = words.next().map(|text| text.split(':').map(|part| u8::from_str_radix(part, 16)));
        mac.and_then(|parts| parts.collect::<Result<Vec<u8>, _>>().ok())
            .and_then(|parts| <[u8; 6]>::try_from(parts).ok())
            .unwrap_or_else(|| panic!("{}: {interface} has no Ethernet address: {line}", self.name))
    }

    /// No duplicate address detection, no router solicitations, no reverse path filter: addresses work
    /// at once, and captures show only what the test causes.
    fn set_quiet_defaults(&self) {
        for scope in ["all", "default"] {
            self.set_sysctl(&format!("net/ipv6/conf/{scope}/accept_dad"), "0");
            self.set_sysctl(&format!("net/ipv6/conf/{scope}/router_solicitations"), "0");
            self.set_sysctl(&format!("net/ipv4/conf/{scope}/rp_filter"), "0");
        }
    }
}

/// Makes a namespace for the calling thread and returns a handle on it.
fn make_namespace() -> io::Result<(OwnedFd, PathBuf)> {
    sys::enter_new_network_namespace()?;
    let pid = std::process::id();
    let thread = rustix::thread::gettid().as_raw_nonzero();
    let path = PathBuf::from(format!("/proc/{pid}/task/{thread}/ns/net"));
    Ok((File::open(&path)?.into(), path))
}

fn sysctl_path(name: &str) -> PathBuf {
    // An interface name may hold a dot (a VLAN), so slashes are taken as they are.
    let relative = if name.contains('/') { name.to_owned() } else { name.replace('.', "/") };
    Path::new("/proc/sys").join(relative)
}
