//! Screens, drawn into memory.

use lvs_admin::ipvsadm::{self, Action};
use lvs_admin::names::NumericOnly;
use lvs_core::director::Director;
use lvs_core::limits::Limits;
use lvs_core::time::Instant;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyModifiers};

use super::model::{Look, Model};
use super::{press, view};
use crate::data::{About, Dropped, Flow, LastDropped, Service, Totals};

/// Services as a director has them, with counters as of a second.
fn services(second: u64) -> Vec<Service> {
    let mut director = Director::new(Limits::small(), [1, 2]).unwrap();
    for line in [
        "-A -t 192.0.2.80:80 -s wlc -p",
        "-a -t 192.0.2.80:80 -r 10.1.0.2 -w 4",
        "-a -t 192.0.2.80:80 -r 10.1.0.3 -w 0",
        "-A -u 192.0.2.53:53 -s rr",
        "-a -u 192.0.2.53:53 -r 10.1.0.4",
        "-A -t [2001:db8::80]:443 -s mh",
        "-A -f 7 -s sed",
    ] {
        let words: Vec<&str> = line.split_whitespace().collect();
        let Ok(Action::Change(command)) = ipvsadm::parse(&words, &NumericOnly) else {
            panic!("{line}");
        };
        director.apply(Instant::ZERO, command).unwrap();
    }
    let mut services: Vec<Service> = director
        .services(Instant::ZERO)
        .iter()
        .map(|s| Service::new(s, &|_, _| Default::default()))
        .collect();
    for (service, speed) in services.iter_mut().zip([1500, 90, 3, 0]) {
        // Every fourth second is quiet.
        let seconds = second - second / 4;
        service.counters.connections = speed / 10 * seconds;
        service.counters.packets_in = speed * seconds;
        service.counters.bytes_in = speed * seconds * 700;
        if let [server, ..] = &mut service.servers[..] {
            (server.active, server.inactive) = (speed as u32 * 2, speed as u32 / 3);
            server.counters = service.counters;
        }
    }
    services
}

fn look(second: u64) -> Look {
    let services = services(second);
    let mut totals =
        Totals { connections: 3211, connections_max: 1 << 20, templates: 17, ..Totals::default() };
    for service in &services {
        totals.counters.connections += service.counters.connections;
        totals.counters.packets_in += service.counters.packets_in;
        totals.counters.bytes_in += service.counters.bytes_in;
    }
    let flow = Flow {
        protocol: lvs_core::flow::Protocol::TCP,
        client: "198.51.100.7:40000".parse().unwrap(),
        virt: "192.0.2.80:80".parse().unwrap(),
    };
    let last = LastDropped { ago_ms: 300, interface: Some("eth0".to_owned()), flow: Some(flow) };
    let dropped = |reason: &str, count: u64, last| Dropped {
        reason: reason.to_owned(),
        meaning: String::new(),
        count,
        last,
    };
    let drops = vec![
        dropped(
            "ipv4-checksum",
            4,
            Some(LastDropped { ago_ms: 83_000, flow: None, ..last.clone() }),
        ),
        dropped("no-destination", second * 12, Some(last)),
    ];
    totals.dropped = drops.iter().map(|d| (d.reason.clone(), d.count)).collect();
    Look { at: second as f64, services, totals, drops }
}

fn model() -> Model {
    let about = About {
        version: "0.1.0".to_owned(),
        pid: 1,
        uptime_ms: 3_700_000,
        interfaces: vec!["eth0".to_owned()],
        daemons: Vec::new(),
        rules: None,
        connections_max: 1 << 20,
        templates_max: 1 << 16,
    };
    let mut model = Model::new(about, look(0));
    (1..=30).for_each(|second| model.update(look(second)));
    model
}

fn screen(model: &Model, width: u16, height: u16) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| view::draw(frame, model)).unwrap();
    let screen = terminal.backend().to_string();
    screen.lines().map(|line| line.trim_matches('"').trim_end()).collect::<Vec<_>>().join("\n")
}

#[test]
fn services_are_seen_at_work_on_a_terminal_of_80_by_24() {
    insta::assert_snapshot!("top", screen(&model(), 80, 24));
}

#[test]
fn keys_choose_open_and_sort() {
    let mut model = model();
    let mut press = |key| press(&mut model, key, KeyModifiers::NONE);
    for key in [KeyCode::Char('s'), KeyCode::End, KeyCode::Home, KeyCode::Enter, KeyCode::Down] {
        assert!(press(key));
    }
    assert!(press(KeyCode::Char('p')));
    assert!(!press(KeyCode::Char('q')));
    insta::assert_snapshot!("top-open", screen(&model, 80, 24));
}

#[test]
fn a_tiny_terminal_and_a_director_without_services_are_no_matter() {
    let mut model = model();
    for (width, height) in [(1, 1), (10, 3), (300, 100)] {
        let _drawn = screen(&model, width, height);
    }
    model.update(Look { at: 31.0, services: Vec::new(), ..look(31) });
    press(&mut model, KeyCode::Enter, KeyModifiers::NONE);
    press(&mut model, KeyCode::Down, KeyModifiers::NONE);
    assert!(screen(&model, 80, 24).contains("no services yet"));
}
