//! Whether two records say the same, within the tolerances of `conformance/README.md`.

use std::collections::HashMap;

use similar::{Algorithm, ChangeTag, DiffTag, TextDiff, capture_diff_slices};

/// What may differ.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tolerances {
    /// By how many seconds the time left of a connection may differ; an entry with no more than that
    /// left may be missing on one side.
    pub seconds: u64,
    /// Compare results and dumps, but no header fields of packets and no messages.
    pub brief: bool,
    /// Leave out what ipvsadm printed about errors.
    pub no_text: bool,
    /// Leave out `/proc/net/ip_vs_conn`.
    pub no_proc: bool,
}

impl Default for Tolerances {
    /// One second, and nothing left out.
    fn default() -> Self {
        Tolerances { seconds: 1, brief: false, no_text: false, no_proc: false }
    }
}

/// A place where two records differ.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Difference {
    /// The event, with its time.
    pub event: String,
    /// Lines that begin with `-` are the first record's, those with `+` the second's.
    pub lines: Vec<String>,
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.event)?;
        self.lines.iter().try_for_each(|line| write!(f, "\n    {line}"))
    }
}

/// An event of a record.
#[derive(Clone, Debug)]
struct Entry {
    key: String,
    result: String,
    below: Vec<String>,
}

impl Entry {
    /// What a dump shows; `None` for every other event.
    fn dump(&self) -> Option<&str> {
        let mut words = self.key.split(' ').skip(1);
        (words.next() == Some("dump")).then(|| words.next()).flatten()
    }
}

/// Holds two records against each other and returns where they differ; nothing if they say the same.
///
/// ```
/// use lvs_sim::compare::{Tolerances, compare};
/// let kernel = "0.5 dump conns\n    | TCP 00:59  SYN_RECV    192.0.2.7:1    10.0.0.1:80   10.1.0.2:80\n";
/// let ours = "0.5 dump conns\n    | TCP 00:58 SYN_RECV 192.0.2.7:1 10.0.0.1:80 10.1.0.2:80\n";
/// assert!(compare(kernel, ours, Tolerances::default()).is_empty());
/// let strict = Tolerances { seconds: 0, ..Tolerances::default() };
/// assert_eq!(compare(kernel, ours, strict).len(), 1);
/// ```
pub fn compare(first: &str, second: &str, tolerances: Tolerances) -> Vec<Difference> {
    let (first, second) = (load(first), load(second));
    let keys = |entries: &[Entry]| entries.iter().map(|e| e.key.clone()).collect::<Vec<_>>();
    let (first_keys, second_keys) = (keys(&first), keys(&second));
    let mut found = Vec::new();
    for step in capture_diff_slices(Algorithm::Myers, &first_keys, &second_keys) {
        let (tag, left, right) = step.as_tag_tuple();
        if tag == DiffTag::Equal {
            for (a, b) in first[left].iter().zip(&second[right]) {
                let lines = differing(a, b, tolerances);
                if !lines.is_empty() {
                    found.push(Difference { event: a.key.clone(), lines });
                }
            }
            continue;
        }
        let sides =
            [(&first[left], "- only in the first"), (&second[right], "+ only in the second")];
        for (entries, words) in sides {
            found.extend(entries.iter().map(|entry| {
                let result = if entry.result.is_empty() {
                    String::new()
                } else {
                    format!(": {}", entry.result)
                };
                Difference { event: entry.key.clone(), lines: vec![format!("{words}{result}")] }
            }));
        }
    }
    found
}

/// The events of a record, white space squeezed; times of `async` lines are dropped.
fn load(text: &str) -> Vec<Entry> {
    let squeeze = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut entries: Vec<Entry> = Vec::new();
    for line in text.lines() {
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        if line.starts_with([' ', '\t']) {
            if let Some(last) = entries.last_mut() {
                last.below.push(squeeze(line));
            }
            continue;
        }
        let (key, result) = line.split_once(" => ").unwrap_or((line, ""));
        let mut key = squeeze(key);
        if key.ends_with(" async") {
            key = "async".to_owned();
        }
        entries.push(Entry { key, result: result.trim().to_owned(), below: Vec::new() });
    }
    entries
}

