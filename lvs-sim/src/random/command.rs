//! Random command lines: edits, deletions, switches, and what is refused.

use super::dice::Dice;
use super::world::Service;

/// Command lines that change something while connections live, one after the other.
pub(super) fn change(dice: &mut Dice, service: &Service) -> Vec<String> {
    let option = service.kind.option;
    let number = service.number(dice);
    match dice.below(24) {
        0..7 => vec![service.server_line(dice, "-e", number)],
        7..10 => vec![service.server_line(dice, "-d", number)],
        10..13 => vec![service.server_line(dice, "-a", number)],
        13 => {
            // A server that comes back with its connections.
            let lines = ["-d", "-a"].map(|verb| service.server_line(dice, verb, number));
            lines.to_vec()
        }
        14..17 => vec![service.line(dice, "-E")],
        17 => vec![format!("ipvsadm -D {option}")],
        18 => {
            // A service that comes back, perhaps all of them gone meanwhile.
            let gone = if dice.one_in(3) { "-C".to_owned() } else { format!("-D {option}") };
            let mut lines = vec![format!("ipvsadm {gone}")];
            lines.extend(service.lines(dice));
            lines
        }
        19 => vec![timeouts(dice)],
        20 => vec![refused(dice, service)],
        _ => vec![switch(dice)],
    }
}

/// Sets the timeouts of TCP, TCP after FIN, and UDP.
pub(super) fn timeouts(dice: &mut Dice) -> String {
    let times =
        dice.word(&["20 5 4", "900 120 300", "15 3 3", "0 0 2", "40 0 0", "0 8 0", "300 10 10"]);
    format!("ipvsadm --set {times}")
}

/// Sets counters to zero, of one service or of all.
pub(super) fn zero(dice: &mut Dice, service: &Service) -> String {
    match dice.one_in(2) {
        true => format!("ipvsadm -Z {}", service.kind.option),
        false => "ipvsadm -Z".to_owned(),
    }
}

pub(super) fn switch(dice: &mut Dice) -> String {
    let setting = dice.word(&[
        "conn_reuse_mode=0",
        "conn_reuse_mode=1",
        "conn_reuse_mode=2",
        "conn_reuse_mode=3",
        "expire_nodest_conn=1",
        "expire_nodest_conn=0",
        "expire_quiescent_template=1",
        "expire_quiescent_template=0",
        "sloppy_tcp=1",
        "sloppy_tcp=0",
        "sloppy_sctp=1",
        "schedule_icmp=1",
        "schedule_icmp=0",
        "nat_icmp_send=1",
        "nat_icmp_send=0",
        "pmtu_disc=0",
        "pmtu_disc=1",
        "secure_tcp=3",
        "secure_tcp=0",
        "cache_bypass=1",
        "snat_reroute=0",
    ]);
    format!("sysctl net.ipv4.vs.{setting}")
}

/// A command line that most often is refused.
fn refused(dice: &mut Dice, service: &Service) -> String {
    let option = service.kind.option;
    let number = service.number(dice);
    let server = if service.kind.v6 { "[2001:db8:2::99]:80" } else { "10.1.0.99:80" };
    let other = if service.kind.v6 { "10.1.0.9:80" } else { "[2001:db8:2::9]:80" };
    match dice.below(12) {
        0 => service.line(dice, "-A"),
        1 => service.server_line(dice, "-a", number),
        2 => format!("ipvsadm -d {option} -r {server}"),
        3 => format!("ipvsadm -e {option} -r {server} -g"),
        4 => format!("ipvsadm -a {option} -r {server} -g -x 2 -y 3"),
        5 => format!("ipvsadm -a {option} -r {server} -g -w -1"),
        6 => format!("ipvsadm -a {option} -r {other} -g"),
        7 => format!("ipvsadm -E {option} -s nosuch"),
        8 => "ipvsadm -D -t 10.0.0.99:80".to_owned(),
        9 => "ipvsadm -a -t 10.0.0.99:80 -r 10.1.0.2 -g".to_owned(),
        10 => "ipvsadm -Z -f 99".to_owned(),
        _ => format!("ipvsadm -E {option} -s rr -p 0"),
    }
}
