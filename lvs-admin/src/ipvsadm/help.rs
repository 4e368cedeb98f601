//! The texts of `-h` and `-v`, made from the table that the parser reads.

use std::fmt::Write as _;

use super::table::{Label, OPTIONS, VERBS, Value};

/// What `-v` prints. Scripts look for the words `IPVS v1.2.1`, which is the version of the kernel's
/// interface that ours behaves as.
pub const VERSION_LINE: &str = concat!(
    "lvsadm v",
    env!("CARGO_PKG_VERSION"),
    " (compatible with ipvsadm v1.31 and IPVS v1.2.1)"
);

/// The help text, for a program that is called `program`.
pub fn usage(program: &str) -> String {
    let mut text = format!("{VERSION_LINE}\nUsage:\n");
    for verb in VERBS {
        let mut line = format!("  {program} {}", verb.typed());
        for letter in verb.short.iter().skip(1) {
            let _ = write!(line, "|-{letter}");
        }
        match verb.value {
            Value::Required(name) | Value::Optional(name) => {
                let _ = write!(line, " {{{name}}}");
            }
            Value::No => {}
        }
        if verb.long == "set" {
            line.push_str(" tcp tcpfin udp");
        }
        for label in verb.required {
            let _ = write!(line, " {}", label.name());
        }
        if verb.optional == [Label::ServiceAddress] {
            line.push_str(" [service-address]");
        } else if !verb.optional.is_empty() {
            line.push_str(" [options]");
        }
        let _ = writeln!(text, "{line}\n        {}", verb.help);
    }
    text.push_str("\nOptions:\n");
    for option in OPTIONS {
        let mut names = match option.short {
            Some(letter) => format!("-{letter}, --{}", option.long),
            None => format!("    --{}", option.long),
        };
        match option.value {
            Value::Required(name) => {
                let _ = write!(names, " {name}");
            }
            Value::Optional(name) => {
                let _ = write!(names, " [{name}]");
            }
            Value::No => {}
        }
        let _ = writeln!(text, "  {names:<34} {}", option.help);
    }
    text
}
