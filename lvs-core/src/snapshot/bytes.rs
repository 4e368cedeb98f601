//! Records as bytes: blocks of one length, little-endian, with a version, for a file or a socket.
//!
//! ```text
//! byte 0   version of the format (1)
//! byte 1   kind: 1 template, 2 connection, 3 server, 4 service, 5 total
//! byte 2…  the fields in the order of the struct, then zeros
//!
//! address  family (4 or 6), then 16 bytes, those of IPv4 first and 12 zeros behind
//! service  1, protocol, address, port; or 2, family, mark, and zeros to the same length
//! times    milliseconds, 64 bits
//! ```
//!
//! Every record is one block, but a template for which a persistence engine read something: its last two
//! fields are the engine (1 sip) and how many bytes, which follow in one or two blocks more.

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::ops::Deref;

use super::{ConnectionRecord, Method, Record, ServerKey, ServerRecord, TemplateRecord};
use crate::addr::Family;
use crate::command::ServiceKey;
use crate::engine::{DATA_MAX, Engine, EngineData};
use crate::flow::{Endpoint, Protocol};
use crate::ids::{FwMark, L4Port};
use crate::state::State;
use crate::stats::Counters;
use crate::time::Duration;

const VERSION: u8 = 1;
const TEMPLATE: u8 = 1;
const CONNECTION: u8 = 2;
const SERVER: u8 = 3;
const SERVICE: u8 = 4;
const TOTAL: u8 = 5;

/// Where in a block of a template the engine stands.
const ENGINE_AT: usize = Record::LEN - 2;
const SIP: u8 = 1;

impl Record {
    /// Bytes of a block.
    pub const LEN: usize = 160;
    /// The most bytes that a record has: three blocks.
    pub const LEN_MAX: usize = Record::LEN + DATA_MAX.next_multiple_of(Record::LEN);

    /// How many bytes the record has whose first block this is: a multiple of [`LEN`](Record::LEN).
    pub fn len_of(first: &[u8; Record::LEN]) -> usize {
        match (first[1], first[ENGINE_AT]) {
            (TEMPLATE, 1..) => Record::LEN + blocks_of(first[ENGINE_AT + 1]),
            _ => Record::LEN,
        }
    }

    /// The record as bytes; times are cut to milliseconds.
    pub fn to_bytes(&self) -> RecordBytes {
        let mut all = RecordBytes { bytes: [0; Record::LEN_MAX], len: Record::LEN };
        let Some((bytes, more)) = all.bytes.split_first_chunk_mut() else { return all };
        let mut out = Writer { bytes, at: 0 };
        out.u8(VERSION);
        match self {
            Record::Template(template) => {
                out.u8(TEMPLATE);
                out.template(template);
                if let Some(read) = &template.engine {
                    let data = read.data();
                    out.at = ENGINE_AT;
                    out.u8(match read.engine() {
                        Engine::Sip => SIP,
                    });
                    out.u8(data.len() as u8);
                    more[..data.len()].copy_from_slice(data);
                    all.len += blocks_of(data.len() as u8);
                }
            }
            Record::Connection(connection) => {
                out.u8(CONNECTION);
                out.connection(connection);
            }
            Record::Server(server) => {
                out.u8(SERVER);
                out.server(&server.server);
                out.u8(server.overloaded.into());
                out.u32(server.upper_threshold);
                out.u32(server.last_weight);
                out.counters(&server.counters);
            }
            Record::Service(key, counters) => {
                out.u8(SERVICE);
                out.service(key);
                out.counters(counters);
            }
            Record::Total(counters) => {
                out.u8(TOTAL);
                out.counters(counters);
            }
        }
        all
    }

    /// The first of the records that stand one behind the other in `bytes`, and the bytes behind it; `None` at
    /// their end.
    pub fn first_of(bytes: &[u8]) -> Option<(Result<Record, DecodeError>, &[u8])> {
        let len = bytes.first_chunk().map_or(bytes.len(), Record::len_of).min(bytes.len());
        let (first, rest) = bytes.split_at(len);
        (!first.is_empty()).then(|| (Record::from_bytes(first), rest))
    }

