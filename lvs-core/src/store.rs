//! A bounded store for packets that cannot leave with their burst: they wait for a neighbour's address
//! or leave in pieces. Memory is fixed when it is made.

use alloc::boxed::Box;
use alloc::vec;

use crate::ids::PortId;
use crate::io::{Frame, Offload};

/// Bytes of one chunk; a packet takes as many as it needs.
const CHUNK: usize = 2048;
const NONE: u32 = u32::MAX;

/// A packet in the store.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Parcel(u32);

impl Parcel {
    /// A number of its own, for what is kept beside the packet.
    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }
}

#[derive(Clone, Copy)]
struct Meta {
    /// The next chunk of the same packet, or of the free list.
    next: u32,
    /// In a packet's first chunk: the packet behind it in a queue.
    behind: u32,
    len: u32,
    port: PortId,
    offload: Offload,
    cut: Option<Cut>,
}

/// How a packet is cut where that is not the link's MTU alone: one of our own, or one that came in pieces.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Cut {
    /// The longest packet that may leave whole.
    pub(crate) whole: u32,
    /// The longest piece.
    pub(crate) mtu: u32,
    /// IPv6: the pieces' identification.
    pub(crate) ident: u32,
    /// IPv6: bytes in front of the fragment header, from the fixed header on.
    pub(crate) front: u16,
    /// IPv6: where the octet stands that names what follows these.
    pub(crate) named_at: u16,
    /// The pieces as the packet came, where they fit; otherwise `mtu` alone decides.
    pub(crate) parts: Parts,
    /// Whether the packet is a super-frame behind outer headers, which leaves as the segments it stands for.
    pub(crate) segments: bool,
}

/// The lengths of what the pieces of a packet carry: the first, each one behind it, and the last. All are 0
/// where no three numbers say it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Parts {
    pub(crate) first: u16,
    pub(crate) rest: u16,
    pub(crate) last: u16,
}

impl Parts {
    /// The length of the piece that begins at `offset` of `payload` bytes, if all pieces are of at most
    /// `most` bytes and may be where they are.
    pub(crate) fn len_at(&self, offset: usize, payload: usize, most: usize) -> Option<usize> {
        let [first, rest, last] = [self.first, self.rest, self.last].map(usize::from);
        let left = payload - offset;
        let fit = first > 0 && first.is_multiple_of(8) && first.max(rest).max(last) <= most;
        let len = match offset {
            0 => first,
            _ if left == last => last,
            _ => rest,
        };
        (fit && len > 0).then_some(len.min(left))
    }
}

impl Cut {
    /// Of an outer packet of our own.
    pub(crate) fn outer(mtu: u32, ident: u32) -> Cut {
        Cut {
            whole: mtu,
            mtu,
            ident,
            front: 40,
            named_at: 6,
            parts: Parts::default(),
            segments: false,
        }
    }

    /// Of a super-frame behind outer headers.
    pub(crate) fn segments() -> Cut {
        Cut { segments: true, ..Cut::outer(u32::MAX, 0) }
    }
}

/// The store.
pub(crate) struct Store {
    bytes: Box<[u8]>,
    meta: Box<[Meta]>,
    free: u32,
    free_chunks: u32,
}

impl core::fmt::Debug for Store {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Store({} of {} chunks free)", self.free_chunks, self.meta.len())
    }
}

/// A queue of packets in the store, first in first out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Queue {
    head: u32,
    tail: u32,
    len: u8,
}

impl Queue {
    pub(crate) const EMPTY: Queue = Queue { head: NONE, tail: NONE, len: 0 };

    pub(crate) fn len(&self) -> u8 {
        self.len
    }

    pub(crate) fn push(&mut self, store: &mut Store, parcel: Parcel) {
        store.meta[parcel.0 as usize].behind = NONE;
        if self.head == NONE {
            self.head = parcel.0;
        } else {
            store.meta[self.tail as usize].behind = parcel.0;
        }
        self.tail = parcel.0;
        self.len += 1;
    }

    pub(crate) fn pop(&mut self, store: &Store) -> Option<Parcel> {
        if self.head == NONE {
            return None;
        }
        let parcel = Parcel(self.head);
        self.head = store.meta[self.head as usize].behind;
        self.len -= 1;
        Some(parcel)
    }
}

impl Store {
    pub(crate) fn new(bytes: u32) -> Store {
        let chunks = Store::parcels_of(bytes);
        let meta = (0..chunks as u32)
            .map(|i| Meta {
                next: if i as usize + 1 < chunks { i + 1 } else { NONE },
                behind: NONE,
                len: 0,
                port: PortId(0),
                offload: Offload::default(),
                cut: None,
            })
            .collect();
        let bytes = vec![0; chunks * CHUNK].into_boxed_slice();
        Store { bytes, meta, free: 0, free_chunks: chunks as u32 }
    }

    /// Bytes that a store for so many bytes of packets takes.
    pub(crate) fn memory(bytes: u32) -> usize {
        Store::parcels_of(bytes) * (CHUNK + size_of::<Meta>())
    }

    /// The most parcels that a store for so many bytes holds.
    pub(crate) const fn parcels_of(bytes: u32) -> usize {
        let chunks = bytes as usize / CHUNK;
        if chunks == 0 { 1 } else { chunks }
    }

