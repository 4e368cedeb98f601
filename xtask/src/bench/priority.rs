//! Measuring on a machine that others use, too.

use std::fs;

/// The share of the processors that the processes of this terminal have as a group; see sched(7).
const GROUP: &str = "/proc/self/autogroup";

/// While it lives, the processes of this terminal or job go before those of others, if this is root and the
/// kernel groups them.
#[derive(Debug)]
pub(super) struct Priority {
    /// The group's nice value before.
    before: Option<String>,
}

impl Priority {
    pub(super) fn first() -> Priority {
        let text = fs::read_to_string(GROUP).unwrap_or_default();
        let before = nice(&text).filter(|_| fs::write(GROUP, "-20").is_ok());
        Priority { before: before.map(str::to_owned) }
    }
}

impl Drop for Priority {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            let _ = fs::write(GROUP, before);
        }
    }
}

/// The value in what the kernel says: `/autogroup-7 nice 0`.
fn nice(text: &str) -> Option<&str> {
    Some(text.trim().rsplit_once(" nice ")?.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_value_before_is_what_the_kernel_says_last() {
        assert_eq!(nice("/autogroup-1318 nice -5\n"), Some("-5"));
        assert_eq!(nice(""), None);
    }
}
