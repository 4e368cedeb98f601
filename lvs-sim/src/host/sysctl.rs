//! The system controls of a scenario: those of IPVS with the kernel's defaults, and the few of the host
//! that a scenario may turn.

use std::collections::BTreeMap;

use lvs_admin::rules::TUNABLES;
use lvs_core::command::Tunables;
use lvs_sync::PORTS_MAX;

use crate::scenario::Side;

/// What stands before the name of every control of IPVS.
const PREFIX: &str = "net.ipv4.vs.";

/// The controls of IPVS and their defaults (rule A7), in the order of the alphabet.
const DEFAULTS: &[(&str, &str)] = &[
    ("am_droprate", "10"),
    ("amemthresh", "1024"),
    ("backup_only", "0"),
    ("cache_bypass", "0"),
    ("conn_reuse_mode", "1"),
    ("conntrack", "0"),
    ("debug_level", "0"),
    ("drop_entry", "0"),
    ("drop_packet", "0"),
    ("expire_nodest_conn", "0"),
    ("expire_quiescent_template", "0"),
    ("ignore_tunneled", "0"),
    ("lblc_expiration", "86400"),
    ("lblcr_expiration", "86400"),
    ("nat_icmp_send", "0"),
    ("pmtu_disc", "1"),
    ("run_estimation", "1"),
    ("schedule_icmp", "0"),
    ("secure_tcp", "0"),
    ("sloppy_sctp", "0"),
    ("sloppy_tcp", "0"),
    ("snat_reroute", "1"),
    ("sync_persist_mode", "0"),
    ("sync_ports", "1"),
    ("sync_qlen_max", "5776"),
    ("sync_refresh_period", "0"),
    ("sync_retries", "0"),
    ("sync_sock_size", "0"),
    ("sync_threshold", "3 50"),
    ("sync_version", "1"),
];

/// Controls of IPVS that change nothing a record shows, whatever their value: logging,
/// netfilter's own entries, where answers of the kernel's own leave.
const WITHOUT_EFFECT: &[&str] = &["conntrack", "debug_level", "ignore_tunneled", "snat_reroute"];

/// The control that has two numbers, and their defaults.
const THRESHOLD: &str = "net.ipv4.vs.sync_threshold";
const THRESHOLD_DEFAULT: (i32, i32) = (3, 50);

/// The longest time of a control, in seconds, at the hundred ticks a second of the recorded kernel.
const MOST_TIME: i32 = i32::MAX / 100;

/// Controls that only accept 0 to 3.
const LEVELS: &[&str] = &["drop_entry", "drop_packet", "secure_tcp"];

/// The present values.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sysctls {
    changed: BTreeMap<String, String>,
}

