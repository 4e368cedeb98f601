//! Ethernet II with 802.1Q and 802.1ad tags.
//!
//! ```text
//!  0            6            12      14      18
//!  | dst        | src        | TPID  | TCI   | … | EtherType | payload
//!                              \__ 4 bytes a tag _/
//! ```

use core::fmt;

use crate::addr::MacAddr;
use crate::wire::{be16, chunk};

/// Bytes of a header without tags.
pub const HEADER_LEN: usize = 14;
/// Bytes of one VLAN tag.
pub const TAG_LEN: usize = 4;
/// The most tags that are understood: 802.1ad outside, 802.1Q inside.
pub const TAGS_MAX: usize = 2;

/// Where the EtherType of an untagged frame is, or the first tag of a tagged one.
pub const ETHERTYPE_AT: usize = 12;

/// EtherType of IPv4.
pub const IPV4: u16 = 0x0800;
/// EtherType of ARP.
pub const ARP: u16 = 0x0806;
/// EtherType of IPv6.
pub const IPV6: u16 = 0x86dd;
/// TPID of an 802.1Q customer tag.
pub const TPID_8021Q: u16 = 0x8100;
/// TPID of an 802.1ad service tag.
pub const TPID_8021AD: u16 = 0x88a8;
/// TPID that switches used for the outer tag before 802.1ad.
pub const TPID_QINQ: u16 = 0x9100;

/// The VLAN identifier within a TCI; the rest is priority and drop eligibility.
const VID_MASK: u16 = 0x0fff;

/// Whether an EtherType is the TPID of a VLAN tag.
#[inline]
pub const fn is_tag(ethertype: u16) -> bool {
    matches!(ethertype, TPID_8021Q | TPID_8021AD | TPID_QINQ)
}

/// Up to two VLAN tags as found in a frame, outermost first, each a TPID and a TCI.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct VlanTags {
    count: u8,
    tags: [(u16, u16); TAGS_MAX],
}

impl VlanTags {
    /// No tag.
    pub const NONE: VlanTags = VlanTags { count: 0, tags: [(0, 0); TAGS_MAX] };

    /// One tag.
    pub const fn single(tpid: u16, tci: u16) -> VlanTags {
        VlanTags { count: 1, tags: [(tpid, tci), (0, 0)] }
    }

    /// Two tags, the outer one first.
    pub const fn double(outer: (u16, u16), inner: (u16, u16)) -> VlanTags {
        VlanTags { count: 2, tags: [outer, inner] }
    }

    /// The number of tags.
    #[inline]
    pub const fn len(&self) -> usize {
        self.count as usize
    }

    /// Whether there is no tag.
    #[inline]
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The bytes that the tags take in a frame.
    #[inline]
    pub const fn bytes_len(&self) -> usize {
        TAG_LEN * self.len()
    }

    /// The tags, outermost first, as TPID and TCI.
    pub fn iter(&self) -> impl Iterator<Item = (u16, u16)> + '_ {
        self.tags.iter().copied().take(self.len())
    }

    /// The VLAN identifiers, outermost first, 0 where there is no tag: what tells one VLAN's
    /// neighbours from another's. A priority tag (identifier 0) belongs to no VLAN (802.1Q §6.9).
    #[inline]
    pub const fn ids(&self) -> [u16; TAGS_MAX] {
        [self.tags[0].1 & VID_MASK, self.tags[1].1 & VID_MASK]
    }

    /// The same tags with priority and drop eligibility cleared, for frames of our own.
    pub const fn without_priority(&self) -> VlanTags {
        let [(outer, _), (inner, _)] = self.tags;
        let [outer_id, inner_id] = self.ids();
        VlanTags { count: self.count, tags: [(outer, outer_id), (inner, inner_id)] }
    }
}

impl fmt::Debug for VlanTags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[")?;
        for (i, (tpid, tci)) in self.iter().enumerate() {
            let comma = if i > 0 { ", " } else { "" };
            write!(f, "{comma}{tpid:04x}:{tci:04x}")?;
        }
        f.write_str("]")
    }
}

/// The destination address.
///
/// # Panics
/// If the frame is shorter than a header; [`parse`](crate::parse::parse) lets no such frame through.
#[inline]
pub fn dst(frame: &[u8]) -> MacAddr {
    let [a, b, c, d, e, f, ..] = *header(frame);
    MacAddr([a, b, c, d, e, f])
}

/// The source address.
///
/// # Panics
/// If the frame is shorter than a header.
#[inline]
pub fn src(frame: &[u8]) -> MacAddr {
    let [_, _, _, _, _, _, a, b, c, d, e, f, ..] = *header(frame);
    MacAddr([a, b, c, d, e, f])
}

