//! Text to words, with the place where each began.
//!
//! A line is split as a shell splits it: blanks part words, `'…'` and `"…"` keep blanks, a backslash
//! keeps the character after it and, at the end of a line, joins the next line; `#` at the start of a
//! word begins a comment. What only a shell could carry out (`$VARIABLES`, `;`, pipes) is an error
//! instead of a word that means something else.

use std::iter::Peekable;
use std::str::Chars;

/// Where something stands in a text. Both numbers start at 1; columns count characters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Place {
    /// The line.
    pub line: u32,
    /// The column.
    pub column: u32,
}

/// A word, its quotes taken off.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Word {
    /// What it says.
    pub text: String,
    /// Where it begins.
    pub place: Place,
}

impl AsRef<str> for Word {
    fn as_ref(&self) -> &str {
        &self.text
    }
}

/// Why a line could not be split.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SplitErrorKind {
    /// A quote that no second one ends on its line.
    #[error("this {0} is never closed")]
    UnclosedQuote(char),
    /// Something that only a shell could carry out.
    #[error("a rules file is not run by a shell: '{0}' has no meaning here")]
    Shell(char),
    /// A character that no rule contains.
    #[error("a control character (U+{:04X})", u32::from(*.0))]
    Control(char),
}

impl SplitErrorKind {
    /// What would be right.
    pub const fn help(self) -> &'static str {
        match self {
            SplitErrorKind::UnclosedQuote(_) => "close it on the same line",
            SplitErrorKind::Shell('$' | '`') => "write the value itself",
            SplitErrorKind::Shell(_) => {
                "write one command on each line; quote the character if it is meant"
            }
            SplitErrorKind::Control(_) => "remove it",
        }
    }
}

/// A line that could not be split, and where.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SplitError {
    /// What is wrong.
    pub kind: SplitErrorKind,
    /// Where.
    pub place: Place,
}

/// The lines of a text that have words, each split. Lines that end in a backslash are one with the next.
///
/// ```
/// let text = "# comment\n-A -t 192.0.2.1:80 \\\n   -s 'rr' # round robin\n";
/// let lines: Vec<_> = lvs_admin::words::lines(text).collect::<Result<_, _>>().unwrap();
/// assert_eq!(lines.len(), 1);
/// assert_eq!(lines[0][4].text, "rr");
/// assert_eq!((lines[0][4].place.line, lines[0][4].place.column), (3, 7));
/// ```
pub fn lines(text: &str) -> impl Iterator<Item = Result<Vec<Word>, SplitError>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    Lines { chars: text.chars().peekable(), place: Place { line: 1, column: 1 } }
}

struct Lines<'a> {
    chars: Peekable<Chars<'a>>,
    place: Place,
}

impl Iterator for Lines<'_> {
    type Item = Result<Vec<Word>, SplitError>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.chars.peek().is_some() {
            match self.line() {
                Ok(words) if words.is_empty() => {}
                Ok(words) => return Some(Ok(words)),
                Err(error) => {
                    while self.peek().is_some_and(|c| c != '\n') {
                        self.bump();
                    }
                    self.bump();
                    return Some(Err(error));
                }
            }
        }
        None
    }
}

