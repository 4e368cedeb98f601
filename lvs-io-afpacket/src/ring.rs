//! The receive ring: memory that the kernel fills with frames, and the only place that touches it.
//!
//! A ring is a circle of *slots* of equal length in blocks. Each slot begins with a status word: the
//! kernel owns the slot while it is zero, we own it while `TP_STATUS_USER` is set, and each side hands it
//! to the other by writing the word.
//!
//! ```text
//! slot:  | tpacket2_hdr | sockaddr_ll | reserve ......... | vnet header | frame ......... | unused |
//!        0              32            52                 mac-10        mac           mac+snaplen
//!                                     '---------------- Slot::bytes -------------------------------'
//! ```

use std::cell::Cell;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};

use arrayvec::ArrayVec;
use lvs_io_linux::BURST_MAX;

use crate::sys;

/// Bytes of a slot before those that are lent: the two structures that the kernel writes.
const SLOT_BYTES_START: usize = libc::TPACKET2_HDRLEN;
/// Where the `sockaddr_ll` begins in a slot.
const ADDRESS_START: usize = SLOT_BYTES_START - size_of::<libc::sockaddr_ll>();

/// Bytes of a block. The kernel allocates each in one piece if it can.
const BLOCK_LEN: usize = 256 * 1024;

const _: () = assert!(size_of::<libc::tpacket2_hdr>() <= ADDRESS_START, "the structures overlap");
const _: () = assert!(BLOCK_LEN.is_multiple_of(65_536), "blocks are whole pages of any size");

/// The measures of a ring.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Geometry {
    slot_len: usize,
    slots_per_block: usize,
    blocks: usize,
}

impl Geometry {
    /// A ring of about `ring_bytes` whose slots take frames of `frame_len` bytes with `reserve` bytes of
    /// the kernel's and our own in front.
    pub(crate) fn new(ring_bytes: usize, reserve: usize, frame_len: usize) -> Geometry {
        // Whole cache lines, so that no two slots share one.
        let slot_len = (reserve + frame_len).next_multiple_of(64).min(BLOCK_LEN);
        let blocks = ring_bytes.div_ceil(BLOCK_LEN).max(1);
        Geometry { slot_len, slots_per_block: BLOCK_LEN / slot_len, blocks }
    }

    /// Number of slots.
    pub(crate) fn slots(&self) -> usize {
        self.slots_per_block * self.blocks
    }

    fn request(&self) -> libc::tpacket_req {
        libc::tpacket_req {
            tp_block_size: BLOCK_LEN as u32,
            tp_block_nr: self.blocks as u32,
            tp_frame_size: self.slot_len as u32,
            tp_frame_nr: self.slots() as u32,
        }
    }
}

/// What the kernel says about the frame in a slot.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SlotHeader {
    /// `TP_STATUS_…` bits.
    pub(crate) status: u32,
    /// Length of the frame.
    pub(crate) len: usize,
    /// How much of it is in the slot.
    pub(crate) captured_len: usize,
    /// Where the frame begins in [`Slot::bytes`].
    pub(crate) start: usize,
    /// The VLAN tag that the kernel took out, as (TPID, TCI), if the status says there is one.
    pub(crate) tag: (u16, u16),
    /// `PACKET_HOST`, `PACKET_OTHERHOST`, …
    pub(crate) packet_type: u8,
}

/// A slot that is ours for the moment.
#[derive(Debug)]
pub(crate) struct Slot<'a> {
    /// Which of the rings it is of.
    pub(crate) ring: usize,
    pub(crate) header: SlotHeader,
    /// Headroom, frame, and what is behind it.
    pub(crate) bytes: &'a mut [u8],
}

/// The slots of a burst.
pub(crate) type Slots<'a> = ArrayVec<Slot<'a>, BURST_MAX>;

/// A ring mapped into our memory.
#[derive(Debug)]
pub(crate) struct Ring {
    base: NonNull<u8>,
    geometry: Geometry,
    /// The next slot to come.
    head: Cell<usize>,
    /// How many slots from `head` on are lent at this moment.
    taken: Cell<usize>,
}

// SAFETY: the mapping belongs to the ring alone and is valid on every thread; only `Sync` would be
// wrong, because of the cells.
unsafe impl Send for Ring {}

