//! Command lines, typed.

use std::fmt::Write as _;
use std::process::Command;

use lvs_control::server::Patience;
use proptest::prelude::*;

use crate::director::{Running, SocketPath};

/// A rules file with something of everything.
fn any_file() -> impl Strategy<Value = String> {
    let server = (2u8..8, 0u32..9, 0u32..3, 0usize..4);
    let scheduler = prop::sample::select(vec!["rr", "wrr", "wlc", "sh", "mh", "fo"]);
    let persistence = prop::sample::select(vec!["", "-p", "-p 60 -M 255.255.255.0"]);
    let service = (1u8..5, scheduler, persistence, prop::collection::vec(server, 0..4));
    let settings = (600u32..602, any::<bool>(), 0u8..3);
    (prop::collection::vec(service, 0..4), settings).prop_map(|(services, settings)| {
        let mut text = String::new();
        let mut seen = Vec::new();
        for (virt, scheduler, persistence, servers) in services {
            let name = match virt {
                4 => "-f 10".to_owned(),
                virt => format!("-t 10.0.0.{virt}:80"),
            };
            if seen.contains(&name) {
                continue;
            }
            let _ = writeln!(text, "-A {name} -s {scheduler} {persistence}");
            let mut there = Vec::new();
            for (server, weight, lower, method) in servers {
                if there.contains(&server) {
                    continue;
                }
                there.push(server);
                let tunnel = "-i --tun-type gue --tun-port 6080 --tun-csum";
                let method = ["-g", "-i", tunnel, "-g"][method];
                let upper = if lower > 0 { lower + 5 } else { 0 };
                let _ = writeln!(
                    text,
                    "-a {name} -r 10.1.0.{server} {method} -w {weight} -x {upper} -y {lower}"
                );
            }
            seen.push(name);
        }
        let (tcp, switch, marks) = settings;
        let _ = writeln!(text, "--set {tcp} 30 60");
        let _ = writeln!(text, "sysctl -w net.ipv4.vs.sloppy_tcp={}", u8::from(switch));
        for mark in 0..marks {
            let _ = writeln!(
                text,
                "iptables -t mangle -A PREROUTING -i eth0 -d 10.0.0.{} -p tcp --dport 80:{} -j MARK \
                 --set-mark 10",
                9 + mark,
                81 + u16::from(mark)
            );
        }
        text
    })
}

fn apply(running: &Running, text: &str) -> String {
    let (status, plan, errors) = running.lvsadm("apply -", text);
    assert_eq!((status, errors.as_str()), (0, ""), "{text}");
    plan
}

/// Everything that is configured, servers in the order of the listing.
fn state(running: &Running) -> String {
    running.lvsadm("-S -n", "").1
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn reloading_an_identical_file_changes_nothing(before in any_file(), text in any_file()) {
        let running = Running::start();
        apply(&running, &before);
        apply(&running, &text);
        let listing = running.lvsadm("-L -n --nosort --json", "");
        let told = running.lvsadm("apply - --dry-run", &text);
        let plan = apply(&running, &text);
        prop_assert_eq!(&told.1, &plan);
        prop_assert!(plan.ends_with("no change\n"), "{}", plan);
        prop_assert_eq!(running.lvsadm("-L -n --nosort --json", ""), listing);
    }

    #[test]
    fn what_is_saved_is_restored_with_all_that_ipvsadm_loses(text in any_file()) {
        let running = Running::start();
        apply(&running, &text);
        let saved = state(&running);
        let fresh = Running::start();
        let (status, _, errors) = fresh.lvsadm("-R", &saved);
        prop_assert_eq!((status, errors.as_str()), (0, ""), "{}", saved);
        prop_assert_eq!(state(&fresh), saved);
        // And a plan says the same: it is what the file says.
        prop_assert!(apply(&fresh, &text).ends_with("no change\n"));
    }

    #[test]
    fn of_a_file_that_is_refused_nothing_is_applied(before in any_file(), text in any_file()) {
        let running = Running::start();
        apply(&running, &before);
        let listing = running.lvsadm("-L -n --json", "");
        let saved = state(&running);
        // More servers than a small director has room for.
        let mut many = text + "-A -t 10.0.9.9:80\n";
        for n in 0..1_100 {
            let _ = writeln!(many, "-a -t 10.0.9.9:80 -r 10.2.{}.{}", n / 250, n % 250 + 1);
        }
        let (status, _, errors) = running.lvsadm("apply -", &many);
        prop_assert_eq!(status, 255, "{}", errors);
        prop_assert!(errors.contains("the limit "), "{}", errors);
        prop_assert_eq!(state(&running), saved);
        prop_assert_eq!(running.lvsadm("-L -n --json", "").1.len(), listing.1.len());
    }
}