    /// The record that bytes stand for: as many as [`len_of`](Record::len_of) says.
    ///
    /// # Errors
    /// If they are of another version, or stand for no record.
    pub fn from_bytes(bytes: &[u8]) -> Result<Record, DecodeError> {
        let cut_off = DecodeError::Damaged { offset: bytes.len() };
        let (block, more) = bytes.split_first_chunk::<{ Record::LEN }>().ok_or(cut_off)?;
        let mut input = Reader { bytes: block, at: 0 };
        match input.u8() {
            VERSION => {}
            version => return Err(DecodeError::Version(version)),
        }
        let mut fields = Record::LEN;
        let record = match input.u8() {
            TEMPLATE => {
                let template = input.template()?;
                fields = ENGINE_AT;
                Record::Template(TemplateRecord { engine: engine_data(block, more)?, ..template })
            }
            CONNECTION => Record::Connection(input.connection()?),
            SERVER => Record::Server(ServerRecord {
                server: input.server()?,
                overloaded: input.bool()?,
                upper_threshold: input.u32(),
                last_weight: input.u32(),
                counters: input.counters(),
            }),
            SERVICE => Record::Service(input.service()?, input.counters()),
            TOTAL => Record::Total(input.counters()),
            _ => return Err(DecodeError::Damaged { offset: 1 }),
        };
        if let Some(further) = block[input.at..fields].iter().position(|&byte| byte != 0) {
            return Err(DecodeError::Damaged { offset: input.at + further });
        }
        match bytes.len() == Record::len_of(block) {
            true => Ok(record),
            false => Err(cut_off),
        }
    }
}

/// Bytes of the blocks that so many bytes of an engine's take.
fn blocks_of(len: u8) -> usize {
    usize::from(len).next_multiple_of(Record::LEN)
}

/// What an engine read, from a template's first block and those behind it.
fn engine_data(block: &[u8; Record::LEN], more: &[u8]) -> Result<Option<EngineData>, DecodeError> {
    let engine = match (block[ENGINE_AT], block[ENGINE_AT + 1]) {
        (0, 0) => return Ok(None),
        (SIP, 1..) => Engine::Sip,
        _ => return Err(DecodeError::Damaged { offset: ENGINE_AT }),
    };
    let len = usize::from(block[ENGINE_AT + 1]);
    let Some((data, padding)) = more.split_at_checked(len) else {
        return Err(DecodeError::Damaged { offset: Record::LEN + more.len() });
    };
    if let Some(further) = padding.iter().position(|&byte| byte != 0) {
        return Err(DecodeError::Damaged { offset: Record::LEN + len + further });
    }
    Ok(EngineData::new(engine, data))
}

/// A record as bytes: one block of [`Record::LEN`], or up to three.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RecordBytes {
    bytes: [u8; Record::LEN_MAX],
    len: usize,
}

impl Deref for RecordBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl AsRef<[u8]> for RecordBytes {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl core::borrow::Borrow<[u8]> for RecordBytes {
    fn borrow(&self) -> &[u8] {
        self
    }
}

impl fmt::Debug for RecordBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

/// Bytes that are no record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DecodeError {
    /// Written by another version of lvs-core.
    Version(u8),
    /// A byte that cannot be.
    Damaged {
        /// Which one, from 0.
        offset: usize,
    },
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DecodeError::Version(version) => {
                write!(f, "the record has format {version}, this version reads format {VERSION}")
            }
            DecodeError::Damaged { offset } => write!(f, "the record is damaged at byte {offset}"),
        }
    }
}

impl core::error::Error for DecodeError {}

struct Writer<'a> {
    bytes: &'a mut [u8; Record::LEN],
    at: usize,
}

