//! Who is at the other end.

use std::os::unix::net::UnixStream;

use rustix::net::sockopt::socket_peercred;

use super::Place;
use crate::protocol::Refusal;

/// Refuses everybody but root, the owner of the socket's file and its group. The mode of the file says
/// the same; this holds also when somebody has changed it.
pub(super) fn check(stream: &UnixStream, place: &Place) -> Result<(), Refusal> {
    let peer = socket_peercred(stream)
        .map_err(|error| Refusal::new(format!("who are you? The system does not say: {error}")))?;
    let (uid, gid) = (peer.uid.as_raw(), peer.gid.as_raw());
    let (owner, group) = place
        .owners()
        .unwrap_or((rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw()));
    let groups = || supplementary_groups(peer.pid.as_raw_nonzero().get());
    if uid == 0 || uid == owner || gid == group || groups().contains(&group) {
        return Ok(());
    }
    let message = format!(
        "user {uid} may not command this director: be root or user {owner}, or in group {group}"
    );
    Err(Refusal::new(message))
}

/// The further groups of a process, from procfs; none where it does not say.
fn supplementary_groups(pid: i32) -> Vec<u32> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let groups = status.lines().find_map(|line| line.strip_prefix("Groups:")).unwrap_or_default();
    groups.split_whitespace().filter_map(|group| group.parse().ok()).collect()
}