impl Lines<'_> {
    /// The next character; a carriage return before the end of a line is none.
    fn peek(&mut self) -> Option<char> {
        if self.chars.peek() == Some(&'\r') {
            let mut ahead = self.chars.clone();
            ahead.next();
            if matches!(ahead.peek(), None | Some('\n')) {
                self.chars.next();
            }
        }
        self.chars.peek().copied()
    }

    fn bump(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.chars.next();
        if c == '\n' {
            self.place = Place { line: self.place.line.saturating_add(1), column: 1 };
        } else {
            self.place.column = self.place.column.saturating_add(1);
        }
        Some(c)
    }

    /// One line, its end included.
    fn line(&mut self) -> Result<Vec<Word>, SplitError> {
        let mut words = Vec::new();
        loop {
            match self.peek() {
                None => return Ok(words),
                Some('\n') => {
                    self.bump();
                    return Ok(words);
                }
                Some(' ' | '\t') => {
                    self.bump();
                }
                Some('#') => {
                    while self.peek().is_some_and(|c| c != '\n') {
                        self.bump();
                    }
                }
                Some(_) => {
                    let place = self.place;
                    if let Some(text) = self.word()? {
                        words.push(Word { text, place });
                    }
                }
            }
        }
    }

    /// One word; `None` if there was only a joined line end.
    fn word(&mut self) -> Result<Option<String>, SplitError> {
        let mut word = None;
        loop {
            let place = self.place;
            match self.peek() {
                None | Some(' ' | '\t' | '\n') => return Ok(word),
                Some(quote @ ('\'' | '"')) => self.quoted(quote, word.get_or_insert_default())?,
                Some('\\') => {
                    self.bump();
                    match self.bump() {
                        None => return Ok(word),
                        Some('\n') if word.is_none() => return Ok(None),
                        Some('\n') => {}
                        Some(c) => word.get_or_insert_default().push(c),
                    }
                }
                Some(c @ ('$' | '`' | ';' | '|' | '&' | '<' | '>')) => {
                    return Err(SplitError { kind: SplitErrorKind::Shell(c), place });
                }
                Some(c) if c.is_control() => {
                    return Err(SplitError { kind: SplitErrorKind::Control(c), place });
                }
                Some(c) => {
                    self.bump();
                    word.get_or_insert_default().push(c);
                }
            }
        }
    }

    /// What stands between two quotes, added to `word`.
    fn quoted(&mut self, quote: char, word: &mut String) -> Result<(), SplitError> {
        let start = self.place;
        let unclosed = SplitError { kind: SplitErrorKind::UnclosedQuote(quote), place: start };
        self.bump();
        loop {
            let place = self.place;
            match self.peek() {
                None | Some('\n') => return Err(unclosed),
                Some(c) if c == quote => {
                    self.bump();
                    return Ok(());
                }
                Some(c @ ('$' | '`')) if quote == '"' => {
                    return Err(SplitError { kind: SplitErrorKind::Shell(c), place });
                }
                Some('\\') if quote == '"' => {
                    self.bump();
                    match self.peek() {
                        Some(c @ ('"' | '\\' | '$' | '`')) => {
                            self.bump();
                            word.push(c);
                        }
                        _ => word.push('\\'),
                    }
                }
                Some(c) if c.is_control() && c != '\t' => {
                    return Err(SplitError { kind: SplitErrorKind::Control(c), place });
                }
                Some(c) => {
                    self.bump();
                    word.push(c);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(text: &str) -> Vec<Vec<String>> {
        lines(text).map(|l| l.unwrap().into_iter().map(|w| w.text).collect()).collect()
    }

    #[test]
    fn words_are_split_as_a_shell_splits_them() {
        assert_eq!(split("a  b\tc"), [["a", "b", "c"]]);
        assert_eq!(split("a 'b c' \"d 'e\" f\\ g"), [["a", "b c", "d 'e", "f g"]]);
        assert_eq!(split("a '' b"), [["a", "", "b"]]);
        assert_eq!(split("a\"b\"'c'"), [["abc"]]);
        assert_eq!(split("a \"\\\"\\x\""), [["a", "\"\\x"]]);
    }

    #[test]
    fn comments_and_blank_lines_are_nothing() {
        assert!(split("").is_empty());
        assert!(split("# a\n\n   \n\t# b").is_empty());
        assert_eq!(split("a # b\nc#d"), [vec!["a"], vec!["c#d"]]);
    }

    #[test]
    fn a_backslash_joins_lines_and_places_stay_true() {
        let lines: Vec<_> = lines("a \\\n  b\nc\\\nd\n").map(Result::unwrap).collect();
        assert_eq!(lines[0][1].place, Place { line: 2, column: 3 });
        assert_eq!(lines[1][0].text, "cd");
        assert_eq!(split("a \\"), [["a"]]);
        assert_eq!(split("\\\n\\\na"), [["a"]]);
    }

    #[test]
    fn line_ends_of_other_systems_and_byte_order_marks_are_taken() {
        assert_eq!(split("\u{feff}a b\r\nc\r\n"), [vec!["a", "b"], vec!["c"]]);
        assert_eq!(split("a \\\r\nb\r"), [["a", "b"]]);
    }

    #[test]
    fn an_error_is_located_and_the_next_line_goes_on() {
        let all: Vec<_> = lines("a 'b\nc\nd ü $e\nf").collect();
        let place = |line, column| Place { line, column };
        let quote = SplitError { kind: SplitErrorKind::UnclosedQuote('\''), place: place(1, 3) };
        assert_eq!(all[0], Err(quote));
        assert_eq!(all[1].as_ref().unwrap()[0].text, "c");
        assert_eq!(
            all[2],
            Err(SplitError { kind: SplitErrorKind::Shell('$'), place: place(3, 5) })
        );
        assert_eq!(all[3].as_ref().unwrap()[0].text, "f");
    }
}
