use lvs_core::listing::DestinationEntry;
use lvs_core::stats::Counters;
use proptest::prelude::*;

use super::*;
use crate::names::NumericOnly;
use crate::rules::Supported;

/// A director of the simplest kind: it does what commands say and refuses what ipvsadm's kernel refuses.
#[derive(Default)]
struct Director {
    services: Vec<ServiceEntry>,
    mark_rules: Vec<MarkRule>,
    tunables: Tunables,
    timeouts: Option<TimeoutsEntry>,
}

impl Director {
    fn timeouts(&self) -> TimeoutsEntry {
        self.timeouts.unwrap_or(TIMEOUTS_DEFAULT)
    }

    fn service(&mut self, key: &ServiceKey) -> &mut ServiceEntry {
        self.services.iter_mut().find(|entry| entry.spec.key == *key).expect("Service not defined")
    }

    fn apply(&mut self, command: &Command) {
        match command {
            Command::AddService(spec) => {
                assert!(self.services.iter().all(|entry| entry.spec.key != spec.key), "twice");
                let counters = Counters::default();
                let spec = spec.clone();
                self.services.push(ServiceEntry { spec, counters, destinations: Vec::new() });
            }
            Command::EditService(spec) => self.service(&spec.key).spec = spec.clone(),
            Command::DeleteService(key) => {
                self.service(key);
                self.services.retain(|entry| entry.spec.key != *key);
            }
            Command::Clear => self.services.clear(),
            Command::AddDestination(key, spec) => {
                let service = self.service(key);
                assert!(service.destinations.iter().all(|d| d.spec.addr != spec.addr), "twice");
                // The kernel keeps the newest first (rule S1).
                service.destinations.insert(0, entry(*spec));
            }
            Command::EditDestination(key, spec) => {
                let found = self.service(key).destinations.iter_mut();
                let found = found.filter(|entry| entry.spec.addr == spec.addr).last();
                found.expect("No such destination").spec = *spec;
            }
            Command::DeleteDestination(key, addr) => {
                let service = self.service(key);
                let before = service.destinations.len();
                service.destinations.retain(|entry| entry.spec.addr != *addr);
                assert_eq!(service.destinations.len(), before - 1, "No such destination");
            }
            Command::SetTimeouts(spec) => {
                let now = self.timeouts();
                self.timeouts = Some(TimeoutsEntry {
                    tcp: spec.tcp.unwrap_or(now.tcp),
                    tcp_fin: spec.tcp_fin.unwrap_or(now.tcp_fin),
                    udp: spec.udp.unwrap_or(now.udp),
                });
            }
            Command::SetTunables(tunables) => self.tunables = *tunables,
            Command::SetMarkRules(rules) => self.mark_rules = rules.clone(),
            other => panic!("{other:?}"),
        }
    }

    fn load(rules: &Rules) -> Director {
        let mut director = Director::default();
        for command in rules.commands(|_| None).unwrap() {
            director.apply(&command);
        }
        director
    }

    fn running(&self) -> Running<'_> {
        Running {
            services: &self.services,
            timeouts: self.timeouts(),
            tunables: self.tunables,
            mark_rules: &self.mark_rules,
            daemons: &[],
        }
    }

    fn reload(&mut self, rules: &Rules) -> Vec<Command> {
        let marks = rules.mark_rules(|_| None).unwrap();
        let commands = diff(&self.running(), rules, &marks);
        for command in &commands {
            self.apply(command);
        }
        commands
    }

    /// What can be seen, in an order that does not depend on the way there.
    fn state(&self) -> (Vec<String>, Vec<MarkRule>, Tunables, TimeoutsEntry) {
        let mut lines = Vec::new();
        for entry in &self.services {
            lines.push(format!("{:?}", entry.spec));
            for destination in &entry.destinations {
                lines.push(format!("{} {:?}", entry.spec.key, destination.spec));
            }
        }
        lines.sort();
        (lines, self.mark_rules.clone(), self.tunables, self.timeouts())
    }
}

fn entry(spec: DestinationSpec) -> DestinationEntry {
    DestinationEntry {
        spec,
        active: 0,
        inactive: 0,
        persistent: 0,
        overloaded: false,
        counters: Counters::default(),
    }
}

fn parse(text: &str) -> Rules {
    Rules::parse("rules", text, &NumericOnly, &Supported::EVERYTHING)
        .unwrap_or_else(|errors| panic!("{errors}"))
}

/// The services that a rules file makes, as a director lists them.
pub(crate) fn entries_of(text: &str) -> Vec<ServiceEntry> {
    Director::load(&parse(text)).services
}

