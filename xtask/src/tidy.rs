//! Checks of the sources themselves: rules of the house that no compiler knows.
//!
//! Each check is a module with one function from the [`Tree`] to its [`Problem`]s and one line in
//! [`CHECKS`].

mod documents;
mod imports;
mod length;
mod manifests;
mod names;
mod source;
mod text;
mod tokens;

use std::fmt;

use crate::tidy::source::Tree;
use crate::workspace::Workspace;

/// Something that breaks a rule.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Problem {
    path: String,
    line: usize,
    /// What is wrong and what to do.
    what: String,
}

impl Problem {
    fn new(path: &str, line: usize, what: impl Into<String>) -> Problem {
        Problem { path: path.to_owned(), line, what: what.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.what)
    }
}

/// A check: the rule in a few words, and the function that finds what breaks it.
struct Check {
    rule: &'static str,
    find: fn(&Tree) -> Vec<Problem>,
}

const CHECKS: &[Check] = &[
    Check { rule: "files and functions fit in a head", find: length::check },
    Check { rule: "modules and crates import what their room allows", find: imports::check },
    Check { rule: "names are those of the field", find: names::check },
    Check { rule: "no #[allow]; unsafe only where it is expected", find: tokens::check },
    Check { rule: "no path of one machine, no promise without an issue", find: text::check },
    Check { rule: "every crate takes the workspace's lints", find: manifests::check },
    Check { rule: "documents are whole", find: documents::check },
];

/// Runs every check over every file that git knows or would add.
pub(crate) fn run(workspace: &Workspace) -> Result<(), String> {
    let (tree, mut problems) = Tree::read(workspace)?;
    for check in CHECKS {
        let found = (check.find)(&tree);
        let word = if found.is_empty() { "ok" } else { "BROKEN" };
        println!("{:52} {word}", check.rule);
        problems.extend(found);
    }
    problems.sort();
    problems.dedup();
    for problem in &problems {
        println!("{problem}");
    }
    match problems.len() {
        0 => Ok(()),
        1 => Err("1 place breaks a rule of the house".into()),
        n => Err(format!("{n} places break a rule of the house")),
    }
}
