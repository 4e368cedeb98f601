//! Who may know whom: modules of the core, and crates of the workspace.
//!
//! Leaf modules of the core do not know each other; only `director` puts them together. The tables below
//! are the rule; a module or crate without a line in its table is a problem, so that a new one is a
//! decision.

use proc_macro2::{Ident, TokenStream, TokenTree};
use syn::visit::{self, Visit};

use super::Problem;
use super::source::{File, Rust, Tree, is_cfg_test};

/// A module of lvs-core and the modules of lvs-core it may import. A longer path goes before a shorter
/// one: `io::mem` has a rule of its own beside `io`.
const MODULES: &[(&str, Allowed)] = &[
    ("addr", Allowed::Only(&[])),
    ("command", Allowed::Only(&["addr", "flow", "ids", "time"])),
    ("conn", Allowed::Only(&["addr", "flow", "ids", "prefetch", "time"])),
    ("dest", Allowed::Only(&["addr", "command", "flow", "ids", "neighbor", "stats", "time"])),
    ("director", Allowed::All),
    ("drop", Allowed::Only(&[])),
    ("engine", Allowed::Only(&["flow"])),
    (
        "explain",
        Allowed::Only(&["command", "dest", "drop", "engine", "flow", "ids", "state", "time"]),
    ),
    ("flow", Allowed::Only(&["addr", "ids"])),
    ("forward", Allowed::Only(&["addr", "command", "flow", "wire"])),
    ("fwmark", Allowed::Only(&["command", "flow", "ids"])),
    ("ids", Allowed::Only(&[])),
    ("io::conformance", Allowed::Only(&["addr", "drop", "ids", "io", "time"])),
    ("io::mem", Allowed::Only(&["drop", "ids", "io", "time"])),
    ("io", Allowed::Only(&["drop", "ids", "time"])),
    ("limits", Allowed::Only(&[])),
    (
        "listing",
        Allowed::Only(&["addr", "command", "dest", "engine", "flow", "ids", "stats", "time"]),
    ),
    ("local", Allowed::Only(&["flow", "lookup"])),
    ("lookup", Allowed::Only(&[])),
    ("manual", Allowed::Only(&[])),
    ("neighbor", Allowed::Only(&["addr", "flow", "ids", "lookup", "store", "time", "wire"])),
    ("pace", Allowed::Only(&["command", "flow", "time"])),
    ("parse", Allowed::Only(&["addr", "drop", "flow", "ids", "wire"])),
    ("persist", Allowed::Only(&["addr", "conn", "engine", "flow", "ids"])),
    ("prefetch", Allowed::Only(&[])),
    ("reassembly", Allowed::Only(&["addr", "drop", "ids", "lookup", "store", "time"])),
    ("route", Allowed::Only(&["addr", "command", "ids"])),
    ("sched", Allowed::Only(&["command", "dest", "flow", "ids", "time"])),
    (
        "service",
        Allowed::Only(&["addr", "command", "engine", "flow", "ids", "lookup", "sched", "stats"]),
    ),
    (
        "snapshot",
        Allowed::Only(&["addr", "command", "engine", "flow", "ids", "state", "stats", "time"]),
    ),
    ("state", Allowed::Only(&["flow", "time", "wire"])),
    ("stats", Allowed::Only(&["drop"])),
    ("store", Allowed::Only(&["ids", "io"])),
    ("time", Allowed::Only(&[])),
    ("timer", Allowed::Only(&["prefetch"])),
    ("wire", Allowed::Only(&["addr", "drop", "flow", "ids"])),
];