#[test]
fn a_wrong_line_ends_a_restore_and_a_refused_one_does_not() {
    let running = Running::start();
    let lines = "# a comment\n\n-A -t 10.0.0.1:80 -s rr\nipvsadm -A -t 10.0.0.1:80\n\
                 -a -t 10.0.0.1:80 -r 10.1.0.2\n";
    let (status, output, errors) = running.lvsadm("-R", lines);
    assert_eq!((status, output.as_str()), (0, ""));
    assert_eq!(errors, "Service already exists\n");
    let (status, _, errors) = running.lvsadm("-R", "-C\n-A -t 10.0.0.2:80\n-A -t 10.0.0.2:80\n");
    assert_eq!((status, errors.as_str()), (255, "Service already exists\n"));
    let (status, _, errors) =
        running.lvsadm("-R", "-A -t 10.0.0.3:80\n-A -t nonsense\n-A -t 10.0.0.4:80\n");
    assert_eq!(status, 2);
    assert!(errors.starts_with("illegal virtual server address[:port] specified\n"), "{errors}");
    assert!(errors.contains("line 2: "), "{errors}");
    assert_eq!(state(&running), "-A -t 10.0.0.2:80 -s wlc\n-A -t 10.0.0.3:80 -s wlc\n");
}

#[test]
fn switches_and_marks_are_set_as_they_are_typed_elsewhere() {
    let running = Running::start();
    let mark = "-t mangle -A PREROUTING -d 10.0.0.9 -p tcp --dport 443 -j MARK --set-mark 10";
    for _ in 0..2 {
        assert_eq!(running.lvsadm(&format!("iptables {mark}"), "").0, 0);
    }
    assert_eq!(running.lvsadm("sysctl -w net.ipv4.vs.expire_nodest_conn=1", "").0, 0);
    let wanted = format!("#lvs sysctl -w net.ipv4.vs.expire_nodest_conn=1\n#lvs iptables {mark}\n");
    assert_eq!(state(&running), wanted, "and a mark rule is there once");
    let (_, text, _) = running.lvsadm("sysctl net.ipv4.vs.expire_nodest_conn", "");
    assert_eq!(text, "net.ipv4.vs.expire_nodest_conn = 1\n");
    assert_eq!(running.lvsadm("sysctl expire_nodest_conn", "").1, text);
    for (line, status, wanted) in [
        ("sysctl -w net.ipv4.vs.nonsense=1", 2, "net.ipv4.vs.nonsense"),
        ("sysctl net.ipv4.vs.nonsense", 2, "is no switch of the director"),
        (
            "iptables -t mangle -A PREROUTING -i wlan0 -p tcp -j MARK --set-mark 1",
            2,
            "no interface wlan0",
        ),
        ("iptables -t nat -A POSTROUTING -j MASQUERADE", 2, "nat"),
        ("apply", 2, "which rules file?"),
        ("apply no-such-file.rules", 2, "cannot read the rules file no-such-file.rules"),
        ("apply --force x", 2, "--force: unknown option"),
        ("completions tcsh", 2, "no completions for tcsh"),
        ("tea", 255, "Try `ipvsadm -h'"),
        ("connecton tcp", 255, "did you mean connection?"),
        ("list", 255, "its words are apply, "),
        ("explain tcp 1.2.3.4:5 10.0.0.1:80 --flag S", 2, "--flag: unknown option"),
        ("drain 10.0.0.1:80 10.1.0.2 --dead 5", 2, "--dead: unknown option"),
    ] {
        let (got, _, errors) = running.lvsadm(line, "");
        assert_eq!(got, status, "{line}: {errors}");
        assert!(errors.contains(wanted), "{line}: {errors}");
    }
}

