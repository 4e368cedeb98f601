//! Which connection a packet answers: masqueraded ones are found by the flow that their server sees.

use super::forward::Method;
use super::{Director, flags};
use crate::conn::Hot;
use crate::flow::FlowKey;
use crate::ids::ConnId;
use crate::parse::Quoted;

/// How many connections of one client end and one server end, made to different virtual ends, find their
/// answers. Of more the oldest does not any longer.
const SHARERS_MAX: u32 = 8;

impl Director {
    /// The connection that a packet answers, if it came from a real server: one with this key that is not
    /// masqueraded, or else the masqueraded one whose server's end is the key's virtual one.
    ///
    /// Connections to different virtual ends may have one server end and one client end in common. The
    /// kernel's table holds them all and finds the newest, and so does this one.
    pub(super) fn answered(
        &self,
        key: &FlowKey,
        hash: u64,
        hint: Option<ConnId>,
    ) -> Option<ConnId> {
        // Mostly the place that the hash leads to first has the only connection that it can be.
        if let Some(id) = hint {
            let record = self.conns.hot(id);
            let shared = record.flags() & flags::SHARES_ANSWERS != 0;
            if record.is_aliased() && !shared && self.expects(record, key) && self.is_alive(id) {
                return Some(id);
            }
        }
        let other = self.find_live(key, hash, hint);
        if let Some(id) = other.filter(|&id| self.way_of(id).method != Method::Masquerade) {
            return Some(id);
        }
        let mut newest = None;
        self.conns.find_alias(hash, |id, record| {
            if self.expects(record, key) && self.is_alive(id) {
                newest = newest.max(Some((self.conns.cold_flags(id), id.0)));
            }
            false
        });
        newest.map(|(_, id)| ConnId(id))
    }

    /// The connection whose packet an error quotes on its way back from the real server.
    pub(super) fn answered_quote(&self, quoted: &Quoted) -> Option<ConnId> {
        self.answered(&quoted.flow, self.conns.hash(&quoted.flow), None)
    }

    /// Makes a masqueraded connection findable by its answers.
    pub(super) fn expect_answers(&mut self, id: ConnId) {
        let key = self.answer_key(id);
        let hash = self.conns.hash(&key);
        let (mut sharers, mut newest, mut oldest) = (0, 0, (u32::MAX, None));
        self.conns.find_alias(hash, |other, record| {
            if self.expects(record, &key) {
                let rank = self.conns.cold_flags(other);
                sharers += 1;
                newest = newest.max(rank);
                if rank < oldest.0 {
                    oldest = (rank, Some(other));
                }
            }
            false
        });
        if let (true, (_, Some(oldest))) = (sharers >= SHARERS_MAX, oldest) {
            // However many virtual ends a client asks, the work for each stays bounded.
            self.conns.remove_alias(oldest, &key);
        }
        if let (1.., (_, Some(other))) = (sharers, oldest) {
            // Of more than one sharer all others have the flag from when the second came.
            self.set_flag(other, flags::SHARES_ANSWERS);
            self.set_flag(id, flags::SHARES_ANSWERS);
        }
        self.conns.set_cold_flags(id, if sharers == 0 { 0 } else { newest.saturating_add(1) });
        self.conns.insert_alias(id, &key);
    }

    fn set_flag(&mut self, id: ConnId, flag: u8) {
        let flags = self.conns.hot(id).flags() | flag;
        self.conns.hot_mut(id).set_flags(flags);
    }

    /// The opposite of [`expect_answers`](Self::expect_answers), for a connection that ends.
    pub(super) fn expect_no_answers(&mut self, id: ConnId) {
        if self.conns.hot(id).is_aliased() {
            let key = self.answer_key(id);
            self.conns.remove_alias(id, &key);
        }
    }

    /// The flow of a masqueraded connection as its server sees it.
    pub(super) fn answer_key(&self, id: ConnId) -> FlowKey {
        let key = self.conns.key(id);
        let server = self.server_end(&self.way_of(id), key.virtual_port());
        FlowKey::new(key.protocol(), key.client(), server)
    }

    /// Whether a masqueraded connection's server sees it as this flow.
    #[inline]
    fn expects(&self, record: Hot<'_>, key: &FlowKey) -> bool {
        let own = record.key();
        if !own.same_client(key) {
            return false;
        }
        let server = self.dests.at(record.dest()).addr();
        let own_port = record.flags() & flags::OWN_PORT != 0;
        let port = if own_port { own.virtual_port() } else { server.port };
        port == key.virtual_port() && server.addr == key.virtual_addr()
    }
}
