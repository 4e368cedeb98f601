//! Bytes that look random and are the same every time, and their SHA-256.

use std::fmt;
use std::io::{self, Write};

use sha2::{Digest as _, Sha256};

/// An endless stream of pseudo-random bytes (SplitMix64, from a fixed seed).
#[derive(Clone, Debug, Default)]
pub struct Pattern {
    state: u64,
}

impl Pattern {
    /// The stream from its beginning.
    pub fn new() -> Pattern {
        Pattern::default()
    }

    /// Fills `buffer` with the next bytes. All calls but the last must ask for a multiple of 8 bytes:
    /// the rest of a word is thrown away.
    pub fn fill(&mut self, buffer: &mut [u8]) {
        for chunk in buffer.chunks_mut(8) {
            let word = self.next_word().to_le_bytes();
            chunk.copy_from_slice(&word[..chunk.len()]);
        }
    }

    /// The generator of Steele, Lea and Flood, "Fast splittable pseudorandom number generators" (2014).
    fn next_word(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// A running SHA-256.
#[derive(Clone, Debug, Default)]
pub struct Digest {
    state: Sha256,
}

impl Digest {
    /// The digest of nothing yet.
    pub fn new() -> Digest {
        Digest::default()
    }

    /// Adds bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.state.update(bytes);
    }

    /// The digest as 64 hexadecimal digits.
    pub fn finish(self) -> String {
        struct Hex<'a>(&'a [u8]);
        impl fmt::Display for Hex<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }
        Hex(&self.state.finalize()).to_string()
    }
}

impl Write for Digest {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes the first `len` bytes of a [`Pattern`].
pub(crate) fn write_pattern(mut to: impl Write, len: u64) -> io::Result<()> {
    let mut pattern = Pattern::new();
    let mut buffer = vec![0u8; 64 * 1024];
    let mut left = len;
    while left > 0 {
        let n = left.min(buffer.len() as u64) as usize;
        pattern.fill(&mut buffer[..n]);
        to.write_all(&buffer[..n])?;
        left -= n as u64;
    }
    Ok(())
}

/// The SHA-256 of the first `len` bytes of a [`Pattern`].
pub fn digest_of_pattern(len: u64) -> String {
    let mut digest = Digest::new();
    write_pattern(&mut digest, len).expect("a digest takes all");
    digest.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_of_nothing_is_the_published_one() {
        let expected = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(digest_of_pattern(0), expected);
    }

    #[test]
    fn the_pattern_does_not_depend_on_how_it_is_cut() {
        let mut whole = [0u8; 40];
        Pattern::new().fill(&mut whole);
        let mut cut = [0u8; 40];
        let mut pattern = Pattern::new();
        pattern.fill(&mut cut[..24]);
        pattern.fill(&mut cut[24..]);
        assert_eq!(whole, cut);
    }
}
