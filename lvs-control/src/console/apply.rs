//! Rules files as a whole, and single lines of iptables and sysctl.

use std::io::Read as _;
use std::path::Path;

use super::{Failure, Typed, json, unexpected};
use crate::protocol::{REQUEST_MAX, Reply, Request};

/// `lvsadm apply FILE [--dry-run]`.
pub(super) fn apply(typed: &mut Typed<'_, '_>, words: &[&str]) -> Result<(), Failure> {
    const USAGE: &str = "lvsadm apply FILE [--dry-run]; - is standard input";
    let mut file = None;
    let mut dry_run = false;
    for &word in words {
        match word {
            "--dry-run" => dry_run = true,
            _ if word.starts_with('-') && word != "-" => {
                return Err(Failure::usage(format!("{word}: unknown option"), USAGE));
            }
            _ if file.is_some() => {
                return Err(Failure::usage(format!("unexpected argument {word}"), USAGE));
            }
            _ => file = Some(word),
        }
    }
    let file = file.ok_or_else(|| Failure::usage("which rules file?", USAGE))?;
    let text = read(typed, file)?;
    let plan = match typed.ask(Request::Apply { file: file.to_owned(), text, dry_run })? {
        Some(Reply::Plan(plan)) => plan,
        other => return Err(unexpected(other.as_ref())),
    };
    match typed.wants_json() {
        true => json::print(typed, &plan),
        false => Ok(write!(typed.console.output, "{plan}")?),
    }
}

fn read(typed: &mut Typed<'_, '_>, file: &str) -> Result<String, Failure> {
    let failed = |error| Failure::usage(format!("cannot read the rules file {file}: {error}"), "");
    let mut bytes = Vec::new();
    if file == "-" {
        let most = REQUEST_MAX as u64;
        (&mut *typed.console.input).take(most).read_to_end(&mut bytes).map_err(failed)?;
    } else {
        bytes = std::fs::read(Path::new(file)).map_err(failed)?;
    }
    if bytes.len() > REQUEST_MAX / 2 {
        let message = format!("{file} is longer than {} bytes", REQUEST_MAX / 2);
        return Err(Failure::usage(message, "no rules file needs that; is it another file?"));
    }
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        Failure::usage(format!("{file}: byte {at} is no UTF-8 text"), "save it as plain text")
    })
}

/// `lvsadm iptables …`.
pub(super) fn iptables(typed: &mut Typed<'_, '_>, words: &[&str]) -> Result<(), Failure> {
    marks(typed, "iptables", words)
}

/// `lvsadm ip6tables …`.
pub(super) fn ip6tables(typed: &mut Typed<'_, '_>, words: &[&str]) -> Result<(), Failure> {
    marks(typed, "ip6tables", words)
}

fn marks(typed: &mut Typed<'_, '_>, program: &str, words: &[&str]) -> Result<(), Failure> {
    const LIST: [&str; 2] = ["-L", "--list"];
    const LIST_RULES: [&str; 2] = ["-S", "--list-rules"];
    let has = |names: [&str; 2]| words.iter().any(|word| names.contains(word));
    if words.is_empty() {
        let usage = format!(
            "lvsadm {program} -t mangle -A|-I|-D PREROUTING -d VIP -p tcp --dport PORT -j MARK --set-mark N, \
             or -F, -L, -S"
        );
        return Err(Failure::usage("which command?", usage));
    }
    match (has(LIST), has(LIST_RULES)) {
        (false, false) => amend(typed, program, words),
        (numbered, _) => list_marks(typed, program, words, numbered),
    }
}

/// The mark rules of one family, as rules or with the numbers that `-D` and `-I` take.
fn list_marks(
    typed: &mut Typed<'_, '_>,
    program: &str,
    words: &[&str],
    numbered: bool,
) -> Result<(), Failure> {
    const KNOWN: [&str; 13] = [
        "-t",
        "--table",
        "mangle",
        "PREROUTING",
        "-L",
        "--list",
        "-S",
        "--list-rules",
        "-n",
        "--numeric",
        "-v",
        "--line-numbers",
        "-w",
    ];
    if let Some(word) = words.iter().find(|word| !KNOWN.contains(word)) {
        let usage = format!("lvsadm {program} -t mangle -L|-S [PREROUTING]");
        return Err(Failure::usage(format!("{word}: unknown when rules are listed"), usage));
    }
    let settings = typed.settings()?;
    let begin = format!("{program} -t mangle ");
    let rules: Vec<&str> =
        settings.marks.iter().filter_map(|line| line.strip_prefix(begin.as_str())).collect();
    if typed.wants_json() {
        return json::print(typed, &serde_json::json!({ "marks": rules }));
    }
    for (rule, number) in rules.iter().zip(1..) {
        match numbered {
            true => {
                let rule = rule.strip_prefix("-A PREROUTING ").unwrap_or(rule);
                writeln!(typed.console.output, "{number:<4} {rule}")?;
            }
            false => writeln!(typed.console.output, "{rule}")?,
        }
    }
    Ok(())
}

/// `lvsadm sysctl …`; without words, or with names alone, it lists.
pub(super) fn sysctl(typed: &mut Typed<'_, '_>, words: &[&str]) -> Result<(), Failure> {
    if words.iter().any(|word| word.contains('=')) {
        return amend(typed, "sysctl", words);
    }
    let settings = typed.settings()?;
    if typed.wants_json() {
        return json::print(typed, &serde_json::json!({ "sysctls": settings.sysctls }));
    }
    let whole = |name: &str| format!("net.ipv4.vs.{name}");
    for word in words.iter().filter(|word| !matches!(**word, "-a" | "--all")) {
        if !settings.sysctls.keys().any(|name| whole(name) == *word || name == *word) {
            let hint = "lvsadm sysctl lists those that there are";
            return Err(Failure::usage(format!("{word} is no switch of the director"), hint));
        }
    }
    let names: Vec<&&str> = words.iter().filter(|word| !word.starts_with('-')).collect();
    for (name, value) in &settings.sysctls {
        let whole = whole(name);
        if names.is_empty() || names.iter().any(|wanted| **wanted == whole || *wanted == name) {
            writeln!(typed.console.output, "{whole} = {value}")?;
        }
    }
    Ok(())
}

/// Sends words as a line of a rules file.
fn amend(typed: &mut Typed<'_, '_>, program: &str, words: &[&str]) -> Result<(), Failure> {
    let mut text = program.to_owned();
    for word in words {
        // A word of a shell is one word of the line, whatever it contains.
        if word.contains('\'') || word.contains('\n') {
            return Err(Failure::usage(format!("{word:?} cannot be part of a rule"), ""));
        }
        let plain = |c: char| c.is_alphanumeric() || "-_./:=,".contains(c);
        match !word.is_empty() && word.chars().all(plain) {
            true => text += &format!(" {word}"),
            false => text += &format!(" '{word}'"),
        }
    }
    typed.ask(Request::Amend { text })?;
    Ok(())
}
