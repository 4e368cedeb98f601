//! Ethernet II with 802.1Q and 802.1ad tags.
//!
//! ```text
//!  0            6            12      14      18
//!  | dst        | src        | TPID  | TCI   | … | EtherType | payload
//!                              \__ 4 bytes a tag _/
//! ```
//!
//! ```
//! use lvs_core::wire::ethernet::{VlanTags, is_tag};
//! let tags = VlanTags::single(0x8100, 42);
//! assert!(is_tag(0x8100) && !is_tag(0x0800));
//! assert_eq!((tags.len(), tags.bytes_len()), (1, 4));
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
///
/// They are one word, so that tags travel with a packet's headers in a register: bits 48-63 the outer
/// TPID, 32-47 its TCI, 16-31 the inner TPID, 0-15 its TCI. A TPID of 0 is no tag.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct VlanTags(u64);

impl VlanTags {
    /// No tag.
    pub const NONE: VlanTags = VlanTags(0);

    /// One tag, TPID and TCI.
    pub const fn single(tpid: u16, tci: u16) -> VlanTags {
        VlanTags::double((tpid, tci), (0, 0))
    }

    /// Two tags, the outer one first, each TPID and TCI.
    pub const fn double(outer: (u16, u16), inner: (u16, u16)) -> VlanTags {
        let outer = (outer.0 as u64) << 16 | outer.1 as u64;
        let inner = (inner.0 as u64) << 16 | inner.1 as u64;
        VlanTags(outer << 32 | inner)
    }

    /// The number of tags.
    #[inline]
    pub const fn len(&self) -> usize {
        (self.0 >> 48 != 0) as usize + (self.0 as u32 >> 16 != 0) as usize
    }

    /// Whether there is no tag.
    #[inline]
    pub const fn is_empty(&self) -> bool {
        self.0 == 0
    }

    /// The bytes that the tags take in a frame.
    #[inline]
    pub const fn bytes_len(&self) -> usize {
        TAG_LEN * self.len()
    }

    /// The tags, outermost first, as TPID and TCI.
    pub fn iter(&self) -> impl Iterator<Item = (u16, u16)> + '_ {
        [(self.0 >> 32) as u32, self.0 as u32]
            .into_iter()
            .take(self.len())
            .map(|tag| ((tag >> 16) as u16, tag as u16))
    }

    /// The VLAN identifiers, outermost first, 0 where there is no tag: what tells one VLAN's
    /// neighbours from another's. A priority tag (identifier 0) belongs to no VLAN (802.1Q §6.9).
    #[inline]
    pub const fn ids(&self) -> [u16; TAGS_MAX] {
        [(self.0 >> 32) as u16 & VID_MASK, self.0 as u16 & VID_MASK]
    }

    /// The same tags with priority and drop eligibility cleared, for frames of our own.
    #[must_use]
    pub const fn without_priority(&self) -> VlanTags {
        const TPID_AND_VID: u64 = 0xffff_0000 | VID_MASK as u64;
        VlanTags(self.0 & (TPID_AND_VID << 32 | TPID_AND_VID))
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

/// The destination address as a number that is the same for the same address, for one comparison.
///
/// # Panics
/// If the frame is shorter than eight bytes; [`parse`](crate::parse::parse) lets no such frame through.
#[inline(always)]
pub(crate) fn dst_word(frame: &[u8]) -> u64 {
    let bytes = frame.first_chunk().expect("a frame is at least as long as its Ethernet header");
    u64::from_le_bytes(*bytes) << 16
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

/// Sets destination and source address, which stand one behind the other.
///
/// # Panics
/// If the frame is shorter than a header.
#[inline]
pub(crate) fn set_addresses(frame: &mut [u8], both: &[u8; 12]) {
    header_mut(frame)[..12].copy_from_slice(both);
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

/// Reads the tags of a frame, if it has any: tags, the EtherType behind them, and where the payload
/// begins.
#[inline]
pub(crate) fn tags(frame: &[u8]) -> Result<(VlanTags, u16, usize), TagError> {
    let word = |at| match chunk::<2>(frame, at) {
        Some(bytes) => Ok(be16(bytes, 0)),
        None => Err(TagError::Truncated),
    };
    let first = word(ETHERTYPE_AT)?;
    if !is_tag(first) {
        return Ok((VlanTags::NONE, first, HEADER_LEN));
    }
    let outer = (first, word(ETHERTYPE_AT + 2)?);
    let second = word(ETHERTYPE_AT + TAG_LEN)?;
    if !is_tag(second) {
        return Ok((VlanTags::single(first, outer.1), second, HEADER_LEN + TAG_LEN));
    }
    let inner = (second, word(ETHERTYPE_AT + TAG_LEN + 2)?);
    let third = word(ETHERTYPE_AT + 2 * TAG_LEN)?;
    if is_tag(third) {
        return Err(TagError::TooDeep);
    }
    Ok((VlanTags::double(outer, inner), third, HEADER_LEN + 2 * TAG_LEN))
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