impl Sysctls {
    /// Sets a control.
    ///
    /// # Errors
    /// The system's words, as a record shows them after `failed:`.
    pub(crate) fn set(&mut self, name: &str, value: &str) -> Result<(), &'static str> {
        let number = number(value);
        let known = match name.strip_prefix(PREFIX) {
            Some(short) => {
                let takes =
                    |least: i32, most: i32| number.is_some_and(|n| (least..=most).contains(&n));
                let fine = match short {
                    "sync_ports" => {
                        takes(1, i32::MAX) && number.is_some_and(|n| n.count_ones() == 1)
                    }
                    // Kept in ticks, of which an integer holds so many.
                    "lblc_expiration" | "lblcr_expiration" => takes(-MOST_TIME, MOST_TIME),
                    "sync_version" => takes(0, 1),
                    "sync_retries" => takes(0, 3),
                    _ => !LEVELS.contains(&short) || takes(0, 3),
                };
                if !fine {
                    return Err("Invalid argument");
                }
                DEFAULTS.iter().any(|(known, _)| *known == short)
            }
            None => is_of_host(name),
        };
        match (known, number) {
            (false, _) => Err("No such file or directory"),
            (true, _) if name == THRESHOLD => self.set_threshold(value),
            (true, None) => Err("Invalid argument"),
            (true, Some(number)) => {
                self.changed.insert(name.to_owned(), number.to_string());
                Ok(())
            }
        }
    }

    /// Two numbers, of which the second stays if there is only one (rule Y7).
    fn set_threshold(&mut self, text: &str) -> Result<(), &'static str> {
        let present = self.changed.get(THRESHOLD).and_then(|text| pair(text));
        let (_, period) = present.unwrap_or(THRESHOLD_DEFAULT);
        let given = pair(text).or_else(|| Some((number(text)?, period)));
        match given {
            Some((threshold, period))
                if threshold >= 0 && period >= 0 && (threshold < period || period == 0) =>
            {
                self.changed.insert(THRESHOLD.to_owned(), format!("{threshold} {period}"));
                Ok(())
            }
            _ => Err("Invalid argument"),
        }
    }

    /// The controls of IPVS as `NAME=VALUE`, in the order of the alphabet. The director moves its levels of
    /// defence between 1 and 2 by itself, so that `present` is asked for them.
    pub(crate) fn listing(&self, present: &Tunables) -> Vec<String> {
        DEFAULTS
            .iter()
            .map(|(name, default)| {
                let value = self.changed.get(&format!("{PREFIX}{name}")).map_or(*default, |v| v);
                match TUNABLES.iter().find(|tunable| tunable.name == *name) {
                    Some(tunable) if LEVELS.contains(name) => {
                        format!("{name}={}", (tunable.get)(present))
                    }
                    _ => format!("{name}={value}"),
                }
            })
            .collect()
    }

    /// Those that the director obeys.
    pub(crate) fn tunables(&self) -> Tunables {
        let mut tunables = Tunables::default();
        for tunable in TUNABLES {
            // Where the kernel has two numbers in one control the director has two controls.
            let (name, place) = match tunable.name {
                "sync_period" => ("sync_threshold", 1),
                name => (name, 0),
            };
            let value = self.changed.get(&format!("{PREFIX}{name}"));
            let value = value.and_then(|value| value.split([',', ' ', '\t']).nth(place));
            if let Some(value) = value.and_then(|value| value.parse::<i32>().ok()) {
                // A negative switch is on; of a mode only the lowest bits mean something.
                let value = match tunable.most {
                    1 => u32::from(value != 0),
                    7 => value.cast_unsigned() & 7,
                    most => u32::try_from(value).unwrap_or(0).min(most),
                };
                (tunable.set)(&mut tunables, value);
            }
        }
        self.synchronisation(&mut tunables);
        tunables
    }

    /// The switches of synchronisation, for which the kernel takes more numbers than mean something.
    fn synchronisation(&self, tunables: &mut Tunables) {
        let value = |name: &str| self.changed.get(&format!("{PREFIX}{name}"));
        let set = |name: &str| value(name)?.parse::<i32>().ok();
        let count = |number: i32| u32::try_from(number).unwrap_or(0);
        if let Some((threshold, period)) = value("sync_threshold").and_then(|text| pair(text)) {
            (tunables.sync_threshold, tunables.sync_period) = (count(threshold), count(period));
        }
        if let Some(ports) = set("sync_ports") {
            tunables.sync_ports = ports.clamp(1, i32::from(PORTS_MAX)) as u8;
        }
        if let Some(version) = set("sync_version") {
            tunables.sync_version = version as u8;
        }
        if let Some(retries) = set("sync_retries") {
            tunables.sync_retries = retries as u8;
        }
        if let Some(period) = set("sync_refresh_period") {
            tunables.sync_refresh_period = count(period);
        }
        if let Some(messages) = set("sync_qlen_max") {
            tunables.sync_qlen_max = count(messages);
        }
        if let Some(mode) = set("sync_persist_mode") {
            tunables.sync_persist_mode = mode != 0;
        }
        if let Some(only) = set("backup_only") {
            tunables.backup_only = only != 0;
        }
    }

    /// Whether packets from an own address are accepted on a side.
    pub(crate) fn accepts_local(&self, side: Side) -> bool {
        ["all", side.interface()].iter().any(|interface| {
            let name = format!("net.ipv4.conf.{interface}.accept_local");
            self.changed.get(&name).is_some_and(|value| value != "0")
        })
    }

    /// Whether the host forwards.
    pub(crate) fn forwards(&self, v6: bool) -> bool {
        let name = if v6 { "net.ipv6.conf.all.forwarding" } else { "net.ipv4.ip_forward" };
        self.changed.get(name).is_none_or(|value| value != "0")
    }
}

