//! One connection: reads a request, has it answered, writes the answer.

use std::io::{self, BufReader, BufWriter, Write};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use lvs_admin::names::Services;
use lvs_admin::rules::{RuleLine, Rules, Supported};
use lvs_core::command::Command;
use lvs_core::flow::{Endpoint, FlowKey, Protocol};
use lvs_core::state::Signal;
use lvs_core::wire::tcp::TcpFlags;
use serde::Deserialize;

use super::{REQUESTS_MAX, Shared};
use crate::data;
use crate::desk::{Order, Stopping};
use crate::protocol::{CHANGES_MAX, Envelope, REQUEST_MAX, Refusal, Reply, Request, VERSION};
use crate::wire::{self, ReadError};

/// How often a quiet answer is held against a client that may be gone.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Bytes that each connection may use without asking.
const OWN: usize = 64 << 10;

pub(super) struct Connection<'s> {
    reader: BufReader<Patient<'s>>,
    writer: BufWriter<&'s UnixStream>,
    stream: &'s UnixStream,
    shared: &'s Shared,
    /// Bytes of the common room that the present request takes.
    claimed: usize,
}

/// What is left to do after a request.
enum Next {
    Request,
    Close,
}

impl<'s> Connection<'s> {
    pub(super) fn new(stream: &'s UnixStream, shared: &'s Shared) -> Connection<'s> {
        let request = shared.patience.request;
        let patient = Patient { stream, until: Instant::now() + request, request };
        Connection {
            reader: BufReader::new(patient),
            writer: BufWriter::with_capacity(OWN, stream),
            stream,
            shared,
            claimed: 0,
        }
    }

    /// Answers requests until the client leaves, takes too long, or sends what is none.
    pub(super) fn serve(mut self) {
        let set = self
            .stream
            .set_nonblocking(false)
            .and_then(|()| self.stream.set_write_timeout(Some(self.shared.patience.reader)));
        if set.is_err() {
            return;
        }
        while let Ok(Next::Request) = self.request() {
            self.release();
            let idle = Instant::now() + self.shared.patience.idle;
            self.reader.get_mut().until = idle;
        }
    }

    /// One request with its answer. An error is the end of the connection, told already if possible.
    fn request(&mut self) -> io::Result<Next> {
        let mut line = Vec::new();
        match self.read(&mut line) {
            Ok(true) => {}
            Ok(false) => return Ok(Next::Close),
            Err(ReadError::Io(error)) if error.kind() == io::ErrorKind::ConnectionReset => {
                return Ok(Next::Close);
            }
            Err(error) => {
                let message = match &error {
                    ReadError::TooLong(longest) => {
                        format!("the request is longer than {longest} bytes; send it in parts")
                    }
                    other => format!("no whole request came: {other}"),
                };
                self.reply(&Reply::Refused(Refusal::new(message)))?;
                return Ok(Next::Close);
            }
        }
        let request = match understand(&line) {
            Ok(request) => request,
            Err(refusal) => {
                self.reply(&Reply::Refused(refusal))?;
                return Ok(Next::Close);
            }
        };
        drop(line);
        match order(request) {
            Ok(order) => self.answer(order)?,
            Err(refusal) => self.reply(&Reply::Refused(refusal))?,
        }
        Ok(Next::Request)
    }

    /// Reads a line; `false` if the client has left.
    fn read(&mut self, line: &mut Vec<u8>) -> Result<bool, ReadError> {
        let (shared, claimed) = (self.shared, &mut self.claimed);
        let mut more = |len: usize| claim(shared, claimed, len);
        Ok(wire::read_line(&mut self.reader, line, REQUEST_MAX, &mut more)?.is_some())
    }

    /// Has an order carried out and sends on what comes back.
    fn answer(&mut self, order: Order) -> io::Result<()> {
        let stopping = |Stopping| Reply::Refused(Refusal::new(Stopping.to_string()));
        let replies = match self.shared.asker.ask(order) {
            Ok(replies) => replies,
            Err(error) => return self.reply(&stopping(error)),
        };
        let mut scratch = Vec::new();
        loop {
            let reply = match replies.next_within(LOOK_EVERY) {
                Ok(Some(reply)) => reply,
                Ok(None) if self.is_gone() => return Err(io::ErrorKind::ConnectionAborted.into()),
                Ok(None) => continue,
                Err(error) => return self.reply(&stopping(error)),
            };
            wire::write_line(&mut self.writer, &mut scratch, &reply)?;
            if reply.is_last() {
                return self.writer.flush();
            }
            if replies.is_empty() {
                self.writer.flush()?;
            }
        }
    }

    /// Whether the client has closed its side.
    fn is_gone(&self) -> bool {
        use rustix::net::{RecvFlags, recv};
        let mut byte = [0];
        let looked = recv(self.stream, &mut byte[..], RecvFlags::PEEK | RecvFlags::DONTWAIT);
        match looked {
            Ok((0, _)) => true,
            Ok(_) | Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => false,
            Err(_) => true,
        }
    }

    fn reply(&mut self, reply: &Reply) -> io::Result<()> {
        wire::write_line(&mut self.writer, &mut Vec::new(), reply)?;
        self.writer.flush()
    }

    fn release(&mut self) {
        self.shared.requests.fetch_sub(std::mem::take(&mut self.claimed), Ordering::SeqCst);
    }
}

