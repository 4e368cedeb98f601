//! The namespaces, wired.

use std::cell::RefCell;
use std::collections::HashSet;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use super::namespace::Namespace;
use super::server;
use crate::demo::shop::Shop;
use crate::demo::{DIRECTOR, DemoError, SERVERS, VIP};

/// How long the kernel may take to see that a link is up: it looks once a second.
const LINKS_UP: Duration = Duration::from_secs(10);
/// A bridge port that passes frames on, and one that is cut off (`linux/if_bridge.h`).
const FORWARDING: u8 = 3;
const DISABLED: u8 = 0;

/// One client machine, the director's, the real servers' and the switch between them.
pub(super) struct Network {
    switch: Namespace,
    client: Namespace,
    director: Namespace,
    /// Held because they live no longer than their handles.
    _servers: Vec<Namespace>,
    shops: Vec<Shop>,
    /// Addresses that the client machine has already.
    clients: RefCell<HashSet<Ipv4Addr>>,
}

impl Network {
    pub(super) fn new() -> Result<Network, DemoError> {
        let switch = Namespace::new("switch")?;
        // Without snooping nothing is learnt about groups that nobody asked for.
        switch.ip("link add br0 type bridge stp_state 0 forward_delay 0 mcast_snooping 0\n\
                   link set br0 up\n")?;
        let client = Namespace::new("client")?;
        plug(&switch, &client, "client")?;
        let director = Namespace::new("director")?;
        plug(&switch, &director, "director")?;
        director.ip(&format!("addr add {DIRECTOR}/16 dev eth0\n"))?;
        let (mut servers, mut shops) = (Vec::new(), Vec::new());
        for (number, addr) in SERVERS.into_iter().enumerate() {
            let server = Namespace::new("real server")?;
            server
                .set(&[("ipv4/conf/all/arp_ignore", "1"), ("ipv4/conf/all/arp_announce", "2")])?;
            plug(&switch, &server, &port(number))?;
            server.ip(&format!("addr add {addr}/16 dev eth0\naddr add {VIP}/32 dev lo\n"))?;
            let shop = Shop::new(addr);
            server::open(&server, addr, &shop)?;
            servers.push(server);
            shops.push(shop);
        }
        let network = Network {
            switch,
            client,
            director,
            _servers: servers,
            shops,
            clients: RefCell::default(),
        };
        network.wait_until_up()?;
        Ok(network)
    }

    pub(super) fn client(&self) -> &Namespace {
        &self.client
    }

    pub(super) fn director(&self) -> &Namespace {
        &self.director
    }

    /// Gives the client machine one more address.
    pub(super) fn give_client(&self, addr: Ipv4Addr) -> Result<(), DemoError> {
        match self.clients.borrow_mut().insert(addr) {
            true => self.client.ip(&format!("addr add {addr}/16 dev eth0\n")),
            false => Ok(()),
        }
    }

    pub(super) fn forget_carts(&self) {
        self.shops.iter().for_each(Shop::forget);
    }

    pub(super) fn cut_off_servers(&self, cut: bool) -> Result<(), DemoError> {
        let state = if cut { DISABLED } else { FORWARDING };
        let lines = (0..SERVERS.len())
            .map(|number| format!("link set dev {} state {state}\n", port(number)));
        self.switch.bridge(&lines.collect::<String>())
    }

    /// The bridge passes nothing on to a port whose carrier it has not seen yet.
    fn wait_until_up(&self) -> Result<(), DemoError> {
        let deadline = Instant::now() + LINKS_UP;
        let ports = SERVERS.len() + 2;
        loop {
            let shown = self.switch.output(&["-o", "-d", "link", "show", "type", "veth"])?;
            let up = shown.lines().filter(|line| line.contains("state forwarding")).count();
            if up == ports {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(self.switch.failed("bring its links up", shown));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// The name of a real server's port at the switch.
fn port(number: usize) -> String {
    format!("server{number}")
}

/// A cable from the switch to a machine's `eth0`.
fn plug(switch: &Namespace, machine: &Namespace, port: &str) -> Result<(), DemoError> {
    switch.ip(&format!(
        "link add {port} type veth peer name eth0 netns {}\nlink set {port} master br0 up\n",
        machine.path()
    ))?;
    // IPv6 plays no part, and its own traffic would only be in the way.
    machine.set(&[("ipv6/conf/eth0/disable_ipv6", "1")]).or_else(ignore_missing_ipv6)?;
    machine.ip("link set eth0 up\n")
}

/// A kernel without IPv6 has no such switch.
fn ignore_missing_ipv6(_: DemoError) -> Result<(), DemoError> {
    Ok(())
}
