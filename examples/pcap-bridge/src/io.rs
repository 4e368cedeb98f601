//! A backend over captures: the whole of what it takes to bring the director to a new kind of wire.

use std::io::{Read, Write};
use std::time::Duration;

use lvs_core::ids::PortId;
use lvs_core::io::{BurstReport, Caps, Frame, FrameIo, HEADROOM_DEFAULT, Readiness, Verdict};
use lvs_core::time::Instant;
use lvs_sim::capture::{CaptureError, CaptureReader, CaptureWriter, CapturedFrame};

/// The only port.
pub(crate) const PORT: PortId = PortId(0);
/// The longest frame: what an IP packet of 65,535 bytes needs.
const FRAME_LEN_MAX: usize = 14 + 8 + 65_535;
const CAPS: Caps = Caps {
    ports: 1,
    headroom_min: HEADROOM_DEFAULT as u16,
    frame_len_max: FRAME_LEN_MAX as u32,
    burst_max: 1,
    offloads: false,
};

/// Frames come from one capture and go to another, and its clock is that of the first: waiting takes no
/// time, and moves it on.
pub(crate) struct PcapIo<R: Read, W: Write> {
    input: CaptureReader<R>,
    output: CaptureWriter<W>,
    /// The frame that comes next, and whether there is one.
    next: CapturedFrame,
    more: bool,
    /// When the first frame was captured, in nanoseconds since 1970: the director's zero.
    start: u64,
    now: Instant,
    slot: Vec<u8>,
}

impl<R: Read, W: Write> PcapIo<R, W> {
    /// Opens both, and reads the first frame.
    pub(crate) fn new(input: R, output: W) -> Result<PcapIo<R, W>, CaptureError> {
        let mut io = PcapIo {
            input: CaptureReader::new(input)?,
            output: CaptureWriter::new(output)?,
            next: CapturedFrame::default(),
            more: false,
            start: 0,
            now: Instant::ZERO,
            slot: vec![0; HEADROOM_DEFAULT + FRAME_LEN_MAX],
        };
        io.more = io.input.next_into(&mut io.next)?;
        io.start = io.next.time;
        Ok(io)
    }

    /// The capture's time.
    pub(crate) fn now(&self) -> Instant {
        self.now
    }

    /// The Ethernet address that the next frame is for.
    pub(crate) fn station(&self) -> Option<[u8; 6]> {
        self.more.then(|| self.next.bytes.first_chunk().copied()).flatten()
    }

    /// Whether every frame has been read.
    pub(crate) fn is_at_end(&self) -> bool {
        !self.more
    }

    /// Writes what is left to be written.
    pub(crate) fn finish(self) -> Result<(), CaptureError> {
        self.output.finish().map(drop)
    }
}

impl<R: Read, W: Write> FrameIo for PcapIo<R, W> {
    type Error = CaptureError;

    fn caps(&self) -> &Caps {
        &CAPS
    }

    fn wait(&mut self, timeout: Option<Duration>) -> Result<Readiness, CaptureError> {
        let frame = Instant::from_nanos(self.next.time.saturating_sub(self.start));
        match timeout.map(|timeout| self.now + timeout) {
            Some(deadline) if !self.more || deadline < frame => {
                self.now = self.now.max(deadline);
                Ok(Readiness::Deadline)
            }
            None if !self.more => Ok(Readiness::Woken),
            _ => {
                // Captures of several interfaces step back a little now and then; time does not.
                self.now = self.now.max(frame);
                Ok(Readiness::Frames)
            }
        }
    }

    fn exchange(
        &mut self,
        decide: &mut dyn FnMut(&mut [Frame<'_>]),
    ) -> Result<BurstReport, CaptureError> {
        let due = self.start.saturating_add(self.now.as_nanos());
        let mut report = BurstReport::default();
        if !self.more || self.next.time > due {
            return Ok(report);
        }
        let len = self.next.bytes.len().min(FRAME_LEN_MAX);
        self.slot[HEADROOM_DEFAULT..][..len].copy_from_slice(&self.next.bytes[..len]);
        let mut burst = [Frame::new(&mut self.slot, HEADROOM_DEFAULT, len, PORT)];
        decide(&mut burst);
        report.received = 1;
        let [frame] = &burst;
        match frame.verdict {
            Verdict::Transmit(_) | Verdict::Reply(_) => {
                self.output.write(due, frame.bytes())?;
                report.transmitted = 1;
            }
            Verdict::Pass(_) => report.passed = 1,
            Verdict::Drop(_) => report.dropped = 1,
            Verdict::Absorb => {}
        }
        self.more = self.input.next_into(&mut self.next)?;
        report.more = self.more;
        Ok(report)
    }

    fn inject(
        &mut self,
        fill: &mut dyn FnMut(&mut Frame<'_>) -> bool,
    ) -> Result<u32, CaptureError> {
        let time = self.start.saturating_add(self.now.as_nanos());
        let mut sent = 0;
        loop {
            let mut frame = Frame::new(&mut self.slot, HEADROOM_DEFAULT, 0, PORT);
            if !fill(&mut frame) {
                return Ok(sent);
            }
            if matches!(frame.verdict, Verdict::Transmit(_) | Verdict::Reply(_)) {
                self.output.write(time, frame.bytes())?;
                sent += 1;
            }
        }
    }
}