impl Writer<'_> {
    fn put<const N: usize>(&mut self, bytes: [u8; N]) {
        self.bytes[self.at..self.at + N].copy_from_slice(&bytes);
        self.at += N;
    }

    fn u8(&mut self, value: u8) {
        self.put([value]);
    }

    fn u16(&mut self, value: u16) {
        self.put(value.to_le_bytes());
    }

    fn u32(&mut self, value: u32) {
        self.put(value.to_le_bytes());
    }

    fn u64(&mut self, value: u64) {
        self.put(value.to_le_bytes());
    }

    fn option(&mut self, value: Option<u32>) {
        self.u8(value.is_some().into());
        self.u32(value.unwrap_or(0));
    }

    fn duration(&mut self, value: Duration) {
        self.u64(u64::try_from(value.as_millis()).unwrap_or(u64::MAX));
    }

    fn addr(&mut self, addr: IpAddr) {
        let mut octets = [0; 16];
        match addr {
            IpAddr::V4(a) => {
                octets[..4].copy_from_slice(&a.octets());
                self.u8(4);
            }
            IpAddr::V6(a) => {
                octets = a.octets();
                self.u8(6);
            }
        }
        self.put(octets);
    }

    fn endpoint(&mut self, end: &Endpoint) {
        self.addr(end.addr);
        self.u16(end.port.0);
    }

    fn service(&mut self, key: &ServiceKey) {
        match key {
            ServiceKey::Address { protocol, virt } => {
                self.u8(1);
                self.u8(protocol.0);
                self.endpoint(virt);
            }
            ServiceKey::Mark { mark, family } => {
                self.u8(2);
                self.u8(if *family == Family::V4 { 4 } else { 6 });
                self.u32(mark.0);
                self.put([0; 15]);
            }
        }
    }

    fn server(&mut self, server: &ServerKey) {
        self.service(&server.service);
        self.endpoint(&server.addr);
    }

    fn counters(&mut self, counters: &Counters) {
        let Counters { connections, packets_in, packets_out, bytes_in, bytes_out } = *counters;
        for number in [connections, packets_in, packets_out, bytes_in, bytes_out] {
            self.u64(number);
        }
    }

    fn template(&mut self, template: &TemplateRecord) {
        self.u32(template.number);
        self.u8(template.protocol.0);
        self.addr(template.client);
        self.endpoint(&template.virt);
        self.server(&template.server);
        self.u16(template.port.0);
        self.duration(template.timeout);
        self.duration(template.idle);
        self.u8(template.assured.into());
        self.u8(template.spoilt.into());
        self.u32(template.mark.0);
        self.duration(template.age);
        self.u32(template.connections);
        self.u32(template.holds);
    }

    fn connection(&mut self, connection: &ConnectionRecord) {
        self.u8(connection.protocol.0);
        self.endpoint(&connection.client);
        self.endpoint(&connection.virt);
        self.server(&connection.server);
        self.u8(match connection.method {
            Method::DirectRoute => 1,
            Method::Tunnel => 2,
            Method::Masquerade => 3,
            Method::Bypass => 4,
        });
        self.u8(connection.own_port.into());
        self.option(connection.answers);
        self.u8(connection.state as u8);
        self.u8(connection.answered.into());
        self.duration(connection.timeout);
        self.duration(connection.idle);
        self.option(connection.template);
        self.u32(connection.mark.0);
        self.duration(connection.age);
        self.u32(connection.packets);
        self.u64(connection.bytes);
    }
}

struct Reader<'a> {
    bytes: &'a [u8; Record::LEN],
    at: usize,
}

