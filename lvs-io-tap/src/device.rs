//! What a TAP device is to be.

use lvs_io_linux::NAME_LEN_MAX;

use crate::error::Error;
use crate::{MTU_MAX, MTU_MIN, QUEUES_MAX};

/// A TAP device to open: the one of this name that is there (made by `ip tuntap add`, or left by an earlier
/// run), else a new one, which goes when the backend does.
///
/// ```
/// use lvs_io_tap::Device;
///
/// let device = Device::new("lvs0").mtu(9000).bridge("br0");
/// assert_eq!(device.name(), "lvs0");
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Device {
    pub(crate) name: String,
    pub(crate) mtu: Option<u32>,
    pub(crate) queues: u16,
    pub(crate) bridge: Option<String>,
    pub(crate) persistent: bool,
    pub(crate) send_buffer: Option<usize>,
}

impl Device {
    /// A device with one queue, and the MTU that it has or, if it is new, 1,500 bytes.
    pub fn new(name: impl Into<String>) -> Device {
        Device {
            name: name.into(),
            mtu: None,
            queues: 1,
            bridge: None,
            persistent: false,
            send_buffer: None,
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The longest packet it carries, in bytes, without the Ethernet header: [`MTU_MIN`] to [`MTU_MAX`].
    /// What is at the other end, such as a bridge, must have as much.
    #[must_use]
    pub fn mtu(mut self, bytes: u32) -> Device {
        self.mtu = Some(bytes);
        self
    }

    /// How many queues it has, 1 to [`QUEUES_MAX`]. The kernel keeps as many frames in each as the
    /// interface's `txqueuelen` says (500 or 1,000 by default), and puts those of a flow into one; this backend reads them in turn, in one thread, and answers by the queue that a frame
    /// came in by. So more queues mean more room in a burst, not more processors.
    #[must_use]
    pub fn queues(mut self, count: u16) -> Device {
        self.queues = count;
        self
    }

    /// Makes the device a port of this bridge, now and whenever it is made anew.
    #[must_use]
    pub fn bridge(mut self, bridge: impl Into<String>) -> Device {
        self.bridge = Some(bridge.into());
        self
    }

    /// Whether the device stays, with its bridge and addresses, when the backend goes. A device that was
    /// made persistent by somebody else stays in any case.
    #[must_use]
    pub fn persistent(mut self, stays: bool) -> Device {
        self.persistent = stays;
        self
    }

    /// The most bytes (as the kernel reckons them, overhead included) of frames that were sent by the device
    /// and are still on their way through the host, for example in the queue of a slow card of the same
    /// bridge. Beyond it frames are dropped and counted here. Without it, the default, nothing is refused
    /// here, and what is too much is dropped in that queue; the kernel then also has a cheaper way to take
    /// small frames.
    #[must_use]
    pub fn send_buffer(mut self, bytes: usize) -> Device {
        self.send_buffer = Some(bytes);
        self
    }

    /// Whether such a device can be.
    ///
    /// # Errors
    /// [`Error::BadName`], [`Error::BadMtu`] or [`Error::BadQueues`].
    pub fn check(&self) -> Result<(), Error> {
        let name = || self.name.clone();
        check_name(&self.name)?;
        self.bridge.as_deref().map_or(Ok(()), check_name)?;
        if let Some(mtu) = self.mtu.filter(|mtu| !(MTU_MIN..=MTU_MAX).contains(mtu)) {
            return Err(Error::BadMtu { name: name(), mtu });
        }
        if !(1..=QUEUES_MAX).contains(&self.queues) {
            return Err(Error::BadQueues { name: name(), queues: self.queues });
        }
        Ok(())
    }
}

/// The kernel's own rules for names, and no `%`, of which it would make a number.
fn check_name(name: &str) -> Result<(), Error> {
    let why = match name {
        "" => "it is empty",
        "." | ".." => "it means a folder",
        _ if name.len() > NAME_LEN_MAX => "it is too long",
        _ if name.contains(['/', ':', '%']) => "it has a `/`, `:` or `%`",
        _ if name.chars().any(|c| c.is_whitespace() || c.is_control()) => "it has a blank",
        _ => return Ok(()),
    };
    Err(Error::BadName { name: name.to_owned(), why })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_no_interface_can_have_are_refused_with_the_reason() {
        for name in ["", ".", "lvs 0", "a/b", "tap%d", "eth0:1", "sixteen-bytes-xx", "a\0b"] {
            let error = Device::new(name).check().unwrap_err();
            assert!(matches!(error, Error::BadName { .. }), "{name:?}: {error}");
        }
        Device::new("fifteen-bytes-x").check().unwrap();
        assert!(Device::new("lvs0").bridge("br/0").check().is_err());
    }

    #[test]
    fn measures_out_of_range_are_refused() {
        assert!(Device::new("a").mtu(1_279).check().is_err());
        assert!(Device::new("a").mtu(65_522).check().is_err());
        Device::new("a").mtu(9_000).check().unwrap();
        assert!(Device::new("a").queues(0).check().is_err());
        assert!(Device::new("a").queues(257).check().is_err());
    }
}
