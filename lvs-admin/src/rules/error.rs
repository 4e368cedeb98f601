//! What is wrong in a rules file, where, and what would be right.

use std::fmt;

use crate::words::Place;

/// How much of a long line a message shows, in characters.
const SHOWN: usize = 120;

/// One mistake.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RuleError {
    /// The file, as the caller named it.
    pub file: String,
    /// The line, from 1.
    pub line: u32,
    /// The column, from 1, in characters.
    pub column: u32,
    /// What is wrong.
    pub message: String,
    /// What would be right; empty where the message says it.
    pub help: String,
    /// The line itself.
    pub source: String,
}

impl fmt::Display for RuleError {
    /// `FILE:LINE:COLUMN: message; help`, then the line with a mark under the column. What was typed is in
    /// no file.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.file.is_empty() {
            write!(f, "{}:{}:{}: ", self.file, self.line, self.column)?;
        }
        f.write_str(&self.message)?;
        if !self.help.is_empty() {
            write!(f, "; {}", self.help)?;
        }
        let column = self.column.saturating_sub(1) as usize;
        let skipped = if column < SHOWN { 0 } else { column - SHOWN / 2 };
        let cut = if skipped > 0 { "…" } else { "" };
        let shown = self.source.chars().skip(skipped).take(SHOWN);
        let clean = |c: char| if c.is_control() && c != '\t' { '\u{fffd}' } else { c };
        let shown: String = shown.map(clean).collect();
        let number = self.line.to_string();
        let margin = " ".repeat(number.len());
        write!(f, "\n  {number} | {cut}{shown}\n  {margin} | ")?;
        // Tabs stay tabs, so that the mark stands where the reader sees the column.
        let before = cut.chars().chain(shown.chars().take(column - skipped));
        for c in before {
            f.write_str(if c == '\t' { "\t" } else { " " })?;
        }
        f.write_str("^")
    }
}

impl std::error::Error for RuleError {}

/// All mistakes of a file, in the order of its lines.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RuleErrors {
    errors: Vec<RuleError>,
    /// How many more there were than are kept.
    more: usize,
}

impl RuleErrors {
    /// How many are kept; a file that is no rules file at all has a mistake in every line.
    const KEPT: usize = 100;

    pub(super) fn new(source: &Source, mut mistakes: Vec<Mistake>) -> RuleErrors {
        mistakes.sort_by_key(|(place, ..)| *place);
        let more = mistakes.len().saturating_sub(Self::KEPT);
        mistakes.truncate(Self::KEPT);
        let errors = mistakes.into_iter().map(|(place, m, h)| source.error(place, m, h));
        RuleErrors { errors: errors.collect(), more }
    }

    /// The mistakes, at most the first hundred.
    pub fn iter(&self) -> std::slice::Iter<'_, RuleError> {
        self.errors.iter()
    }

    /// How many mistakes there are.
    pub fn count(&self) -> usize {
        self.errors.len() + self.more
    }
}

impl<'a> IntoIterator for &'a RuleErrors {
    type Item = &'a RuleError;
    type IntoIter = std::slice::Iter<'a, RuleError>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for RuleErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, error) in self.errors.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{error}")?;
        }
        match self.more {
            0 => Ok(()),
            more => write!(f, "\n… and {more} more"),
        }
    }
}

impl std::error::Error for RuleErrors {}

/// Where a mistake is, what is wrong, and what would be right.
pub(super) type Mistake = (Place, String, String);

/// A mistake in a line, before its words are places in a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Fault {
    /// The index of the word to blame.
    pub(super) word: usize,
    pub(super) message: String,
    pub(super) help: String,
}

impl Fault {
    pub(super) fn new(word: usize, message: impl Into<String>, help: impl Into<String>) -> Fault {
        Fault { word, message: message.into(), help: help.into() }
    }
}

/// The text that errors quote.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Source {
    pub(super) file: String,
    pub(super) text: String,
}

impl Source {
    /// The error at a place.
    pub(super) fn error(&self, place: Place, message: String, help: String) -> RuleError {
        let text = self.text.strip_prefix('\u{feff}').unwrap_or(&self.text);
        let index = place.line.saturating_sub(1) as usize;
        RuleError {
            file: self.file.clone(),
            line: place.line,
            column: place.column,
            message,
            help,
            source: text.lines().nth(index).unwrap_or_default().to_owned(),
        }
    }
}
