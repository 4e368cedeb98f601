//! The options that ipvsadm does not have.

use std::path::PathBuf;

use super::Failure;

/// An option of our own, which may stand anywhere in a command line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OwnOption {
    /// Its word, with its dashes.
    pub long: &'static str,
    /// Its value.
    pub value: Option<&'static str>,
    /// What it does, for help texts.
    pub help: &'static str,
}

/// Every option of our own.
pub const OWN_OPTIONS: &[OwnOption] = &[
    OwnOption {
        long: "--socket",
        value: Some("PATH"),
        help: "the director's control socket; else $LVS_SOCKET, else /run/lvs/control.sock",
    },
    OwnOption { long: "--json", value: None, help: "list as JSON; numbers in full, no names" },
];

/// What was given of them.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Own {
    pub(super) socket: Option<PathBuf>,
    pub(super) json: bool,
}

impl Own {
    /// Takes our options out of the words; what is left is ipvsadm's.
    pub(super) fn take<'w>(words: &[&'w str]) -> Result<(Own, Vec<&'w str>), Failure> {
        let mut own = Own::default();
        let mut rest = Vec::with_capacity(words.len());
        let mut words = words.iter();
        while let Some(&word) = words.next() {
            if word == "--" {
                rest.push(word);
                rest.extend(words.by_ref());
            } else if word == "--json" {
                own.json = true;
            } else if word == "--socket" {
                let hint = "--socket PATH";
                let path = words.next().ok_or_else(|| {
                    let message = "--socket: missing argument";
                    Failure { hint: hint.to_owned(), ..Failure::refused(message) }
                })?;
                own.socket = Some(path.into());
            } else if let Some(path) = word.strip_prefix("--socket=") {
                own.socket = Some(path.into());
            } else {
                rest.push(word);
            }
        }
        Ok((own, rest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_options_may_stand_anywhere() {
        for line in
            ["--socket /s -L -n --json", "-L --json --socket=/s -n", "-L -n --json --socket /s"]
        {
            let words: Vec<&str> = line.split(' ').collect();
            let (own, rest) = Own::take(&words).unwrap();
            assert_eq!((own.json, own.socket, rest), (true, Some("/s".into()), vec!["-L", "-n"]));
        }
        assert_eq!(Own::take(&["-L", "--socket"]).unwrap_err().status, 255);
        assert_eq!(Own::take(&["--", "--json"]).unwrap().1, ["--", "--json"]);
    }
}
