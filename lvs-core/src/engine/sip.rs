//! The Call-ID of a SIP message, as the kernel finds it: rules E2 and E3, from `sip-call-id` and
//! `sip-characters`.

use super::DATA_MAX;

/// The name of the header (RFC 3261 §20.8), in any case.
const NAME: &[u8] = b"Call-ID";
/// Its short form (RFC 3261 §7.3.3), in any case.
const SHORT: u8 = b'i';
/// What a word may have besides letters and digits (RFC 3261 §25.1).
const WORD: &[u8] = b"-.!%*_+`'~()<>:\\\"/[]?{}";

/// The message's Call-ID: 1 to 255 bytes. `None` if there is none that is followed by the end of its line.
pub(super) fn call_id(message: &[u8]) -> Option<&[u8]> {
    let mut from = 0;
    loop {
        let value = value(message, from)?;
        let len = id_len(&message[value..]);
        if len > 0 {
            let end = value + len;
            let ends_line = message.get(end).is_some_and(|&byte| is_line_end(byte));
            return (ends_line && len <= DATA_MAX).then_some(&message[value..end]);
        }
        // A header whose value is no Call-ID is passed over. So far on, and not from there, goes the
        // kernel: of headers close behind each other it misses the third.
        from += value;
    }
}

/// Where the value of the first header of this name begins, looked for behind the next end of a line.
fn value(message: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    loop {
        at += message.get(at..)?.iter().position(|&byte| is_line_end(byte))?;
        let line = behind_line_end(message, at)?;
        if let Some(behind) = behind_name(message, line) {
            let colon = skip_blanks(message, behind)?;
            if message.get(colon) != Some(&b':') {
                return None;
            }
            return skip_blanks(message, colon + 1);
        }
        // The first byte of a line ends none: after an empty line that ends with one byte the kernel
        // does not see the next one.
        at = line + 1;
    }
}

/// Where the name of the header ends, if a line begins with it.
fn behind_name(message: &[u8], line: usize) -> Option<usize> {
    let rest = message.get(line..)?;
    if rest.get(..NAME.len()).is_some_and(|name| name.eq_ignore_ascii_case(NAME)) {
        return Some(line + NAME.len());
    }
    let &[first, second, ..] = rest else { return None };
    (first.eq_ignore_ascii_case(&SHORT) && !is_letter(second)).then_some(line + 1)
}

/// Where something else than blanks stands; a line's end counts as one if the next line begins with a
/// blank. `None` if the header ends there.
fn skip_blanks(message: &[u8], at: usize) -> Option<usize> {
    let behind = |at: usize| {
        let rest = message.get(at..)?;
        Some(at + rest.iter().position(|&byte| !is_blank(byte)).unwrap_or(rest.len()))
    };
    let at = behind(at)?;
    if !message.get(at).is_some_and(|&byte| is_line_end(byte)) {
        return Some(at);
    }
    let next = behind_line_end(message, at)?;
    if is_blank(message[next]) { behind(next) } else { None }
}

/// Where the line behind an end of a line (CR, LF or both) begins; `None` if nothing follows.
fn behind_line_end(message: &[u8], at: usize) -> Option<usize> {
    let both = message.get(at..at + 2) == Some(b"\r\n");
    let next = if both { at + 2 } else { at + 1 };
    (next < message.len()).then_some(next)
}

/// How long the Call-ID at the head of `text` is: `word` or `word@word` (RFC 3261 §25.1); 0 if none is.
fn id_len(text: &[u8]) -> usize {
    let word_len = |text: &[u8]| text.iter().take_while(|&&byte| is_of_word(byte)).count();
    let first = word_len(text);
    if first == 0 || text.get(first) != Some(&b'@') {
        return first;
    }
    match word_len(&text[first + 1..]) {
        0 => 0,
        second => first + 1 + second,
    }
}

fn is_line_end(byte: u8) -> bool {
    matches!(byte, b'\r' | b'\n')
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// A letter of ISO 8859-1, for the kernel takes text for that.
fn is_letter(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || matches!(byte, 0xc0..) && !matches!(byte, 0xd7 | 0xf7)
}

fn is_of_word(byte: u8) -> bool {
    is_letter(byte) || byte.is_ascii_digit() || WORD.contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::format;
    use std::vec::Vec;

    fn id(message: &str) -> Option<&str> {
        call_id(message.as_bytes()).map(|id| core::str::from_utf8(id).unwrap())
    }

    #[test]
    fn a_header_is_found_by_both_names_in_any_case_and_behind_any_end_of_a_line() {
        for name in ["Call-ID", "CALL-ID", "call-id", "i", "I"] {
            for end in ["\r\n", "\n", "\r"] {
                let message = format!("INVITE sip:a SIP/2.0{end}{name}: n1@h{end}CSeq: 1{end}");
                assert_eq!(id(&message), Some("n1@h"), "{message:?}");
            }
        }
        assert_eq!(id("x\r\nCall-ID \t:\t n1\r\n"), Some("n1"));
        assert_eq!(id("x\r\nCall-ID:\r\n n1\r\n"), Some("n1"), "a header goes on in the next line");
        assert_eq!(id("x\r\nSubject: a\r\n Call-ID: n9\r\nCall-ID: n1\r\n"), Some("n1"));
        assert_eq!(id("x\r\nInfo: y\r\ni:n1\r"), Some("n1"));
    }

    #[test]
    fn a_message_without_one_has_none() {
        for message in [
            "",
            "\r\n",
            "Call-ID: n1\r\n",
            "x\r\nXCall-ID: n1\r\n",
            "x\r\nCall-ID: n1",
            "x\r\nCall-ID: n1 \r\n",
            "x\r\nCall-ID: n1;y\r\n",
            "x\r\nCall-ID: n1@\r\n",
            "x\r\nCall-ID:\r\nCall-ID: n1\r\n",
            "x\r\nCall-ID-x: n0\r\nCall-ID: n1\r\n",
            "x\n\nCall-ID: n1\n",
        ] {
            assert_eq!(id(message), None, "{message:?}");
        }
    }

    #[test]
    fn values_that_are_none_are_passed_over() {
        assert_eq!(id("x\r\nCall-ID: @b\r\nCall-ID: n1\r\n"), Some("n1"));
        assert_eq!(id("x\r\nCall-ID: @b\r\nCall-ID: @c\r\nCall-ID: n1\r\n"), None);
    }

    #[test]
    fn an_id_has_at_most_255_bytes() {
        let message = |len| format!("x\r\ni:{}\r\n", "z".repeat(len));
        assert_eq!(id(&message(255)).map(str::len), Some(255));
        assert_eq!(id(&message(256)), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_harm(
            bytes in prop::collection::vec(
                prop_oneof![any::<u8>(), prop::sample::select(b"\r\n \tCall-IDi:@n;".to_vec())], 0..80,
            ),
        ) {
            let mut message: Vec<u8> = b"x\r\nCall-ID:".to_vec();
            message.extend(&bytes);
            for message in [&bytes, &message] {
                if let Some(id) = call_id(message) {
                    prop_assert!((1..=DATA_MAX).contains(&id.len()));
                }
            }
        }
    }
}