/// A crate, the crates of this workspace it may depend on, and those it may use in its tests besides.
const CRATES: &[(&str, &[&str], &[&str])] = &[
    ("lvs-core", &[], &[]),
    ("lvs-admin", &["lvs-core"], &[]),
    ("lvs-control", &["lvs-core", "lvs-admin"], &["lvs-sim"]),
    ("lvs-host", &["lvs-core"], &["lvs-testnet"]),
    ("lvs-sim", &["lvs-core", "lvs-admin", "lvs-host", "lvs-sync"], &[]),
    ("lvs-sync", &["lvs-core"], &["lvs-admin"]),
    ("lvs-io-linux", &["lvs-core"], &[]),
    ("lvs-io-afpacket", &["lvs-core", "lvs-io-linux"], &["lvs-testnet"]),
    ("lvs-io-tap", &["lvs-core", "lvs-io-linux"], &["lvs-testnet"]),
    ("lvs-guard", &["lvs-core"], &["lvs-testnet"]),
    ("lvs-realserver", &["lvs-core"], &["lvs-testnet"]),
    ("lvs-testnet", &["lvs-core"], &[]),
    (
        "lvs-director",
        &[
            "lvs-core",
            "lvs-admin",
            "lvs-control",
            "lvs-host",
            "lvs-guard",
            "lvs-realserver",
            "lvs-sim",
            "lvs-sync",
            "lvs-io-afpacket",
            "lvs-io-tap",
        ],
        &["lvs-testnet"],
    ),
    ("lvs-benches", &["lvs-core", "lvs-io-afpacket"], &["lvs-core", "lvs-testnet"]),
    ("custom-scheduler", &["lvs-core", "lvs-admin"], &[]),
    ("embed", &["lvs-core"], &[]),
    ("pcap-bridge", &["lvs-core", "lvs-admin", "lvs-sim"], &[]),
    ("xtask", &["lvs-sim"], &[]),
];

/// What a module may import.
#[derive(Clone, Copy, Debug)]
enum Allowed {
    /// Everything.
    All,
    /// These and what lies below them.
    Only(&'static [&'static str]),
}

pub(super) fn check(tree: &Tree) -> Vec<Problem> {
    let mut problems = check_modules(tree, MODULES);
    for (manifest, package) in &tree.packages {
        let dependencies = package.dependencies.iter();
        for (name, is_dev) in dependencies.map(|d| (&d.name, d.kind.as_deref() == Some("dev"))) {
            problems.extend(check_crate(manifest, &package.name, name, is_dev));
        }
    }
    problems
}

/// The problem, if any, that crate `of` depends on `on`.
fn check_crate(manifest: &str, of: &str, on: &str, is_dev: bool) -> Option<Problem> {
    if !on.starts_with("lvs-") {
        return None;
    }
    let Some((_, normal, dev)) = CRATES.iter().find(|(name, ..)| *name == of) else {
        let what = format!("{of} has no line in CRATES of xtask/src/tidy/imports.rs; give it one");
        return Some(Problem::new(manifest, 1, what));
    };
    if normal.contains(&on) || is_dev && (dev.contains(&on) || of == on) {
        return None;
    }
    let what = format!(
        "{of} must not depend on {on}; it may use {}. Move what it needs to where both may look, or \
         change CRATES in xtask/src/tidy/imports.rs and ARCHITECTURE.md with the reason",
        list(normal)
    );
    Some(Problem::new(manifest, 1, what))
}

fn check_modules(tree: &Tree, rules: &[(&str, Allowed)]) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (file, rust) in tree.rust() {
        let Some(module) = core_module(file) else { continue };
        if module.is_empty() {
            continue;
        }
        let Some((room, allowed)) = rule_for(rules, &module.join("::")) else {
            let what = format!(
                "module `{}` has no line in MODULES of xtask/src/tidy/imports.rs; say there what it may import",
                module[0]
            );
            problems.push(Problem::new(&file.path, 1, what));
            continue;
        };
        let Allowed::Only(allowed) = allowed else { continue };
        for import in imports(rust, &module) {
            let within = |room: &str| is_within(&import.path, room);
            if !within(room) && !allowed.iter().any(|room| within(room)) {
                let what = format!(
                    "module `{room}` must not import `{}`; it may use {}. Hand it what it needs as a \
                     plain value, or let `director` do the joining",
                    import.path,
                    list(allowed)
                );
                problems.push(Problem::new(&file.path, import.line, what));
            }
        }
    }
    problems
}

fn list(names: &[&str]) -> String {
    if names.is_empty() { "nothing of ours".into() } else { names.join(", ") }
}

