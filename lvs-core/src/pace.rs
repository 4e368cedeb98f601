//! Pacing of the ICMP errors that the director originates, so that it is no reflector.
//!
//! Two limits, as the kernel's `icmp_ratelimit` with `icmp_msgs_per_sec` and `icmp_msgs_burst`
//! (Documentation/networking/ip-sysctl.rst): each client has a bucket that gains one interval of credit
//! per interval and holds six of them; all clients together share a bucket of messages a second.
//!
//! ```
//! use lvs_core::command::IcmpPacing;
//! use lvs_core::pace::Pacer;
//! use lvs_core::time::Instant;
//!
//! let mut pacer = Pacer::new(64, IcmpPacing::default());
//! let client = "192.0.2.7".parse()?;
//! let sent = (0..100).filter(|_| pacer.allow(Instant::from_secs(9), client)).count();
//! assert_eq!(sent, 6, "six at once, then one a second");
//! # Ok::<(), core::net::AddrParseError>(())
//! ```

use alloc::boxed::Box;
use alloc::vec;
use core::net::IpAddr;

use crate::command::IcmpPacing;
use crate::flow::addr_words;
use crate::time::Instant;

/// Errors that a client may cause at once after a quiet time.
const CLIENT_BURST: u64 = 6;

#[derive(Clone, Copy)]
struct Client {
    words: [u64; 2],
    credit_ns: u64,
    last: Instant,
}

/// Decides whether an error may be sent now.
///
/// Clients have one place each by hash; one that takes another's place starts with a full bucket, so
/// that memory is bounded and the global limit is what holds under a flood of addresses.
pub struct Pacer {
    settings: IcmpPacing,
    clients: Box<[Client]>,
    global_credit: u64,
    global_last: Instant,
}

impl core::fmt::Debug for Pacer {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Pacer").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Pacer {
    /// A pacer with places for `clients` clients.
    pub fn new(clients: u32, settings: IcmpPacing) -> Pacer {
        let empty = Client { words: [0; 2], credit_ns: 0, last: Instant::ZERO };
        let clients = vec![empty; clients.max(1) as usize].into_boxed_slice();
        let global_credit = u64::from(settings.burst) * NANOS;
        Pacer { settings, clients, global_credit, global_last: Instant::ZERO }
    }

    /// Changes the settings; what was used up stays used up.
    pub fn set(&mut self, settings: IcmpPacing) {
        self.settings = settings;
    }

    /// Whether an error to `client` may be sent at `now`; if so it is counted.
    pub fn allow(&mut self, now: Instant, client: IpAddr) -> bool {
        if !self.settings.enabled {
            return true;
        }
        self.refill_global(now);
        if self.global_credit < NANOS {
            return false;
        }
        if !self.allow_client(now, client) {
            return false;
        }
        self.global_credit -= NANOS;
        true
    }

    fn refill_global(&mut self, now: Instant) {
        let elapsed = now.saturating_since(self.global_last).as_nanos() as u64;
        let gained = elapsed.saturating_mul(u64::from(self.settings.per_second));
        let full = u64::from(self.settings.burst).saturating_mul(NANOS);
        self.global_credit = self.global_credit.saturating_add(gained).min(full);
        self.global_last = self.global_last.max(now);
    }

    fn allow_client(&mut self, now: Instant, addr: IpAddr) -> bool {
        let interval = self.settings.interval.as_nanos() as u64;
        let full = interval.saturating_mul(CLIENT_BURST);
        let words = addr_words(addr);
        let fold = (words[0] ^ words[1].rotate_left(32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let place = (fold >> 32) as usize % self.clients.len();
        let client = &mut self.clients[place];
        if client.words != words {
            *client = Client { words, credit_ns: full, last: now };
        }
        let elapsed = now.saturating_since(client.last).as_nanos() as u64;
        client.credit_ns = client.credit_ns.saturating_add(elapsed).min(full);
        client.last = client.last.max(now);
        if client.credit_ns < interval {
            return false;
        }
        client.credit_ns -= interval;
        true
    }
}

/// Credit is kept in nanoseconds of one message a second, so that no rate is rounded.
const NANOS: u64 = 1_000_000_000;

#[cfg(test)]
mod tests {
    use core::net::Ipv4Addr;

    use super::*;

    fn client(host: u8) -> IpAddr {
        IpAddr::V4(Ipv4Addr::new(192, 0, 2, host))
    }

    #[test]
    fn a_client_gets_six_errors_at_once_and_then_one_a_second() {
        let mut pacer = Pacer::new(64, IcmpPacing::default());
        let t = Instant::from_secs(100);
        assert_eq!((0..10).filter(|_| pacer.allow(t, client(7))).count(), 6);
        assert!(!pacer.allow(Instant::from_millis(100_900), client(7)));
        assert!(pacer.allow(Instant::from_secs(101), client(7)));
        assert!(!pacer.allow(Instant::from_secs(101), client(7)));
    }

    #[test]
    fn all_clients_together_share_the_global_limit() {
        let mut pacer = Pacer::new(1024, IcmpPacing::default());
        let t = Instant::from_secs(100);
        let sent = (0..=255).filter(|&host| pacer.allow(t, client(host))).count();
        assert_eq!(sent, 50);
        let later = Instant::from_millis(100_010);
        let sent = (0..=255).filter(|&host| pacer.allow(later, client(host))).count();
        assert_eq!(sent, 10, "a thousand a second is ten in 10 ms");
    }

    #[test]
    fn pacing_can_be_off() {
        let mut pacer = Pacer::new(1, IcmpPacing { enabled: false, ..IcmpPacing::default() });
        assert!((0..1000).all(|_| pacer.allow(Instant::ZERO, client(1))));
    }
}
