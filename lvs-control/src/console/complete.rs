//! Completions for shells, from the tables that the parser reads.

use std::fmt::Write as _;

use lvs_admin::ipvsadm::table::{Label, OPTIONS, Opt, OptionInfo, VERBS, Value, VerbInfo};
use lvs_admin::rules::{Supported, TUNABLES};

use super::{COMMANDS, Failure, OWN_OPTIONS, OwnCommand, Typed};

/// `lvsadm completions SHELL`.
pub(super) fn completions(typed: &mut Typed<'_, '_>, words: &[&str]) -> Result<(), Failure> {
    let text = match words {
        ["bash"] => bash(),
        ["zsh"] => zsh(),
        ["fish"] => fish(),
        [] => return Err(Failure::usage("for which shell?", "bash, zsh or fish")),
        [shell, ..] => {
            let message = format!("there are no completions for {shell}");
            return Err(Failure::usage(message, "bash, zsh or fish"));
        }
    };
    Ok(typed.console.output.write_all(text.as_bytes())?)
}

/// How an option is typed, in full.
fn long(info: &OptionInfo) -> String {
    format!("--{}", info.long)
}

/// All that may follow a command.
fn options_of(verb: &VerbInfo) -> Vec<&'static OptionInfo> {
    let fits = |label: Label| verb.required.contains(&label) || verb.optional.contains(&label);
    // -6 belongs to a mark; --sort to every listing.
    let unlabelled = |id: Opt| match id {
        Opt::Ipv6 => fits(Label::ServiceAddress),
        _ => fits(Label::NoSort),
    };
    OPTIONS.iter().filter(|info| info.label.map_or_else(|| unlabelled(info.id), fits)).collect()
}

/// The words among which an option's value is chosen, if there are few.
fn values(id: Opt) -> Vec<&'static str> {
    match id {
        Opt::Scheduler => Supported::THIS_VERSION.schedulers.to_vec(),
        Opt::TunnelType => vec!["ipip", "gue", "gre"],
        Opt::SchedulerFlags => vec!["sh-fallback", "sh-port", "mh-fallback", "mh-port"],
        _ => Vec::new(),
    }
}

/// Every way to type a command.
fn spellings(verb: &VerbInfo) -> Vec<String> {
    let short = verb.short.iter().map(|letter| format!("-{letter}"));
    short.chain([format!("--{}", verb.long)]).collect()
}

fn switches() -> Vec<String> {
    TUNABLES.iter().map(|info| format!("net.ipv4.vs.{}=", info.name)).collect()
}

/// Words that may stand behind a command of our own.
fn words_of(command: &OwnCommand) -> Vec<String> {
    match command.name {
        "sysctl" => switches(),
        _ => command.words.iter().map(|&word| word.to_owned()).collect(),
    }
}

/// Whether a command's word is a file.
fn takes_file(command: &OwnCommand) -> bool {
    command.usage.starts_with("FILE")
}

fn bash() -> String {
    let mut text = String::from(
        "# bash completion for lvsadm\n_lvsadm() {\n    local cur=${COMP_WORDS[COMP_CWORD]} \
         prev=${COMP_WORDS[COMP_CWORD-1]} words=\n    COMPREPLY=()\n    case $prev in\n",
    );
    for info in OPTIONS.iter().filter(|info| !values(info.id).is_empty()) {
        let names = info.short.map_or_else(|| long(info), |s| format!("-{s}|{}", long(info)));
        let _ = writeln!(text, "        {names}) words='{}' ;;", values(info.id).join(" "));
    }
    text.push_str("        --start-daemon|--stop-daemon) words='master backup' ;;\n");
    text.push_str("        --socket) COMPREPLY=($(compgen -f -- \"$cur\")); return ;;\n    esac\n");
    text.push_str("    if [ -z \"$words\" ]; then\n        case ${COMP_WORDS[1]} in\n");
    let own: Vec<&str> = OWN_OPTIONS.iter().map(|option| option.long).collect();
    for verb in VERBS {
        let options: Vec<String> = options_of(verb)
            .into_iter()
            .flat_map(|info| info.short.map(|s| format!("-{s}")).into_iter().chain([long(info)]))
            .collect();
        let (names, options) = (spellings(verb).join("|"), options.join(" "));
        let _ = writeln!(text, "            {names}) words='{options} {}' ;;", own.join(" "));
    }
    for command in COMMANDS {
        let options =
            command.options.iter().chain(OWN_OPTIONS).map(|option| option.long.to_owned());
        let words: Vec<String> = words_of(command).into_iter().chain(options).collect();
        let files = if takes_file(command) { "-f " } else { "" };
        let _ = writeln!(
            text,
            "            {}) COMPREPLY=($(compgen {files}-W '{}' -- \"$cur\")); return ;;",
            command.name,
            words.join(" ")
        );
    }
    text.push_str("        esac\n    fi\n    if [ \"$COMP_CWORD\" = 1 ]; then\n");
    let commands: Vec<String> = VERBS
        .iter()
        .flat_map(spellings)
        .chain(COMMANDS.iter().map(|command| command.name.to_owned()))
        .chain(own.iter().map(|option| (*option).to_owned()))
        .collect();
    let _ = writeln!(text, "        words='{}'\n    fi", commands.join(" "));
    text.push_str("    COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n}\n");
    text.push_str("complete -o default -F _lvsadm lvsadm\n");
    text
}

