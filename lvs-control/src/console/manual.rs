//! The manual page, from the tables that the parser reads.

use std::fmt::Write as _;

use lvs_admin::ipvsadm::table::{Label, OPTIONS, VERBS, Value, VerbInfo};

use super::{COMMANDS, Failure, OWN_OPTIONS, Typed};

/// `lvsadm man`.
pub(super) fn manual(typed: &mut Typed<'_, '_>, words: &[&str]) -> Result<(), Failure> {
    if let Some(word) = words.first() {
        return Err(Failure::usage(format!("unexpected argument {word}"), "man takes none"));
    }
    Ok(typed.console.output.write_all(page().as_bytes())?)
}

/// A text for roff: what it would take for itself is escaped.
fn escaped(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-").replace('…', "\\&...");
    match text.starts_with(['.', '\'']) {
        true => format!("\\&{text}"),
        false => text,
    }
}

fn page() -> String {
    let mut page = format!(
        ".TH LVSADM 8 \"\" \"lvs {}\" \"Linux Virtual Server\"\n",
        env!("CARGO_PKG_VERSION")
    );
    page.push_str(INTRODUCTION);
    page.push_str(".SH COMMANDS\n");
    for verb in VERBS {
        verb_entry(&mut page, verb);
    }
    page.push_str(".SH COMMANDS OF ITS OWN\nEach is a word without a dash.\n");
    for command in COMMANDS {
        let _ = writeln!(page, ".TP\n\\fB{}\\fR {}", command.name, escaped(command.usage));
        let _ = writeln!(page, "{}.", capital(&escaped(command.help)));
        for option in command.options {
            let value = option.value.map_or(String::new(), |name| format!(" \\fI{name}\\fR"));
            let _ = writeln!(page, ".RS\n.TP\n\\fB{}\\fR{value}", escaped(option.long));
            let _ = writeln!(page, "{}.\n.RE", capital(&escaped(option.help)));
        }
    }
    page.push_str(".SH OPTIONS\n");
    for option in OPTIONS {
        let names = match option.short {
            Some(letter) => format!("\\fB\\-{letter}\\fR, \\fB\\-\\-{}\\fR", escaped(option.long)),
            None => format!("\\fB\\-\\-{}\\fR", escaped(option.long)),
        };
        let value = match option.value {
            Value::No => String::new(),
            Value::Required(name) => format!(" \\fI{}\\fR", escaped(name)),
            Value::Optional(name) => format!(" [\\fI{}\\fR]", escaped(name)),
        };
        let _ = writeln!(page, ".TP\n{names}{value}\n{}.", capital(&escaped(option.help)));
    }
    for option in OWN_OPTIONS {
        let value = option.value.map_or(String::new(), |name| format!(" \\fI{name}\\fR"));
        let _ = writeln!(page, ".TP\n\\fB{}\\fR{value}", escaped(option.long));
        let _ = writeln!(page, "{}.", capital(&escaped(option.help)));
    }
    page.push_str(REST);
    page
}

fn verb_entry(page: &mut String, verb: &VerbInfo) {
    let short = verb.short.iter().map(|letter| format!("\\fB\\-{letter}\\fR"));
    let names: Vec<String> =
        short.chain([format!("\\fB\\-\\-{}\\fR", escaped(verb.long))]).collect();
    let mut line = names.join(", ");
    match verb.value {
        Value::Required(name) | Value::Optional(name) => {
            let _ = write!(line, " \\fI{}\\fR", escaped(name));
        }
        Value::No => {}
    }
    if verb.long == "set" {
        line.push_str(" \\fItcp\\fR \\fItcpfin\\fR \\fIudp\\fR");
    }
    let _ = writeln!(page, ".TP\n{line}\n{}.", capital(&escaped(verb.help)));
    let all = [(verb.required, "Needs"), (verb.optional, "Takes")];
    for (labels, word) in all.into_iter().filter(|(labels, _)| !labels.is_empty()) {
        let options: Vec<String> = labels.iter().map(|label| options(*label)).collect();
        let _ = writeln!(page, "{word} {}.", options.join("; "));
    }
}

/// How the options of a label are typed.
fn options(label: Label) -> String {
    let of_label = OPTIONS.iter().filter(|option| option.label == Some(label));
    let names: Vec<String> = of_label
        .map(|option| match option.short {
            Some(letter) => format!("\\fB\\-{letter}\\fR"),
            None => format!("\\fB\\-\\-{}\\fR", escaped(option.long)),
        })
        .collect();
    names.join(" or ")
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters
        .next()
        .map_or(String::new(), |first| first.to_uppercase().collect::<String>() + letters.as_str())
}

const INTRODUCTION: &str = r".SH NAME
lvsadm \- administer a running Linux Virtual Server director
.SH SYNOPSIS
.B lvsadm
.I command
[\fIoption\fR ...]
.SH DESCRIPTION
.B lvsadm
takes the command line of
.BR ipvsadm (8)
and speaks to a director in user space,
.BR lvs\-director ,
over its control socket.
Commands, options, defaults, listings, messages and exit statuses are those of ipvsadm 1.31.
Without a command it lists the services.
.PP
A director has a control socket if it was started with
.BR \-\-control :
.PP
.RS
.EX
lvs\-director run \-\-interface eth0 \-\-control
.EE
.RE
";

const REST: &str = r".SH EXAMPLES
.EX
lvsadm \-A \-t 192.0.2.1:80 \-s wlc \-p 600
lvsadm \-a \-t 192.0.2.1:80 \-r 10.1.0.2 \-g \-w 4
lvsadm \-a \-t 192.0.2.1:80 \-r 10.1.0.3 \-g \-w 2
lvsadm \-L \-n
lvsadm \-L \-c \-n
lvsadm \-\-set 28800 30 60
lvsadm apply /etc/lvs.rules \-\-dry\-run
lvsadm \-S \-n > saved && lvsadm \-R < saved
.EE
.SH EXIT STATUS
.TP
.B 0
It is done.
.TP
.B 1
The one service to be listed does not exist.
.TP
.B 2
Options or their values that cannot be, or a mistake in a rules file.
.TP
.B 255
An option that does not exist, a command that the director refused, or no director.
.SH FILES
.TP
.I /run/lvs/control.sock
The control socket, unless
.B \-\-socket
or the environment variable
.B LVS_SOCKET
names another. Root, the owner of the file and its group may connect.
.SH NOTES
.B \-S
writes thresholds, timeouts, switches and mark rules in lines that begin with
.BR #lvs ,
which
.B \-R
reads and
.BR ipvsadm\-restore (8)
passes over.
.SH SEE ALSO
.BR ipvsadm (8)
";
