//! From a queue of a device to a frame to lend.

use std::os::fd::BorrowedFd;

use lvs_core::io::Frame;
use lvs_core::io::vnet::{self, VNET_HEADER_LEN};
use lvs_io_linux::FRAME_LEN_MAX;
use rustix::io::Errno;

use crate::FRAME_START;
use crate::port::Port;

/// Where the header begins in a slot: directly in front of the frame, in what becomes its headroom.
const HEADER_START: usize = FRAME_START - VNET_HEADER_LEN;

/// What reading from a queue brought.
pub(crate) enum Read<'a> {
    /// A frame, in the slot that was given.
    Frame(Frame<'a>),
    /// A frame that is not to be lent, counted; the slot is still free.
    Refused(&'a mut [u8]),
    /// There is no frame.
    Empty(&'a mut [u8]),
    /// The device is gone.
    Gone(&'a mut [u8]),
}

/// Reads the next frame of a queue into a slot.
pub(crate) fn read<'a>(port: &mut Port, queue: usize, slot: &'a mut [u8]) -> Read<'a> {
    let len = match read_into(port.fd(queue), &mut slot[HEADER_START..]) {
        Ok(len) => len.saturating_sub(VNET_HEADER_LEN),
        // EBADFD and EIO: see `Port::look`.
        Err(Errno::BADFD | Errno::IO) => return Read::Gone(slot),
        Err(_) => return Read::Empty(slot),
    };
    port.counters.received += 1;
    let offload = slot[HEADER_START..FRAME_START]
        .first_chunk()
        .filter(|_| len <= FRAME_LEN_MAX)
        .and_then(|header| vnet::decode(header, &slot[FRAME_START..FRAME_START + len]));
    let Some(offload) = offload else {
        port.counters.refused += 1;
        return Read::Refused(slot);
    };
    port.counters.lent += 1;
    let mut frame = Frame::new(slot, FRAME_START, len, port.watch.port());
    frame.offload = offload;
    Read::Frame(frame)
}

fn read_into(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> Result<usize, Errno> {
    loop {
        match rustix::io::read(fd, &mut *buffer) {
            Err(Errno::INTR) => {}
            done => return done,
        }
    }
}
