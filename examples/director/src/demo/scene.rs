//! A step under way: the page, the stage and the cast, and the sentences a step is written in.

use std::net::Ipv4Addr;

use lvs_core::listing::{AddressConflict, ConnectionEntry, ServiceEntry};
use lvs_core::stats::Counters;
use lvs_core::time::Duration;

use super::cast::Cast;
use super::page::{Bar, Page};
use super::stage::{Link, Pace, Stage};
use super::{DemoError, SERVERS, http};

/// What the steps tell their story with.
pub(super) struct Scene<'a> {
    page: &'a mut Page,
    stage: &'a mut dyn Stage,
    cast: &'a mut Cast,
}

/// A connection and who took it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Visit {
    pub(super) link: Link,
    pub(super) server: Ipv4Addr,
}

impl<'a> Scene<'a> {
    pub(super) fn new(
        page: &'a mut Page,
        stage: &'a mut dyn Stage,
        cast: &'a mut Cast,
    ) -> Scene<'a> {
        Scene { page, stage, cast }
    }

    /// What happens, in sentences.
    pub(super) fn tell(&mut self, text: &str) -> Result<(), DemoError> {
        Ok(self.page.text(text)?)
    }

    /// What is left to say, in sentences.
    pub(super) fn tell_after(&mut self, text: &str) -> Result<(), DemoError> {
        self.page.gap()?;
        self.tell(text)
    }

    /// A moment of the story, counted from its beginning.
    pub(super) fn moment(&mut self, what: &str) -> Result<(), DemoError> {
        let seconds = self.stage.elapsed().as_secs();
        Ok(self.page.moment(seconds, what, self.stage.pace())?)
    }

    /// Types commands, one in each line but for those continued with a backslash.
    pub(super) fn type_lines(&mut self, text: &str) -> Result<(), DemoError> {
        let mut command = String::new();
        for line in text.lines() {
            command.push_str(line);
            if line.ends_with('\\') {
                command.push('\n');
                continue;
            }
            self.page.command(&command)?;
            let printed = self.stage.type_line(&command)?;
            if !printed.is_empty() {
                self.page.listing(&printed)?;
            }
            command.clear();
        }
        Ok(())
    }

    /// A bar for each real server: how many of `visits` it took.
    pub(super) fn bars(&mut self, visits: &[Visit], weights: [u32; 2]) -> Result<(), DemoError> {
        let bars = SERVERS.iter().zip(weights).map(|(&server, weight)| {
            let count = visits.iter().filter(|visit| visit.server == server).count();
            Bar { server, weight, count }
        });
        Ok(self.page.bars(&bars.collect::<Vec<_>>())?)
    }

    /// A table; the first row names the columns.
    pub(super) fn table(&mut self, rows: &[Vec<String>]) -> Result<(), DemoError> {
        Ok(self.page.table(rows)?)
    }

    /// A command that is to be typed elsewhere.
    pub(super) fn advise(&mut self, where_to: &str, command: &str) -> Result<(), DemoError> {
        self.page.gap()?;
        self.page.text(where_to)?;
        Ok(self.page.command(command)?)
    }

    /// A fact, and whether it is one.
    pub(super) fn fact(&mut self, holds: bool, fact: &str) -> Result<(), DemoError> {
        Ok(self.page.fact(holds, fact)?)
    }

    /// Clients that have not played in this step yet.
    pub(super) fn clients<const N: usize>(&mut self) -> [Ipv4Addr; N] {
        self.cast.clients()
    }

    pub(super) fn client(&mut self) -> Ipv4Addr {
        let [client] = self.cast.clients();
        client
    }

    /// Lets a client connect and ask who is there: by a request at a web port, by reading its greeting at
    /// the SSH port. The connection stays open.
    pub(super) fn visit(&mut self, client: Ipv4Addr, port: u16) -> Result<Visit, DemoError> {
        let link = self.stage.connect(client, port)?;
        self.stage.wait_open(link)?;
        let server =
            if port == 22 { self.read_banner(link)? } else { self.ask(link, "GET", "/")?.server };
        Ok(Visit { link, server })
    }

    /// Sends a request over an open connection and waits for the answer.
    pub(super) fn ask(
        &mut self,
        link: Link,
        method: &str,
        path: &str,
    ) -> Result<http::Response, DemoError> {
        let request = http::request(method, path, &link.client.to_string());
        self.stage.send(link, &request)?;
        let complete = |received: &[u8]| !matches!(http::parse_response(received), Ok(None));
        let received = self.stage.receive(link, &complete)?;
        let Link { client, port, .. } = link;
        match http::parse_response(&received) {
            Ok(Some(response)) => Ok(response),
            Ok(None) => Err(link.failed("the answer is cut off")),
            Err(error) => Err(DemoError::Answer { client, port, why: error.to_string() }),
        }
    }

    fn read_banner(&mut self, link: Link) -> Result<Ipv4Addr, DemoError> {
        let received = self.stage.receive(link, &|received| received.ends_with(b"\n"))?;
        let text = String::from_utf8_lossy(&received).into_owned();
        let server = text.split_whitespace().nth(1).and_then(|word| word.parse().ok());
        server.ok_or_else(|| link.failed(format!("no banner of ours: {text:?}")))
    }

    /// One connection for one request, closed afterwards.
    pub(super) fn ask_once(
        &mut self,
        client: Ipv4Addr,
        port: u16,
        method: &str,
        path: &str,
    ) -> Result<http::Response, DemoError> {
        let link = self.stage.connect(client, port)?;
        self.stage.wait_open(link)?;
        let response = self.ask(link, method, path)?;
        self.stage.close(link)?;
        Ok(response)
    }

    /// Lets a client begin to connect.
    pub(super) fn connect(&mut self, client: Ipv4Addr, port: u16) -> Result<Link, DemoError> {
        self.stage.connect(client, port)
    }

    pub(super) fn wait_open(&mut self, link: Link) -> Result<(), DemoError> {
        self.stage.wait_open(link)
    }

    pub(super) fn close(&mut self, link: Link) -> Result<(), DemoError> {
        self.stage.close(link)
    }

    /// Cuts the real servers off, or lets them answer again.
    pub(super) fn cut_off(&mut self, cut: bool) -> Result<(), DemoError> {
        self.stage.cut_off(cut)
    }

    /// Lets time pass until the story has been going on for so many seconds, and a bit.
    pub(super) fn wait_until(&mut self, seconds: u64) {
        let until = Duration::from_secs(seconds) + Duration::from_millis(100);
        let elapsed = self.stage.elapsed();
        self.stage.elapse(until.saturating_sub(elapsed));
    }

    /// Whether a client's connections, then its templates, are in these states with so many seconds
    /// left.
    pub(super) fn shows(
        &mut self,
        client: Ipv4Addr,
        expected: &[(&str, u64)],
    ) -> Result<bool, DemoError> {
        let entries = self.stage.connections()?;
        let own: Vec<_> = entries.iter().filter(|entry| entry.client.addr == client).collect();
        let slack = self.stage.pace().slack();
        Ok(own.len() == expected.len()
            && own.iter().zip(expected).all(|(entry, (state, seconds))| {
                entry.state == *state && entry.expires.as_secs().abs_diff(*seconds) <= slack
            }))
    }

    /// How time passes.
    pub(super) fn pace(&self) -> Pace {
        self.stage.pace()
    }

    pub(super) fn services(&mut self) -> Result<Vec<ServiceEntry>, DemoError> {
        self.stage.services()
    }

    pub(super) fn connections(&mut self) -> Result<Vec<ConnectionEntry>, DemoError> {
        self.stage.connections()
    }

    /// The template of a client, if there is one.
    pub(super) fn template(
        &mut self,
        client: Ipv4Addr,
    ) -> Result<Option<ConnectionEntry>, DemoError> {
        let mut entries = self.stage.connections()?.into_iter();
        Ok(entries.find(|entry| entry.template && entry.client.addr == client))
    }

    /// Puts up a machine that answers ARP for the virtual address.
    pub(super) fn add_careless_server(&mut self, addr: Ipv4Addr) -> Result<(), DemoError> {
        self.stage.add_careless_server(addr)
    }

    /// Who else was caught answering ARP for a virtual address.
    pub(super) fn conflicts(&mut self) -> Result<Vec<AddressConflict>, DemoError> {
        self.stage.conflicts()
    }

    pub(super) fn totals(&mut self) -> Result<Counters, DemoError> {
        self.stage.totals()
    }
}

/// A row of a table.
pub(super) fn row<const N: usize>(cells: [&dyn std::fmt::Display; N]) -> Vec<String> {
    cells.iter().map(ToString::to_string).collect()
}
