//! Limits of the segment size that the two ends of a connection agree on, for paths whose routers do not
//! tell that a packet is too big. Off unless set; IPVS has none, operators use iptables' `TCPMSS` target.
//!
//! A SYN passes on its way to the real server, so what the server sends is limited. A SYN with ACK only
//! passes in masquerading; there what the client sends is limited, too.

use alloc::vec::Vec;

use super::Director;
use crate::command::{ApplyError, MssLimit};
use crate::ids::DestIndex;
use crate::io::{Checksum, Frame};
use crate::parse::{Headers, L4};
use crate::wire::mss;

impl Director {
    pub(super) fn set_mss_limits(&mut self, limits: Vec<MssLimit>) -> Result<(), ApplyError> {
        match limits.iter().find(|limit| limit.mss < MssLimit::MIN) {
            Some(limit) => Err(ApplyError::MssTooSmall(limit.mss)),
            None => {
                self.mss_limits = limits;
                Ok(())
            }
        }
    }

    /// The limits in force.
    pub fn mss_limits(&self) -> &[MssLimit] {
        &self.mss_limits
    }

    /// Lowers what a SYN of a limited service says. Other packets stay as they are.
    #[inline]
    pub(super) fn limit_mss(
        &self,
        frame: &mut Frame<'_>,
        headers: &Headers,
        destination: DestIndex,
    ) {
        if let L4::Tcp { flags, .. } = headers.l4_header
            && flags.syn()
            && !self.mss_limits.is_empty()
        {
            self.lower_mss(frame, headers, destination);
        }
    }

    #[cold]
    fn lower_mss(&self, frame: &mut Frame<'_>, headers: &Headers, destination: DestIndex) {
        let Some(service) = self.dests.front(destination).service() else { return };
        let key = &self.services.at(service).spec.key;
        let Some(limit) = self.mss_limits.iter().find(|limit| limit.service == *key) else {
            return;
        };
        let finished = !matches!(frame.offload.checksum, Checksum::Partial { .. });
        let end = headers.end().min(frame.len());
        if let Some(segment) = frame.bytes_mut().get_mut(usize::from(headers.l4)..end) {
            mss::lower(segment, limit.mss, finished);
        }
    }
}