fn differing(a: &Entry, b: &Entry, tolerances: Tolerances) -> Vec<String> {
    if a.result != b.result {
        return vec![format!("- {}", a.result), format!("+ {}", b.result)];
    }
    if a.dump().is_none() && tolerances.brief {
        return Vec::new();
    }
    let (left, right) = (comparable(a, tolerances), comparable(b, tolerances));
    if matches!(a.dump(), Some("conns" | "engines")) {
        return connections(&left, &right, tolerances);
    }
    if left == right {
        return Vec::new();
    }
    let (left, right) = (left.join("\n"), right.join("\n"));
    TextDiff::from_lines(&left, &right)
        .iter_all_changes()
        .filter_map(|change| {
            let line = change.value().trim_end();
            match change.tag() {
                ChangeTag::Equal => None,
                ChangeTag::Delete => Some(format!("- {line}")),
                ChangeTag::Insert => Some(format!("+ {line}")),
            }
        })
        .collect()
}

/// The lines below an event without what is not compared.
fn comparable(entry: &Entry, tolerances: Tolerances) -> Vec<String> {
    let dump = entry.dump();
    let mut stats_lines = 0;
    let mut kept = Vec::new();
    for line in &entry.below {
        let is_stats = line.starts_with("ip_vs_stats|");
        stats_lines += usize::from(is_stats);
        let ignored = line.starts_with("raw|")
            || line.contains("IP Virtual Server version")
            || dump == Some("sysctls") && is_volatile_sysctl(line)
            || dump == Some("sync") && (is_of_spoilt_template(line) || line == "| (none)")
            || is_stats && stats_lines == 6
            || line.starts_with("! ") && tolerances.no_text
            || line.starts_with("proc|") && tolerances.no_proc;
        if ignored {
            continue;
        }
        kept.push(if dump == Some("rates") { without_rates(line) } else { line.clone() });
    }
    kept
}

/// Depends on the machine's memory or on how the kernel was built.
fn is_volatile_sysctl(line: &str) -> bool {
    let name = line.strip_prefix("| ").unwrap_or(line);
    ["sync_", "debug_level", "lblc_expiration", "lblcr_expiration"]
        .iter()
        .any(|prefix| name.starts_with(prefix))
}

/// A template that leads nobody any more, which the kernel goes on announcing and lvs does not (rule Y13).
fn is_of_spoilt_template(line: &str) -> bool {
    let words: Vec<_> = line.split(' ').collect();
    let flags = words.iter().find_map(|word| word.strip_prefix("flags=0x"));
    let is_template = flags
        .and_then(|flags| u32::from_str_radix(flags, 16).ok())
        .is_some_and(|flags| flags & 0x1000 != 0);
    is_template && words.iter().filter(|word| word.ends_with(":65535")).count() == 2
}

/// A line of `dump rates` with one word for its five last numbers.
fn without_rates(line: &str) -> String {
    let words: Vec<_> = line.split(' ').collect();
    let is_number = |word: &&str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_digit());
    match words.len().checked_sub(5) {
        Some(names) if names > 0 && words[names..].iter().all(is_number) => {
            format!("{} RATES", words[..names].join(" "))
        }
        _ => line.to_owned(),
    }
}

/// A line of `dump conns` without its time left, and that time in seconds.
fn split_seconds(line: &str) -> (String, Option<u64>) {
    let words: Vec<_> = line.split(' ').collect();
    let number = |word: &str| word.parse::<u64>().ok();
    match words.as_slice() {
        ["|", protocol, left, rest @ ..] => {
            let seconds = left
                .split_once(':')
                .and_then(|(minutes, seconds)| Some(number(minutes)? * 60 + number(seconds)?));
            match seconds {
                Some(seconds) => (format!("| {protocol} {}", rest.join(" ")), Some(seconds)),
                None => (line.to_owned(), None),
            }
        }
        // Protocol, three ends and the state stand before the seconds, an engine and its data behind.
        ["proc|", rest @ ..] if rest.len() >= 9 => match number(rest[8]) {
            Some(seconds) => {
                let (before, behind) = (rest[..8].join(" "), rest[9..].join(" "));
                (format!("proc| {before} {behind}").trim_end().to_owned(), Some(seconds))
            }
            None => (line.to_owned(), None),
        },
        _ => (line.to_owned(), None),
    }
}