/// A text within single quotes and brackets of zsh.
fn zsh_text(text: &str) -> String {
    text.replace('\'', "").replace('[', "(").replace(']', ")").replace(':', "\\:")
}

fn zsh() -> String {
    let mut text = String::from("#compdef lvsadm\n# zsh completion for lvsadm\n_lvsadm() {\n");
    text.push_str("    local -a commands options\n    commands=(\n");
    for verb in VERBS {
        for name in spellings(verb) {
            let _ = writeln!(text, "        '{name}:{}'", zsh_text(verb.help));
        }
    }
    for command in COMMANDS {
        let _ = writeln!(text, "        '{}:{}'", command.name, zsh_text(command.help));
    }
    text.push_str("    )\n    if (( CURRENT == 2 )); then\n");
    text.push_str("        _describe -o command commands\n        return\n    fi\n");
    text.push_str("    case $words[2] in\n");
    for verb in VERBS {
        let _ = write!(text, "        {}) options=(", spellings(verb).join("|"));
        for info in options_of(verb) {
            let value = match (info.value, &values(info.id)[..]) {
                (Value::No, _) => String::new(),
                (Value::Required(name) | Value::Optional(name), []) => {
                    format!(":{}:", zsh_text(name))
                }
                (_, words) => format!(":value:({})", words.join(" ")),
            };
            let help = zsh_text(info.help);
            let names = info.short.map(|s| format!("-{s}")).into_iter().chain([long(info)]);
            for name in names {
                let _ = write!(text, "\n            '{name}[{help}]{value}'");
            }
        }
        text.push_str("\n        ) ;;\n");
    }
    for command in COMMANDS {
        let _ = write!(text, "        {}) options=(", command.name);
        for option in command.options {
            let value = option.value.map_or(String::new(), |name| format!(":{}:", zsh_text(name)));
            let _ = write!(text, "'{}[{}]{value}' ", option.long, zsh_text(option.help));
        }
        let words = words_of(command);
        if takes_file(command) {
            text.push_str("'*:file:_files'");
        } else if !words.is_empty() {
            let _ = write!(text, "'*:word:({})'", words.join(" "));
        }
        text.push_str(") ;;\n");
    }
    text.push_str("    esac\n");
    for option in OWN_OPTIONS {
        let value = if option.value.is_some() { ":path:_files" } else { "" };
        let _ =
            writeln!(text, "    options+=('{}[{}]{value}')", option.long, zsh_text(option.help));
    }
    text.push_str("    shift words; (( CURRENT-- ))\n    _arguments -S $options\n}\n");
    text.push_str("_lvsadm \"$@\"\n");
    text
}

fn fish() -> String {
    let quoted = |text: &str| text.replace('\\', "\\\\").replace('\'', "\\'");
    let mut text = String::from("# fish completion for lvsadm\ncomplete -c lvsadm -f\n");
    text.push_str("set -l first 'test (count (commandline -opc)) -eq 1'\n");
    let mut first = |what: &str, help| {
        let _ = writeln!(text, "complete -c lvsadm -n $first {what} -d '{}'", quoted(help));
    };
    for verb in VERBS {
        for letter in verb.short {
            first(&format!("-s {letter}"), verb.help);
        }
        first(&format!("-l {}", verb.long), verb.help);
    }
    for command in COMMANDS {
        first(&format!("-a {}", command.name), command.help);
    }
    for info in OPTIONS {
        let verbs: Vec<String> = VERBS
            .iter()
            .filter(|verb| options_of(verb).iter().any(|other| other.id == info.id))
            .flat_map(spellings)
            .collect();
        let short = info.short.map_or(String::new(), |letter| format!(" -s {letter}"));
        let value = match (info.value, &values(info.id)[..]) {
            (Value::No, _) => String::new(),
            (_, []) => " -x".to_owned(),
            (_, words) => format!(" -x -a '{}'", words.join(" ")),
        };
        let _ = writeln!(
            text,
            "complete -c lvsadm -n 'contains -- (commandline -opc)[2] {}'{short} -l {}{value} -d '{}'",
            verbs.join(" "),
            info.long,
            quoted(info.help)
        );
    }
    let of =
        |name: &str| format!("complete -c lvsadm -n 'contains -- (commandline -opc)[2] {name}'");
    for command in COMMANDS {
        for option in command.options {
            let value = if option.value.is_some() { " -x" } else { "" };
            let name = match option.long.strip_prefix("--") {
                Some(long) => format!("-l {long}"),
                None => format!("-s {}", option.long.trim_start_matches('-')),
            };
            let help = quoted(option.help);
            let _ = writeln!(text, "{} {name}{value} -d '{help}'", of(command.name));
        }
        let words = words_of(command);
        if !words.is_empty() {
            let _ = writeln!(text, "{} -a '{}'", of(command.name), words.join(" "));
        }
        if takes_file(command) {
            let _ = writeln!(text, "{} -F", of(command.name));
        }
    }
    for option in OWN_OPTIONS {
        let value = if option.value.is_some() { " -r -F" } else { "" };
        let name = option.long.trim_start_matches('-');
        let _ = writeln!(text, "complete -c lvsadm -l {name}{value} -d '{}'", quoted(option.help));
    }
    text
}