impl Drop for Connection<'_> {
    fn drop(&mut self) {
        self.release();
    }
}

/// Takes room for a request that is `len` bytes long so far, in large steps.
fn claim(shared: &Shared, claimed: &mut usize, len: usize) -> io::Result<()> {
    let wanted = len.saturating_sub(OWN).next_multiple_of(OWN);
    if wanted <= *claimed {
        return Ok(());
    }
    let more = wanted - *claimed;
    if shared.requests.fetch_add(more, Ordering::SeqCst) + more > REQUESTS_MAX {
        shared.requests.fetch_sub(more, Ordering::SeqCst);
        return Err(io::Error::other("too many long requests come at once; try again"));
    }
    *claimed = wanted;
    Ok(())
}

/// A stream that is read until a certain time.
struct Patient<'s> {
    stream: &'s UnixStream,
    until: Instant,
    /// How long a request may take once it has begun.
    request: Duration,
}

impl io::Read for Patient<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "it takes too long"));
        }
        self.stream.set_read_timeout(Some(left))?;
        match (&mut &*self.stream).read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                Err(io::Error::new(io::ErrorKind::TimedOut, "it takes too long"))
            }
            Ok(read) => {
                // The rest of a request that has begun is to come soon, however long it was idle before.
                self.until = self.until.min(Instant::now() + self.request);
                Ok(read)
            }
            other => other,
        }
    }
}

/// A line of JSON as a request.
fn understand(line: &[u8]) -> Result<Request, Refusal> {
    #[derive(Deserialize)]
    struct Version {
        version: u32,
    }
    let wrong = |error: serde_json::Error| Refusal::new(format!("the request is wrong: {error}"));
    let Version { version } = serde_json::from_slice(line).map_err(wrong)?;
    if version != VERSION {
        let message = format!(
            "this director ({}) speaks version {VERSION} of the protocol, not {version}; use the lvsadm \
             that came with it",
            env!("CARGO_PKG_VERSION")
        );
        return Err(Refusal::new(message));
    }
    let envelope: Envelope = serde_json::from_slice(line).map_err(wrong)?;
    Ok(envelope.request)
}

/// A request in the core's words.
fn order(request: Request) -> Result<Order, Refusal> {
    let wrong = |error: data::DataError| Refusal::new(error.to_string());
    Ok(match request {
        Request::About => Order::About,
        Request::Change { changes } if changes.len() > CHANGES_MAX => {
            let message = format!("at most {CHANGES_MAX} changes go in one request");
            return Err(Refusal::new(message));
        }
        Request::Change { changes } => {
            let commands = changes.iter().map(Command::try_from);
            Order::Change(commands.collect::<Result<_, _>>().map_err(wrong)?)
        }
        Request::Services { only } => {
            Order::Services(only.map(TryInto::try_into).transpose().map_err(wrong)?)
        }
        Request::Connections => Order::Connections,
        Request::Settings => Order::Settings,
        Request::Totals => Order::Totals,
        Request::Explain { flow, tcp_flags, interface } => {
            let signal = match (flow.protocol, tcp_flags) {
                (Protocol::TCP, Some(bits)) => Some(Signal::Tcp(TcpFlags(bits))),
                (protocol, _) => Signal::opening(protocol),
            };
            let signal = signal.ok_or_else(|| {
                Refusal::new(format!("{} has no connections: tcp, udp, sctp", flow.protocol))
            })?;
            Order::Explain { flow: key(&flow)?, signal, interface }
        }
        Request::Trace { filter, packets } => Order::Trace { filter, packets },
        Request::Drops => Order::Drops,
        Request::Connection { flow } => Order::Connection(key(&flow)?),
        Request::Forecast { service, server } => {
            let server = Endpoint::new(server.ip(), server.port());
            Order::Forecast(service.try_into().map_err(wrong)?, server)
        }
        Request::StartDaemon { daemon } => Order::StartDaemon(daemon.try_into().map_err(wrong)?),
        Request::StopDaemon { role } => Order::StopDaemon(role.into()),
        Request::Daemons => Order::Daemons,
        Request::Amend { text } => amend(&text)?,
        Request::Apply { file, text, dry_run } => {
            let rules = Box::new(parse(&file, &text)?);
            Order::Apply { rules, dry_run }
        }
    })
}

/// A flow as the key of a table.
fn key(flow: &data::Flow) -> Result<FlowKey, Refusal> {
    if flow.client.is_ipv4() != flow.virt.is_ipv4() {
        let message = format!("{} and {} are of two address families", flow.client, flow.virt);
        return Err(Refusal::new(message));
    }
    let end = |addr: SocketAddr| Endpoint::new(addr.ip(), addr.port());
    Ok(FlowKey::new(flow.protocol, end(flow.client), end(flow.virt)))
}