fn rule_for<'a>(rules: &'a [(&'a str, Allowed)], module: &str) -> Option<(&'a str, Allowed)> {
    rules.iter().find(|(room, _)| is_within(module, room)).copied()
}

/// Whether `path` is `room` or lies below it.
fn is_within(path: &str, room: &str) -> bool {
    path.strip_prefix(room).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// The module path of a source of lvs-core, empty for the crate's root; `None` for other files and tests.
fn core_module(file: &File) -> Option<Vec<String>> {
    let inner = file.path.strip_prefix("lvs-core/src/")?.strip_suffix(".rs")?;
    if file.is_test() {
        return None;
    }
    let mut parts: Vec<String> = inner.split('/').map(str::to_owned).collect();
    if matches!(parts.last().map(String::as_str), Some("mod" | "lib")) {
        parts.pop();
    }
    Some(parts)
}

#[derive(Debug)]
struct Import {
    /// Without `crate::`.
    path: String,
    line: usize,
}

/// Every path of the file that begins with `crate::`, or that leaves the module with `super::`.
fn imports(rust: &Rust, module: &[String]) -> Vec<Import> {
    let mut walk = Walk { module: module.to_vec(), found: Vec::new() };
    walk.visit_file(&rust.syntax);
    walk.found
}

struct Walk {
    module: Vec<String>,
    found: Vec<Import>,
}

impl Walk {
    /// Notes a path given by its segments.
    fn note(&mut self, segments: &[&Ident]) {
        let Some((first, rest)) = segments.split_first() else { return };
        let line = first.span().start().line;
        let names = rest.iter().map(ToString::to_string);
        let path: Vec<String> = if *first == "crate" {
            names.collect()
        } else if *first == "super" {
            let ups = 1 + rest.iter().take_while(|segment| **segment == "super").count();
            let base = self.module.len().saturating_sub(ups);
            self.module[..base].iter().cloned().chain(names.skip(ups - 1)).collect()
        } else {
            return;
        };
        if !path.is_empty() {
            self.found.push(Import { path: path.join("::"), line });
        }
    }

    fn note_tree<'t>(&mut self, prefix: &mut Vec<&'t Ident>, tree: &'t syn::UseTree) {
        match tree {
            syn::UseTree::Path(path) => {
                prefix.push(&path.ident);
                self.note_tree(prefix, &path.tree);
                prefix.pop();
            }
            syn::UseTree::Group(group) => {
                for tree in &group.items {
                    self.note_tree(prefix, tree);
                }
            }
            syn::UseTree::Name(syn::UseName { ident })
            | syn::UseTree::Rename(syn::UseRename { ident, .. }) => {
                prefix.push(ident);
                self.note(prefix);
                prefix.pop();
            }
            syn::UseTree::Glob(_) => self.note(prefix),
        }
    }

    /// Looks for `crate :: name …` in the arguments of a macro, which are no syntax tree.
    fn note_tokens(&mut self, tokens: TokenStream) {
        let mut segments: Vec<Ident> = Vec::new();
        let mut colons = 0;
        for token in tokens {
            match token {
                TokenTree::Punct(punct) if punct.as_char() == ':' && !segments.is_empty() => {
                    colons += 1;
                    continue;
                }
                TokenTree::Ident(ident) if segments.is_empty() || colons == 2 => {
                    segments.push(ident);
                    colons = 0;
                    continue;
                }
                TokenTree::Group(group) => self.note_tokens(group.stream()),
                TokenTree::Ident(ident) => {
                    self.note(&segments.iter().collect::<Vec<_>>());
                    segments = vec![ident];
                    colons = 0;
                    continue;
                }
                _ => {}
            }
            self.note(&segments.iter().collect::<Vec<_>>());
            segments.clear();
            colons = 0;
        }
        self.note(&segments.iter().collect::<Vec<_>>());
    }
}

impl<'ast> Visit<'ast> for Walk {
    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        if is_cfg_test(&item.attrs) || item.content.is_none() {
            return;
        }
        self.module.push(item.ident.to_string());
        visit::visit_item_mod(self, item);
        self.module.pop();
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        if !is_cfg_test(&item.attrs) {
            self.note_tree(&mut Vec::new(), &item.tree);
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments: Vec<&Ident> = path.segments.iter().map(|segment| &segment.ident).collect();
        self.note(&segments);
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        self.note_tokens(call.tokens.clone());
        visit::visit_macro(self, call);
    }

    fn visit_visibility(&mut self, _: &'ast syn::Visibility) {}
}

#[cfg(test)]
mod tests {
    use super::super::source::tree_of;
    use super::*;

    const RULES: &[(&str, Allowed)] = &[
        ("director", Allowed::All),
        ("io::mem", Allowed::Only(&["io", "wire"])),
        ("io", Allowed::Only(&["ids"])),
        ("timer", Allowed::Only(&[])),
    ];

    fn found(path: &str, text: &str) -> Vec<String> {
        check_modules(&tree_of(&[(path, text)]), RULES).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_module_may_import_its_own_parts_and_what_its_line_names() {
        let text =
            "use crate::ids::PortId;\nuse super::Caps;\nuse crate::io::Frame;\nuse core::fmt;";
        assert_eq!(found("lvs-core/src/io/frame.rs", text), [""; 0]);
    }

    #[test]
    fn an_import_outside_the_line_is_named_with_file_and_line() {
        let problems = found("lvs-core/src/timer/level.rs", "\nuse crate::{ids::ConnId, time};\n");
        let expected = "lvs-core/src/timer/level.rs:2: module `timer` must not import `ids::ConnId`; \
                        it may use nothing of ours.";
        assert!(problems[0].starts_with(expected), "{problems:?}");
        assert!(problems[1].contains("`time`"), "{problems:?}");
    }

    #[test]
    fn paths_in_code_and_in_macro_calls_count_as_imports() {
        let text = "fn f() -> crate::conn::Table { assert!(crate::wire::ok(1) && x == 2) }";
        let problems = found("lvs-core/src/timer.rs", text);
        assert!(problems.iter().any(|p| p.contains("`conn::Table`")), "{problems:?}");
        assert!(problems.iter().any(|p| p.contains("`wire::ok`")), "{problems:?}");
    }

    #[test]
    fn leaving_the_module_by_super_counts_as_an_import() {
        assert_eq!(found("lvs-core/src/timer/level.rs", "use super::super::conn::Table;").len(), 1);
        assert_eq!(found("lvs-core/src/timer/mod.rs", "use super::conn;").len(), 1);
        assert_eq!(found("lvs-core/src/timer/level.rs", "use super::Wheel;"), [""; 0]);
        let inner = "mod slot { use super::Wheel; use super::super::conn; }";
        assert_eq!(found("lvs-core/src/timer.rs", inner).len(), 1);
    }

    #[test]
    fn tests_and_the_director_may_import_anything() {
        let tests = "#[cfg(test)]\nmod tests { use crate::conn::Table; }";
        assert_eq!(found("lvs-core/src/timer.rs", tests), [""; 0]);
        assert_eq!(found("lvs-core/src/timer/tests.rs", "use crate::conn::Table;"), [""; 0]);
        assert_eq!(found("lvs-core/src/director/path.rs", "use crate::conn::Table;"), [""; 0]);
    }

    #[test]
    fn a_module_without_a_line_is_a_problem() {
        assert!(found("lvs-core/src/novel.rs", "")[0].contains("`novel` has no line in MODULES"));
    }

    #[test]
    fn the_core_depends_on_no_crate_above_it() {
        let problem = |of, on, dev| check_crate("x/Cargo.toml", of, on, dev);
        assert!(problem("lvs-core", "lvs-admin", false).is_some());
        assert!(problem("lvs-core", "lvs-admin", true).is_some());
        assert!(problem("lvs-core", "smoltcp", false).is_none());
        assert!(problem("lvs-io-afpacket", "lvs-admin", false).is_some());
        assert!(problem("lvs-io-afpacket", "lvs-testnet", false).is_some());
        assert!(problem("lvs-io-afpacket", "lvs-testnet", true).is_none());
        assert!(
            problem("lvs-novel", "lvs-core", false).unwrap().what.contains("no line in CRATES")
        );
    }
}
