//! A trunk: a station between an untagged segment and a tagged one, as the access port of a switch. It
//! is made of packet sockets, so that no kernel module is needed, and hands on offload metadata, so that
//! unfinished checksums and super-frames cross as through a real switch of the same machine.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use lvs_testnet::{Host, OffloadSocket};

/// A VLAN tag: tag protocol identifier and tag control information.
pub(crate) type Tag = (u16, u16);

/// 802.1Q (IEEE 802.1Q-2018 §9.5).
pub(crate) const DOT1Q: u16 = 0x8100;
/// 802.1ad, the outer tag of QinQ.
pub(crate) const DOT1AD: u16 = 0x88a8;

/// Bytes of a tag.
const TAG_LEN: usize = 4;
/// The bits of the tag control information that number the VLAN; the others are priority.
const VLAN_ID: u16 = 0xfff;
/// Where tags stand: behind the two addresses.
const TAGS_AT: usize = 12;
/// How long one side is waited for before the other gets its turn.
const TURN: Duration = Duration::from_micros(100);
/// Frames handed on in one turn.
const FRAMES_A_TURN: usize = 64;

/// Hands frames on between two interfaces of a host until it is dropped.
pub(crate) struct Trunk {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Trunk {
    /// Everything that comes in untagged by `access` leaves by `trunk` with `tags`, outermost first;
    /// everything that comes in by `trunk` with these tags, whatever their priority, leaves by `access`
    /// without. Other frames end here.
    #[track_caller]
    pub(crate) fn start(host: &Host, access: &str, trunk: &str, tags: &[Tag]) -> Trunk {
        let mut access = OffloadSocket::open(host, access);
        let mut trunk = OffloadSocket::open(host, trunk);
        let bytes: Vec<u8> = tags
            .iter()
            .flat_map(|(tpid, tci)| [tpid.to_be_bytes(), tci.to_be_bytes()].concat())
            .collect();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            while !stopped.load(Ordering::SeqCst) {
                hand_on(&mut access, &trunk, |header, frame| push(header, frame, &bytes));
                hand_on(&mut trunk, &access, |header, frame| pop(header, frame, &bytes));
            }
        });
        Trunk { stop, thread: Some(thread) }
    }
}

impl Drop for Trunk {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

type Header = [u8; 10];

/// One turn of one direction.
fn hand_on(
    from: &mut OffloadSocket,
    to: &OffloadSocket,
    change: impl Fn(&mut Header, &mut Vec<u8>) -> Option<()>,
) {
    for _ in 0..FRAMES_A_TURN {
        let Some((mut header, mut seen)) = from.receive(TURN) else { return };
        if !seen.outgoing && change(&mut header, &mut seen.bytes).is_some() {
            to.send(&header, &seen.bytes);
        }
    }
}

fn push(header: &mut Header, frame: &mut Vec<u8>, tags: &[u8]) -> Option<()> {
    let kind = frame.get(TAGS_AT..TAGS_AT + 2)?;
    if is_tag(kind) {
        return None;
    }
    frame.splice(TAGS_AT..TAGS_AT, tags.iter().copied());
    shift(header, tags.len() as i16);
    Some(())
}

fn pop(header: &mut Header, frame: &mut Vec<u8>, tags: &[u8]) -> Option<()> {
    let end = TAGS_AT + tags.len();
    let found = frame.get(TAGS_AT..end)?;
    let same = |(one, other): (&[u8], &[u8])| {
        let vlan = |tag: &[u8]| u16::from_be_bytes([tag[2], tag[3]]) & VLAN_ID;
        one[..2] == other[..2] && vlan(one) == vlan(other)
    };
    let ours = found.chunks(TAG_LEN).zip(tags.chunks(TAG_LEN)).all(same);
    if !ours || is_tag(frame.get(end..end + 2)?) {
        return None;
    }
    frame.drain(TAGS_AT..end);
    // The outermost tag was in side data, and is not counted in the metadata.
    shift(header, (TAG_LEN as i16) - tags.len() as i16);
    Some(())
}

fn is_tag(kind: &[u8]) -> bool {
    [DOT1Q, DOT1AD].iter().any(|tpid| kind == tpid.to_be_bytes())
}

/// Moves the places that a virtio-net header names by some bytes: the end of the headers of a
/// super-frame, and the start of an unfinished checksum.
fn shift(header: &mut Header, by: i16) {
    let (needs_checksum, is_super_frame) = (header[0] & 1 != 0, header[1] != 0);
    for (at, named) in [(2, is_super_frame), (6, needs_checksum)] {
        if named {
            let field = u16::from_ne_bytes([header[at], header[at + 1]]);
            header[at..at + 2].copy_from_slice(&field.wrapping_add_signed(by).to_ne_bytes());
        }
    }
}
