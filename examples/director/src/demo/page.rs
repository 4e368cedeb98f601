//! How the demo looks: at most 80 columns, colours where the output is a terminal.

use std::fmt::Write as _;
use std::io::{self, IsTerminal as _, Write};
use std::net::Ipv4Addr;

use anstyle::{AnsiColor, Style};

use super::stage::Pace;
use super::{DemoError, SERVERS};

const HEADING: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();
const COMMAND: Style = AnsiColor::Green.on_default();
const HOLDS: Style = AnsiColor::Green.on_default().bold();
const FAILS: Style = AnsiColor::Red.on_default().bold();
/// Each real server has its colour.
const SERVER: [Style; 2] = [AnsiColor::Cyan.on_default(), AnsiColor::Yellow.on_default()];

/// The width of headings.
const WIDTH: usize = 78;
/// The length of the longest bar.
const BAR_LEN: usize = 36;

/// A page that is written from top to bottom.
pub(super) struct Page {
    out: Box<dyn Write>,
    /// Whether to wait for the reader now and then.
    paused: bool,
    /// Whether the last line is blank.
    apart: bool,
    told: usize,
    failed: usize,
}

/// A line of a bar chart: a real server and how much it has.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bar {
    pub(super) server: Ipv4Addr,
    pub(super) weight: u32,
    pub(super) count: usize,
}

impl Page {
    /// A page on an output that takes colours out where they are not wanted.
    pub(super) fn new(out: impl Write + 'static, paused: bool) -> Page {
        Page { out: Box::new(out), paused, apart: false, told: 0, failed: 0 }
    }

    fn put(&mut self, text: &str) -> io::Result<()> {
        self.apart = text.ends_with("\n\n");
        self.out.write_all(text.as_bytes())?;
        self.out.flush()
    }

    /// Leaves one line blank.
    pub(super) fn gap(&mut self) -> io::Result<()> {
        if self.apart { Ok(()) } else { self.put("\n").map(|()| self.apart = true) }
    }

    /// Waits until the reader has read so far. At the end of the input the story goes on by itself.
    fn pause(&mut self) -> io::Result<()> {
        if !self.paused {
            return Ok(());
        }
        self.gap()?;
        eprint!("-- Enter goes on --");
        self.paused = io::stdin().read_line(&mut String::new())? > 0;
        if io::stderr().is_terminal() {
            // Up to the line that asked, and out with it.
            eprint!("\x1b[1A\x1b[2K");
        }
        Ok(())
    }

    fn styled(&mut self, style: Style, text: &str) -> io::Result<()> {
        self.put(&format!("{style}{text}{style:#}\n"))
    }

    /// Where a step begins.
    pub(super) fn heading(&mut self, number: usize, title: &str) -> io::Result<()> {
        self.pause()?;
        let head = format!("── {number}. {title} ");
        let line = "─".repeat(WIDTH.saturating_sub(head.chars().count()));
        self.gap()?;
        self.put(&format!("{HEADING}{head}{HEADING:#}{DIM}{line}{DIM:#}\n\n"))
    }

    /// What happens, in sentences.
    pub(super) fn text(&mut self, text: &str) -> io::Result<()> {
        self.put(&format!("{text}\n\n"))
    }

    /// What an operator types.
    pub(super) fn command(&mut self, line: &str) -> io::Result<()> {
        self.put(&format!("  {DIM}#{DIM:#} {COMMAND}{line}{COMMAND:#}\n"))
    }

    /// What an operator gets to see, as it is but for two blanks in front.
    pub(super) fn listing(&mut self, text: &str) -> io::Result<()> {
        let mut indented = String::new();
        text.lines().for_each(|line| infallible(writeln!(indented, "  {line}")));
        self.put(&indented)?;
        self.gap()
    }

    /// A bar per real server.
    pub(super) fn bars(&mut self, bars: &[Bar]) -> io::Result<()> {
        let most = bars.iter().map(|bar| bar.count).max().unwrap_or(0).max(1);
        let total: usize = bars.iter().map(|bar| bar.count).sum();
        self.gap()?;
        let mut text = String::new();
        for bar in bars {
            let style = style_of(bar.server);
            let filled = "█".repeat(bar.count * BAR_LEN / most);
            infallible(writeln!(
                text,
                "  {style}{}{style:#}  weight {}  {style}{filled:<BAR_LEN$}{style:#}  {} of {total}",
                bar.server, bar.weight, bar.count
            ));
        }
        self.put(&text)?;
        self.gap()
    }

