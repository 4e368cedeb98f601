//! SCTP's common header (RFC 9260 §3.1).

/// Bytes of the common header.
pub const HEADER_LEN: usize = 12;

/// Offsets of the fields.
pub mod field {
    /// Source port.
    pub const SRC_PORT: usize = 0;
    /// Destination port.
    pub const DST_PORT: usize = 2;
    /// CRC-32c over the whole packet.
    pub const CHECKSUM: usize = 8;
}
