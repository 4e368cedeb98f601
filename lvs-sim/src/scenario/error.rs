//! What is wrong with a scenario, and where.

use thiserror::Error;

/// A mistake in a scenario file: `file:line:column: what is wrong; what would be right`.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[error("{file}:{line}:{column}: {message}")]
pub struct ScenarioError {
    /// The file as the caller named it.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// What is wrong and what would be right.
    pub message: String,
}

/// A mistake within a line, before the file and the line are known.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Mistake {
    pub(super) column: usize,
    pub(super) message: String,
}

impl Mistake {
    pub(super) fn at(word: Word<'_>, message: impl Into<String>) -> Mistake {
        Mistake { column: word.column, message: message.into() }
    }

    pub(super) fn in_file(self, file: &str, line: usize) -> ScenarioError {
        ScenarioError { file: file.to_owned(), line, column: self.column, message: self.message }
    }
}

/// A word of a line and the column it begins at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Word<'a> {
    pub(super) text: &'a str,
    pub(super) column: usize,
}

impl<'a> Word<'a> {
    /// The part of the word from byte `from` to byte `to`, with its own column.
    pub(super) fn part(self, from: usize, to: usize) -> Word<'a> {
        let column = self.column + self.text[..from].chars().count();
        Word { text: &self.text[from..to], column }
    }

    /// The word's rest from byte `from` on.
    pub(super) fn rest(self, from: usize) -> Word<'a> {
        self.part(from, self.text.len())
    }
}

/// The words of a line, with their columns.
pub(super) fn words(line: &str) -> Vec<Word<'_>> {
    let mut found = Vec::new();
    let mut start: Option<(usize, usize)> = None;
    let mut column = 0;
    for (at, c) in line.char_indices() {
        column += 1;
        match (c.is_whitespace(), start) {
            (true, Some((from, col))) => {
                found.push(Word { text: &line[from..at], column: col });
                start = None;
            }
            (false, None) => start = Some((at, column)),
            _ => {}
        }
    }
    if let Some((from, col)) = start {
        found.push(Word { text: &line[from..], column: col });
    }
    found
}

/// Takes the words of a line one after the other.
#[derive(Clone, Debug)]
pub(super) struct Words<'a> {
    words: std::collections::VecDeque<Word<'a>>,
    end: usize,
}

impl<'a> Words<'a> {
    pub(super) fn of(line: &'a str) -> Words<'a> {
        Words { words: words(line).into(), end: line.trim_end().chars().count() + 1 }
    }

    pub(super) fn peek(&self) -> Option<&'a str> {
        self.words.front().map(|word| word.text)
    }

    pub(super) fn take(&mut self) -> Option<Word<'a>> {
        self.words.pop_front()
    }

    /// The next word, or a mistake at the end of the line that says what should stand there.
    pub(super) fn expect(&mut self, what: &str) -> Result<Word<'a>, Mistake> {
        let end = self.end;
        self.take().ok_or_else(|| Mistake {
            column: end,
            message: format!("the line ends too early; expected {what}"),
        })
    }

    /// Whether the next word is `text`; takes it if so.
    pub(super) fn skip(&mut self, text: &str) -> bool {
        let is_next = self.peek() == Some(text);
        if is_next {
            self.words.pop_front();
        }
        is_next
    }

    /// Refuses words that are left over.
    pub(super) fn finish(&mut self, usage: &str) -> Result<(), Mistake> {
        match self.take() {
            None => Ok(()),
            Some(word) => Err(Mistake::at(
                word,
                format!("'{}' is one word too many; the line is {usage}", word.text),
            )),
        }
    }
}
