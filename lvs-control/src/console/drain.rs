//! `drain`: a real server is taken out of its service when its work is done.

use std::time::{Duration, Instant};

use lvs_admin::ipvsadm::{self, Action};
use lvs_core::command::{Command, ServiceKey};
use lvs_core::flow::Endpoint;

use super::steps::span;
use super::{Failure, Typed, unexpected};
use crate::data::{Change, Forecast, Server, Settings};
use crate::protocol::{Reply, Request};

/// How often the director is asked what is left.
const EVERY: Duration = Duration::from_secs(1);
/// How often that is told even where only time went by.
const TELL_EVERY: Duration = Duration::from_secs(10);
const USAGE: &str = "lvsadm drain VIP:PORT SERVER[:PORT] [--deadline 10m], or drain -u VIP:PORT -r SERVER, \
                     drain -f MARK -r SERVER";

/// `lvsadm drain VIP RS [--deadline TIME]`.
pub(super) fn drain(typed: &mut Typed<'_, '_>, words: &[&str]) -> Result<(), Failure> {
    let (key, server, deadline) = parse(typed, words)?;
    let found = find(typed, key, server)?;
    let weight = found.spec.weight;
    if weight > 0 {
        let mut spec = found.spec;
        spec.weight = 0;
        typed.carry(Change::EditServer { service: key.into(), server: spec })?;
    }
    let settings = typed.settings()?;
    let output = &mut *typed.console.output;
    writeln!(
        output,
        "{server} of {key} takes no new clients (its weight was {weight}); it stays so if you interrupt this"
    )?;
    if found.persistent > 0 && templates_hold(&settings) {
        writeln!(
            output,
            "clients with a template keep coming to it until that ends; to send them elsewhere at once:\n    \
             lvsadm sysctl net.ipv4.vs.expire_quiescent_template=1"
        )?;
    }
    let begun = Instant::now();
    let left = wait(typed, (key, server), begun, deadline)?;
    find(typed, key, server)?;
    typed.carry(Change::DeleteServer {
        service: key.into(),
        server: std::net::SocketAddr::new(server.addr, server.port.0),
    })?;
    let output = &mut *typed.console.output;
    let Forecast { connections, templates, .. } = left;
    if connections > 0 || templates > 0 {
        writeln!(output, "the deadline has come: {} cut off", remaining(&left))?;
    }
    let after = span(u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX));
    Ok(writeln!(output, "{server} is removed from {key}, after {after}")?)
}

/// Waits until nothing is left or the deadline comes, telling what happens.
fn wait(
    typed: &mut Typed<'_, '_>,
    (key, server): (ServiceKey, Endpoint),
    begun: Instant,
    deadline: Option<Duration>,
) -> Result<Forecast, Failure> {
    let mut told: Option<(Forecast, Instant)> = None;
    loop {
        let left = forecast(typed, key, server)?;
        if left.connections == 0 && left.templates == 0 {
            return Ok(left);
        }
        let spent = begun.elapsed();
        let over = deadline.map(|deadline| deadline.saturating_sub(spent));
        let news = told.is_none_or(|(before, at)| {
            let same = (before.connections, before.templates) == (left.connections, left.templates);
            !same || at.elapsed() >= TELL_EVERY
        });
        if news {
            writeln!(typed.console.output, "{}", progress(&left, over))?;
            typed.console.output.flush()?;
            told = Some((left, Instant::now()));
        }
        match over {
            Some(Duration::ZERO) => return Ok(left),
            over => std::thread::sleep(over.map_or(EVERY, |over| over.min(EVERY))),
        }
    }
}

fn remaining(left: &Forecast) -> String {
    let plural = |n: u32| if n == 1 { "" } else { "s" };
    let Forecast { connections, templates, .. } = *left;
    let connections = format!("{connections} connection{}", plural(connections));
    match templates {
        0 => connections,
        _ => format!("{connections} and {templates} template{}", plural(templates)),
    }
}

