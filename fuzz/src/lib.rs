//! What the fuzz targets share: programs of steps for a director, the frames in them, and an allocator
//! that counts.

pub mod memory;
pub mod packet;
pub mod program;