    /// A table; the first row names the columns. Real servers have their colours.
    pub(super) fn table(&mut self, rows: &[Vec<String>]) -> io::Result<()> {
        let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            let cells = rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        self.gap()?;
        let mut text = String::new();
        for (number, row) in rows.iter().enumerate() {
            text.push(' ');
            for (column, cell) in row.iter().enumerate() {
                let style = match cell.parse().ok() {
                    Some(server) => style_of(server),
                    None if number == 0 => DIM,
                    None => Style::new(),
                };
                let last = column + 1 == row.len();
                let width = if last { 0 } else { widths[column] + 1 };
                infallible(write!(text, " {style}{cell:<width$}{style:#}"));
            }
            text.push('\n');
        }
        self.put(&text)?;
        self.gap()
    }

    /// A moment of the story. Where time can wait for the reader, it does.
    pub(super) fn moment(&mut self, seconds: u64, what: &str, pace: Pace) -> io::Result<()> {
        if seconds > 0 && pace == Pace::Virtual {
            self.pause()?;
        }
        self.gap()?;
        self.put(&format!("{HEADING}{seconds:>3} s{HEADING:#}  {what}\n"))
    }

    /// A fact, and whether it is one.
    pub(super) fn fact(&mut self, holds: bool, fact: &str) -> io::Result<()> {
        self.told += 1;
        if holds {
            return self.put(&format!("  {HOLDS}✓{HOLDS:#} {fact}\n"));
        }
        self.failed += 1;
        self.put(&format!("  {FAILS}✗ not so:{FAILS:#} {fact}\n"))
    }

    /// The last lines, and whether all was true.
    pub(super) fn end(&mut self) -> Result<(), DemoError> {
        if self.failed > 0 {
            return Err(DemoError::NotSo { failed: self.failed, told: self.told });
        }
        self.gap()?;
        let told = self.told;
        self.put(&format!(
            "{HEADING}All {told} facts were checked while the demo ran.{HEADING:#}\n"
        ))?;
        self.put(
            "Next: lvs-director run --interface eth0 --rules FILE, before real servers; or\n\
             lvs-director replay --pcap FILE --rules FILE, for what it would do with yours.\n",
        )?;
        Ok(())
    }

    /// The first lines: what is on the network.
    pub(super) fn title(&mut self, title: &str, about: &str) -> io::Result<()> {
        self.styled(HEADING, title)?;
        self.text(about)?;
        let [a, b] = SERVER;
        let [first, second] = SERVERS;
        self.put(&format!(
            "  clients                      director                   real servers\n\
             \x20 192.168.7.x  ──requests──▶  VIP 192.168.0.1  ────┬──▶  {a}{first}{a:#}\n\
             \x20      ▲                                           └──▶  {b}{second}{b:#}\n\
             \x20      └────────── answers, straight to the client ──────────┘\n"
        ))
    }
}

/// The colour of a real server; none for anything else.
fn style_of(server: Ipv4Addr) -> Style {
    let number = SERVERS.iter().position(|addr| *addr == server);
    number.and_then(|number| SERVER.get(number)).copied().unwrap_or_default()
}

/// A `String` takes everything that is written to it.
fn infallible(written: std::fmt::Result) {
    written.expect("INVARIANT: writing to a string cannot fail");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Default)]
    struct Paper(std::rc::Rc<std::cell::RefCell<Vec<u8>>>);

    impl Write for Paper {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.borrow_mut().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_fact_that_is_not_so_is_shown_and_makes_the_demo_fail() {
        let paper = Paper::default();
        let mut page = Page::new(paper.clone(), false);
        page.fact(true, "water is wet").unwrap();
        page.fact(false, "pigs fly").unwrap();
        let error = page.end().unwrap_err();
        assert!(error.to_string().starts_with("1 of 2 facts told above are not so"), "{error}");
        let shown = String::from_utf8(paper.0.take()).unwrap();
        assert!(shown.contains("✗ not so:") && shown.contains("pigs fly"), "{shown}");
        assert!(!shown.contains("All 2 facts"), "{shown}");
    }

    #[test]
    fn bars_are_as_long_as_their_shares() {
        let paper = Paper::default();
        let bar = |server, count| Bar { server: SERVERS[server], weight: 1, count };
        Page::new(paper.clone(), false).bars(&[bar(0, 3), bar(1, 0)]).unwrap();
        let shown = String::from_utf8(paper.0.take()).unwrap();
        let lengths: Vec<usize> = shown
            .lines()
            .filter(|line| line.contains("weight"))
            .map(|line| line.matches('█').count())
            .collect();
        assert_eq!(lengths, [BAR_LEN, 0], "{shown}");
    }
}
