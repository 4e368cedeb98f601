//! Why there is no guard, and what to do about it.

use std::fmt;
use std::io;

/// Why the guard could not be set up or changed. What was in force before stays in force.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GuardError {
    /// The process may not change packet filters.
    #[error(
        "the guard needs the capability CAP_NET_ADMIN: run as root, or grant it with \
         `setcap cap_net_admin,cap_net_raw+ep`; or start with --no-guard, and the host's own stack \
         will answer the clients, too"
    )]
    NotPermitted,
    /// The kernel knows no nftables.
    #[error(
        "the guard needs nftables, which this kernel does not offer: `modprobe nf_tables` \
         (CONFIG_NF_TABLES); or start with --no-guard, and the host's own stack will answer the \
         clients, too"
    )]
    NoNftables,
    /// The kernel has nftables, but no tables that belong to a process.
    #[error(
        "the guard needs nftables tables that belong to a process, which Linux has from 5.12 on; or \
         start with --no-guard, and the host's own stack will answer the clients, too"
    )]
    NoOwnerFlag,
    /// The kernel has nftables, but no ingress hook.
    #[error(
        "the guard needs the ingress hook of nftables, which this kernel does not offer \
         (CONFIG_NF_TABLES_NETDEV, CONFIG_NETFILTER_INGRESS); or start with --no-guard, and the \
         host's own stack will answer the clients, too"
    )]
    NoIngressHook,
    /// The kernel refused a step for another reason.
    #[error("the kernel refused the guard while {step}: {source}")]
    Refused {
        /// What was being done.
        step: Step,
        /// Its answer.
        source: io::Error,
    },
    /// The netlink socket failed.
    #[error("the guard cannot talk to the kernel (netlink, {what}): {source}")]
    Netlink {
        /// The call that failed.
        what: &'static str,
        /// The system's error.
        source: io::Error,
    },
}

/// A step in setting up the guard.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Step {
    /// Opening the transaction.
    Begin,
    /// Removing the table as it was.
    RemoveTable,
    /// Making the table.
    Table,
    /// Making a chain that the ingress chains call.
    Chain,
    /// Making a set of addresses or services.
    Set,
    /// Filling a set.
    Elements,
    /// Adding a rule.
    Rule,
    /// Hooking a chain to an interface.
    Ingress(String),
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Begin => f.write_str("opening a transaction"),
            Step::RemoveTable => f.write_str("removing its table as it was"),
            Step::Table => f.write_str("making its table"),
            Step::Chain => f.write_str("making a chain"),
            Step::Set => f.write_str("making a set"),
            Step::Elements => f.write_str("filling a set"),
            Step::Rule => f.write_str("adding a rule"),
            Step::Ingress(name) => write!(f, "hooking a chain to interface {name}"),
        }
    }
}

impl GuardError {
    /// What the kernel means by refusing `step` with `source`.
    pub(crate) fn refused(step: Step, source: io::Error) -> GuardError {
        use rustix::io::Errno;
        let code = source.raw_os_error().map(Errno::from_raw_os_error);
        match (step, code) {
            (_, Some(Errno::PERM)) => GuardError::NotPermitted,
            (Step::Begin, Some(Errno::OPNOTSUPP)) => GuardError::NoNftables,
            // Before 5.12 an unknown table flag was invalid.
            (Step::Table, Some(Errno::OPNOTSUPP | Errno::INVAL)) => GuardError::NoOwnerFlag,
            (Step::Table, Some(Errno::AFNOSUPPORT)) => GuardError::NoIngressHook,
            (Step::Ingress(_), Some(Errno::OPNOTSUPP)) => GuardError::NoIngressHook,
            (step, _) => GuardError::Refused { step, source },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(step: Step, code: rustix::io::Errno) -> String {
        GuardError::refused(step, code.into()).to_string()
    }

    #[test]
    fn each_refusal_says_what_to_do() {
        use rustix::io::Errno;
        let text = refused(Step::Begin, Errno::PERM);
        assert!(text.contains("CAP_NET_ADMIN") && text.contains("--no-guard"), "{text}");
        let text = refused(Step::Begin, Errno::OPNOTSUPP);
        assert!(text.contains("modprobe nf_tables") && text.contains("--no-guard"), "{text}");
        let text = refused(Step::Table, Errno::OPNOTSUPP);
        assert!(text.contains("5.12") && text.contains("--no-guard"), "{text}");
        let text = refused(Step::Ingress("eth0".into()), Errno::OPNOTSUPP);
        assert!(text.contains("CONFIG_NF_TABLES_NETDEV"), "{text}");
    }

    #[test]
    fn an_unforeseen_refusal_names_step_and_reason() {
        let text = refused(Step::Set, rustix::io::Errno::NOMEM);
        assert!(text.contains("making a set") && text.contains("memory"), "{text}");
    }
}
