//! Bytes as the kernel writes them.