/// A number as the system reads it: decimal, octal with a leading 0, or hexadecimal.
fn number(text: &str) -> Option<i32> {
    let (sign, digits) = text.strip_prefix('-').map_or((1, text), |digits| (-1, digits));
    let magnitude = match (digits.strip_prefix("0x"), digits.strip_prefix('0')) {
        (Some(hexadecimal), _) => i64::from_str_radix(hexadecimal, 16),
        (None, Some(octal)) if !octal.is_empty() => i64::from_str_radix(octal, 8),
        _ => digits.parse(),
    };
    i32::try_from(sign * magnitude.ok().filter(|n| !digits.starts_with('+') && *n >= 0)?).ok()
}

/// Two numbers, as the scenario writes them with a comma, or as they are listed with a blank.
fn pair(text: &str) -> Option<(i32, i32)> {
    let (first, second) = text.split_once([',', ' '])?;
    Some((number(first)?, number(second)?))
}

/// The control's short name if setting it to this value asks for something that the director or the
/// simulated host cannot do.
pub(crate) fn lacking<'a>(name: &'a str, value: &str) -> Option<&'a str> {
    let obeyed = |short: &str| TUNABLES.iter().any(|tunable| tunable.name == short);
    match name.strip_prefix(PREFIX) {
        None if is_of_host(name) => None,
        None => Some(name),
        Some(short) => {
            let default = DEFAULTS.iter().find(|(known, _)| *known == short);
            let fine = obeyed(short)
                || WITHOUT_EFFECT.contains(&short)
                || short.starts_with("sync_")
                || short == "backup_only"
                // An unknown name is refused, and that can be done.
                || default.is_none_or(|(_, default)| *default == value);
            (!fine).then_some(short)
        }
    }
}

/// The controls of the host that the simulation obeys, or that change nothing in it.
fn is_of_host(name: &str) -> bool {
    if matches!(name, "net.ipv4.ip_forward" | "net.ipv6.conf.all.forwarding") {
        return true;
    }
    let Some((interface, control)) =
        name.strip_prefix("net.ipv4.conf.").and_then(|rest| rest.split_once('.'))
    else {
        return false;
    };
    matches!(interface, "all" | "default" | "lo" | "c0" | "s0")
        && matches!(
            control,
            "accept_local" | "rp_filter" | "send_redirects" | "arp_ignore" | "arp_announce"
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_listing_is_that_of_a_fresh_kernel() {
        let recorded = include_str!("../../../conformance/recorded/sysctl-defaults.rec");
        let expected: Vec<_> = recorded
            .lines()
            .skip_while(|line| !line.ends_with("dump sysctls"))
            .skip(1)
            .map_while(|line| line.strip_prefix("    | "))
            .collect();
        assert_eq!(Sysctls::default().listing(&Tunables::default()), expected);
    }

    #[test]
    fn wrong_names_and_values_are_refused_in_the_systems_words() {
        let mut sysctls = Sysctls::default();
        assert_eq!(sysctls.set("net.ipv4.vs.sloppy", "1"), Err("No such file or directory"));
        assert_eq!(sysctls.set("net.ipv4.vs.sloppy_tcp", "yes"), Err("Invalid argument"));
        assert_eq!(sysctls.set("net.ipv4.vs.secure_tcp", "4"), Err("Invalid argument"));
        assert_eq!(sysctls.set("net.ipv4.vs.sloppy_tcp", "1"), Ok(()));
        assert!(sysctls.tunables().sloppy_tcp);
        assert_eq!(sysctls.set("net.ipv4.vs.sloppy_tcp", "0x7"), Ok(()));
        assert!(sysctls.listing(&Tunables::default()).contains(&"sloppy_tcp=7".to_owned()));
    }

    #[test]
    fn only_what_has_an_effect_that_is_missing_is_lacking() {
        assert_eq!(lacking("net.ipv4.vs.conntrack", "1"), None);
        assert_eq!(lacking("net.ipv4.vs.conn_reuse_mode", "3"), None);
        assert_eq!(lacking("net.ipv4.conf.s0.accept_local", "1"), None);
        assert_eq!(lacking("net.ipv4.tcp_syncookies", "0"), Some("net.ipv4.tcp_syncookies"));
    }
}
