//! The virtual address in keepalived's hands: it says which of two directors has it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use lvs_testnet::{Host, Net, Process};

use crate::director::{Held, rules, servers4, wait_until};
use crate::sync::{BOTH, Node, hold, pair, vip};

/// Where the program is, if it is installed.
fn program() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into()]);
    folders.map(|folder| folder.join("keepalived")).find(|program| program.is_file())
}

/// keepalived on a host. It moves the virtual address by VRRP, as the README has it, only faster.
fn start(program: &Path, net: &Net, host: &Host, priority: u8) -> Process {
    // Each with files of its own: what a killed one leaves keeps another from starting until somebody has
    // waited for its child.
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let file = |end: &str| {
        let name = format!("keepalived-{}-{number}.{end}", std::process::id());
        Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
    };
    let text = format!(
        "global_defs {{\n vrrp_version 3\n}}\nvrrp_instance web {{\n state BACKUP\n nopreempt\n \
         interface eth0\n virtual_router_id 51\n priority {priority}\n advert_int 0.2\n \
         virtual_ipaddress {{\n {}/32 dev eth0\n }}\n}}\n",
        net.vip4(0)
    );
    std::fs::write(file("conf"), text).expect("the target folder can be written to");
    let mut command = Command::new(program);
    command.args(["--dont-fork", "--log-console", "--vrrp"]);
    for (option, end) in [("--use-file", "conf"), ("--pid", "pid"), ("--vrrp_pid", "vrrp.pid")] {
        command.arg(format!("{option}={}", file(end).display()));
    }
    host.start_command(command)
}

fn has_vip(net: &Net, host: &Host) -> bool {
    host.ip("-o addr show dev eth0").contains(&format!(" {}/32 ", net.vip4(0)))
}

#[test]
fn what_keepalived_moves_keeps_its_connections() {
    let Some(program) = program() else {
        println!("skipped: keepalived is not installed: apt-get install -y keepalived");
        return;
    };
    let (net, _servers) = pair(Net::one_armed(2));
    let text = rules(&format!("-t {} -s rr -p 600", vip(&net)), servers4(&net)) + BOTH;
    let active = Node::start(net.director(), &text, &["--no-arp"]);
    let standby = Node::start(net.standby(), &text, &["--no-arp"]);
    let first = start(&program, &net, net.director(), 150);
    wait_until("the first host has the address", || has_vip(&net, net.director()));
    let second = start(&program, &net, net.standby(), 100);
    let mut held = hold(&net, 2);
    wait_until("the standby knows what the active one knows", || {
        standby.connections() == active.connections()
    });
    assert!(!has_vip(&net, net.standby()));

    net.director().ip("link set eth0 down");
    drop(first);
    active.director.kill();
    wait_until("the second host has the address", || has_vip(&net, net.standby()));
    for (source, held) in &mut held {
        held.echo("after");
        let again = Held::open(&net, vip(&net), Some(*source));
        assert_eq!(again.server, held.server, "the template says where {source} belongs");
    }

    // The first host is back, knows nothing, learns from the second and takes the address when that fails.
    net.director().ip("link set eth0 up");
    let active = Node::start(net.director(), &text, &["--no-arp"]);
    let _first = start(&program, &net, net.director(), 150);
    wait_until("the first director has learnt", || {
        held.iter_mut().for_each(|(_, held)| held.echo("more"));
        let known = active.connections();
        // What ended before it came it does not know, nor templates of connections that were taken over (rule Z5).
        let open = |line: &&String| line.contains(" ESTABLISHED ");
        standby.connections().iter().filter(open).all(|line| known.contains(line))
    });
    assert!(has_vip(&net, net.standby()), "nobody takes an address that works");
    net.standby().ip("link set eth0 down");
    drop(second);
    standby.director.kill();
    wait_until("the first host has the address", || has_vip(&net, net.director()));
    held.iter_mut().for_each(|(_, held)| held.echo("back"));
    active.director.stop();
}