/// Two listings of connections, in any order, times within the tolerance.
fn connections(first: &[String], second: &[String], tolerances: Tolerances) -> Vec<String> {
    const NONE: &str = "| (none)";
    let mut found = Vec::new();
    let mut open: HashMap<String, Vec<Option<u64>>> = HashMap::new();
    for line in second {
        let (name, seconds) = split_seconds(line);
        open.entry(name).or_default().push(seconds);
    }
    for line in first.iter().filter(|line| *line != NONE) {
        let (name, seconds) = split_seconds(line);
        let others = open.entry(name).or_default();
        let distance = |other: &Option<u64>| other.unwrap_or(0).abs_diff(seconds.unwrap_or(0));
        let Some(nearest) = (0..others.len()).min_by_key(|&i| distance(&others[i])) else {
            if seconds.is_none_or(|seconds| seconds > tolerances.seconds) {
                found.push(format!("- {line}"));
            }
            continue;
        };
        let other = others.remove(nearest);
        if distance(&other) > tolerances.seconds {
            found.push(format!("- {line}"));
            found.push(format!("+ (the same with {} s left)", other.unwrap_or(0)));
        }
    }
    let mut rest: Vec<_> = open.into_iter().filter(|(name, _)| name != NONE).collect();
    rest.sort();
    for (name, times) in rest {
        for seconds in times {
            match seconds {
                None => found.push(format!("+ {name}")),
                Some(seconds) if seconds > tolerances.seconds => {
                    found.push(format!("+ {name} ({seconds} s left)"));
                }
                Some(_) => {}
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn same(a: &str, b: &str) -> bool {
        compare(a, b, Tolerances::default()).is_empty()
    }

    #[test]
    fn an_entry_about_to_end_may_be_missing_on_one_side() {
        let one = "1 dump conns\n    | TCP 00:01 CLOSE a b c\n    proc| TCP A 1 B 2 C 3 CLOSE 1\n";
        let none = "1 dump conns\n    | (none)\n";
        assert!(same(one, none) && same(none, one));
        let two = "1 dump conns\n    | TCP 00:02 CLOSE a b c\n";
        assert!(!same(two, none) && !same(none, two));
    }

    #[test]
    fn a_spoilt_template_need_not_be_announced() {
        let head = "5 dump sync\n    | port=8848 id=7 version=1 tcp 192.0.2.7:0 > 10.0.0.1:";
        let tail = "flags=0x1183 state=1 timeout=300 mark=0\n";
        let spoilt = format!("{head}65535 > 10.1.0.3:65535 {tail}");
        assert!(same(&spoilt, "5 dump sync\n    | (none)\n"));
        assert!(!same(&format!("{head}80 > 10.1.0.3:80 {tail}"), "5 dump sync\n    | (none)\n"));
    }

    #[test]
    fn results_and_header_fields_are_compared_word_by_word() {
        let a = "1 tcp x => dr 10.1.0.2\n    s0 dr | ip4 ttl=63\n";
        let b = "1 tcp x => dr 10.1.0.2\n    s0 dr | ip4 ttl=64\n";
        let differences = compare(a, b, Tolerances::default());
        assert_eq!(differences[0].lines, ["- s0 dr | ip4 ttl=63", "+ s0 dr | ip4 ttl=64"]);
        assert!(compare(a, b, Tolerances { brief: true, ..Tolerances::default() }).is_empty());
    }

    #[test]
    fn an_event_that_one_record_lacks_is_named() {
        let a = "1 tcp x => drop\n2 tcp y => drop\n";
        let b = "2 tcp y => drop\n";
        let differences = compare(a, b, Tolerances::default());
        assert_eq!(differences[0].to_string(), "1 tcp x\n    - only in the first: drop");
    }

    #[test]
    fn the_time_of_an_async_line_does_not_matter() {
        assert!(same("1 async => arp who-has x\n", "2 async => arp who-has x\n"));
    }

    #[test]
    fn rates_and_the_version_line_are_not_compared() {
        let a = "5 dump rates\n    | IP Virtual Server version 1.2.1 (size=4096)\n    | UDP  10.0.0.1:53  9  9  0  937  0\n";
        let b = "5 dump rates\n    | UDP  10.0.0.1:53  8  8  0  900  0\n";
        assert!(same(a, b));
        assert!(!same(a, "5 dump rates\n    | UDP  10.0.0.2:53  8  8  0  900  0\n"));
    }
}
