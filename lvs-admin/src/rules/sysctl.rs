//! `sysctl net.ipv4.vs.NAME=VALUE` lines.

use lvs_core::command::Tunables;

use super::error::Fault;
use super::supported::list;
use crate::address::number;
use crate::words::Word;

/// A switch of `net.ipv4.vs` that the director obeys.
#[derive(Clone, Copy, Debug)]
pub struct TunableInfo {
    /// The name below `net.ipv4.vs`.
    pub name: &'static str,
    /// The largest value; the smallest is 0.
    pub most: u32,
    /// Reads it.
    pub get: fn(&Tunables) -> u32,
    /// Sets it to a value that is not above `most`.
    pub set: fn(&mut Tunables, u32),
}

/// A switch whose field in [`Tunables`] has its name: on or off, or a number up to the one given.
macro_rules! switch {
    ($name:ident) => {
        TunableInfo {
            name: stringify!($name),
            most: 1,
            get: |tunables| u32::from(tunables.$name),
            set: |tunables, value| tunables.$name = value != 0,
        }
    };
    ($name:ident, $most:expr) => {
        TunableInfo {
            name: stringify!($name),
            most: $most,
            get: |tunables| u32::from(tunables.$name),
            set: |tunables, value| tunables.$name = value as _,
        }
    };
}

/// Every switch, in the order of the alphabet.
pub const TUNABLES: &[TunableInfo] = &[
    switch!(am_droprate, i32::MAX as u32),
    switch!(amemthresh, i32::MAX as u32),
    switch!(cache_bypass),
    // The kernel has no such switch: it says which kernel is followed.
    switch!(compat, 1),
    switch!(conn_reuse_mode, 7),
    switch!(drop_entry, 3),
    switch!(drop_packet, 3),
    switch!(expire_nodest_conn),
    switch!(expire_quiescent_template),
    switch!(nat_icmp_send),
    switch!(pmtu_disc),
    switch!(run_estimation),
    switch!(schedule_icmp),
    switch!(secure_tcp, 3),
    switch!(sloppy_sctp),
    switch!(sloppy_tcp),
];

/// Switches of the kernel that mean nothing here, each with the reason. A rules file may set them, so that
/// one which was written for the kernel can be used as it is.
pub const WITHOUT_MEANING: &[(&str, &str)] = &[
    ("backup_only", "there is no synchronisation"),
    ("conntrack", "there is no netfilter in a director's way"),
    ("conn_lfactor", "the connection table has a fixed size"),
    ("conn_max", "the size of the connection table is the director's own limit"),
    ("debug_level", "a director explains any packet without it"),
    ("est_cpulist", "rates are estimated where they are shown"),
    ("est_nice", "rates are estimated where they are shown"),
    ("ignore_tunneled", "tunnelled packets are never scheduled"),
    ("snat_reroute", "answers leave by the route to the client in any case"),
    ("svc_lfactor", "the service table has a fixed size"),
    ("sync_persist_mode", "there is no synchronisation"),
    ("sync_ports", "there is no synchronisation"),
    ("sync_qlen_max", "there is no synchronisation"),
    ("sync_refresh_period", "there is no synchronisation"),
    ("sync_retries", "there is no synchronisation"),
    ("sync_sock_size", "there is no synchronisation"),
    ("sync_threshold", "there is no synchronisation"),
    ("sync_version", "there is no synchronisation"),
];

/// One switch and its value.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// Which.
    pub tunable: &'static TunableInfo,
    /// The value.
    pub value: u32,
}

impl PartialEq for Setting {
    fn eq(&self, other: &Setting) -> bool {
        self.tunable.name == other.tunable.name && self.value == other.value
    }
}

impl Eq for Setting {}

impl Setting {
    /// Reads a switch by its whole name, with dots or slashes, and its value. `None` for one
    /// [that means nothing here](WITHOUT_MEANING).
    ///
    /// # Errors
    /// What is wrong, and what would be right.
    pub fn new(name: &str, value: &str) -> Result<Option<Setting>, (String, String)> {
        let dotted = name.replace('/', ".");
        let Some(short) = dotted.strip_prefix("net.ipv4.vs.") else {
            let message = format!("{name} is no setting of the director");
            return Err((message, "only net.ipv4.vs.… can be set in a rules file".to_owned()));
        };
        if WITHOUT_MEANING.iter().any(|(known, _)| *known == short) {
            return Ok(None);
        }
        let Some(tunable) = TUNABLES.iter().find(|tunable| tunable.name == short) else {
            let names: Vec<_> = TUNABLES.iter().map(|tunable| tunable.name).collect();
            let message = format!("net.ipv4.vs.{short} is not known in this version");
            return Err((message, format!("known are {}", list(&names).replace(" or ", " and "))));
        };
        let number = number(value, 0, tunable.most.into()).and_then(|n| u32::try_from(n).ok());
        match number {
            Some(value) => Ok(Some(Setting { tunable, value })),
            None => {
                let message = format!("illegal value for net.ipv4.vs.{short}: '{value}'");
                Err((message, format!("a number from 0 to {}", tunable.most)))
            }
        }
    }
}

/// Reads the words of a line, from `first` on: options of sysctl(8), then `NAME=VALUE`, with or without
/// blanks around the equals sign.
pub(super) fn parse(words: &[Word], first: usize) -> Result<Vec<Setting>, Fault> {
    let mut settings = Vec::new();
    let mut any = false;
    let mut next = first;
    while let Some(word) = words.get(next) {
        let text = word.text.as_str();
        let word = next;
        next += 1;
        if matches!(text, "-w" | "--write" | "-q" | "--quiet") {
            continue;
        }
        if text.starts_with('-') {
            let help = "sysctl -w net.ipv4.vs.NAME=VALUE";
            return Err(Fault::new(word, format!("{text}: unknown option of sysctl"), help));
        }
        let (name, value, value_word) = match text.split_once('=') {
            Some((name, "")) => (name, words.get(next), next),
            Some((name, value)) => {
                let setting = Setting::new(name, value);
                settings.extend(setting.map_err(|(m, h)| Fault::new(word, m, h))?);
                any = true;
                continue;
            }
            None => match words.get(next).and_then(|word| word.text.strip_prefix('=')) {
                Some("") => (text, words.get(next + 1), next + 1),
                Some(value) => {
                    let setting = Setting::new(text, value);
                    settings.extend(setting.map_err(|(m, h)| Fault::new(word, m, h))?);
                    any = true;
                    next += 1;
                    continue;
                }
                None => (text, None, word),
            },
        };
        let Some(value) = value else {
            return Err(Fault::new(word, format!("{name} has no value"), format!("{name}=VALUE")));
        };
        let setting = Setting::new(name, &value.text);
        settings.extend(setting.map_err(|(m, h)| Fault::new(value_word, m, h))?);
        any = true;
        next = value_word + 1;
    }
    if !any {
        let help = "sysctl -w net.ipv4.vs.NAME=VALUE";
        return Err(Fault::new(0, "nothing is set here", help));
    }
    Ok(settings)
}
