//! Virtual services and the order in which a packet finds its own.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use core::net::IpAddr;

use crate::addr::Family;
use crate::command::{ServiceKey, ServiceSpec};
use crate::engine::Engine;
use crate::flow::{Endpoint, Protocol, addr_words};
use crate::ids::{DestIndex, FwMark, L4Port, ServiceIndex};
use crate::lookup::{Lookup, Words};
use crate::sched::Schedule;
use crate::stats::Counters;

/// A virtual service with its list of destinations.
#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) spec: ServiceSpec,
    /// Newest first (rule S1).
    pub(crate) list: Vec<DestIndex>,
    pub(crate) scheduler: Box<dyn Schedule>,
    /// The one that the specification names.
    pub(crate) engine: Option<Engine>,
}

impl Service {
    pub(crate) fn port(&self) -> L4Port {
        self.spec.key.port()
    }
}

/// All virtual services.
#[derive(Debug)]
pub(crate) struct Services {
    slots: Vec<Option<Service>>,
    /// Apart from the services, for packets touch nothing else of theirs once they have a connection.
    counters: Vec<Counters>,
    free: Vec<u32>,
    lookup: Lookup,
    /// Services on TCP port 21, which catch further ports (rule P7).
    ftp: u32,
    /// Services on port 0.
    any_port: u32,
    /// Services with a persistence engine.
    engines: u32,
    /// Services of each family; without any, IPVS does not look at a packet at all (rule P8).
    families: [u32; 2],
}

impl Services {
    pub(crate) fn new(capacity: u32, seed: [u64; 2]) -> Services {
        Services {
            slots: (0..capacity).map(|_| None).collect(),
            counters: vec![Counters::default(); capacity as usize],
            free: (0..capacity).rev().collect(),
            lookup: Lookup::new(capacity, seed),
            ftp: 0,
            any_port: 0,
            engines: 0,
            families: [0; 2],
        }
    }

    /// Bytes that a table of this capacity takes.
    pub(crate) fn memory(capacity: u32) -> usize {
        let each = size_of::<Option<Service>>() + size_of::<Counters>() + size_of::<u32>();
        capacity as usize * each + Lookup::memory(capacity)
    }

    /// The service a packet belongs to: by its mark, then by protocol, address and port, then the FTP
    /// service of its address for port 20 and ports from 1024 (rule P7), then port 0 (rule P4).
    pub(crate) fn find(
        &self,
        mark: FwMark,
        protocol: Protocol,
        virt: Endpoint,
    ) -> Option<ServiceIndex> {
        if mark != FwMark::NONE {
            let family = Family::of(virt.addr);
            if let Some(found) = self.by_key(&ServiceKey::Mark { mark, family }) {
                return Some(found);
            }
        }
        let at = |port| {
            self.by_key(&ServiceKey::Address { protocol, virt: Endpoint { addr: virt.addr, port } })
        };
        let caught_by_ftp = self.ftp > 0
            && protocol == Protocol::TCP
            && (virt.port == L4Port::FTP_DATA || virt.port.0 >= 1024);
        at(virt.port)
            .or_else(|| if caught_by_ftp { at(L4Port::FTP) } else { None })
            .or_else(|| if self.any_port > 0 { at(L4Port::ANY) } else { None })
    }

    pub(crate) fn by_key(&self, key: &ServiceKey) -> Option<ServiceIndex> {
        self.lookup.find(&words(key)).map(ServiceIndex)
    }

    pub(crate) fn any_of(&self, family: Family) -> bool {
        self.families[family as usize] > 0
    }

    pub(crate) fn at(&self, index: ServiceIndex) -> &Service {
        self.slots[index.index()].as_ref().expect("INVARIANT: an index in use names a service")
    }

    pub(crate) fn at_mut(&mut self, index: ServiceIndex) -> &mut Service {
        self.slots[index.index()].as_mut().expect("INVARIANT: an index in use names a service")
    }

    /// Gives a service another engine, or none.
    pub(crate) fn set_engine(&mut self, index: ServiceIndex, engine: Option<Engine>) {
        let service = self.at_mut(index);
        let had = core::mem::replace(&mut service.engine, engine);
        self.engines = self.engines + u32::from(engine.is_some()) - u32::from(had.is_some());
    }

    /// Whether any service has a persistence engine.
    pub(crate) fn any_engine(&self) -> bool {
        self.engines > 0
    }

    /// The service at a place, if there is one.
    pub(crate) fn in_place(&self, index: ServiceIndex) -> Option<&Service> {
        self.slots.get(index.index())?.as_ref()
    }

    /// Likewise.
    pub(crate) fn in_place_mut(&mut self, index: ServiceIndex) -> Option<&mut Service> {
        self.slots.get_mut(index.index())?.as_mut()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (ServiceIndex, &Service)> {
        self.slots
            .iter()
            .enumerate()
            .filter_map(|(i, slot)| slot.as_ref().map(|s| (ServiceIndex(i as u32), s)))
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Service> {
        self.slots.iter_mut().flatten()
    }

    /// The first service at `from` or behind.
    pub(crate) fn next(&self, from: u32) -> Option<ServiceIndex> {
        let rest = self.slots.get(from as usize..)?;
        rest.iter().position(Option::is_some).map(|at| ServiceIndex(from + at as u32))
    }

    /// What went through a service.
    #[inline]
    pub(crate) fn counters(&self, index: ServiceIndex) -> &Counters {
        &self.counters[index.index()]
    }

    /// What went through a service.
    #[inline]
    pub(crate) fn counters_mut(&mut self, index: ServiceIndex) -> &mut Counters {
        &mut self.counters[index.index()]
    }

    /// Adds a service whose key is not there yet; `None` if there is no room.
    pub(crate) fn insert(&mut self, service: Service) -> Option<ServiceIndex> {
        let index = *self.free.last()?;
        if !self.lookup.insert(words(&service.spec.key), index) {
            return None;
        }
        self.free.pop();
        self.count(&service.spec.key, 1);
        self.engines += u32::from(service.engine.is_some());
        self.slots[index as usize] = Some(service);
        self.counters[index as usize] = Counters::default();
        Some(ServiceIndex(index))
    }

    pub(crate) fn remove(&mut self, index: ServiceIndex) -> Option<Service> {
        let service = self.slots[index.index()].take()?;
        self.lookup.remove(&words(&service.spec.key));
        self.count(&service.spec.key, -1);
        self.engines -= u32::from(service.engine.is_some());
        self.free.push(index.0);
        Some(service)
    }

    fn count(&mut self, key: &ServiceKey, by: i32) {
        let add = |n: &mut u32| *n = n.saturating_add_signed(by);
        add(&mut self.families[key.family() as usize]);
        if let ServiceKey::Address { protocol, virt } = key {
            if *protocol == Protocol::TCP && virt.port == L4Port::FTP {
                add(&mut self.ftp);
            }
            if virt.port == L4Port::ANY {
                add(&mut self.any_port);
            }
        }
    }
}

fn words(key: &ServiceKey) -> Words {
    match *key {
        ServiceKey::Address { protocol, virt } => {
            let [high, low] = addr_words(virt.addr);
            let family = u64::from(matches!(virt.addr, IpAddr::V6(_)));
            [high, low, u64::from(virt.port.0) | u64::from(protocol.0) << 16 | family << 24]
        }
        ServiceKey::Mark { mark, family } => {
            [u64::from(mark.0), 0, (family as u64) << 24 | 1 << 32]
        }
    }
}
