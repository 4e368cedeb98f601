//! `#[allow]`, and `unsafe` outside the files that are there for it; looked for token by token, because
//! macro calls hide them from the syntax tree.

use proc_macro2::{Delimiter, TokenStream, TokenTree};

use super::Problem;
use super::source::Tree;

/// Where `unsafe` may stand: a path, or a prefix of paths that ends with `/`, and the reason.
const UNSAFE_PLACES: &[(&str, &str)] = &[
    ("lvs-core/src/prefetch.rs", "a prefetch, earned by a measurement"),
    ("lvs-io-afpacket/src/sys.rs", "system calls"),
    ("lvs-io-afpacket/src/ring.rs", "the ring that the kernel shares"),
    ("lvs-io-linux/src/sys.rs", "system calls"),
    ("lvs-io-tap/src/sys.rs", "system calls"),
    ("lvs-io-tap/examples/system_calls.rs", "io_uring, which it is compared with"),
    ("lvs-realserver/src/sys.rs", "system calls"),
    ("benches/src/limit.rs", "the prefetch of the limit that the core is compared with"),
    ("fuzz/src/memory.rs", "an allocator that counts"),
    ("lvs-core/tests/allocations.rs", "an allocator that counts"),
    ("lvs-testnet/", "namespaces and raw sockets of tests"),
    ("conformance/oracle/xstate.rs", "stands before libc's ptrace"),
    ("examples/freestanding/", "an entry point and an allocator of its own"),
];

pub(super) fn check(tree: &Tree) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (file, rust) in tree.rust() {
        let may_be_unsafe = UNSAFE_PLACES.iter().any(|(place, _)| {
            file.path == *place || place.ends_with('/') && file.path.starts_with(place)
        });
        let mut walk = Walk { path: &file.path, may_be_unsafe, problems: &mut problems };
        walk.tokens(&rust.tokens);
    }
    problems
}

struct Walk<'a> {
    path: &'a str,
    may_be_unsafe: bool,
    problems: &'a mut Vec<Problem>,
}

impl Walk<'_> {
    fn tokens(&mut self, tokens: &TokenStream) {
        let mut after_hash = false;
        for token in tokens.clone() {
            match token {
                TokenTree::Punct(punct) => {
                    after_hash = punct.as_char() == '#' || after_hash && punct.as_char() == '!';
                    continue;
                }
                TokenTree::Group(group) => {
                    if after_hash && group.delimiter() == Delimiter::Bracket {
                        self.attribute(&group.stream());
                    }
                    self.tokens(&group.stream());
                }
                TokenTree::Ident(ident) if ident == "unsafe" && !self.may_be_unsafe => {
                    let what = "no `unsafe` here; the places for it are in UNSAFE_PLACES of \
                                xtask/src/tidy/tokens.rs, each with its reason";
                    self.problem(ident.span().start().line, what);
                }
                _ => {}
            }
            after_hash = false;
        }
    }

    fn attribute(&mut self, tokens: &TokenStream) {
        let mut words = tokens.clone().into_iter();
        if let Some(TokenTree::Ident(first)) = words.next()
            && first == "allow"
        {
            let what = "write #[expect(…, reason = \"…\")], which complains when it is no longer \
                        needed, or mend what the lint found";
            self.problem(first.span().start().line, what);
        }
    }

    fn problem(&mut self, line: usize, what: &str) {
        self.problems.push(Problem::new(self.path, line, what));
    }
}

#[cfg(test)]
mod tests {
    use super::super::source::tree_of;
    use super::*;

    fn lines(path: &str, text: &str) -> Vec<usize> {
        check(&tree_of(&[(path, text)])).iter().map(|problem| problem.line).collect()
    }

    #[test]
    fn unsafe_is_found_wherever_it_hides() {
        let text = "fn f() {\n unsafe { g() }\n}\nmacro_rules! m { () => {\n unsafe {} } }\n";
        assert_eq!(lines("lvs-core/src/time.rs", text), [2, 5]);
        assert_eq!(lines("lvs-io-tap/src/sys.rs", text), [0; 0]);
        assert_eq!(lines("lvs-io-tap/src/lib.rs", "//! No unsafe.\n#![deny(unsafe_code)]"), [0; 0]);
    }

    #[test]
    fn allow_is_refused_and_expect_is_not() {
        let text = "#![allow(dead_code)]\n#[expect(dead_code, reason = \"later\")]\nfn f() {}\n\
                    macro_rules! m { () => { #[allow(x)] fn g() {} } }\nfn allow() {}";
        assert_eq!(lines("a.rs", text), [1, 4]);
    }
}