/// Sets the destination address.
///
/// # Panics
/// If the frame is shorter than a header.
#[inline]
pub fn set_dst(frame: &mut [u8], addr: MacAddr) {
    header_mut(frame)[..6].copy_from_slice(&addr.0);
}

/// Sets the source address.
///
/// # Panics
/// If the frame is shorter than a header.
#[inline]
pub fn set_src(frame: &mut [u8], addr: MacAddr) {
    header_mut(frame)[6..12].copy_from_slice(&addr.0);
}

/// Writes a header with its tags; returns its length, 14 to 22 bytes.
///
/// # Panics
/// If the buffer is shorter than the header.
pub fn emit_header(
    buf: &mut [u8],
    dst: MacAddr,
    src: MacAddr,
    tags: &VlanTags,
    ethertype: u16,
) -> usize {
    set_dst(buf, dst);
    set_src(buf, src);
    let mut at = ETHERTYPE_AT;
    for (tpid, tci) in tags.iter() {
        buf[at..at + 2].copy_from_slice(&tpid.to_be_bytes());
        buf[at + 2..at + 4].copy_from_slice(&tci.to_be_bytes());
        at += TAG_LEN;
    }
    buf[at..at + 2].copy_from_slice(&ethertype.to_be_bytes());
    at + 2
}

/// Reads the tags of a frame whose first EtherType is a TPID: tags, the EtherType behind them, and
/// where the payload begins.
pub(crate) fn tags(frame: &[u8]) -> Result<(VlanTags, u16, usize), TagError> {
    let mut tags = VlanTags::NONE;
    let mut at = ETHERTYPE_AT;
    loop {
        // The EtherType at hand, and if that is a TPID its TCI and the next EtherType.
        let Some(here) = chunk::<2>(frame, at) else {
            return Err(TagError::Truncated);
        };
        let ethertype = be16(here, 0);
        if !is_tag(ethertype) {
            return Ok((tags, ethertype, at + 2));
        }
        if tags.len() == TAGS_MAX {
            return Err(TagError::TooDeep);
        }
        let Some(tag) = chunk::<TAG_LEN>(frame, at) else {
            return Err(TagError::Truncated);
        };
        tags.tags[tags.len()] = (ethertype, be16(tag, 2));
        tags.count += 1;
        at += TAG_LEN;
    }
}

/// Why the tags of a frame could not be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum TagError {
    /// A tag, or the EtherType behind it, is cut off.
    Truncated,
    /// More than [`TAGS_MAX`] tags.
    TooDeep,
}

#[inline]
fn header(frame: &[u8]) -> &[u8; HEADER_LEN] {
    frame.first_chunk().expect("a frame is at least as long as its Ethernet header")
}

#[inline]
fn header_mut(frame: &mut [u8]) -> &mut [u8; HEADER_LEN] {
    frame.first_chunk_mut().expect("a frame is at least as long as its Ethernet header")
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
    const B: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);

    #[test]
    fn a_header_with_two_tags_reads_back_as_written() {
        let tags = VlanTags::double((TPID_8021AD, 0x6064), (TPID_8021Q, 0x00c8));
        let mut buf = [0; 32];
        let len = emit_header(&mut buf, A, B, &tags, IPV6);
        assert_eq!(len, HEADER_LEN + tags.bytes_len());
        assert_eq!((dst(&buf), src(&buf)), (A, B));
        assert_eq!(super::tags(&buf[..len]), Ok((tags, IPV6, len)));
    }

    #[test]
    fn addresses_are_set_without_touching_the_rest() {
        let mut frame = [0xee; 20];
        set_dst(&mut frame, A);
        set_src(&mut frame, B);
        assert_eq!((dst(&frame), src(&frame)), (A, B));
        assert_eq!(frame[12..], [0xee; 8]);
    }

    #[test]
    fn priority_bits_do_not_tell_vlans_apart() {
        let high = VlanTags::single(TPID_8021Q, 0xe064);
        let low = VlanTags::single(TPID_8021Q, 0x0064);
        assert_ne!(high, low);
        assert_eq!(high.ids(), [100, 0]);
        assert_eq!(high.ids(), low.ids());
        assert_eq!(high.without_priority(), low);
    }

    #[test]
    fn a_priority_tag_belongs_to_no_vlan() {
        assert_eq!(VlanTags::single(TPID_8021Q, 0xa000).ids(), VlanTags::NONE.ids());
    }
}
