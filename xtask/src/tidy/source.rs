//! The files that the checks look at, read and parsed once.

use std::str::FromStr;

use proc_macro2::TokenStream;

use super::Problem;
use crate::workspace::{Package, Workspace};

/// All files of the repository.
#[derive(Debug, Default)]
pub(super) struct Tree {
    /// Text files, Rust sources among them.
    pub(super) files: Vec<File>,
    /// Members of the workspace with the paths of their manifests, relative to the root.
    pub(super) packages: Vec<(String, Package)>,
}

/// One file.
#[derive(Debug)]
pub(super) struct File {
    /// Relative to the root, with `/`.
    pub(super) path: String,
    /// Its text.
    pub(super) text: String,
    /// What it says, if it is Rust.
    pub(super) rust: Option<Rust>,
}

/// A parsed Rust source.
pub(super) struct Rust {
    /// Items and expressions; macro calls are opaque here.
    pub(super) syntax: syn::File,
    /// Every token, those of macro calls included.
    pub(super) tokens: TokenStream,
}

impl std::fmt::Debug for Rust {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Rust { .. }")
    }
}

impl Tree {
    /// Reads the files; the second part are those that cannot be parsed. Files that are not text are left
    /// out.
    pub(super) fn read(workspace: &Workspace) -> Result<(Tree, Vec<Problem>), String> {
        let mut tree = Tree::default();
        let mut problems = Vec::new();
        for path in workspace.files()? {
            let bytes = std::fs::read(workspace.root.join(&path))
                .map_err(|e| format!("cannot read {path}: {e}"))?;
            let Ok(text) = String::from_utf8(bytes) else { continue };
            match File::new(&path, text) {
                Ok(file) => tree.files.push(file),
                Err(problem) => problems.push(problem),
            }
        }
        for package in Workspace::find()?.packages {
            tree.packages.push((workspace.relative(&package.manifest_path), package));
        }
        Ok((tree, problems))
    }

    /// The Rust sources.
    pub(super) fn rust(&self) -> impl Iterator<Item = (&File, &Rust)> {
        self.files.iter().filter_map(|file| Some((file, file.rust.as_ref()?)))
    }
}

impl File {
    /// A file of the given text.
    pub(super) fn new(path: &str, text: String) -> Result<File, Problem> {
        let rust = if path.ends_with(".rs") { Some(Rust::parse(path, &text)?) } else { None };
        Ok(File { path: path.to_owned(), text, rust })
    }

    /// Whether the whole file is test code.
    pub(super) fn is_test(&self) -> bool {
        self.path.split('/').any(|part| part == "tests" || part == "tests.rs")
    }
}

impl Rust {
    fn parse(path: &str, text: &str) -> Result<Rust, Problem> {
        let unread = |line: usize, e: String| {
            Problem::new(path, line, format!("not Rust that can be read ({e}); does it compile?"))
        };
        let syntax =
            syn::parse_file(text).map_err(|e| unread(e.span().start().line, e.to_string()))?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let tokens = TokenStream::from_str(text)
            .map_err(|e| unread(e.span().start().line, e.to_string()))?;
        Ok(Rust { syntax, tokens })
    }
}

/// Whether attributes say `#[cfg(test)]` or `#[cfg(all(test, …))]`.
pub(super) fn is_cfg_test(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let syn::Meta::List(list) = &attribute.meta else { return false };
        let condition = list.tokens.to_string().replace(' ', "");
        list.path.is_ident("cfg") && (condition == "test" || condition.starts_with("all(test,"))
    })
}

/// Whether attributes mark a test.
pub(super) fn is_test_function(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| attribute.path().is_ident("test"))
}

#[cfg(test)]
pub(super) fn tree_of(files: &[(&str, &str)]) -> Tree {
    let file = |(path, text): &(&str, &str)| File::new(path, (*text).to_owned()).unwrap();
    Tree { files: files.iter().map(file).collect(), packages: Vec::new() }
}
