//! Writing captures: pcap, Ethernet, nanoseconds.

use std::borrow::Cow;
use std::io::{self, Write};

use pcap_file::pcap::{PcapHeader, PcapWriter, RawPcapPacket};
use pcap_file::{DataLink, PcapError, TsResolution};

use super::CaptureError;

/// Writes frames as a pcap file.
pub struct CaptureWriter<W: Write> {
    pcap: PcapWriter<W>,
}

impl<W: Write> std::fmt::Debug for CaptureWriter<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CaptureWriter").finish_non_exhaustive()
    }
}

impl<W: Write> CaptureWriter<W> {
    /// Writes the head of the file.
    ///
    /// # Errors
    /// If the output cannot be written.
    pub fn new(output: W) -> Result<CaptureWriter<W>, CaptureError> {
        let header = PcapHeader {
            datalink: DataLink::ETHERNET,
            ts_resolution: TsResolution::NanoSecond,
            snaplen: 1 << 18,
            ..PcapHeader::default()
        };
        let pcap = PcapWriter::with_header(output, header).map_err(failed)?;
        Ok(CaptureWriter { pcap })
    }

    /// Writes a frame that was sent `time` nanoseconds after 1970.
    ///
    /// # Errors
    /// If the output cannot be written.
    pub fn write(&mut self, time: u64, frame: &[u8]) -> Result<(), CaptureError> {
        let len = frame.len() as u32;
        let packet = RawPcapPacket {
            ts_sec: u32::try_from(time / 1_000_000_000).unwrap_or(u32::MAX),
            ts_frac: (time % 1_000_000_000) as u32,
            incl_len: len,
            orig_len: len,
            data: Cow::Borrowed(frame),
        };
        self.pcap.write_raw_packet(&packet).map_err(failed)?;
        Ok(())
    }

    /// Hands the output back, flushed.
    ///
    /// # Errors
    /// If the output cannot be written.
    pub fn finish(self) -> Result<W, CaptureError> {
        let mut output = self.pcap.into_writer();
        output.flush().map_err(CaptureError::Write)?;
        Ok(output)
    }
}

fn failed(error: PcapError) -> CaptureError {
    CaptureError::Write(match error {
        PcapError::IoError(error) => error,
        other => io::Error::other(other.to_string()),
    })
}
