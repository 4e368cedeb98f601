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
    /// Of values up to that, the only ones, in words; empty if all are.
    pub only: &'static str,
    /// Whether a value is one of those.
    pub takes: fn(u32) -> bool,
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
            only: "",
            takes: |_| true,
            get: |tunables| u32::from(tunables.$name),
            set: |tunables, value| tunables.$name = value != 0,
        }
    };
    ($name:ident, $most:expr) => {
        TunableInfo {
            name: stringify!($name),
            most: $most,
            only: "",
            takes: |_| true,
            get: |tunables| u32::from(tunables.$name),
            set: |tunables, value| tunables.$name = value as _,
        }
    };
    ($name:ident, $most:expr, $only:expr, $takes:expr) => {
        TunableInfo { only: $only, takes: $takes, ..switch!($name, $most) }
    };
}

/// The largest number of the kernel's switches.
const INT: u32 = i32::MAX as u32;

/// The kernel has two numbers in one switch here: threshold and period.
const TWO_NUMBERS: &str = "sync_threshold";

/// Every switch, in the order of the alphabet.
pub const TUNABLES: &[TunableInfo] = &[
    switch!(am_droprate, INT),
    switch!(amemthresh, INT),
    switch!(backup_only),
    switch!(cache_bypass),
    // The kernel has no such switch: it says which kernel is followed.
    switch!(compat, 1),
    switch!(conn_reuse_mode, 7),
    switch!(drop_entry, 3),
    switch!(drop_packet, 3),
    switch!(expire_nodest_conn),
    switch!(expire_quiescent_template),
    // The kernel counts in its ticks, of which there may be 2³¹ in all, and a hundred in a second.
    switch!(lblc_expiration, INT / 100),
    switch!(lblcr_expiration, INT / 100),
    switch!(nat_icmp_send),
    switch!(pmtu_disc),
    switch!(run_estimation),
    switch!(schedule_icmp),
    switch!(secure_tcp, 3),
    switch!(sloppy_sctp),
    switch!(sloppy_tcp),
    // The second number of the kernel's sync_threshold, which may be given there too.
    switch!(sync_period, INT),
    switch!(sync_persist_mode),
    switch!(sync_ports, 64, "a power of two from 1 to 64", u32::is_power_of_two),
    switch!(sync_qlen_max, INT),
    switch!(sync_refresh_period, INT),
    switch!(sync_retries, 3),
    switch!(sync_sock_size, INT),
    // The kernel has no such switch: it announces by packets alone.
    switch!(sync_sweep_period, INT),
    switch!(sync_threshold, INT),
    switch!(sync_version, 1),
];

/// Switches of the kernel that mean nothing here, each with the reason. A rules file may set them, so that
/// one which was written for the kernel can be used as it is.
pub const WITHOUT_MEANING: &[(&str, &str)] = &[
    ("conntrack", "there is no netfilter in a director's way"),
    ("conn_lfactor", "the connection table has a fixed size"),
    ("conn_max", "the size of the connection table is the director's own limit"),
    ("debug_level", "a director explains any packet without it"),
    ("est_cpulist", "rates are estimated where they are shown"),
    ("est_nice", "rates are estimated where they are shown"),
    ("ignore_tunneled", "tunnelled packets are never scheduled"),
    ("snat_reroute", "answers leave by the route to the client in any case"),
    ("svc_lfactor", "the service table has a fixed size"),
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
    /// Reads a switch by its whole name, with dots or slashes, and its value. That of `sync_threshold` may be
    /// two numbers, with a blank or a comma between them: then the second is a setting of its own. Of a switch
    /// [that means nothing here](WITHOUT_MEANING) there is none.
    ///
    /// # Errors
    /// What is wrong, and what would be right.
    pub fn new(name: &str, value: &str) -> Result<Vec<Setting>, (String, String)> {
        let dotted = name.replace('/', ".");
        let Some(short) = dotted.strip_prefix("net.ipv4.vs.") else {
            let message = format!("{name} is no setting of the director");
            return Err((message, "only net.ipv4.vs.… can be set in a rules file".to_owned()));
        };
        if WITHOUT_MEANING.iter().any(|(known, _)| *known == short) {
            return Ok(Vec::new());
        }
        if let (TWO_NUMBERS, Some((threshold, period))) = (short, two_numbers(value)) {
            return Setting::threshold_and_period(threshold, period);
        }
        Setting::one(short, value).map(|setting| vec![setting])
    }

    fn one(short: &str, value: &str) -> Result<Setting, (String, String)> {
        let Some(tunable) = TUNABLES.iter().find(|tunable| tunable.name == short) else {
            let names: Vec<_> = TUNABLES.iter().map(|tunable| tunable.name).collect();
            let message = format!("net.ipv4.vs.{short} is not known in this version");
            return Err((message, format!("known are {}", list(&names).replace(" or ", " and "))));
        };
        let number = number(value, 0, tunable.most.into()).and_then(|n| u32::try_from(n).ok());
        match number.filter(|&number| (tunable.takes)(number)) {
            Some(value) => Ok(Setting { tunable, value }),
            None => {
                let message = format!("illegal value for net.ipv4.vs.{short}: '{value}'");
                let most = || format!("a number from 0 to {}", tunable.most);
                let help = if tunable.only.is_empty() { most() } else { tunable.only.to_owned() };
                Err((message, help))
            }
        }
    }

    /// Two numbers of which the kernel asks that the second is above the first, or 0 (rule Y7).
    fn threshold_and_period(
        threshold: &str,
        period: &str,
    ) -> Result<Vec<Setting>, (String, String)> {
        let both = [Setting::one(TWO_NUMBERS, threshold)?, Setting::one("sync_period", period)?];
        let [threshold, period] = both.map(|setting| setting.value);
        if period != 0 && threshold >= period {
            let message =
                format!("illegal value for net.ipv4.vs.sync_threshold: {threshold} {period}");
            return Err((message, "a second number above the first, or 0".to_owned()));
        }
        Ok(both.to_vec())
    }
}

/// Two numbers with a comma or blanks between them.
fn two_numbers(value: &str) -> Option<(&str, &str)> {
    let (first, second) = value.split_once([',', ' ', '\t'])?;
    Some((first.trim(), second.trim()))
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
        // The value may stand behind blanks: where it is then, or in the word of the equals sign.
        let (name, value, at) = match text.split_once('=') {
            Some((name, "")) => (name, words.get(next).map(|word| &*word.text), next),
            Some((name, value)) => (name, Some(value), word),
            None => match words.get(next).and_then(|word| word.text.strip_prefix('=')) {
                Some("") => (text, words.get(next + 1).map(|word| &*word.text), next + 1),
                Some(value) => (text, Some(value), next),
                None => (text, None, word),
            },
        };
        let Some(value) = value else {
            return Err(Fault::new(word, format!("{name} has no value"), format!("{name}=VALUE")));
        };
        next = at + 1;
        let is_number = |word: &&Word| word.text.bytes().all(|byte| byte.is_ascii_digit());
        let second = words.get(next).filter(is_number).filter(|_| name.ends_with(TWO_NUMBERS));
        let value = match second {
            Some(second) => format!("{value} {}", second.text),
            None => value.to_owned(),
        };
        next += usize::from(second.is_some());
        settings.extend(Setting::new(name, &value).map_err(|(m, h)| Fault::new(at, m, h))?);
        any = true;
    }
    if !any {
        let help = "sysctl -w net.ipv4.vs.NAME=VALUE";
        return Err(Fault::new(0, "nothing is set here", help));
    }
    Ok(settings)
}
