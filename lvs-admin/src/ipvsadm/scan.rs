//! Words to commands and options with their values, by the rules of popt(3), which ipvsadm uses: letters
//! may be run together, a value may be attached or be the next word whatever that begins with, words
//! without a dash may stand anywhere, `--` ends the options, and long names are never abbreviated.

use super::refusal::RefusalKind;
use super::table::{OPTIONS, OptionInfo, VERBS, Value, VerbInfo};

/// Something with a dash.
pub(super) struct Item<'a> {
    pub(super) kind: ItemKind,
    /// Its value, with the index of the word that holds it.
    pub(super) value: Option<(&'a str, usize)>,
    /// The index of its own word.
    pub(super) word: usize,
}

pub(super) enum ItemKind {
    Option(&'static OptionInfo),
    Verb(&'static VerbInfo),
}

impl ItemKind {
    fn value(&self) -> Value {
        match self {
            ItemKind::Option(info) => info.value,
            ItemKind::Verb(info) => info.value,
        }
    }

    fn by_letter(letter: char) -> Option<ItemKind> {
        let option = OPTIONS.iter().find(|o| o.short == Some(letter)).map(ItemKind::Option);
        option.or_else(|| VERBS.iter().find(|v| v.short.contains(&letter)).map(ItemKind::Verb))
    }

    fn by_name(name: &str) -> Option<ItemKind> {
        let option = OPTIONS.iter().find(|o| o.long == name).map(ItemKind::Option);
        option.or_else(|| VERBS.iter().find(|v| v.long == name).map(ItemKind::Verb))
    }
}

pub(super) struct Scanner<'a, W> {
    words: &'a [W],
    next: usize,
    /// The word of run-together letters that is being read, and what is left of it.
    letters: Option<(usize, &'a str)>,
    options_ended: bool,
    /// The indexes of the words without a dash.
    pub(super) bare: Vec<usize>,
}

impl<'a, W: AsRef<str>> Scanner<'a, W> {
    pub(super) fn new(words: &'a [W]) -> Self {
        Scanner { words, next: 0, letters: None, options_ended: false, bare: Vec::new() }
    }

    pub(super) fn word(&self, index: usize) -> &'a str {
        self.words[index].as_ref()
    }

    /// The next command or option; an error comes with the index of its word.
    pub(super) fn next(&mut self) -> Result<Option<Item<'a>>, (RefusalKind, usize)> {
        loop {
            if let Some((word, rest)) = self.letters.take() {
                let mut rest = rest.chars();
                if let Some(letter) = rest.next() {
                    return self.letter(letter, rest.as_str(), word).map(Some);
                }
            }
            if self.next == self.words.len() {
                return Ok(None);
            }
            let index = self.next;
            self.next += 1;
            let word = self.word(index);
            match word.strip_prefix('-') {
                _ if self.options_ended => self.bare.push(index),
                None | Some("") => self.bare.push(index),
                Some("-") => self.options_ended = true,
                Some(rest) => match rest.strip_prefix('-') {
                    Some(long) => return self.long(long, index).map(Some),
                    None => self.letters = Some((index, rest)),
                },
            }
        }
    }

    fn letter(
        &mut self,
        letter: char,
        rest: &'a str,
        word: usize,
    ) -> Result<Item<'a>, (RefusalKind, usize)> {
        let Some(kind) = ItemKind::by_letter(letter) else {
            return Err((RefusalKind::UnknownOption(self.word(word).to_owned()), word));
        };
        let attached = (!rest.is_empty()).then(|| rest.strip_prefix('=').unwrap_or(rest));
        let value = match kind.value() {
            Value::No => {
                self.letters = Some((word, rest));
                None
            }
            wanted => match attached {
                Some(value) => Some((value, word)),
                None => self.next_word(wanted, word)?,
            },
        };
        Ok(Item { kind, value, word })
    }

    fn long(&mut self, long: &'a str, word: usize) -> Result<Item<'a>, (RefusalKind, usize)> {
        let (name, attached) = match long.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (long, None),
        };
        let Some(kind) = ItemKind::by_name(name) else {
            return Err((RefusalKind::UnknownOption(self.word(word).to_owned()), word));
        };
        let value = match (kind.value(), attached) {
            (Value::No, Some(_)) => {
                return Err((RefusalKind::UnwantedValue(self.word(word).to_owned()), word));
            }
            (Value::No, None) => None,
            (_, Some(value)) => Some((value, word)),
            (wanted, None) => self.next_word(wanted, word)?,
        };
        Ok(Item { kind, value, word })
    }

    /// The next word as a value.
    fn next_word(
        &mut self,
        wanted: Value,
        word: usize,
    ) -> Result<Option<(&'a str, usize)>, (RefusalKind, usize)> {
        let optional = matches!(wanted, Value::Optional(_));
        let next = self.words.get(self.next).map(AsRef::as_ref);
        match next {
            Some(value) if !(optional && value.starts_with('-')) => {
                self.next += 1;
                // A value may be set off by an equals sign even as a word of its own.
                Ok(Some((value.strip_prefix('=').unwrap_or(value), self.next - 1)))
            }
            _ if optional => Ok(None),
            _ => Err((RefusalKind::MissingValue(self.word(word).to_owned()), word)),
        }
    }
}
