//! Reading captures: pcap and pcapng, Ethernet and raw IP, one frame after the other.

use std::io::{self, Cursor, Read};

use pcap_file::pcap::PcapReader;
use pcap_file::pcapng::blocks::interface_description::InterfaceDescriptionOption;
use pcap_file::pcapng::{Block, PcapNgReader};
use pcap_file::{DataLink, PcapError, TsResolution};

use super::CaptureError;

/// Ethernet addresses of a packet that was captured without a link layer.
const RAW_HEADER: [u8; 12] = [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
/// The first bytes of a pcapng file: the type of its section header block.
const PCAPNG_MAGIC: [u8; 4] = [0x0a, 0x0d, 0x0d, 0x0a];
/// The first bytes of a pcap file: microseconds and nanoseconds, either byte order.
const PCAP_MAGICS: [[u8; 4]; 4] = [
    [0xa1, 0xb2, 0xc3, 0xd4],
    [0xd4, 0xc3, 0xb2, 0xa1],
    [0xa1, 0xb2, 0x3c, 0x4d],
    [0x4d, 0x3c, 0xb2, 0xa1],
];
/// The longest frame there can be; what claims to be longer is not padded beyond it.
const FRAME_MAX: usize = 14 + 8 + 65_535;

type Source<R> = io::Chain<Cursor<Vec<u8>>, R>;

/// Reads the frames of a capture, whatever its format.
pub struct CaptureReader<R: Read> {
    format: Format<R>,
    packets: u64,
    truncated: bool,
}

enum Format<R: Read> {
    Pcap(PcapReader<Source<R>>),
    PcapNg(PcapNgReader<Source<R>>),
}

impl<R: Read> std::fmt::Debug for CaptureReader<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CaptureReader").field("packets", &self.packets).finish_non_exhaustive()
    }
}

/// A frame of a capture.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct CapturedFrame {
    /// When it was captured, in nanoseconds since 1970.
    pub time: u64,
    /// The frame from its Ethernet header on, as long as it was on the wire: what the capture cut off is
    /// filled with zeros.
    pub bytes: Vec<u8>,
    /// Whether bytes were cut off.
    pub cut: bool,
}

impl<R: Read> CaptureReader<R> {
    /// Looks at the first bytes and prepares for what they say.
    ///
    /// # Errors
    /// If it is no capture, or cannot be read.
    pub fn new(mut input: R) -> Result<CaptureReader<R>, CaptureError> {
        let mut magic = Vec::with_capacity(4);
        input.by_ref().take(4).read_to_end(&mut magic).map_err(CaptureError::Read)?;
        let is_pcapng = magic == PCAPNG_MAGIC;
        if !is_pcapng && !PCAP_MAGICS.iter().any(|known| magic == known) {
            return Err(CaptureError::UnknownFormat(magic));
        }
        let source = Cursor::new(magic).chain(input);
        let format = if is_pcapng {
            PcapNgReader::new(source).map(Format::PcapNg)
        } else {
            PcapReader::new(source).map(Format::Pcap)
        };
        let format = format.map_err(|error| damaged(error, 1))?;
        Ok(CaptureReader { format, packets: 0, truncated: false })
    }