#[test]
fn only_what_changed_is_changed_and_deletions_come_last() {
    let before = "\
-A -t 10.0.0.1:80 -s rr
-a -t 10.0.0.1:80 -r 10.1.0.2
-a -t 10.0.0.1:80 -r 10.1.0.3 -w 5
-a -t 10.0.0.1:80 -r 10.1.0.4
-A -t 10.0.0.9:80 -s rr
-A -u 10.0.0.1:53
--set 0 30 0
";
    let after = "\
-A -t 10.0.0.1:80 -s wlc
-a -t 10.0.0.1:80 -r 10.1.0.2
-a -t 10.0.0.1:80 -r 10.1.0.3 -w 0
-a -t 10.0.0.1:80 -r 10.1.0.5
-A -u 10.0.0.1:53
-A -f 3 -s rr
iptables -t mangle -A PREROUTING -d 10.0.0.2 -j MARK --set-mark 3
sysctl -w net.ipv4.vs.sloppy_tcp=1
";
    let mut director = Director::load(&parse(before));
    let commands = director.reload(&parse(after));
    let kinds: Vec<_> = commands
        .iter()
        .map(|command| format!("{command:?}").split(['(', ' ']).next().unwrap().to_owned())
        .collect();
    assert_eq!(
        kinds,
        [
            "SetTunables",
            "SetTimeouts",
            "EditService",
            "EditDestination",
            "AddDestination",
            "AddService",
            "SetMarkRules",
            "DeleteDestination",
            "DeleteService"
        ]
    );
    assert_eq!(director.timeouts(), TIMEOUTS_DEFAULT);
}

#[test]
fn a_written_rules_file_has_what_ipvsadm_loses() {
    let text = "\
-A -t 10.0.0.1:80 -s sh -M 255.255.0.0 -b flag-1,flag-3
-a -t 10.0.0.1:80 -r 10.1.0.9:80 -g -w 4 -x 100 -y 50
-a -t 10.0.0.1:80 -r 10.1.0.2:8080 -m -w 1 -x 7
-A -f 8 -6 -s rr -p 10 -M 64
-a -f 8 -6 -r [2001:db8::2]:0 -i -w 0 --tun-type gue --tun-port 6080 --tun-csum
--set 100 120 50
sysctl -w net.ipv4.vs.am_droprate=10
sysctl -w net.ipv4.vs.amemthresh=2048
sysctl -w net.ipv4.vs.backup_only=0
sysctl -w net.ipv4.vs.cache_bypass=0
sysctl -w net.ipv4.vs.compat=1
sysctl -w net.ipv4.vs.conn_reuse_mode=1
sysctl -w net.ipv4.vs.drop_entry=0
sysctl -w net.ipv4.vs.drop_packet=3
sysctl -w net.ipv4.vs.expire_nodest_conn=1
sysctl -w net.ipv4.vs.expire_quiescent_template=0
sysctl -w net.ipv4.vs.lblc_expiration=86400
sysctl -w net.ipv4.vs.lblcr_expiration=86400
sysctl -w net.ipv4.vs.nat_icmp_send=0
sysctl -w net.ipv4.vs.pmtu_disc=1
sysctl -w net.ipv4.vs.run_estimation=1
sysctl -w net.ipv4.vs.schedule_icmp=0
sysctl -w net.ipv4.vs.secure_tcp=1
sysctl -w net.ipv4.vs.sloppy_sctp=0
sysctl -w net.ipv4.vs.sloppy_tcp=0
sysctl -w net.ipv4.vs.sync_period=50
sysctl -w net.ipv4.vs.sync_persist_mode=0
sysctl -w net.ipv4.vs.sync_ports=1
sysctl -w net.ipv4.vs.sync_qlen_max=8192
sysctl -w net.ipv4.vs.sync_refresh_period=0
sysctl -w net.ipv4.vs.sync_retries=0
sysctl -w net.ipv4.vs.sync_sock_size=0
sysctl -w net.ipv4.vs.sync_sweep_period=0
sysctl -w net.ipv4.vs.sync_threshold=3
sysctl -w net.ipv4.vs.sync_version=1
ip6tables -t mangle -A PREROUTING -s 2001:db8:9::/48 -d 2001:db8::1 -p tcp --sport 1024:65535 \
--dport 80 -j MARK --set-mark 8
iptables -t mangle -A PREROUTING -p 47 -j MARK --set-mark 0
";
    let director = Director::load(&parse(text));
    let mut written = String::new();
    crate::listing::rules_file(&mut written, &director.running(), &|_| None).unwrap();
    assert_eq!(written, text);
}

#[test]
fn daemons_are_changed_only_where_they_differ() {
    let start = "--start-daemon backup --syncid 5\n";
    let running = parse(start).daemons().to_vec();
    let same = parse("--start-daemon backup --syncid 5 --mcast-port 8848 --mcast-ttl 1\n");
    assert_eq!(daemons(&running, same.daemons()), []);
    let other =
        parse("--start-daemon backup --syncid 5 --sync-maxlen 1472\n--start-daemon master\n");
    let changes = daemons(&running, other.daemons());
    let [DaemonChange::Start(master), DaemonChange::Change(before, after)] = &changes[..] else {
        panic!("{changes:?}")
    };
    assert_eq!(
        (master.role, before.max_len, after.max_len),
        (DaemonRole::Master, None, Some(1472))
    );
    assert!(matches!(&daemons(&running, &[])[..], [DaemonChange::Stop(_)]));
    let mut text = String::new();
    let director = Director::default();
    let running = Running { daemons: &running, ..director.running() };
    crate::listing::rules_file(&mut text, &running, &|_| None).unwrap();
    assert!(
        text.ends_with("\n--start-daemon backup --mcast-interface eth0 --syncid 5\n"),
        "{text}"
    );
}

