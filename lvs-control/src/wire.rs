//! Lines of bounded length over a stream.

use std::io::{self, BufRead, Write};

use serde::Serialize;

/// Why no line could be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("a line is longer than {0} bytes")]
    TooLong(usize),
    #[error("the other side closed the connection in the middle of a line")]
    Cut,
}

/// Reads a line without its newline into `line`, which is emptied first; `None` at the end of the stream.
/// `more` is asked before further bytes are kept, with the length that the line has by then.
pub(crate) fn read_line<'l>(
    from: &mut impl BufRead,
    line: &'l mut Vec<u8>,
    longest: usize,
    more: &mut dyn FnMut(usize) -> io::Result<()>,
) -> Result<Option<&'l [u8]>, ReadError> {
    line.clear();
    loop {
        let bytes = match from.fill_buf() {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error.into()),
        };
        if bytes.is_empty() {
            return if line.is_empty() { Ok(None) } else { Err(ReadError::Cut) };
        }
        let end = bytes.iter().position(|byte| *byte == b'\n');
        let used = end.unwrap_or(bytes.len());
        if line.len() + used >= longest {
            return Err(ReadError::TooLong(longest));
        }
        more(line.len() + used)?;
        line.extend_from_slice(&bytes[..used]);
        from.consume(used + usize::from(end.is_some()));
        if end.is_some() {
            return Ok(Some(line));
        }
    }
}

/// Writes a value as a line. `line` is scratch.
pub(crate) fn write_line(
    to: &mut impl Write,
    line: &mut Vec<u8>,
    value: &impl Serialize,
) -> io::Result<()> {
    line.clear();
    serde_json::to_writer(&mut *line, value)?;
    line.push(b'\n');
    to.write_all(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str, longest: usize) -> Result<Vec<String>, String> {
        // A buffer of three bytes, so that lines come in pieces.
        let mut from = io::BufReader::with_capacity(3, text.as_bytes());
        let (mut line, mut lines) = (Vec::new(), Vec::new());
        loop {
            match read_line(&mut from, &mut line, longest, &mut |_| Ok(())) {
                Ok(None) => return Ok(lines),
                Ok(Some(line)) => lines.push(String::from_utf8_lossy(line).into_owned()),
                Err(error) => return Err(error.to_string()),
            }
        }
    }

    #[test]
    fn lines_are_read_whole_however_they_come() {
        assert_eq!(lines("one\n\ntwo three\n", 20).unwrap(), ["one", "", "two three"]);
        assert_eq!(lines("", 20).unwrap(), [""; 0]);
    }

    #[test]
    fn a_line_that_is_too_long_or_cut_is_refused() {
        assert_eq!(lines("0123456789\n", 11).unwrap().len(), 1);
        assert!(lines("01234567890\n", 11).unwrap_err().contains("longer than 11 bytes"));
        assert!(lines("whole\nhal", 20).unwrap_err().contains("in the middle of a line"));
    }
}
