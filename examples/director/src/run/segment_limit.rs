//! `--mss`: limits of the segment size, in ipvsadm's words for a service.

use std::str::FromStr;

use lvs_admin::ipvsadm::{self, Action};
use lvs_admin::names::NumericOnly;
use lvs_core::command::{Command, MssLimit, ServiceKey};
use lvs_core::flow::Protocol;

/// A limit of `--mss`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct SegmentLimit(pub(super) MssLimit);

/// What is wrong with a limit.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum SegmentLimitError {
    #[error(
        "{0:?}: a limit is \"-t VIP:PORT MSS\" or \"-f MARK [-6] MSS\", as in \"-t 192.0.2.80:80 1360\""
    )]
    Form(String),
    #[error("{0:?} is no segment size: give {min} to 65535 bytes of payload, such as 1360", min = MssLimit::MIN)]
    Size(String),
    #[error("{0}: only TCP has a segment size")]
    NotTcp(ServiceKey),
}

impl FromStr for SegmentLimit {
    type Err = SegmentLimitError;

    fn from_str(text: &str) -> Result<SegmentLimit, SegmentLimitError> {
        let form = || SegmentLimitError::Form(text.to_owned());
        let words: Vec<&str> = text.split_whitespace().collect();
        let (size, service) = words.split_last().ok_or_else(form)?;
        let zero: Vec<&str> = ["-Z"].into_iter().chain(service.iter().copied()).collect();
        let service = match ipvsadm::parse(&zero, &NumericOnly) {
            Ok(Action::Change(Command::Zero(Some(key)))) => key,
            _ => return Err(form()),
        };
        if let ServiceKey::Address { protocol, .. } = service
            && protocol != Protocol::TCP
        {
            return Err(SegmentLimitError::NotTcp(service));
        }
        let mss = size.parse().ok().filter(|mss| *mss >= MssLimit::MIN);
        let mss = mss.ok_or_else(|| SegmentLimitError::Size((*size).to_owned()))?;
        Ok(SegmentLimit(MssLimit { service, mss }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_read_in_the_words_of_ipvsadm() {
        let read = |text: &str| text.parse::<SegmentLimit>();
        let limit = read("-t 192.0.2.80:80 1360").unwrap().0;
        assert_eq!((limit.service.port().0, limit.mss), (80, 1360));
        assert!(read("-f 10 1360").is_ok() && read("-f 10 -6 1220").is_ok());
        assert!(read("-t [2001:db8::80]:80 1360").is_ok());
        assert!(matches!(read("192.0.2.80:80 1360"), Err(SegmentLimitError::Form(_))));
        assert!(matches!(read(""), Err(SegmentLimitError::Form(_))));
        assert!(matches!(read("-t 192.0.2.80:80 87"), Err(SegmentLimitError::Size(_))));
        assert!(matches!(read("-t 192.0.2.80:80 big"), Err(SegmentLimitError::Size(_))));
        assert!(matches!(read("-u 192.0.2.80:53 1360"), Err(SegmentLimitError::NotTcp(_))));
    }
}
