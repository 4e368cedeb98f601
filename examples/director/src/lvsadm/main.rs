//! `lvsadm`: ipvsadm's command line for a running `lvs-director`.
//!
//! What it does is in [`lvs_control::console`]; here are its streams, the environment and the host's names.
#![forbid(unsafe_code)]

use std::io::{self, BufWriter, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use lvs_control::SOCKET_DEFAULT;
use lvs_control::console::Console;

mod names;

use names::HostNames;

/// Bytes of output that are written at once.
const BUFFER: usize = 64 << 10;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args_os()
        .skip(1)
        // A word that is no text is no option's value either; it is refused where it stands.
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    let socket = std::env::var_os("LVS_SOCKET").filter(|path| !path.is_empty());
    let names = HostNames::new();
    let mut input = io::stdin().lock();
    let mut output = BufWriter::with_capacity(BUFFER, io::stdout().lock());
    let mut errors = io::stderr().lock();
    let mut console = Console {
        program: "lvsadm",
        socket: socket.map_or_else(|| PathBuf::from(SOCKET_DEFAULT), PathBuf::from),
        names: &names,
        hints: true,
        input: &mut input,
        output: &mut output,
        errors: &mut errors,
    };
    let status = console.run(&words);
    // What nobody reads any more is dropped without a word, as the console has flushed what it could.
    let _unread = output.flush();
    ExitCode::from(status)
}