#[test]
fn an_empty_file_takes_everything_away() {
    let mut director = Director::load(&parse("-A -t 10.0.0.1:80\n-A -f 3\n--set 1 2 3\n"));
    director.reload(&parse(""));
    assert_eq!(director.state(), Director::default().state());
}

/// Some lines of some rules file; few addresses, so that they meet.
fn any_rules() -> impl Strategy<Value = String> {
    let service = (0..6u8, 0..3u8, 0..4u8).prop_map(|(key, scheduler, persistence)| {
        let key = [
            "-t 10.0.0.1:80",
            "-t 10.0.0.2:80",
            "-u 10.0.0.1:80",
            "-f 1",
            "-f 1 -6",
            "-t [2001:db8::1]:443",
        ][usize::from(key)];
        let scheduler = ["rr", "wrr", "wlc"][usize::from(scheduler)];
        let persistence = ["", " -p", " -p 50", " -p -M 255.0.0.0"][usize::from(persistence)];
        let persistence = if key.contains(['[', '6']) && persistence.contains("-M") {
            " -p 9 -M 64"
        } else {
            persistence
        };
        (key, format!("-s {scheduler}{persistence}"))
    });
    let servers = prop::collection::btree_map(1..6u8, (0..3u32, 0..3u8), 0..5);
    let services = prop::collection::vec((service, servers), 0..6);
    let mark = prop::option::of(0..3u8);
    (services, mark, prop::option::of(1..5u32), any::<bool>()).prop_map(
        |(services, mark, set, sloppy)| {
            let mut text = String::new();
            let mut seen = Vec::new();
            for ((key, options), servers) in services {
                if seen.contains(&key) {
                    continue;
                }
                seen.push(key);
                text += &format!("-A {key} {options}\n");
                for (server, (weight, method)) in servers {
                    let method = ["-g", "-i", "-m"][usize::from(method)];
                    let addr = match key.contains(['[', '6']) {
                        true => format!("[2001:db8:2::{server}]:443"),
                        false => format!("10.1.0.{server}"),
                    };
                    text += &format!("-a {key} -r {addr} {method} -w {weight}\n");
                }
            }
            if let Some(mark) = mark {
                text += &format!(
                    "iptables -t mangle -A PREROUTING -d 10.0.0.{mark} -j MARK --set-mark 1\n"
                );
            }
            if let Some(set) = set {
                text += &format!("--set {set} 0 9\n");
            }
            if sloppy {
                text += "sysctl net.ipv4.vs.sloppy_tcp=1\n";
            }
            text
        },
    )
}

proptest! {
    #[test]
    fn loading_the_same_file_again_changes_nothing(text in any_rules()) {
        let rules = parse(&text);
        let mut director = Director::load(&rules);
        prop_assert_eq!(director.reload(&rules), vec![]);
    }

    #[test]
    fn reloading_ends_where_a_fresh_start_would(before in any_rules(), after in any_rules()) {
        let mut director = Director::load(&parse(&before));
        let after = parse(&after);
        director.reload(&after);
        prop_assert_eq!(director.state(), Director::load(&after).state());
        prop_assert_eq!(director.reload(&after), vec![]);
    }

    #[test]
    fn a_service_and_server_in_both_files_is_never_deleted(before in any_rules(), after in any_rules()) {
        let mut director = Director::load(&parse(&before));
        let after = parse(&after);
        for command in director.reload(&after) {
            match command {
                Command::DeleteService(key) => {
                    prop_assert!(after.services().iter().all(|service| service.spec.key != key));
                }
                Command::DeleteDestination(key, addr) => {
                    let mut services = after.services().iter();
                    let service = services.find(|service| service.spec.key == key).unwrap();
                    prop_assert!(service.destinations.iter().all(|spec| spec.addr != addr));
                }
                _ => {}
            }
        }
    }

    #[test]
    fn a_written_rules_file_makes_the_same_director(text in any_rules()) {
        let director = Director::load(&parse(&text));
        let mut written = String::new();
        crate::listing::rules_file(&mut written, &director.running(), &|_| None).unwrap();
        let again = Director::load(&parse(&written));
        prop_assert_eq!(&again.services, &director.services);
        prop_assert_eq!(again.state(), director.state());
    }

    #[test]
    fn what_is_saved_restores_the_same_services(text in any_rules()) {
        let entries = entries_of(&text);
        let mut saved = String::new();
        crate::listing::save(&mut saved, &entries, &NumericOnly, true).unwrap();
        let specs = |entries: &[ServiceEntry]| -> Vec<String> {
            let mut specs: Vec<_> = entries
                .iter()
                .map(|entry| {
                    let mut servers: Vec<_> =
                        entry.destinations.iter().map(|d| format!("{:?}", d.spec)).collect();
                    servers.sort();
                    format!("{:?} {servers:?}", entry.spec)
                })
                .collect();
            specs.sort();
            specs
        };
        prop_assert_eq!(specs(&entries_of(&saved)), specs(&entries));
    }
}