impl Reader<'_> {
    /// The next `N` bytes; zeros behind the end, which no kind of record reaches.
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let bytes = self.bytes.get(self.at..).and_then(|rest| rest.first_chunk());
        self.at += N;
        bytes.copied().unwrap_or([0; N])
    }

    fn damaged<T>(&self) -> Result<T, DecodeError> {
        Err(DecodeError::Damaged { offset: self.at - 1 })
    }

    fn u8(&mut self) -> u8 {
        self.take::<1>()[0]
    }

    fn u16(&mut self) -> u16 {
        u16::from_le_bytes(self.take())
    }

    fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.take())
    }

    fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.take())
    }

    fn bool(&mut self) -> Result<bool, DecodeError> {
        match self.u8() {
            0 => Ok(false),
            1 => Ok(true),
            _ => self.damaged(),
        }
    }

    fn option(&mut self) -> Result<Option<u32>, DecodeError> {
        match (self.bool()?, self.u32()) {
            (true, number) => Ok(Some(number)),
            (false, 0) => Ok(None),
            (false, _) => self.damaged(),
        }
    }

    fn duration(&mut self) -> Duration {
        Duration::from_millis(self.u64())
    }

    fn zeros<const N: usize>(&mut self) -> Result<(), DecodeError> {
        if self.take::<N>() == [0; N] { Ok(()) } else { self.damaged() }
    }

    fn addr(&mut self) -> Result<IpAddr, DecodeError> {
        match self.u8() {
            4 => {
                let octets: [u8; 4] = self.take();
                self.zeros::<12>()?;
                Ok(Ipv4Addr::from(octets).into())
            }
            6 => Ok(Ipv6Addr::from(self.take::<16>()).into()),
            _ => self.damaged(),
        }
    }

    fn endpoint(&mut self) -> Result<Endpoint, DecodeError> {
        Ok(Endpoint { addr: self.addr()?, port: L4Port(self.u16()) })
    }

    fn service(&mut self) -> Result<ServiceKey, DecodeError> {
        match self.u8() {
            1 => {
                let protocol = Protocol(self.u8());
                Ok(ServiceKey::Address { protocol, virt: self.endpoint()? })
            }
            2 => {
                let family = match self.u8() {
                    4 => Family::V4,
                    6 => Family::V6,
                    _ => return self.damaged(),
                };
                let mark = FwMark(self.u32());
                self.zeros::<15>()?;
                Ok(ServiceKey::Mark { mark, family })
            }
            _ => self.damaged(),
        }
    }

    fn server(&mut self) -> Result<ServerKey, DecodeError> {
        Ok(ServerKey { service: self.service()?, addr: self.endpoint()? })
    }

    fn counters(&mut self) -> Counters {
        Counters {
            connections: self.u64(),
            packets_in: self.u64(),
            packets_out: self.u64(),
            bytes_in: self.u64(),
            bytes_out: self.u64(),
        }
    }

    fn template(&mut self) -> Result<TemplateRecord, DecodeError> {
        Ok(TemplateRecord {
            number: self.u32(),
            protocol: Protocol(self.u8()),
            client: self.addr()?,
            virt: self.endpoint()?,
            server: self.server()?,
            // It stands behind the other fields.
            engine: None,
            port: L4Port(self.u16()),
            timeout: self.duration(),
            idle: self.duration(),
            assured: self.bool()?,
            spoilt: self.bool()?,
            mark: FwMark(self.u32()),
            age: self.duration(),
            connections: self.u32(),
            holds: self.u32(),
        })
    }

    fn connection(&mut self) -> Result<ConnectionRecord, DecodeError> {
        Ok(ConnectionRecord {
            protocol: Protocol(self.u8()),
            client: self.endpoint()?,
            virt: self.endpoint()?,
            server: self.server()?,
            method: match self.u8() {
                1 => Method::DirectRoute,
                2 => Method::Tunnel,
                3 => Method::Masquerade,
                4 => Method::Bypass,
                _ => return self.damaged(),
            },
            own_port: self.bool()?,
            answers: self.option()?,
            state: match self.u8() {
                byte if usize::from(byte) < State::COUNT => State::from_byte(byte),
                _ => return self.damaged(),
            },
            answered: self.bool()?,
            timeout: self.duration(),
            idle: self.duration(),
            template: self.option()?,
            mark: FwMark(self.u32()),
            age: self.duration(),
            packets: self.u32(),
            bytes: self.u64(),
        })
    }
}

#[cfg(test)]
mod tests;