impl Ring {
    /// Makes the kernel build a ring for the socket, and maps it. The socket must have its packet
    /// version (TPACKET_V2), reserve and virtio-net header set.
    pub(crate) fn new(fd: BorrowedFd<'_>, geometry: Geometry) -> io::Result<Ring> {
        sys::set_receive_ring(fd, &geometry.request())?;
        // SAFETY: a new shared mapping at an address of the kernel's choice touches no memory of ours.
        let base = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                geometry.blocks * BLOCK_LEN,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED | libc::MAP_POPULATE,
                fd.as_raw_fd(),
                0,
            )
        };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let base = NonNull::new(base.cast()).expect("mmap without a hint never returns null");
        Ok(Ring { base, geometry, head: Cell::new(0), taken: Cell::new(0) })
    }

    /// Whether the slot `ahead` places from the next one has a frame.
    pub(crate) fn is_ready(&self, ahead: usize) -> bool {
        let index =
            (self.head.get() + ahead.min(self.geometry.slots() - 1)) % self.geometry.slots();
        self.status(index).load(Ordering::Acquire) & libc::TP_STATUS_USER != 0
    }

    /// Where slot `index` begins.
    fn slot(&self, index: usize) -> NonNull<u8> {
        debug_assert!(index < self.geometry.slots());
        let block = index / self.geometry.slots_per_block;
        let within = index % self.geometry.slots_per_block;
        let offset = block * BLOCK_LEN + within * self.geometry.slot_len;
        // SAFETY: `index` is below the number of slots, so the whole slot lies within the mapping.
        unsafe { self.base.add(offset) }
    }

    /// The status word of slot `index`.
    fn status(&self, index: usize) -> &AtomicU32 {
        let header = self.slot(index).cast::<libc::tpacket2_hdr>();
        // SAFETY:
        // * the slot lies within the mapping, which lives as long as `self`;
        // * it is aligned: slots begin at multiples of 64, the status is the structure's first field;
        // * the kernel writes the word atomically, and we only ever touch it through this reference.
        unsafe { AtomicU32::from_ptr((&raw mut (*header.as_ptr()).tp_status).cast()) }
    }

    /// Adds slots with frames until there are `max`.
    ///
    /// # Safety
    /// The slots must be gone when [`Ring::release`] is called.
    unsafe fn take<'a>(&'a self, ring: usize, slots: &mut Slots<'a>, max: usize) {
        let (head, count) = (self.head.get(), self.geometry.slots());
        while slots.len() < max.min(BURST_MAX) && self.taken.get() < count {
            let index = (head + self.taken.get()) % count;
            let status = self.status(index).load(Ordering::Acquire);
            if status & libc::TP_STATUS_USER == 0 {
                return;
            }
            self.taken.set(self.taken.get() + 1);
            // SAFETY: the status word says that the slot is ours until we write it, and `taken` has
            // just been moved past it, so that this is the only view of it until `release`.
            slots.push(unsafe { self.view(ring, index, status) });
        }
    }

    /// A view of slot `index`.
    ///
    /// # Safety
    /// The slot must be ours, and there must be no other view of it.
    unsafe fn view(&self, ring: usize, index: usize, status: u32) -> Slot<'_> {
        let base = self.slot(index);
        // SAFETY: the slot lies within the mapping and begins with this structure, aligned; the kernel
        // filled it in before it set the status, and no longer writes to it.
        let header = unsafe { base.cast::<libc::tpacket2_hdr>().read() };
        // SAFETY: as above; the kernel puts a `sockaddr_ll` here, aligned to 16 bytes.
        let address = unsafe { base.add(ADDRESS_START).cast::<libc::sockaddr_ll>().read() };
        let len = self.geometry.slot_len - SLOT_BYTES_START;
        // SAFETY:
        // * in bounds: the bytes end where the slot ends, and that lies within the mapping;
        // * unique: the caller promises that this is the only view of the slot; the status word and
        //   the two structures lie before the bytes;
        // * alive: the mapping lives as long as `self`, to which the slice's lifetime is bound.
        let bytes =
            unsafe { std::slice::from_raw_parts_mut(base.add(SLOT_BYTES_START).as_ptr(), len) };
        let header = SlotHeader {
            status,
            len: header.tp_len as usize,
            captured_len: header.tp_snaplen as usize,
            start: usize::from(header.tp_mac).saturating_sub(SLOT_BYTES_START),
            tag: (header.tp_vlan_tpid, header.tp_vlan_tci),
            packet_type: address.sll_pkttype,
        };
        Slot { ring, header, bytes }
    }

    /// Gives every slot taken back to the kernel, oldest first.
    fn release(&self) {
        let (head, count) = (self.head.get(), self.geometry.slots());
        for place in 0..self.taken.get() {
            let status = self.status((head + place) % count);
            // Everything we read and wrote in the slot happens before the kernel sees it free.
            status.store(libc::TP_STATUS_KERNEL, Ordering::Release);
        }
        self.head.set((head + self.taken.get()) % count);
        self.taken.set(0);
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // SAFETY: the mapping was made by `new` with this length; slots borrow the ring, so none is left.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.geometry.blocks * BLOCK_LEN) };
    }
}

/// Gives the slots of all rings back when it goes out of scope, also by unwinding.
struct Release<'a>(&'a [Ring]);

impl Drop for Release<'_> {
    fn drop(&mut self) {
        for ring in self.0 {
            ring.release();
        }
    }
}

/// Lends the next slots with frames, at most `max` and [`BURST_MAX`], beginning with ring `first`. When
/// `use_them` returns or unwinds, the slots go back to the kernel.
pub(crate) fn lend<R>(
    rings: &mut [Ring],
    first: usize,
    max: usize,
    use_them: impl FnOnce(Slots<'_>) -> R,
) -> R {
    let rings = &*rings;
    let release = Release(rings);
    let mut slots = Slots::new();
    for place in 0..rings.len() {
        let ring = (first + place) % rings.len();
        if slots.len() < max {
            // SAFETY: `slots` is moved into `use_them`, whose result cannot borrow from it (its lifetime
            // is any), so no slot is left when `release` is dropped: it was declared before `slots`, so
            // also unwinding drops it after them. Slots taken are released nowhere else, and `rings` is
            // exclusively borrowed for the whole call.
            unsafe { rings[ring].take(ring, &mut slots, max) };
        }
    }
    let result = use_them(slots);
    drop(release);
    result
}
