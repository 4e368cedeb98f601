//! UDP (RFC 768).

/// Bytes of a header.
pub const HEADER_LEN: usize = 8;

/// Offsets of the fields.
pub mod field {
    /// Source port.
    pub const SRC_PORT: usize = 0;
    /// Destination port.
    pub const DST_PORT: usize = 2;
    /// Length of header and payload.
    pub const LEN: usize = 4;
    /// Checksum; 0 means none (IPv4 only).
    pub const CHECKSUM: usize = 6;
}
