//! Dumps: listings as a record shows them.

use lvs_admin::listing::{Header, proc_fs};

use super::Player;
use super::command::written;
use crate::record::sync;
use crate::scenario::Dump;

/// Ticks of the recorded kernel in a second.
const TICKS: u32 = 100;

impl Player<'_> {
    pub(super) fn dump(&mut self, time: &str, what: Dump) {
        self.record.dump(time, what.name());
        match what {
            Dump::Conns => self.dump_connections(&["-Lcn"]),
            Dump::Engines => self.dump_connections(&["-Lcn", "--persistent-conn"]),
            Dump::Proc => self.dump_proc(),
            Dump::Sysctls => {
                let lines = self.host.sysctls.listing(self.director.tunables());
                self.record.listing("", lines.iter().map(String::as_str));
            }
            Dump::Services => self.dump_command(&["-Ln"], Titles::UpToColumns),
            Dump::Stats => self.dump_command(&["-Ln", "--stats", "--exact"], Titles::UpToColumns),
            Dump::Rates => self.dump_command(&["-Ln", "--rate", "--exact"], Titles::UpToColumns),
            Dump::Persist => self.dump_command(&["-Ln", "--persistent-conn"], Titles::UpToColumns),
            Dump::Thresholds => self.dump_command(&["-Ln", "--thresholds"], Titles::UpToColumns),
            Dump::Tuninfo => self.dump_command(&["-Ln", "--tun-info"], Titles::UpToColumns),
            Dump::Timeouts => self.dump_command(&["-Ln", "--timeout"], Titles::All),
            Dump::Daemon => self.dump_command(&["-Ln", "--daemon"], Titles::All),
            Dump::Sync => self.dump_sync(),
            Dump::Save => self.dump_command(&["-Sn"], Titles::None),
        }
    }

    /// Connections without their titles and `/proc/net/ip_vs_conn`, both sorted.
    fn dump_connections(&mut self, words: &[&str]) {
        let ran = self.run_ipvsadm(words);
        let mut lines: Vec<&str> = ran.output.lines().skip(2).collect();
        lines.sort_by_cached_key(|line| {
            let mut words: Vec<&str> = line.split_whitespace().collect();
            // The time left does not order.
            if words.len() > 1 {
                words.remove(1);
            }
            words
        });
        if lines.is_empty() {
            lines.push("(none)");
        }
        self.record.listing("", lines);
        let mut text = String::new();
        for entry in self.connections() {
            written(proc_fs::connection(&mut text, &entry));
        }
        let mut lines: Vec<&str> = text.lines().collect();
        lines.sort_by_cached_key(|line| line.split_whitespace().take(8).collect::<Vec<_>>());
        self.record.listing("proc", lines);
    }

    /// What the director's master sent, in words and as bytes.
    fn dump_sync(&mut self) {
        let sent = self.daemons.take_sent();
        let mut lines: Vec<String> =
            sent.iter().flat_map(|(port, datagram)| sync::entries(*port, datagram)).collect();
        if lines.is_empty() {
            lines.push("(none)".to_owned());
        }
        self.record.listing("", lines.iter().map(String::as_str));
        let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
        let raw: Vec<_> =
            sent.iter().map(|(port, bytes)| format!("{port} {}", hex(bytes))).collect();
        self.record.listing("raw", raw.iter().map(String::as_str));
    }

    /// `/proc/net/ip_vs` and `/proc/net/ip_vs_stats`.
    fn dump_proc(&mut self) {
        let services = self.director.services(self.now);
        let mut text = String::new();
        written(proc_fs::services(&mut text, &Header::default(), &services, TICKS));
        let lines: Vec<&str> = text.lines().collect();
        let (titles, rest) = lines.split_at(lines.len().min(3));
        self.record.listing("ip_vs", titles.iter().copied());
        self.record.listing("ip_vs", sorted_blocks(rest, is_server));
        let mut text = String::new();
        written(proc_fs::stats(&mut text, &self.director.total(), &self.rates.total()));
        self.record.listing("ip_vs_stats", text.lines());
    }

    fn dump_command(&mut self, words: &[&str], titles: Titles) {
        let ran = self.run_ipvsadm(words);
        let lines: Vec<&str> = ran.output.lines().collect();
        let count = match titles {
            Titles::All => lines.len(),
            Titles::None => 0,
            Titles::UpToColumns => {
                lines.iter().position(|line| is_server(line)).map_or(lines.len(), |at| at + 1)
            }
        };
        let (titles, rest) = lines.split_at(count);
        self.record.listing("", titles.iter().copied());
        let continues = if words == ["-Sn"] { is_saved_server } else { is_server };
        self.record.listing("", sorted_blocks(rest, continues));
        self.record.listing("!", ran.errors.lines());
        if ran.status != 0 {
            self.record.listing("!", [format!("exit {}", ran.status).as_str()]);
        }
    }
}

/// Which lines of a listing stand before its services.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Titles {
    None,
    /// Up to the line that names the columns of servers.
    UpToColumns,
    All,
}

fn is_server(line: &str) -> bool {
    line.starts_with("  ->")
}

fn is_saved_server(line: &str) -> bool {
    !line.starts_with("-A")
}

/// Services with their servers, sorted by their head lines.
fn sorted_blocks<'l>(lines: &[&'l str], continues: fn(&str) -> bool) -> Vec<&'l str> {
    let mut blocks: Vec<Vec<&str>> = Vec::new();
    for &line in lines {
        match blocks.last_mut() {
            Some(block) if continues(line) => block.push(line),
            _ => blocks.push(vec![line]),
        }
    }
    blocks.sort_by_key(|block| block[0]);
    blocks.concat()
}
