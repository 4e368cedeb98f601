//! `lvsadm` on a terminal of 80x24, as somebody who sits there sees it.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, ExitStatus};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use lvs_testnet::require;
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::director::{LVSADM, SocketPath, wait_for};

const ROWS: u16 = 24;
const COLUMNS: u16 = 80;

/// Tells the terminal's settings before and after, as `stty` does in a form that is not for people. The shell
/// leads the session, because the settings of a terminal whose session ends are set back by the kernel.
const SCRIPT: &str = r#"stty -g; "$@"; status=$?; stty -g; exit $status"#;

/// A terminal with a program on it.
pub(crate) struct Terminal {
    keys: File,
    shown: Arc<Mutex<Shown>>,
    reader: Option<JoinHandle<()>>,
    child: Child,
}

/// What came to the terminal.
struct Shown {
    screen: vt100::Parser,
    all: Vec<u8>,
}

/// What a terminal is like after its program has ended.
pub(crate) struct Left {
    /// Everything that came behind the program's own screen.
    pub(crate) text: String,
    /// Its settings, from `stty -g`.
    pub(crate) settings: String,
    pub(crate) alternate_screen: bool,
    pub(crate) cursor_visible: bool,
}

impl Terminal {
    /// `lvsadm` with the words of `line`.
    #[track_caller]
    pub(crate) fn start(socket: &SocketPath, line: &str) -> Terminal {
        require(&["setsid", "stty"]);
        Terminal::try_start(socket, line).unwrap_or_else(|error| panic!("no terminal: {error}"))
    }

    fn try_start(socket: &SocketPath, line: &str) -> io::Result<Terminal> {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let ours = openpt(flags)?;
        grantpt(&ours)?;
        unlockpt(&ours)?;
        let size = Winsize { ws_row: ROWS, ws_col: COLUMNS, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&ours, size)?;
        let theirs: OwnedFd = ioctl_tiocgptpeer(&ours, flags)?;
        let child = Command::new("setsid")
            .args(["--ctty", "--wait", "sh", "-c", SCRIPT, "sh"])
            .args([LVSADM, "--socket", socket.path()])
            .args(line.split_whitespace())
            .env("TERM", "xterm-256color")
            .stdin(theirs.try_clone()?)
            .stdout(theirs.try_clone()?)
            .stderr(theirs)
            .spawn()?;
        let mut output = File::from(ours);
        let keys = output.try_clone()?;
        let screen = vt100::Parser::new(ROWS, COLUMNS, 0);
        let shown = Arc::new(Mutex::new(Shown { screen, all: Vec::new() }));
        let reader = std::thread::spawn({
            let shown = Arc::clone(&shown);
            move || {
                let mut buffer = [0; 4096];
                // A terminal on which no program is left gives an error (EIO) instead of an end.
                while let Ok(read @ 1..) = output.read(&mut buffer) {
                    let mut shown = lock(&shown);
                    shown.screen.process(&buffer[..read]);
                    shown.all.extend_from_slice(&buffer[..read]);
                }
            }
        });
        Ok(Terminal { keys, shown, reader: Some(reader), child })
    }

    /// What stands on the screen, a line for each row.
    pub(crate) fn screen(&self) -> String {
        lock(&self.shown).screen.screen().contents()
    }

    /// Waits until `wanted` stands on the screen, and returns all that stands there.
    #[track_caller]
    pub(crate) fn wait_for(&self, wanted: &str) -> String {
        wait_for(&format!("{wanted:?} on the screen"), || {
            Some(self.screen()).filter(|screen| screen.contains(wanted))
        })
    }

    /// Presses keys, as what a terminal sends for them.
    #[track_caller]
    pub(crate) fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap_or_else(|error| panic!("no key: {error}"));
    }

    /// The settings of the terminal before the program changed them.
    pub(crate) fn settings_before(&self) -> String {
        let shown = lock(&self.shown);
        let text = String::from_utf8_lossy(&shown.all);
        text.lines().next().unwrap_or_default().to_owned()
    }

    /// Waits for the end of the program.
    #[track_caller]
    pub(crate) fn finish(mut self) -> (ExitStatus, Left) {
        let status = wait_for("the end of the program", || {
            self.child.try_wait().unwrap_or_else(|error| panic!("cannot wait for it: {error}"))
        });
        if let Some(reader) = self.reader.take() {
            reader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        }
        let shown = lock(&self.shown);
        let all = String::from_utf8_lossy(&shown.all);
        // The program gives the screen back, then the cursor.
        let (_, text) = all.rsplit_once("\u{1b}[?1049l").unwrap_or(("", &all));
        let text = text.replace("\u{1b}[?25h", "");
        let screen = shown.screen.screen();
        let left = Left {
            settings: text.lines().last().unwrap_or_default().to_owned(),
            text,
            alternate_screen: screen.alternate_screen(),
            cursor_visible: !screen.hide_cursor(),
        };
        (status, left)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn lock(shown: &Mutex<Shown>) -> MutexGuard<'_, Shown> {
    shown.lock().unwrap_or_else(PoisonError::into_inner)
}