#[test]
fn mark_rules_are_inserted_removed_and_listed_as_with_iptables() {
    let running = Running::start();
    let done = |line: &str| {
        let (status, output, errors) = running.lvsadm(line, "");
        assert_eq!((status, errors.as_str()), (0, ""), "{line}");
        output
    };
    let rule =
        |vip: &str, mark: u8| format!("-d {vip} -p tcp --dport 80 -j MARK --set-mark {mark}");
    done(&format!("iptables -t mangle -A PREROUTING {}", rule("10.0.0.1", 1)));
    done(&format!("iptables -t mangle -A PREROUTING {}", rule("10.0.0.2", 2)));
    done(&format!("ip6tables -t mangle -A PREROUTING {}", rule("2001:db8::1", 6)));
    done(&format!("iptables -t mangle -I PREROUTING {}", rule("10.0.0.3", 3)));
    done(&format!("iptables -t mangle -I PREROUTING 2 {}", rule("10.0.0.4", 4)));
    let listed = |n: usize, vip: &str, mark| format!("{n:<4} {}\n", rule(vip, mark));
    assert_eq!(
        done("iptables -t mangle -L PREROUTING -n"),
        listed(1, "10.0.0.3", 3)
            + &listed(2, "10.0.0.4", 4)
            + &listed(3, "10.0.0.1", 1)
            + &listed(4, "10.0.0.2", 2)
    );
    done("iptables -t mangle -D PREROUTING 2");
    done(&format!("iptables -t mangle -D PREROUTING {}", rule("10.0.0.3", 3)));
    let left = format!("-A PREROUTING {}\n", rule("10.0.0.1", 1));
    let left = left + &format!("-A PREROUTING {}\n", rule("10.0.0.2", 2));
    assert_eq!(done("iptables -t mangle -S"), left);
    let many = "10.0.1.1,10.0.1.2,10.0.1.3 -s 10.1.0.1,10.1.0.2,10.1.0.3 -p tcp -m multiport --dports \
                1,2,3,4,5,6,7,8,9,10 --sports 1,2,3,4,5,6,7,8,9,10";
    for (line, wanted) in [
        (format!("-t mangle -D PREROUTING {}", rule("10.0.0.3", 3)), "there is no such rule"),
        ("-t mangle -D PREROUTING 3".to_owned(), "there is no rule 3"),
        ("-t mangle -D PREROUTING 0".to_owned(), "there is no rule 0"),
        ("-t mangle -D PREROUTING".to_owned(), "-j MARK is missing"),
        (format!("-t mangle -I PREROUTING 9 {}", rule("10.0.0.3", 3)), "no rule 9"),
        ("-F".to_owned(), "-t mangle is missing"),
        ("-t mangle -F POSTROUTING".to_owned(), "chain 'POSTROUTING'"),
        ("-t mangle -F PREROUTING -p tcp".to_owned(), "does not go with that command"),
        ("-t mangle -Z".to_owned(), "the commands here are -A, -I, -D, -F, -L and -S"),
        ("-t nat -L".to_owned(), "nat: unknown when rules are listed"),
        ("-t mangle -A PREROUTING -D PREROUTING 1".to_owned(), "a second command"),
        (format!("-t mangle -A PREROUTING -d {many} -j MARK --set-mark 1"), "make 900 rules"),
        (String::new(), "which command?"),
    ] {
        let (status, _, errors) = running.lvsadm(&format!("iptables {line}"), "");
        assert_eq!(status, 2, "{line}: {errors}");
        assert!(errors.contains(wanted), "{line}: {errors}");
    }
    done("iptables -t mangle -F PREROUTING");
    assert_eq!(done("iptables -t mangle -S"), "");
    assert_eq!(
        done("ip6tables -t mangle -S").lines().count(),
        1,
        "of the other family nothing goes"
    );
    // A file says what shall be: there is nothing to take away from.
    let (status, _, errors) = running.lvsadm("apply -", "iptables -t mangle -F\n");
    assert_eq!(status, 2);
    assert!(errors.contains("all rules of the file together replace the old ones"), "{errors}");
}

/// What bash offers for a line whose last word is begun.
fn completed(script: &str, line: &str) -> Option<Vec<String>> {
    let words: Vec<&str> = line.split(' ').collect();
    let text = format!(
        "{script}\nCOMP_WORDS=({}) COMP_CWORD={}\n_lvsadm\nprintf '%s\\n' \"${{COMPREPLY[@]}}\"",
        words.iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(" "),
        words.len() - 1
    );
    let output = Command::new("bash").args(["--norc", "-c", &text]).output().ok()?;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect())
}