/// What is left and until when.
fn progress(left: &Forecast, over: Option<Duration>) -> String {
    let end = span(left.connections_end_ms.max(left.templates_end_ms));
    let mut text = format!("{} left, the last ends in {end} if it stays quiet", remaining(left));
    if let Some(over) = over {
        let over = span(u64::try_from(over.as_millis()).unwrap_or(u64::MAX));
        text += &format!("; deadline in {over}");
    }
    text
}

fn parse(
    typed: &Typed<'_, '_>,
    words: &[&str],
) -> Result<(ServiceKey, Endpoint, Option<Duration>), Failure> {
    let mut deadline = None;
    let mut plain = Vec::new();
    let mut words = words.iter();
    while let Some(&word) = words.next() {
        match word {
            "--deadline" => {
                let value = words.next().copied().unwrap_or_default();
                deadline = Some(duration(value)?);
            }
            _ => plain.push(word),
        }
    }
    let line = match plain[..] {
        [virt, server] if !virt.starts_with('-') && !server.starts_with('-') => {
            vec!["-d", "-t", virt, "-r", server]
        }
        [first, ..] if first.starts_with('-') => [&["-d"], &plain[..]].concat(),
        _ => {
            let message = match plain.iter().find(|word| word.starts_with('-')) {
                Some(option) => format!("{option}: unknown option"),
                None => "which real server of which service?".to_owned(),
            };
            return Err(Failure::usage(message, USAGE));
        }
    };
    match ipvsadm::parse(&line, typed.console.names)? {
        Action::Change(Command::DeleteDestination(key, server)) => Ok((key, server, deadline)),
        _ => Err(Failure::usage("which real server of which service?", USAGE)),
    }
}

/// `90`, `90s`, `10m`, `2h`.
fn duration(text: &str) -> Result<Duration, Failure> {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "" | "s" => Some(1),
        "m" => Some(60),
        "h" => Some(3600),
        _ => None,
    };
    let seconds =
        digits.parse().ok().zip(unit).and_then(|(n, unit): (u64, u64)| n.checked_mul(unit));
    seconds.map(Duration::from_secs).ok_or_else(|| {
        Failure::usage(format!("--deadline: {text:?} is no time"), "such as 90s, 10m or 2h")
    })
}

/// The real server as it is now.
fn find(typed: &mut Typed<'_, '_>, key: ServiceKey, server: Endpoint) -> Result<Server, Failure> {
    let services = typed.services(Some(key))?;
    let servers = services.into_iter().flat_map(|service| service.servers);
    let mut servers =
        servers.filter(|s| (s.spec.address, s.spec.port) == (server.addr, server.port.0));
    servers.next().ok_or_else(|| {
        Failure::refused(format!("{key} has no real server {server}; lvsadm -L shows those it has"))
    })
}

/// Whether a template still leads its client to a real server without weight.
fn templates_hold(settings: &Settings) -> bool {
    settings.sysctls.get("expire_quiescent_template").is_none_or(|&on| on == 0)
}

/// What is left to wait for. A template that leads nobody there any more is not.
fn forecast(
    typed: &mut Typed<'_, '_>,
    key: ServiceKey,
    server: Endpoint,
) -> Result<Forecast, Failure> {
    let server = std::net::SocketAddr::new(server.addr, server.port.0);
    match typed.ask(Request::Forecast { service: key.into(), server })? {
        Some(Reply::Forecast(left))
            if left.templates == 0 || templates_hold(&typed.settings()?) =>
        {
            Ok(left)
        }
        Some(Reply::Forecast(left)) => Ok(Forecast { templates: 0, templates_end_ms: 0, ..left }),
        other => Err(unexpected(other.as_ref())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units() {
        for (text, seconds) in [("90", 90), ("90s", 90), ("10m", 600), ("2h", 7200), ("0", 0)] {
            assert_eq!(duration(text).unwrap(), Duration::from_secs(seconds), "{text}");
        }
        for text in ["", "m", "10d", "-1", "1.5m", "99999999999999999999", "18446744073709551615h"]
        {
            assert_eq!(duration(text).unwrap_err().status, 2, "{text}");
        }
    }
}
