//! Devices that are made, found, left behind, taken or refused.

use std::time::Duration;

use lvs_core::io::FrameIo;
use lvs_io_tap::{Device, Error, Tap};
use lvs_testnet::backend::{is_experiment, lent};
use lvs_testnet::{Host, PacketSocket};
use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities};

use crate::common::{LEFT, Lab, across, datagram, frame};

fn open(host: &Host, device: Device) -> Result<Tap, Error> {
    host.enter(|| Tap::builder().port(device).build())
}

fn refused(host: &Host, device: Device) -> String {
    open(host, device).unwrap_err().to_string()
}

/// Opens it in a thread that has only the capabilities named.
fn open_with(host: &Host, device: Device, effective: CapabilitySet) -> Result<Tap, Error> {
    host.enter(|| {
        let all = capabilities(None).unwrap();
        set_capabilities(None, CapabilitySets { effective, ..all }).unwrap();
        Tap::builder().port(device).build()
    })
}

#[test]
fn a_new_device_goes_with_the_backend_and_a_persistent_one_stays() {
    let host = Host::new("director");
    let both = Tap::builder()
        .port(Device::new("lvs0"))
        .port(Device::new("lvs1").mtu(9000).persistent(true));
    let io = host.enter(|| both.build()).unwrap();
    assert!(host.ip("-o link show lvs0").contains(",UP"), "a new device is set up");
    drop(io);
    assert!(!host.ip("-o link").contains("lvs0"));
    assert!(host.ip("-o link show lvs1").contains("mtu 9000"), "what was set stays");
    // The next run finds it as it was left.
    let io = open(&host, Device::new("lvs1")).unwrap();
    assert_eq!(io.interface(LEFT).unwrap().mtu, 9000);
}

#[test]
fn a_device_that_was_made_beforehand_is_used_however_it_was_made() {
    let lab = Lab::new();
    lab.director.ip("tuntap add dev d0 mode tap");
    lab.director.ip("tuntap add dev d1 mode tap multi_queue vnet_hdr");
    let mut io = lab.open();
    let mut peer = PacketSocket::open(&lab.right, "r0");
    PacketSocket::open(&lab.left, "l0").send(&frame(b"across"));
    lent(&mut io, 1, across);
    assert!(peer.receive_where(Duration::from_secs(2), is_experiment).is_some());
}

#[test]
fn a_device_of_several_queues_lends_the_frames_of_all() {
    let lab = Lab::new();
    let mut io = lab.open_with(|device| device.queues(4), |builder| builder.burst_max(7));
    let queues = lab.director.ip("-d link show d0");
    assert!(queues.contains("numqueues 4"), "{queues}");
    let sender = PacketSocket::open(&lab.left, "l0");
    let mut peer = PacketSocket::open(&lab.right, "r0");
    // Datagrams of many flows; the kernel chooses the queue by the flow.
    for flow in 0..100u8 {
        sender.send(&datagram(flow, 60));
    }
    let mut flows: Vec<u8> =
        lent(&mut io, 100, across).iter().map(|(bytes, _)| bytes[33]).collect();
    flows.sort_unstable();
    assert!(flows.into_iter().eq(0..100), "each came once");
    let is_datagram = |frame: &[u8]| frame[12..14] == [8, 0];
    for _ in 0..100 {
        assert!(peer.receive_where(Duration::from_secs(2), is_datagram).is_some());
    }
}

#[test]
fn a_user_needs_no_capability_for_a_device_that_root_made() {
    let host = Host::new("director");
    host.ip("tuntap add dev lvs0 mode tap vnet_hdr");
    host.ip("link set lvs0 up mtu 9000");
    let io = open_with(&host, Device::new("lvs0").mtu(9000), CapabilitySet::empty()).unwrap();
    assert!(io.interface(LEFT).unwrap().is_up);
    drop(io);
    // What it does not have, such a user cannot give it.
    let error =
        open_with(&host, Device::new("lvs0").mtu(1500), CapabilitySet::empty()).unwrap_err();
    assert!(error.to_string().starts_with("cannot set the MTU of lvs0: CAP_NET_ADMIN"), "{error}");
    host.ip("link set lvs0 down");
    let mut io = open_with(&host, Device::new("lvs0"), CapabilitySet::empty()).unwrap();
    let told = io.next_event().expect("the port is down").to_string();
    assert_eq!(told, "port 0 is down: `ip link set dev lvs0 up`");
}