fn parse(file: &str, text: &str) -> Result<Rules, Refusal> {
    let status = lvs_admin::ipvsadm::STATUS_CHECK;
    let refused = |errors: lvs_admin::rules::RuleErrors| Refusal {
        status,
        message: format!("{errors}\nnothing was applied"),
    };
    Rules::parse(file, text, &port_names(), &Supported::THIS_VERSION).map_err(refused)
}

/// The host's names of ports, or the well-known ones where it has no list.
fn port_names() -> Services {
    match std::fs::read_to_string("/etc/services") {
        Ok(text) => Services::parse(&text),
        Err(_) => Services::well_known(),
    }
}

/// Lines that only add marks and set switches.
fn amend(text: &str) -> Result<Order, Refusal> {
    let rules = parse("", text)?;
    let (mut marks, mut settings) = (Vec::new(), Vec::new());
    for line in rules.lines() {
        match &line.value {
            RuleLine::Mark(mark) => marks.push(mark.clone()),
            RuleLine::Settings(more) => settings.extend_from_slice(more),
            RuleLine::Command(_) | RuleLine::StartDaemon(_) | RuleLine::StopDaemon(_) => {
                let message = "only lines of iptables, ip6tables and sysctl can be added so";
                return Err(Refusal::new(message));
            }
        }
    }
    Ok(Order::Amend { marks, settings })
}
#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Requests of every kind.
    const LINES: &[&str] = &[
        r#"{"version":1,"request":"about"}"#,
        r#"{"version":1,"request":{"services":{"only":{"mark":7,"family":"ipv6"}}}}"#,
        r#"{"version":1,"request":{"services":{"only":{"protocol":"tcp","address":"10.0.0.1","port":80}}}}"#,
        r#"{"version":1,"request":{"change":{"changes":["clear",{"zero":{"service":null}},{"set_timeouts":{"tcp_s":9,"tcp_fin_s":null,"udp_s":18446744073709551615}}]}}}"#,
        r#"{"version":1,"request":{"change":{"changes":[{"add_service":{"service":{"protocol":"udp","address":"2001:db8::1","port":53},"scheduler":"mh","scheduler_flags":[1,3],"persistent_s":60,"granularity":"64","one_packet":true}}]}}}"#,
        r#"{"version":1,"request":{"change":{"changes":[{"edit_server":{"service":{"mark":1,"family":"ipv4"},"server":{"address":"10.1.0.2","port":0,"method":"tunnel","tunnel":{"kind":"gue","port":6080,"checksum":"remote"},"weight":4294967295}}}]}}}"#,
        r#"{"version":1,"request":{"explain":{"flow":{"protocol":"tcp","client":"192.0.2.7:9","virtual":"10.0.0.1:80"},"tcp_flags":16,"interface":"eth0"}}}"#,
        r#"{"version":1,"request":{"trace":{"filter":{"protocol":"tcp","client":"192.0.2.7:9","virtual":null,"server":"10.1.0.2:80"},"packets":3}}}"#,
        r#"{"version":1,"request":{"connection":{"flow":{"protocol":"udp","client":"[2001:db8::7]:0","virtual":"[2001:db8::1]:53"}}}}"#,
        r#"{"version":1,"request":{"forecast":{"service":{"mark":7,"family":"ipv4"},"server":"10.1.0.2:80"}}}"#,
        r#"{"version":1,"request":{"start_daemon":{"daemon":{"role":"master","interface":"eth0","sync_id":5,"max_len":1472,"group":"ff02::81","port":8848,"ttl":1}}}}"#,
        r#"{"version":1,"request":{"stop_daemon":{"role":"backup"}}}"#,
        r#"{"version":1,"request":"daemons"}"#,
        r#"{"version":1,"request":{"amend":{"text":"sysctl -w net.ipv4.vs.sloppy_tcp=1"}}}"#,
        r#"{"version":1,"request":{"apply":{"file":"f","text":"-A -t 10.0.0.1:80\n","dry_run":true}}}"#,
    ];

    #[test]
    fn requests_of_every_kind_are_understood() {
        for line in LINES {
            let request = understand(line.as_bytes()).unwrap_or_else(|e| panic!("{line}: {e}"));
            order(request).unwrap_or_else(|e| panic!("{line}: {e}"));
        }
    }

    proptest! {
        #[test]
        fn requests_with_changed_bytes_are_understood_or_refused(
            line in prop::sample::select(LINES),
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
            cut in any::<prop::sample::Index>(),
        ) {
            let mut bytes = line.as_bytes().to_vec();
            for (at, byte) in changes {
                // Mostly other letters and digits, so that many are JSON still.
                let at = at.index(bytes.len());
                bytes[at] = if byte < 128 { b'0' + byte % 75 } else { byte };
            }
            for line in [&bytes[..], &bytes[..cut.index(bytes.len())]] {
                if let Ok(request) = understand(line) {
                    let _refused = order(request);
                }
            }
        }
    }
}
