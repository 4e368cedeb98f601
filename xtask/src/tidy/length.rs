//! Length of files and functions, without their tests.

use syn::spanned::Spanned;
use syn::visit::{self, Visit};

use super::Problem;
use super::source::{File, Tree, is_cfg_test, is_test_function};

/// The most lines of a file, tests not counted.
const FILE_LINES_MAX: usize = 700;
/// The most lines of a function, from its `fn` to its closing brace.
const FUNCTION_LINES_MAX: usize = 70;
/// The most lines of a function in a test, where a script or a table may be long.
const TEST_FUNCTION_LINES_MAX: usize = 120;

/// Files that are longer than they should be, with their present length. A number may go down and a
/// line go away, never the other way.
const LONG_FILES: &[(&str, usize)] = &[];
/// Functions that are longer than they should be, as `path::function`; likewise.
const LONG_FUNCTIONS: &[(&str, usize)] = &[];

pub(super) fn check(tree: &Tree) -> Vec<Problem> {
    check_with(tree, LONG_FILES, LONG_FUNCTIONS)
}

fn check_with(tree: &Tree, files: &[(&str, usize)], functions: &[(&str, usize)]) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (file, rust) in tree.rust() {
        let mut measure = Measure { in_test: file.is_test(), test_lines: 0, functions: Vec::new() };
        measure.visit_file(&rust.syntax);
        if !file.is_test() {
            let lines = file.text.lines().count() - measure.test_lines;
            let allowed = exception(files, &file.path).unwrap_or(FILE_LINES_MAX);
            problems.extend(too_long(file, 1, "the file", lines, allowed));
        }
        for function in &measure.functions {
            let usual = if function.in_test { TEST_FUNCTION_LINES_MAX } else { FUNCTION_LINES_MAX };
            let name = format!("{}::{}", file.path, function.name);
            let allowed = exception(functions, &name).unwrap_or(usual);
            let what = format!("function `{}`", function.name);
            problems.extend(too_long(file, function.line, &what, function.lines, allowed));
        }
    }
    problems
}

fn exception(list: &[(&str, usize)], name: &str) -> Option<usize> {
    list.iter().find(|(listed, _)| *listed == name).map(|(_, lines)| *lines)
}

fn too_long(file: &File, line: usize, what: &str, lines: usize, max: usize) -> Option<Problem> {
    let text = format!("{what} has {lines} lines, at most {max}; split it where it has two ideas");
    (lines > max).then(|| Problem::new(&file.path, line, text))
}

struct Function {
    name: String,
    line: usize,
    lines: usize,
    in_test: bool,
}

/// Walks a file and measures what it passes.
struct Measure {
    in_test: bool,
    test_lines: usize,
    functions: Vec<Function>,
}

impl Measure {
    fn function(
        &mut self,
        attributes: &[syn::Attribute],
        name: &syn::Ident,
        from: usize,
        to: usize,
    ) {
        let in_test = self.in_test || is_test_function(attributes);
        self.functions.push(Function {
            name: name.to_string(),
            line: from,
            lines: to - from + 1,
            in_test,
        });
    }
}

impl<'ast> Visit<'ast> for Measure {
    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        let outer = self.in_test;
        if is_cfg_test(&item.attrs) && !outer {
            self.in_test = true;
            let span = item.span();
            self.test_lines += span.end().line - span.start().line + 1;
        }
        visit::visit_item_mod(self, item);
        self.in_test = outer;
    }

    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        let from = item.sig.fn_token.span.start().line;
        self.function(&item.attrs, &item.sig.ident, from, item.block.span().end().line);
        visit::visit_item_fn(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        let from = item.sig.fn_token.span.start().line;
        self.function(&item.attrs, &item.sig.ident, from, item.block.span().end().line);
        visit::visit_impl_item_fn(self, item);
    }

    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        if let Some(block) = &item.default {
            let from = item.sig.fn_token.span.start().line;
            self.function(&item.attrs, &item.sig.ident, from, block.span().end().line);
        }
        visit::visit_trait_item_fn(self, item);
    }
}

#[cfg(test)]
mod tests {
    use super::super::source::tree_of;
    use super::*;

    fn found(path: &str, text: &str) -> Vec<String> {
        check(&tree_of(&[(path, text)])).iter().map(ToString::to_string).collect()
    }

    fn function(name: &str, lines: usize) -> String {
        format!("fn {name}() {{\n{}}}\n", "    step();\n".repeat(lines - 2))
    }

    #[test]
    fn a_function_of_seventy_lines_fits_and_one_of_seventy_one_does_not() {
        assert_eq!(found("a/src/lib.rs", &function("f", 70)), [""; 0]);
        let long = found("a/src/lib.rs", &format!("\n/// Doc.\n{}", function("f", 71)));
        let text = "a/src/lib.rs:3: function `f` has 71 lines, at most 70; split it where it has two ideas";
        assert_eq!(long, [text]);
    }

    #[test]
    fn methods_are_measured_as_functions_are() {
        let text = format!("struct S;\nimpl S {{\n{}}}\n", function("method", 71));
        assert_eq!(found("a/src/lib.rs", &text).len(), 1);
        let text = format!("trait T {{\n{}}}\n", function("method", 71));
        assert_eq!(found("a/src/lib.rs", &text).len(), 1);
    }

    #[test]
    fn tests_do_not_count_towards_the_length_of_their_file() {
        let statics = "static A: u8 = 0;\n".repeat(699);
        let module = format!("#[cfg(test)]\nmod tests {{\n{}}}\n", "static A: u8 = 0;\n".repeat(9));
        assert_eq!(found("a/src/lib.rs", &format!("{statics}{module}")), [""; 0]);
        let long = found("a/src/lib.rs", &format!("{statics}static B: u8 = 0;\nuse a;\n{module}"));
        assert!(long[0].starts_with("a/src/lib.rs:1: the file has 701 lines"), "{long:?}");
        assert_eq!(found("a/src/table/tests.rs", &"static A: u8 = 0;\n".repeat(900)), [""; 0]);
    }

    #[test]
    fn a_listed_file_may_keep_its_length_but_not_grow() {
        let tree = tree_of(&[("a/src/lib.rs", &"static A: u8 = 0;\n".repeat(800))]);
        assert!(check_with(&tree, &[("a/src/lib.rs", 800)], &[]).is_empty());
        assert_eq!(check_with(&tree, &[("a/src/lib.rs", 799)], &[]).len(), 1);
    }
}
