//! Synchronisation daemons as an operator meets them.

use lvs_control::metrics::Metrics;

use crate::director::Running;

const START: &str = "--start-daemon master --mcast-interface eth0 --syncid 5";

fn done(running: &Running, line: &str) -> String {
    let (status, text, errors) = running.lvsadm(line, "");
    assert_eq!((status, errors.as_str()), (0, ""), "{line}");
    text
}

#[test]
fn daemons_are_started_listed_and_stopped_as_with_ipvsadm() {
    let running = Running::start();
    assert_eq!(done(&running, "-L --daemon"), "");
    assert_eq!(done(&running, "--start-daemon backup --sync-maxlen 100"), "");
    assert_eq!(done(&running, START), "");
    let wanted = "master sync daemon (mcast=eth0, syncid=5, maxlen=1472, group=224.0.0.81, port=8848, \
                  ttl=1)\nbackup sync daemon (mcast=eth0, syncid=0, maxlen=1024, group=224.0.0.81, \
                  port=8848, ttl=1)\n";
    assert_eq!(done(&running, "-L --daemon"), wanted);
    assert_eq!(done(&running, "-Ln --daemon"), wanted);
    assert_eq!(done(&running, "--stop-daemon master --syncid 9"), "");
    assert!(done(&running, "-L --daemon").starts_with("backup "));
}

#[test]
fn what_the_kernel_refuses_is_refused_in_its_words() {
    let running = Running::start();
    done(&running, START);
    for (line, status, message) in [
        (START, 255, "Daemon has already run\n"),
        ("--stop-daemon backup", 255, "No daemon is running\n"),
        ("--start-daemon backup --mcast-interface wlan9", 255, "No such device\n"),
        ("--start-daemon backup --mcast-interface averyverylongname", 255, "No such device\n"),
        ("--start-daemon backup --syncid 256", 2, "illegal syncid specified\n    0 to 255\n"),
        (
            "--start-daemon backup --sync-maxlen 65508",
            2,
            "illegal sync-maxlen specified\n    1 to 65507\n",
        ),
        (
            "--start-daemon both",
            2,
            "illegal start-daemon parameter specified\n    master or backup\n",
        ),
    ] {
        let (got, text, errors) = running.lvsadm(line, "");
        assert_eq!((got, text.as_str(), errors.as_str()), (status, "", message), "{line}");
    }
}

#[test]
fn save_and_restore_carry_what_runs() {
    let running = Running::start();
    done(&running, START);
    done(&running, "--start-daemon backup --mcast-group ff02::81 --mcast-port 9000 --mcast-ttl 3");
    done(&running, "sysctl -w net.ipv4.vs.sync_threshold=1,2 net.ipv4.vs.sync_ports=4");
    let saved = done(&running, "-S -n");
    let wanted = "#lvs sysctl -w net.ipv4.vs.sync_ports=4\n\
                  #lvs sysctl -w net.ipv4.vs.sync_period=2 net.ipv4.vs.sync_threshold=1\n\
                  #lvs --start-daemon master --mcast-interface eth0 --syncid 5\n\
                  #lvs --start-daemon backup --mcast-interface eth0 --mcast-group ff02::81 \
                  --mcast-port 9000 --mcast-ttl 3\n";
    assert_eq!(saved, wanted);
    let other = Running::start();
    let (status, _, errors) = other.lvsadm("-R", &saved);
    assert_eq!((status, errors.as_str()), (0, ""));
    assert_eq!(done(&other, "-S -n"), saved);
}

#[test]
fn a_rules_file_says_which_daemons_run() {
    let running = Running::start();
    done(&running, START);
    let apply = |text: &str, options: &str| {
        let (status, told, errors) = running.lvsadm(&format!("apply - {options}"), text);
        assert_eq!((status, errors.as_str()), (0, ""), "{text}");
        told
    };
    let same = format!("{START} --mcast-ttl 1\n");
    assert_eq!(apply(&same, ""), "no change\n");
    let other = "--start-daemon master --syncid 6\n--start-daemon backup --syncid 6\n";
    let told = "~ daemon   master  --mcast-interface eth0 --syncid 5 → --mcast-interface eth0 \
                --syncid 6\n+ daemon   backup  --mcast-interface eth0 --syncid 6\n";
    assert_eq!(apply(other, "--dry-run"), format!("{told}2 changes would be made\n"));
    assert_eq!(apply(other, ""), format!("{told}2 changes applied\n"));
    assert_eq!(apply("", ""), "- daemon   master\n- daemon   backup\n2 changes applied\n");
    assert_eq!(done(&running, "-L --daemon"), "");
}

#[test]
fn what_a_daemon_counts_is_shown_as_text_json_and_metrics() {
    let running = Running::start();
    let none = "no synchronisation daemon is running; --start-daemon starts one\n";
    assert_eq!(done(&running, "sync"), none);
    done(&running, START);
    let text = done(&running, "sync");
    assert!(text.starts_with("master on eth0: group 224.0.0.81, port 8848, syncid 5,"), "{text}");
    assert!(text.contains("  refused         2 other-syncid\n"), "{text}");
    let json: serde_json::Value =
        serde_json::from_str(&done(&running, "-L --daemon --json")).unwrap();
    let daemon = &json["daemons"][0];
    assert_eq!((&daemon["role"], &daemon["sync_id"]), (&"master".into(), &5.into()));
    assert_eq!(daemon["counters"]["refused"]["other-syncid"], 2);
    let metrics = Metrics::start("127.0.0.1:0".parse().unwrap(), running.asker.clone()).unwrap();
    let page = crate::metrics::page(&metrics);
    for line in [
        "lvs_sync_running{role=\"master\"} 1",
        "lvs_sync_running{role=\"backup\"} 0",
        "lvs_sync_messages_total{role=\"master\"} 3",
        "lvs_sync_refused_total{role=\"master\",reason=\"other-syncid\"} 2",
        "lvs_sync_last_message_age_seconds{role=\"master\"} 2",
    ] {
        assert!(page.lines().any(|l| l == line), "{line}\nis not in\n{page}");
    }
}
