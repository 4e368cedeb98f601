//! The documents that people read first.

use super::Problem;
use super::source::{File, Tree};

/// Documents that the repository always has, and a heading each must hold.
const DOCUMENTS: &[(&str, &str)] = &[
    ("README.md", "# lvs"),
    ("CONTRIBUTING.md", "# "),
    ("ARCHITECTURE.md", "# "),
    ("CHANGELOG.md", "## [Unreleased]"),
    ("LICENSE-MIT", ""),
    ("LICENSE-APACHE", ""),
];

pub(super) fn check(tree: &Tree) -> Vec<Problem> {
    let find = |path: &str| tree.files.iter().find(|file| file.path == path);
    let mut problems = Vec::new();
    for (path, heading) in DOCUMENTS {
        match find(path) {
            None => problems.push(Problem::new(path, 1, "the document is missing; write it")),
            Some(file) if !file.text.lines().any(|line| line.starts_with(heading)) => {
                let what = format!("the heading `{heading}` is missing; add it");
                problems.push(Problem::new(path, 1, what));
            }
            Some(_) => {}
        }
    }
    for file in tree.files.iter().filter(|file| file.path.ends_with(".md")) {
        problems.extend(dead_links(file, tree));
    }
    problems.extend(without_example(tree));
    problems
}

/// Public modules of lvs-core that neither have an example nor lead to one in the manual.
fn without_example(tree: &Tree) -> Vec<Problem> {
    let root = tree.files.iter().find(|file| file.path == "lvs-core/src/lib.rs");
    let declarations = root.map(|file| file.text.lines()).into_iter().flatten();
    let names = declarations.filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'));
    let mut problems = Vec::new();
    for name in names {
        let places = [".rs", "/mod.rs"].map(|end| format!("lvs-core/src/{name}{end}"));
        let file = tree.files.iter().find(|file| places.contains(&file.path));
        if let Some(file) = file.filter(|file| name != "manual" && !has_example(&file.text)) {
            let what = "the module has no example; give it one, or a link to the manual's";
            problems.push(Problem::new(&file.path, 1, what));
        }
    }
    problems
}

/// Whether the documentation in a file has a block of code, or a link to the manual.
fn has_example(text: &str) -> bool {
    let mut within = false;
    text.lines().map(str::trim_start).any(|line| {
        let doc = line.strip_prefix("//!").or(line.strip_prefix("///")).map(str::trim_start);
        let Some(doc) = doc else { return false };
        let Some(kind) = doc.strip_prefix("```") else { return doc.contains("crate::manual") };
        within = !within;
        within && ["", "no_run"].contains(&kind)
    })
}

/// Relative links that lead to no file of the repository.
fn dead_links(file: &File, tree: &Tree) -> Vec<Problem> {
    let directory = file.path.rsplit_once('/').map_or("", |(directory, _)| directory);
    let exists = |target: &str| {
        let path = joined(directory, target);
        let inside = format!("{path}/");
        path.is_empty()
            || tree.files.iter().any(|file| file.path == path || file.path.starts_with(&inside))
    };
    let mut problems = Vec::new();
    for (line, number) in file.text.lines().zip(1..) {
        for target in links(line) {
            if !exists(target) {
                let what = format!("the link to `{target}` leads nowhere; mend or remove it");
                problems.push(Problem::new(&file.path, number, what));
            }
        }
    }
    problems
}

/// Targets of `[text](target)` in a line, without those on the web and within the page.
fn links(line: &str) -> Vec<&str> {
    let targets = line.split("](").skip(1).filter_map(|rest| rest.split([')', '#', ' ']).next());
    targets.filter(|target| !target.is_empty() && !target.contains("://")).collect()
}

/// `target` as seen from `directory`, with `..` resolved.
fn joined(directory: &str, target: &str) -> String {
    let mut parts: Vec<&str> = directory.split('/').filter(|part| !part.is_empty()).collect();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::super::source::tree_of;
    use super::*;

    #[test]
    fn a_link_that_leads_nowhere_is_found() {
        let page = "See [a](../a.md#part), [b](b.md) and [web](https://example.org/x).";
        let tree = tree_of(&[("doc/page.md", page), ("a.md", "")]);
        let problems = dead_links(&tree.files[0], &tree);
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].what.contains("`b.md`"), "{problems:?}");
    }

    #[test]
    fn a_public_module_of_the_core_has_an_example_or_a_link_to_one() {
        let tree = tree_of(&[
            ("lvs-core/src/lib.rs", "pub mod a;\npub mod b;\npub mod c;\nmod d;\n"),
            ("lvs-core/src/a.rs", "//! A.\n//!\n//! ```\n//! f();\n//! ```\n"),
            ("lvs-core/src/b/mod.rs", "//! See [the manual](crate::manual::feeding)."),
            ("lvs-core/src/c.rs", "//! C.\n//!\n//! ```text\n//! a picture\n//! ```\n"),
            ("lvs-core/src/d.rs", "//! D."),
        ]);
        let found: Vec<String> = without_example(&tree).iter().map(|p| p.path.clone()).collect();
        assert_eq!(found, ["lvs-core/src/c.rs"]);
    }

    #[test]
    fn a_changelog_without_unreleased_is_a_problem() {
        let tree = tree_of(&[("CHANGELOG.md", "# Changelog\n\n## [1.0.0]\n")]);
        let problems = check(&tree);
        let text = "CHANGELOG.md:1: the heading `## [Unreleased]` is missing; add it";
        assert!(problems.iter().any(|problem| problem.to_string() == text), "{problems:?}");
    }
}