    /// Copies a frame in; `None` if there is no room.
    pub(crate) fn put(&mut self, frame: &Frame<'_>) -> Option<Parcel> {
        let parcel = self.put_bytes(frame.bytes(), frame.port())?;
        self.meta[parcel.0 as usize].offload = frame.offload;
        Some(parcel)
    }

    /// Copies bytes in; `None` if there is no room.
    pub(crate) fn put_bytes(&mut self, bytes: &[u8], port: PortId) -> Option<Parcel> {
        let needed = bytes.len().div_ceil(CHUNK).max(1) as u32;
        if needed > self.free_chunks {
            return None;
        }
        let first = self.free;
        let mut chunk = first;
        for (i, part) in bytes.chunks(CHUNK).enumerate() {
            if i > 0 {
                chunk = self.meta[chunk as usize].next;
            }
            let at = chunk as usize * CHUNK;
            self.bytes[at..at + part.len()].copy_from_slice(part);
        }
        let rest = core::mem::replace(&mut self.meta[chunk as usize].next, NONE);
        self.free = rest;
        self.free_chunks -= needed;
        let meta = &mut self.meta[first as usize];
        (meta.len, meta.port, meta.offload) = (bytes.len() as u32, port, Offload::default());
        meta.cut = None;
        Some(Parcel(first))
    }

    /// How many packets there can be at most; their [`Parcel::index`] is below it.
    pub(crate) fn parcels_max(&self) -> usize {
        self.meta.len()
    }

    pub(crate) fn len(&self, parcel: Parcel) -> usize {
        self.meta[parcel.0 as usize].len as usize
    }

    /// The port the packet came in by.
    pub(crate) fn port(&self, parcel: Parcel) -> PortId {
        self.meta[parcel.0 as usize].port
    }

    /// How the packet is to be cut, where that is not the link's MTU alone.
    pub(crate) fn cut(&self, parcel: Parcel) -> Option<Cut> {
        self.meta[parcel.0 as usize].cut
    }

    pub(crate) fn set_cut(&mut self, parcel: Parcel, cut: Option<Cut>) {
        self.meta[parcel.0 as usize].cut = cut;
    }

    pub(crate) fn offload(&self, parcel: Parcel) -> Offload {
        self.meta[parcel.0 as usize].offload
    }

    /// Copies bytes of a packet, from `offset` on, to all of `out`; what lies behind the packet's end
    /// stays as it was.
    pub(crate) fn read(&self, parcel: Parcel, offset: usize, out: &mut [u8]) {
        let end = self.len(parcel).min(offset + out.len());
        let mut chunk = parcel.0;
        for _ in 0..offset / CHUNK {
            chunk = self.meta[chunk as usize].next;
        }
        let mut at = offset;
        while at < end {
            let within = at % CHUNK;
            let n = (CHUNK - within).min(end - at);
            let from = chunk as usize * CHUNK + within;
            out[at - offset..at - offset + n].copy_from_slice(&self.bytes[from..from + n]);
            at += n;
            if at < end {
                chunk = self.meta[chunk as usize].next;
            }
        }
    }

    /// Gives a packet's memory back.
    pub(crate) fn free(&mut self, parcel: Parcel) {
        let mut last = parcel.0;
        let mut count = 1;
        while self.meta[last as usize].next != NONE {
            last = self.meta[last as usize].next;
            count += 1;
        }
        self.meta[last as usize].next = self.free;
        self.free = parcel.0;
        self.free_chunks += count;
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    fn put(store: &mut Store, bytes: &[u8]) -> Option<Parcel> {
        let mut slot = bytes.to_vec();
        let len = slot.len();
        store.put(&Frame::new(&mut slot, 0, len, PortId(3)))
    }

    proptest! {
        /// Whatever is put in comes out unchanged, in any order, and all memory comes back.
        #[test]
        fn a_store_gives_back_what_it_took(
            packets in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..9000), 1..12)
        ) {
            let mut store = Store::new(1 << 16);
            let mut held: Vec<(Parcel, &Vec<u8>)> = Vec::new();
            for packet in &packets {
                match put(&mut store, packet) {
                    Some(parcel) => held.push((parcel, packet)),
                    None => {
                        let (parcel, _) = held.remove(0);
                        store.free(parcel);
                    }
                }
            }
            for (parcel, packet) in held {
                prop_assert_eq!(store.len(parcel), packet.len());
                let from = packet.len() / 3;
                let mut out = alloc::vec![0; packet.len() - from];
                store.read(parcel, from, &mut out);
                prop_assert_eq!(&out[..], &packet[from..]);
                store.free(parcel);
            }
            prop_assert_eq!(store.free_chunks as usize, store.meta.len());
        }
    }

    #[test]
    fn a_queue_is_first_in_first_out() {
        let mut store = Store::new(1 << 16);
        let mut queue = Queue::EMPTY;
        let parcels: Vec<Parcel> = (0..5).map(|i| put(&mut store, &[i; 3000]).unwrap()).collect();
        for &parcel in &parcels {
            queue.push(&mut store, parcel);
        }
        let popped: Vec<Parcel> = core::iter::from_fn(|| queue.pop(&store)).collect();
        assert_eq!(popped, parcels);
        assert_eq!(queue.len(), 0);
    }
}
