//! Any bytes as datagrams of a master of synchronisation: nothing panics, every entry is counted once, and
//! everything that was taken ends in its time.
#![no_main]

use std::net::{IpAddr, Ipv4Addr};

use libfuzzer_sys::fuzz_target;
use lvs_core::addr::Family;
use lvs_core::command::{
    Command, DestinationSpec, ForwardingMethod, Persistence, ServiceKey, ServiceSpec, SyncRoles,
};
use lvs_core::director::Director;
use lvs_core::flow::{Endpoint, Protocol};
use lvs_core::ids::FwMark;
use lvs_core::limits::Limits;
use lvs_core::listing::Cursor;
use lvs_core::time::{Duration, Instant};
use lvs_sync::backup::{Backup, Settings};

/// Longer than anything that is taken may last.
const LONG: Duration = Duration::from_secs(100 * 24 * 3600);

// A byte that says how long the next datagram is and whether its size is put right, then the datagram.
fuzz_target!(|input: &[u8]| {
    let mut director = director();
    let mut backup = Backup::new(Settings::default());
    let mut now = Instant::from_secs(1);
    let mut rest = input;
    while let Some((&how, behind)) = rest.split_first() {
        let len = usize::from(how >> 1) * 4;
        let (datagram, behind) = behind.split_at(len.min(behind.len()));
        rest = behind;
        let mut datagram = datagram.to_vec();
        if let (1, [_, _, high, low, ..]) = (how & 1, &mut datagram[..]) {
            [*high, *low] = (len as u16).to_be_bytes();
        }
        let before = counted(&backup);
        if let Ok(taken) = backup.take(now, &mut director, &datagram) {
            assert_eq!(counted(&backup) - before, u64::from(taken.entries));
        }
        while director.poll_announcement().is_some() {}
        now = now + Duration::from_millis(u64::from(how) * 100);
        director.handle_timers(now, 3);
    }
    let (mut entries, mut cursor) = (Vec::new(), Cursor::default());
    while director.connections(now, &mut cursor, 100, &mut entries) {}
    director.apply(now, Command::Clear).expect("it may always be");
    now = now + LONG;
    director.handle_timers(now, usize::MAX);
    assert_eq!((director.connection_count(), director.template_count()), (0, 0));
});

fn counted(backup: &Backup) -> u64 {
    let counters = backup.counters();
    counters.accepted() + counters.superseded + counters.refused()
}

/// With a service of each kind, and the part of a master too.
fn director() -> Director {
    let limits =
        Limits { connections_max: 64, templates_max: 16, destinations_max: 16, ..Limits::small() };
    let mut director = Director::new(limits, [1, 2]).expect("the limits are good");
    let virt = |port| Endpoint::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)), port);
    let keys = [
        ServiceKey::Address { protocol: Protocol::TCP, virt: virt(80) },
        ServiceKey::Address { protocol: Protocol::UDP, virt: virt(0) },
        ServiceKey::Mark { mark: FwMark(5), family: Family::V4 },
    ];
    let roles = SyncRoles { master: true, backup: true };
    director
        .apply(Instant::ZERO, Command::SetSyncRoles(roles))
        .expect("it is no command that fails");
    for (n, key) in keys.into_iter().enumerate() {
        let mut spec = ServiceSpec::new(key);
        let timeout = Duration::from_secs(60);
        spec.persistence = Some(Persistence { timeout, granularity: spec.granularity });
        director.apply(Instant::ZERO, Command::AddService(spec)).expect("it is a new one");
        let addr = Endpoint::new(IpAddr::V4(Ipv4Addr::new(10, 1, 0, 2)), key.port().0);
        let method =
            if n == 0 { ForwardingMethod::Masquerade } else { ForwardingMethod::DirectRoute };
        let server = DestinationSpec { method, ..DestinationSpec::new(addr) };
        director
            .apply(Instant::ZERO, Command::AddDestination(key, server))
            .expect("it is a new one");
    }
    director
}