#[test]
fn bash_completes_commands_and_the_options_of_each() {
    let running = Running::start();
    let script = running.lvsadm("completions bash", "").1;
    for (line, wanted) in [
        ("lvsadm ex", &["explain"][..]),
        ("lvsadm --add-se", &["--add-service", "--add-server"]),
        ("lvsadm explain --", &["--flags", "--call-id", "--in", "--socket", "--json"]),
        ("lvsadm explain tcp 192.0.2.7:1 --f", &["--flags"]),
        ("lvsadm trace --", &["--client", "--vip", "--server", "--drops", "--socket", "--json"]),
        ("lvsadm trace u", &["udp"]),
        ("lvsadm drain 192.0.2.1:80 --d", &["--deadline"]),
        ("lvsadm apply --dr", &["--dry-run"]),
        ("lvsadm connection t", &["tcp"]),
        ("lvsadm iptables -t m", &["mangle", "multiport"]),
        ("lvsadm drops --j", &["--json"]),
        ("lvsadm completions z", &["zsh"]),
        ("lvsadm sysctl net.ipv4.vs.sloppy_t", &["net.ipv4.vs.sloppy_tcp="]),
        ("lvsadm -A -s wl", &["wlc"]),
        ("lvsadm -L --st", &["--stats"]),
    ] {
        let Some(offered) = completed(&script, line) else {
            return println!("skipped: there is no bash here");
        };
        assert_eq!(offered, wanted, "{line}");
    }
}

#[test]
fn json_says_all_and_one_service_alone() {
    let lines = [
        "-A -t 10.0.0.1:80 -s mh -b mh-port -p 60",
        "-a -t 10.0.0.1:80 -r 10.1.0.2 -i",
        "-A -f 7 -6",
    ];
    let running = Running::start_with(&lines, Patience::default());
    let json = |line: &str| -> serde_json::Value {
        let (status, text, errors) = running.lvsadm(line, "");
        assert_eq!((status, errors.as_str()), (0, ""), "{line}");
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{line}: {error}: {text}"))
    };
    let all = json("-L --json");
    let service = &all["services"][0];
    assert_eq!(service["service"]["protocol"], "tcp");
    assert_eq!(service["scheduler_flags"], serde_json::json!([2]));
    assert_eq!(service["persistent_s"], 60);
    assert_eq!(service["servers"][0]["method"], "tunnel");
    assert_eq!(service["servers"][0]["tunnel"]["kind"], "ipip");
    assert_eq!(service["rates"]["connections"], 7);
    assert_eq!(all["services"][1]["service"], serde_json::json!({"mark": 7, "family": "ipv6"}));
    assert_eq!(json("-L -f 7 -6 --json")["services"].as_array().map(Vec::len), Some(1));
    assert_eq!(json("-L -c --json"), serde_json::json!({"connections": []}));
    assert_eq!(json("-L --timeout --json")["timeouts"]["tcp_fin_s"], 120);
    assert_eq!(json("-L --daemon --json"), serde_json::json!({"daemons": []}));
    assert_eq!(json("-S --json")["settings"]["sysctls"]["pmtu_disc"], 1);
    assert_eq!(json("about --json")["interfaces"][0], "eth0");
}

#[test]
fn connections_as_json_are_whole() {
    let director = crate::answers::loaded(1000);
    let running = Running::run(director, Patience::default(), SocketPath::new()).unwrap();
    let (_, text, _) = running.lvsadm("-L -c --json", "");
    let all: serde_json::Value = serde_json::from_str(&text).unwrap();
    let connections = all["connections"].as_array().unwrap();
    assert_eq!(connections.len(), 1000);
    assert_eq!(connections[0]["virtual"], "10.0.0.1:53");
    assert_eq!(connections[0]["state"], "UDP");
}

/// A program that may be missing where nobody uses its shell.
fn shell(program: &str, arguments: &[&str]) -> Option<String> {
    match Command::new(program).args(arguments).output() {
        Ok(output) => {
            let text = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(output.status.success() && text.is_empty(), "{program}: {text}");
            Some(String::from_utf8_lossy(&output.stdout).into_owned())
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            println!("skipped: {program} is not installed");
            None
        }
        Err(error) => panic!("{program}: {error}"),
    }
}

