//! Names that say nothing, and words that the field has another word for.

use syn::visit::{self, Visit};

use super::Problem;
use super::source::Tree;

/// A word of a declared name, and what to write instead.
const BANNED: &[(&str, &str)] = &[
    ("manager", "name what it does or holds"),
    ("helper", "name what it does"),
    ("helpers", "name what they do"),
    ("util", "name what it does"),
    ("utils", "name what they do"),
    ("misc", "name what it holds"),
    ("frontend", "the field says `service` (VIP, port, protocol or mark)"),
    ("upstream", "the field says `destination`"),
    ("loadbalancer", "the field says `director`"),
    ("balancer", "the field says `director`"),
    ("session", "the field says `connection`"),
    ("sessions", "the field says `connections`"),
    ("sticky", "the field says `persistent`"),
    ("stickiness", "the field says `persistence`"),
    ("affinity", "the field says `persistence`"),
    ("drained", "the field says `quiesced`"),
    ("pkt", "write `packet`"),
    ("skb", "write `frame` or `packet`"),
];

/// Pairs of words that are wrong together.
const BANNED_PAIRS: &[(&str, &str, &str)] = &[
    ("backend", "server", "the field says `destination`; a backend is an I/O backend"),
    ("load", "balancer", "the field says `director`"),
    ("virtual", "server", "the field says `service`"),
];

pub(super) fn check(tree: &Tree) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (file, rust) in tree.rust() {
        let mut walk = Walk { path: &file.path, in_trait_impl: false, problems: Vec::new() };
        walk.visit_file(&rust.syntax);
        problems.extend(walk.problems);
    }
    problems
}

/// The words of a name in snake, camel or screaming case, in lower case.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut before_was_lower = false;
    for letter in name.chars() {
        if letter == '_' || letter.is_uppercase() && before_was_lower {
            words.push(String::new());
        }
        if letter != '_' {
            words.last_mut().expect("never empty").extend(letter.to_lowercase());
        }
        before_was_lower = letter.is_lowercase() || letter.is_numeric();
    }
    words.retain(|word| !word.is_empty());
    words
}

/// What is wrong with a name.
fn objection(name: &str) -> Option<&'static str> {
    let words = words(name);
    let single = BANNED.iter().find(|(banned, _)| words.iter().any(|word| word == banned));
    let pair = BANNED_PAIRS.iter().find(|(first, second, _)| {
        words.windows(2).any(|two| two[0] == *first && two[1] == *second)
    });
    single.map(|(_, instead)| *instead).or(pair.map(|(.., instead)| *instead))
}

/// Looks at names where they are declared; those of other crates are not ours to choose.
struct Walk<'a> {
    path: &'a str,
    in_trait_impl: bool,
    problems: Vec<Problem>,
}

impl Walk<'_> {
    fn name(&mut self, ident: &syn::Ident) {
        if let Some(instead) = objection(&ident.to_string()) {
            self.problem(ident, instead);
        }
    }

    fn function(&mut self, ident: &syn::Ident) {
        if self.in_trait_impl {
            return;
        }
        self.name(ident);
        if ident.to_string().starts_with("get_") {
            self.problem(ident, "leave `get_` away");
        }
    }

    fn problem(&mut self, ident: &syn::Ident, instead: &str) {
        let what = format!("the name `{ident}` is not for here: {instead}");
        self.problems.push(Problem::new(self.path, ident.span().start().line, what));
    }
}

impl<'ast> Visit<'ast> for Walk<'_> {
    fn visit_item_impl(&mut self, item: &'ast syn::ItemImpl) {
        self.in_trait_impl = item.trait_.is_some();
        visit::visit_item_impl(self, item);
        self.in_trait_impl = false;
    }

    fn visit_signature(&mut self, signature: &'ast syn::Signature) {
        self.function(&signature.ident);
        visit::visit_signature(self, signature);
    }

    fn visit_item_struct(&mut self, item: &'ast syn::ItemStruct) {
        self.name(&item.ident);
        visit::visit_item_struct(self, item);
    }

    fn visit_item_enum(&mut self, item: &'ast syn::ItemEnum) {
        self.name(&item.ident);
        visit::visit_item_enum(self, item);
    }

    fn visit_item_trait(&mut self, item: &'ast syn::ItemTrait) {
        self.name(&item.ident);
        visit::visit_item_trait(self, item);
    }

    fn visit_item_type(&mut self, item: &'ast syn::ItemType) {
        self.name(&item.ident);
        visit::visit_item_type(self, item);
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        self.name(&item.ident);
        visit::visit_item_mod(self, item);
    }

    fn visit_item_const(&mut self, item: &'ast syn::ItemConst) {
        self.name(&item.ident);
        visit::visit_item_const(self, item);
    }

    fn visit_item_static(&mut self, item: &'ast syn::ItemStatic) {
        self.name(&item.ident);
        visit::visit_item_static(self, item);
    }

    fn visit_variant(&mut self, variant: &'ast syn::Variant) {
        self.name(&variant.ident);
        visit::visit_variant(self, variant);
    }

    fn visit_field(&mut self, field: &'ast syn::Field) {
        if let Some(ident) = &field.ident {
            self.name(ident);
        }
        visit::visit_field(self, field);
    }

    fn visit_pat_ident(&mut self, pattern: &'ast syn::PatIdent) {
        self.name(&pattern.ident);
        visit::visit_pat_ident(self, pattern);
    }
}

#[cfg(test)]
mod tests {
    use super::super::source::tree_of;
    use super::*;

    fn found(text: &str) -> Vec<String> {
        check(&tree_of(&[("a.rs", text)])).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_name_is_cut_into_its_words() {
        assert_eq!(words("FlowKey"), ["flow", "key"]);
        assert_eq!(words("FRAME_LEN_MAX"), ["frame", "len", "max"]);
        assert_eq!(words("_dest2Addr"), ["dest2", "addr"]);
    }

    #[test]
    fn words_of_other_fields_are_refused_with_ours() {
        let problems =
            found("struct ConnManager;\nfn f(session_id: u8) {}\nfn backend_server() {}");
        assert_eq!(problems.len(), 3, "{problems:?}");
        assert!(problems[1].starts_with("a.rs:2: the name `session_id`"), "{problems:?}");
        assert!(problems[1].contains("connection"), "{problems:?}");
    }

    #[test]
    fn a_getter_has_no_prefix_but_a_foreign_trait_keeps_its_names() {
        assert_eq!(found("fn get_weight() {}").len(), 1);
        assert_eq!(found("impl Foreign for Own { fn get_weight(&self) {} }"), [""; 0]);
        assert_eq!(found("fn weight() { map.get_mut(1) }"), [""; 0]);
    }

    #[test]
    fn words_of_our_own_field_pass() {
        let text = "struct VirtualService; trait Backend {} fn budget() {} const TUPLES: u8 = 0;";
        assert_eq!(found(text), [""; 0]);
    }
}
