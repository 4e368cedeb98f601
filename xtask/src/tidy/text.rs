//! What no line of any text file should hold.

use super::Problem;
use super::source::Tree;

/// Files whose text is not ours.
const FOREIGN: &[&str] = &["Cargo.lock", "LICENSE-APACHE", "LICENSE-MIT"];

/// Beginnings of paths that only some machine has.
const MACHINE_PATHS: &[&str] =
    &[concat!("/", "home/"), concat!("/", "Users/"), concat!("/", "root/"), concat!("/", "work/")];

/// Words that promise work.
const PROMISES: &[&str] = &[concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];

pub(super) fn check(tree: &Tree) -> Vec<Problem> {
    let mut problems = Vec::new();
    for file in &tree.files {
        let name = file.path.rsplit('/').next().unwrap_or_default();
        if FOREIGN.contains(&name) {
            continue;
        }
        for (line, number) in file.text.lines().zip(1..) {
            problems.extend(objection(line).map(|what| Problem::new(&file.path, number, what)));
        }
    }
    problems
}

fn objection(line: &str) -> Option<String> {
    if let Some(path) = MACHINE_PATHS.iter().find(|path| begins_somewhere(line, path)) {
        return Some(format!(
            "`{path}…` is a path of one machine; make it relative or an argument"
        ));
    }
    if let Some(word) = PROMISES.iter().find(|word| is_open_promise(line, word)) {
        return Some(format!(
            "write `{word}(#NUMBER): …` with the number of an issue, or do it now"
        ));
    }
    let conflict = ["<<<<<<< ", ">>>>>>> "].iter().any(|mark| line.starts_with(mark));
    conflict.then(|| "a merge conflict was left behind; resolve it".to_owned())
}

/// Whether an absolute path begins with `path` in the line: what stands before it is no part of a
/// relative path.
fn begins_somewhere(line: &str, path: &str) -> bool {
    line.match_indices(path).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || "._-~$})]*/".contains(c))
    })
}

/// Whether the line has the word without an issue number behind it.
fn is_open_promise(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let is_word = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
        let rest = &line[at + word.len()..];
        let alone = !is_word(line[..at].chars().next_back()) && !is_word(rest.chars().next());
        let numbered = rest.strip_prefix("(#").is_some_and(|r| r.starts_with(char::is_numeric));
        alone && !numbered
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_of_one_machine_is_refused_and_a_relative_one_is_not() {
        let [home, _, _, work] = MACHINE_PATHS else { panic!("four") };
        assert!(objection(&format!("see {home}me/lvs")).is_some());
        assert!(objection(&format!("\"{work}main\"")).is_some());
        assert!(objection(&format!("dir{home}me, ..{work}, $X{work}")).is_none());
    }

    #[test]
    fn a_promise_needs_an_issue() {
        let todo = PROMISES[0];
        assert!(objection(&format!("// {todo}: later")).is_some());
        assert!(objection(&format!("// {todo}(#12): later")).is_none());
        assert!(objection(&format!("AUTO{todo}S")).is_none());
    }

    #[test]
    fn a_left_merge_conflict_is_refused() {
        assert!(objection("<<<<<<< HEAD").is_some());
        assert!(objection("a <<<<<<< b").is_none());
    }
}
