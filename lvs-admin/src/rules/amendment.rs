//! Lines of iptables and sysctl that are typed at a running director.

use lvs_core::addr::Family;

use super::error::{Fault, RuleErrors, Source};
use super::iptables::{self, MarkChange};
use super::sysctl::{self, Setting};
use crate::names::Names;
use crate::words;

/// What lines change beside services and servers. Other than in a file, `-I`, `-D` and `-F` have a meaning:
/// there is something in front of which, or from which.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Amendment {
    /// Changes of mark rules, in order.
    pub marks: Vec<MarkChange>,
    /// Switches, in order.
    pub settings: Vec<Setting>,
}

impl Amendment {
    /// Reads lines of `iptables`, `ip6tables` and `sysctl`.
    ///
    /// # Errors
    /// Every mistake in them.
    pub fn parse(text: &str, names: &dyn Names) -> Result<Amendment, RuleErrors> {
        let mut amendment = Amendment::default();
        let mut mistakes = Vec::new();
        for words in words::lines(text) {
            let words = match words {
                Ok(words) => words,
                Err(error) => {
                    let help = error.kind.help().to_owned();
                    mistakes.push((error.place, error.kind.to_string(), help));
                    continue;
                }
            };
            let Some(first) = words.first() else { continue };
            if let Err(fault) = amendment.take(&words, names) {
                let place = words.get(fault.word).map_or(first.place, |word| word.place);
                mistakes.push((place, fault.message, fault.help));
            }
        }
        let source = Source { file: String::new(), text: text.to_owned() };
        if mistakes.is_empty() { Ok(amendment) } else { Err(RuleErrors::new(&source, mistakes)) }
    }

    fn take(&mut self, words: &[words::Word], names: &dyn Names) -> Result<(), Fault> {
        let mut mark = |family| {
            let change = iptables::parse_typed(family, words, names)?;
            self.marks.push(change);
            Ok(())
        };
        match words.first().map_or("", |word| word.text.as_str()) {
            "iptables" => mark(Family::V4),
            "ip6tables" => mark(Family::V6),
            "sysctl" => {
                self.settings.extend(sysctl::parse(words, 1)?);
                Ok(())
            }
            other => {
                let help = "only lines of iptables, ip6tables and sysctl change these";
                Err(Fault::new(0, format!("'{other}' cannot be added so"), help))
            }
        }
    }
}
