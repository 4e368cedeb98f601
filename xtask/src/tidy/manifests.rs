//! What every manifest of the workspace says.

use super::Problem;
use super::source::Tree;

pub(super) fn check(tree: &Tree) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (path, package) in &tree.packages {
        let text = tree.files.iter().find(|file| file.path == *path).map(|file| file.text.as_str());
        let text = text.unwrap_or_default();
        let published = if package.is_published() { PUBLISHED } else { &[] };
        for (table, line) in REQUIRED.iter().chain(published) {
            if !has_line(text, table, line) {
                let what = format!("{}: add `{line}` under `{table}`", package.name);
                problems.push(Problem::new(path, 1, what));
            }
        }
        for (line, number) in own_versions(text) {
            let what = format!(
                "`{line}` has a version of its own; put it into [workspace.dependencies] of the root \
                 and write `{{ workspace = true }}` here"
            );
            problems.push(Problem::new(path, number, what));
        }
    }
    problems
}

/// Lines that every member's manifest has, with their tables.
const REQUIRED: &[(&str, &str)] = &[
    ("[lints]", "workspace = true"),
    ("[package]", "edition.workspace = true"),
    ("[package]", "rust-version.workspace = true"),
    ("[package]", "license.workspace = true"),
];

/// Lines that the manifest of a published crate has besides: `begin =` stands for any value.
const PUBLISHED: &[(&str, &str)] = &[
    ("[package]", "description ="),
    ("[package]", "repository.workspace = true"),
    ("[package]", "documentation ="),
    ("[package]", "readme = \"README.md\""),
    ("[package]", "keywords.workspace = true"),
    ("[package]", "include ="),
    ("[package.metadata.docs.rs]", "all-features = true"),
];

/// Each line with the table it stands in and its number, comments and blank lines left out.
fn lines_with_tables(text: &str) -> impl Iterator<Item = (&str, &str, usize)> {
    let mut table = "";
    text.lines().zip(1..).filter_map(move |(line, number)| {
        let line = line.trim();
        if line.starts_with('[') {
            table = line;
        }
        (!line.is_empty() && !line.starts_with(['#', '['])).then_some((table, line, number))
    })
}

fn has_line(text: &str, table: &str, wanted: &str) -> bool {
    lines_with_tables(text).any(|(within, line, _)| {
        within == table && (line == wanted || wanted.ends_with(" =") && line.starts_with(wanted))
    })
}

/// Dependencies that name a version instead of taking the workspace's.
fn own_versions(text: &str) -> Vec<(&str, usize)> {
    lines_with_tables(text)
        .filter(|(table, line, _)| {
            let is_dependency = table.trim_end_matches(']').ends_with("dependencies");
            is_dependency && !line.contains("workspace = true")
        })
        .filter(|(_, line, _)| line.contains(" = "))
        .map(|(_, line, number)| (line, number))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_counts_only_in_its_own_table() {
        let text = "[package]\nname = \"a\"\n\n[lints]\nworkspace = true\n";
        assert!(has_line(text, "[lints]", "workspace = true"));
        assert!(!has_line(text, "[package]", "workspace = true"));
    }

    #[test]
    fn a_dependency_with_a_version_of_its_own_is_found() {
        let text = "[dependencies]\na = { workspace = true }\nb = \"1\"\n\
                    [target.'cfg(unix)'.dev-dependencies]\nc = { version = \"2\" }\n";
        assert_eq!(own_versions(text), [("b = \"1\"", 3), ("c = { version = \"2\" }", 5)]);
    }
}