#[test]
fn completions_are_scripts_that_their_shells_read() {
    let running = Running::start();
    for (name, arguments) in [("bash", ["-n"]), ("zsh", ["-n"]), ("fish", ["-n"])] {
        let (status, script, _) = running.lvsadm(&format!("completions {name}"), "");
        assert_eq!(status, 0);
        let file = std::env::temp_dir().join(format!("lvsadm-{}.{name}", std::process::id()));
        std::fs::write(&file, &script).unwrap();
        let path = file.to_str().unwrap();
        shell(name, &[arguments[0], path]);
        if name == "bash" {
            let complete = |words: &str, current: usize| {
                let command = format!(
                    "source {path}; COMP_WORDS=({words}); COMP_CWORD={current}; _lvsadm; \
                     echo ${{COMPREPLY[@]}}"
                );
                shell("bash", &["-c", &command])
            };
            let cases = [
                ("lvsadm -A --sch", 2, "--scheduler --sched-flags"),
                ("lvsadm -A -s w", 3, "wrr wlc"),
                ("lvsadm --add-s", 1, "--add-service --add-server"),
                ("lvsadm completions z", 2, "zsh"),
                ("lvsadm -L --st", 2, "--stats"),
            ];
            for (words, current, wanted) in cases {
                if let Some(reply) = complete(words, current) {
                    assert_eq!(reply.trim_end(), wanted, "{words}");
                }
            }
        }
        std::fs::remove_file(&file).unwrap();
    }
}

#[test]
fn the_manual_page_is_whole_and_roff_has_nothing_to_say_against_it() {
    let running = Running::start();
    let (status, page, _) = running.lvsadm("man", "");
    assert_eq!(status, 0);
    let file = std::env::temp_dir().join(format!("lvsadm-{}.8", std::process::id()));
    std::fs::write(&file, &page).unwrap();
    let shown = shell("groff", &["-ww", "-man", "-Tascii", "-P-cbou", file.to_str().unwrap()]);
    std::fs::remove_file(&file).unwrap();
    let Some(shown) = shown else { return };
    for wanted in
        ["-A, --add-service", "--tun-remcsum", "apply FILE [--dry-run]", "--json", "EXIT STATUS"]
    {
        assert!(shown.contains(wanted), "{wanted} is missing in\n{shown}");
    }
}

/// The names of all fields of a value, at any depth. What the `sysctls` are called is not ours, and reasons
/// are told by themselves.
fn fields(value: &serde_json::Value, found: &mut std::collections::BTreeSet<String>) {
    match value {
        serde_json::Value::Object(object) => {
            for (name, value) in object {
                found.insert(name.clone());
                if !matches!(name.as_str(), "sysctls" | "entries" | "refused") {
                    fields(value, found);
                }
            }
        }
        serde_json::Value::Array(array) => array.iter().for_each(|value| fields(value, found)),
        _ => {}
    }
}

#[test]
fn every_field_of_every_listing_is_documented() {
    let running =
        Running::run(crate::answers::loaded(10), Patience::default(), SocketPath::new()).unwrap();
    let gue = "-a -f 7 -r 10.1.0.9 -i --tun-type gue --tun-port 6080";
    for line in ["-A -f 7 -p 60 -M 255.255.255.0", gue, "--start-daemon master"] {
        assert_eq!(running.lvsadm(line, "").0, 0);
    }
    let document = include_str!("../../JSON.md");
    let mut found = std::collections::BTreeSet::new();
    for line in ["-L", "-L -c", "-L --timeout", "-L --daemon", "-S", "sysctl", "about", "apply -"] {
        let rules = "-A -t 10.0.0.1:80\n--start-daemon backup\n";
        let (_, text, errors) = running.lvsadm(&format!("{line} --json"), rules);
        let value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{line}: {e} {errors}"));
        fields(&value, &mut found);
    }
    assert!(found.len() > 50, "{found:?}");
    for name in found {
        let told = [format!("`{name}`"), format!(".{name}`"), format!("\"{name}\"")];
        assert!(told.iter().any(|told| document.contains(told)), "{name} is not in JSON.md");
    }
}
