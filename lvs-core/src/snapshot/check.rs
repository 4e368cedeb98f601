//! What a record may hold.

use super::{ConnectionRecord, ImportError, Method, ServerKey, TIMEOUT_MAX, TemplateRecord};
use crate::addr::Family;
use crate::command::ServiceKey;
use crate::flow::Protocol;
use crate::state::State;
use crate::time::Duration;

impl ConnectionRecord {
    /// Checks what no packet could have made.
    pub(crate) fn check(&self) -> Result<(), ImportError> {
        let of_protocol = match self.protocol {
            _ if self.state == State::None => true,
            Protocol::TCP => self.state < State::Udp,
            Protocol::UDP => self.state == State::Udp,
            Protocol::SCTP => self.state > State::Udp,
            _ => return invalid("protocol", "TCP, UDP or SCTP"),
        };
        if !of_protocol {
            return invalid("state", "one that the protocol has");
        }
        let families = (Family::of(self.client.addr), Family::of(self.virt.addr));
        if families.0 != families.1 {
            return invalid("client", "an address of the virtual address's family");
        }
        let tunnel = matches!(self.method, Method::Tunnel);
        if !tunnel && Family::of(self.server.addr.addr) != families.1 {
            return invalid("server", "an address of the virtual address's family");
        }
        if self.answers.is_some() && self.method != Method::Masquerade {
            return invalid("answers", "nothing but for a masqueraded connection");
        }
        check_server(&self.server, families.1)?;
        check_timeout(self.timeout)
    }
}

impl TemplateRecord {
    /// Checks what no packet could have made.
    pub(crate) fn check(&self) -> Result<(), ImportError> {
        if Family::of(self.client) != Family::of(self.virt.addr) {
            return invalid("client", "an address of the virtual address's family");
        }
        check_server(&self.server, Family::of(self.virt.addr))?;
        check_timeout(self.timeout)
    }
}

fn check_server(server: &ServerKey, family: Family) -> Result<(), ImportError> {
    if server.service.family() != family {
        return invalid("server", "one of a service of the virtual address's family");
    }
    match server.service {
        ServiceKey::Mark { mark, .. } if mark.0 == 0 => invalid("server", "a mark that is not 0"),
        _ => Ok(()),
    }
}

fn check_timeout(timeout: Duration) -> Result<(), ImportError> {
    if timeout < Duration::from_millis(1) || timeout > TIMEOUT_MAX {
        return invalid("timeout", "1 ms to 31 days");
    }
    Ok(())
}

fn invalid(field: &'static str, expected: &'static str) -> Result<(), ImportError> {
    Err(ImportError::Invalid { field, expected })
}
