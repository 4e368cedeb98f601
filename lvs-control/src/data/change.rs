//! Changes: what ipvsadm's commands ask for.

use std::net::SocketAddr;

use lvs_core::command::{Command, ServiceKey, TimeoutsSpec};
use lvs_core::time::Duration;
use serde::{Deserialize, Serialize};

use super::text::{endpoint, socket_addr};
use super::{DataError, ServerSpec, ServiceName, ServiceSpec};

/// One change. `edit_…` sets everything: what is not given becomes the default (rule L6).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// `-A`.
    AddService(ServiceSpec),
    /// `-E`.
    EditService(ServiceSpec),
    /// `-D`.
    DeleteService(ServiceName),
    /// `-C`.
    Clear,
    /// `-a`.
    AddServer {
        /// Of which service.
        service: ServiceName,
        /// The server.
        server: ServerSpec,
    },
    /// `-e`.
    EditServer {
        /// Of which service.
        service: ServiceName,
        /// The server.
        server: ServerSpec,
    },
    /// `-d`.
    DeleteServer {
        /// Of which service.
        service: ServiceName,
        /// The server's address and port.
        server: SocketAddr,
    },
    /// `-Z`.
    Zero {
        /// Of which service; absent for all.
        service: Option<ServiceName>,
    },
    /// `--set`; what is absent stays as it is.
    SetTimeouts {
        /// TCP, established.
        tcp_s: Option<u64>,
        /// TCP after FIN.
        tcp_fin_s: Option<u64>,
        /// UDP.
        udp_s: Option<u64>,
    },
}

impl TryFrom<&Change> for Command {
    type Error = DataError;

    fn try_from(change: &Change) -> Result<Command, DataError> {
        let key = |name: &ServiceName| ServiceKey::try_from(*name);
        Ok(match change {
            Change::AddService(spec) => Command::AddService(spec.try_into()?),
            Change::EditService(spec) => Command::EditService(spec.try_into()?),
            Change::DeleteService(name) => Command::DeleteService(key(name)?),
            Change::Clear => Command::Clear,
            Change::AddServer { service, server } => {
                Command::AddDestination(key(service)?, (*server).into())
            }
            Change::EditServer { service, server } => {
                Command::EditDestination(key(service)?, (*server).into())
            }
            Change::DeleteServer { service, server } => {
                Command::DeleteDestination(key(service)?, endpoint(*server))
            }
            Change::Zero { service } => Command::Zero(service.as_ref().map(key).transpose()?),
            Change::SetTimeouts { tcp_s, tcp_fin_s, udp_s } => {
                let [tcp, tcp_fin, udp] =
                    [tcp_s, tcp_fin_s, udp_s].map(|seconds| seconds.map(Duration::from_secs));
                Command::SetTimeouts(TimeoutsSpec { tcp, tcp_fin, udp })
            }
        })
    }
}

impl TryFrom<&Command> for Change {
    type Error = DataError;

    /// Fails for commands that no operator gives, such as [`Command::SetPort`].
    fn try_from(command: &Command) -> Result<Change, DataError> {
        Ok(match command {
            Command::AddService(spec) => Change::AddService(spec.into()),
            Command::EditService(spec) => Change::EditService(spec.into()),
            Command::DeleteService(key) => Change::DeleteService((*key).into()),
            Command::Clear => Change::Clear,
            Command::AddDestination(key, spec) => {
                Change::AddServer { service: (*key).into(), server: (*spec).into() }
            }
            Command::EditDestination(key, spec) => {
                Change::EditServer { service: (*key).into(), server: (*spec).into() }
            }
            Command::DeleteDestination(key, addr) => {
                Change::DeleteServer { service: (*key).into(), server: socket_addr(*addr) }
            }
            Command::Zero(key) => Change::Zero { service: key.map(Into::into) },
            Command::SetTimeouts(spec) => {
                let [tcp_s, tcp_fin_s, udp_s] = [spec.tcp, spec.tcp_fin, spec.udp]
                    .map(|timeout| timeout.map(|timeout| timeout.as_secs()));
                Change::SetTimeouts { tcp_s, tcp_fin_s, udp_s }
            }
            other => return Err(DataError(format!("no operator's command: {other:?}"))),
        })
    }
}