#[test]
fn without_a_capability_the_error_says_how_to_get_along() {
    let host = Host::new("director");
    let error = open_with(&host, Device::new("lvs0"), CapabilitySet::empty()).unwrap_err();
    assert!(matches!(&error, Error::NoPermission { name, .. } if name == "lvs0"), "{error:?}");
    let words = error.to_string();
    assert!(words.contains("cap_net_admin") && words.contains("ip tuntap add dev lvs0"), "{words}");
}

#[test]
fn a_device_that_another_has_open_is_in_use() {
    let host = Host::new("director");
    let _first = open(&host, Device::new("lvs0")).unwrap();
    let error = refused(&host, Device::new("lvs0"));
    assert!(error.starts_with("TAP device lvs0 is in use by another process"), "{error}");
}

#[test]
fn what_is_no_tap_device_is_not_taken() {
    let host = Host::new("director");
    host.ip("link add eth0 type veth peer name eth1");
    host.ip("tuntap add dev tun0 mode tun");
    for name in ["eth0", "tun0", "lo"] {
        let error = refused(&host, Device::new(name));
        assert!(error.contains("is there already and is no TAP device"), "{name}: {error}");
    }
    let error = refused(&host, Device::new("lvs0").bridge("eth1"));
    assert!(error.starts_with("cannot make TAP device lvs0 a port of eth1"), "{error}");
    let error = refused(&host, Device::new("lvs0").bridge("br7"));
    assert!(error.contains("`ip link add br7 type bridge"), "{error}");
    assert!(!host.ip("-o link").contains("lvs0"), "nothing is left of what failed");
}

#[test]
fn more_queues_than_a_device_was_made_for_are_refused() {
    let host = Host::new("director");
    host.ip("tuntap add dev lvs0 mode tap");
    let error = refused(&host, Device::new("lvs0").queues(2));
    assert!(error.starts_with("TAP device lvs0 has one queue only, 2 were asked for"), "{error}");
}

#[test]
fn a_backend_needs_devices_of_different_names() {
    assert!(matches!(Tap::builder().build(), Err(Error::NoPorts)));
    let twice = Tap::builder().port(Device::new("lvs0")).port(Device::new("lvs0")).build();
    assert_eq!(
        twice.unwrap_err().to_string(),
        "TAP device lvs0 was named twice: each port needs a device of its own"
    );
}

#[test]
fn a_device_that_moves_to_another_namespace_goes_on_working() {
    let (lab, guest) = (Lab::new(), Host::new("guest"));
    let mut io = lab.open();
    guest.set_sysctl("net/ipv6/conf/default/disable_ipv6", "1");
    lab.director.ip(&format!("link set d1 netns {}", guest.namespace_path().display()));
    guest.ip("link set d1 up");
    let mut peer = PacketSocket::open(&guest, "d1");
    PacketSocket::open(&lab.left, "l0").send(&frame(b"to the guest"));
    std::thread::sleep(Duration::from_millis(300));
    io.wait(Some(Duration::ZERO)).unwrap();
    lent(&mut io, 1, across);
    assert!(peer.receive_where(Duration::from_secs(2), is_experiment).is_some());
    let down_at_most = std::iter::from_fn(|| io.next_event()).map(|event| event.to_string());
    for event in down_at_most {
        assert!(event.contains(" is down") || event.contains(" is up again"), "{event}");
    }
}

#[test]
fn a_device_in_its_bridge_stays_there_and_one_in_another_is_not_moved() {
    let host = Host::new("director");
    host.ip("link add br0 type bridge");
    host.ip("link add br1 type bridge");
    let device = || Device::new("lvs0").persistent(true);
    for _ in 0..2 {
        open(&host, device().bridge("br0")).unwrap();
        assert!(host.ip("-o link show master br0").contains("lvs0"));
    }
    let error = refused(&host, device().bridge("br1"));
    assert!(error.starts_with("TAP device lvs0 is a port of another bridge than br1"), "{error}");
    assert!(host.ip("-o link show master br0").contains("lvs0"));
    // Whoever names none leaves it where it is.
    open(&host, device()).unwrap();
}