    /// The next frame, written into `frame`; `false` at the end.
    ///
    /// # Errors
    /// If the file is damaged, cannot be read, or has packets without a known link layer. A file that
    /// ends within a packet is no error: see [`truncated`](CaptureReader::truncated).
    pub fn next_into(&mut self, frame: &mut CapturedFrame) -> Result<bool, CaptureError> {
        let number = self.packets + 1;
        let found = match &mut self.format {
            Format::Pcap(reader) => next_pcap(reader, frame, number),
            Format::PcapNg(reader) => next_pcapng(reader, frame, number),
        };
        match found {
            Ok(true) => {
                self.packets = number;
                Ok(true)
            }
            Err(CaptureError::Read(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
                self.truncated = true;
                Ok(false)
            }
            other => other,
        }
    }

    /// How many frames were read.
    pub fn packets(&self) -> u64 {
        self.packets
    }

    /// Whether the file ends within a packet, as one does whose writer was killed.
    pub fn truncated(&self) -> bool {
        self.truncated
    }
}

fn damaged(error: PcapError, packet: u64) -> CaptureError {
    match error {
        PcapError::IoError(error) => CaptureError::Read(error),
        other => CaptureError::Damaged { packet, what: other.to_string() },
    }
}

fn next_pcap<R: Read>(
    reader: &mut PcapReader<Source<R>>,
    frame: &mut CapturedFrame,
    number: u64,
) -> Result<bool, CaptureError> {
    let header = reader.header();
    let Some(packet) = reader.next_raw_packet() else { return Ok(false) };
    let packet = packet.map_err(|error| damaged(error, number))?;
    let fraction = match header.ts_resolution {
        TsResolution::NanoSecond => u64::from(packet.ts_frac),
        TsResolution::MicroSecond => u64::from(packet.ts_frac) * 1000,
    };
    let time = u64::from(packet.ts_sec) * 1_000_000_000 + fraction;
    // The upper bits of the field say whether frames end with a checksum sequence.
    let link = DataLink::from(u32::from(header.datalink) & 0x0fff_ffff);
    fill(frame, time, link, &packet.data, packet.orig_len, number)?;
    Ok(true)
}

fn next_pcapng<R: Read>(
    reader: &mut PcapNgReader<Source<R>>,
    frame: &mut CapturedFrame,
    number: u64,
) -> Result<bool, CaptureError> {
    loop {
        let Some(block) = reader.next_block() else { return Ok(false) };
        let block = block.map_err(|error| damaged(error, number))?.into_owned();
        let (interface, time, data, len) = match block {
            Block::EnhancedPacket(packet) => {
                // The reader hands out the raw count of units as if they were nanoseconds.
                let units = packet.timestamp.as_nanos() as u64;
                (packet.interface_id as usize, Some(units), packet.data, packet.original_len)
            }
            Block::Packet(packet) => {
                let interface = usize::from(packet.interface_id);
                (interface, Some(packet.timestamp), packet.data, packet.original_len)
            }
            Block::SimplePacket(packet) => (0, None, packet.data, packet.original_len),
            _ => continue,
        };
        let Some(description) = reader.interfaces().get(interface) else {
            let what = format!("it names interface {interface}, which was not described");
            return Err(CaptureError::Damaged { packet: number, what });
        };
        let time = match time {
            Some(units) => nanoseconds(units, &description.options),
            // A simple packet has no time; it counts as captured with the one before.
            None => frame.time,
        };
        fill(frame, time, description.linktype, &data, len, number)?;
        return Ok(true);
    }
}

/// A count of an interface's units in nanoseconds (options if_tsresol and if_tsoffset; the default unit is
/// the microsecond).
fn nanoseconds(units: u64, options: &[InterfaceDescriptionOption<'_>]) -> u64 {
    let mut resolution = 6_u8;
    let mut offset = 0_u64;
    for option in options {
        match option {
            InterfaceDescriptionOption::IfTsResol(value) => resolution = *value,
            InterfaceDescriptionOption::IfTsOffset(seconds) => offset = *seconds,
            _ => {}
        }
    }
    let units = u128::from(units) * 1_000_000_000;
    let power = u32::from(resolution & 0x7f);
    let nanos = if resolution & 0x80 == 0 {
        10_u128.checked_pow(power).map_or(0, |per_second| units / per_second)
    } else {
        units.checked_shr(power).unwrap_or(0)
    };
    let nanos = u64::try_from(nanos).unwrap_or(u64::MAX);
    nanos.saturating_add(offset.saturating_mul(1_000_000_000))
}

fn fill(
    frame: &mut CapturedFrame,
    time: u64,
    link: DataLink,
    data: &[u8],
    original_len: u32,
    number: u64,
) -> Result<(), CaptureError> {
    frame.time = time;
    frame.bytes.clear();
    match link {
        DataLink::ETHERNET => {}
        DataLink::RAW | DataLink::IPV4 | DataLink::IPV6 => {
            let is_v6 = data.first().is_some_and(|byte| byte >> 4 == 6);
            frame.bytes.extend_from_slice(&RAW_HEADER);
            frame.bytes.extend_from_slice(if is_v6 { &[0x86, 0xdd] } else { &[0x08, 0x00] });
        }
        other => return Err(CaptureError::LinkType { packet: number, link: other.into() }),
    }
    let header = frame.bytes.len();
    frame.bytes.extend_from_slice(data);
    frame.cut = original_len as usize > data.len();
    if frame.cut {
        let len = header.saturating_add(original_len as usize).min(FRAME_MAX);
        frame.bytes.resize(len.max(frame.bytes.len()), 0);
    }
    Ok(())
}
