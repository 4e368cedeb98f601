//! A payload that is written out.

use super::error::{Mistake, Word};

/// What may follow a backslash, for bytes that a word cannot hold.
const ESCAPES: &[(u8, u8)] =
    &[(b'r', b'\r'), (b'n', b'\n'), (b't', b'\t'), (b's', b' '), (b'\\', b'\\')];

/// The bytes that the value of `data=` stands for.
pub(super) fn bytes(word: Word<'_>) -> Result<Vec<u8>, Mistake> {
    let mut found = Vec::with_capacity(word.text.len());
    let mut rest = word.text;
    while let Some(at) = rest.find('\\') {
        let (before, escape) = rest.split_at(at);
        found.extend_from_slice(before.as_bytes());
        let column = word.text.len() - escape.len();
        let (byte, after) = escaped(&escape[1..]).ok_or_else(|| {
            Mistake::at(word.rest(column), "after a backslash stands r, n, t, s (space), x and two hexadecimal digits, or a backslash")
        })?;
        found.push(byte);
        rest = after;
    }
    found.extend_from_slice(rest.as_bytes());
    Ok(found)
}

/// The byte of an escape without its backslash, and what follows.
fn escaped(text: &str) -> Option<(u8, &str)> {
    if let Some(hex) = text.strip_prefix('x') {
        let digits = hex.get(..2).filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()))?;
        return Some((u8::from_str_radix(digits, 16).ok()?, &hex[2..]));
    }
    let first = *text.as_bytes().first()?;
    let &(_, byte) = ESCAPES.iter().find(|(letter, _)| *letter == first)?;
    Some((byte, &text[1..]))
}
