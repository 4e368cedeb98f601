//! `lvs-director demo`: what a director does, shown by one at work.
//!
//! A story in steps, each with the commands an operator would type, what came of them, and the listing
//! that shows it. Nothing is acted: the commands are parsed and applied, clients and real servers speak
//! TCP and HTTP, and each fact that is told is checked while the demo runs.

use std::io;
use std::net::Ipv4Addr;

use crate::cli::DemoArgs;

mod cast;
mod console;
mod http;
mod netns;
mod page;
mod scene;
mod shop;
mod simulated;
mod stage;
mod steps;

use cast::Cast;
use netns::Theatre;
use page::Page;
use scene::Scene;
use simulated::Simulated;
use stage::Stage;

/// The virtual address, the director's own and the real servers': those of the tutorials.
const VIP: Ipv4Addr = Ipv4Addr::new(192, 168, 0, 1);
const DIRECTOR: Ipv4Addr = Ipv4Addr::new(192, 168, 0, 254);
const SERVERS: [Ipv4Addr; 2] = [Ipv4Addr::new(192, 168, 1, 2), Ipv4Addr::new(192, 168, 1, 3)];

/// What is real and what is not.
const ABOUT_SIMULATED: &str = "\
The director is that of lvs-director run; clients and real servers are TCP
stacks in this process, the wire is memory, time is virtual. Commands are
carried out as they stand here, and each fact (✓) is checked.";

const ABOUT_NAMESPACES: &str = "\
Network namespaces on this machine, joined by veth pairs and a bridge: clients
and real servers use the kernel's TCP, the director sits behind AF_PACKET, and
half a minute is half a minute. Commands are carried out as they stand here, and
each fact (✓) is checked. Nothing is left behind.";

/// Why the demo could not be played to its end, or a fact it told was none.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DemoError {
    #[error("the demo's network cannot be made: {0}")]
    Network(#[from] lvs_sim::peers::LanError),
    #[error("{line}\n  refused: {message}")]
    Command { line: String, message: String },
    #[error("client {client} cannot use its connection to port {port}: {why}")]
    Connection { client: Ipv4Addr, port: u16, why: String },
    #[error("client {client} got an answer from port {port} that is no HTTP: {why}")]
    Answer { client: Ipv4Addr, port: u16, why: String },
    #[error(
        "cannot make network namespaces: {why}. --netns needs privileges: run it as root, or as\n  \
         unshare --user --map-root-user lvs-director demo --netns"
    )]
    Privilege { why: String },
    #[error("cannot start the program {program} (package {package}): {why}")]
    Program { program: String, package: String, why: String },
    #[error("the {name}'s namespace cannot {what}: {why}")]
    Namespace { name: &'static str, what: String, why: String },
    #[error("the director cannot go on: {0}")]
    Io(#[from] lvs_io_afpacket::Error),
    #[error("the director stopped")]
    DirectorGone,
    #[error("{failed} of {told} facts told above are not so: please report it with the seed")]
    NotSo { failed: usize, told: usize },
    #[error("cannot write: {0}")]
    Output(#[from] io::Error),
}

/// Plays all steps.
pub(crate) fn demo(args: &DemoArgs) -> Result<(), DemoError> {
    let mut page = Page::new(anstream::stdout(), args.pause);
    match play(args, &mut page) {
        // Whoever piped the demo into `head` has seen enough.
        Err(DemoError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        done => done,
    }
}

fn play(args: &DemoArgs, page: &mut Page) -> Result<(), DemoError> {
    let theatre = if args.netns { Some(Theatre::open()?) } else { None };
    let about = if theatre.is_some() { ABOUT_NAMESPACES } else { ABOUT_SIMULATED };
    page.title(&format!("lvs-director demo (seed {})", args.seed), about)?;
    let steps = steps::ALL.iter().filter(|step| !(args.netns && step.virtual_only));
    for (number, step) in steps.enumerate() {
        let mut cast = Cast::new(args.seed, number as u64);
        // Each step has a director of its own, so that what one leaves behind does not show in the next.
        let mut stage: Box<dyn Stage> = match &theatre {
            Some(theatre) => Box::new(theatre.stage()?),
            None => Box::new(Simulated::new(&mut cast)?),
        };
        page.heading(number + 1, step.title)?;
        (step.play)(&mut Scene::new(page, stage.as_mut(), &mut cast))?;
    }
    page.end()
}
