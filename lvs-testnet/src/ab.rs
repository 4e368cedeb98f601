//! ApacheBench, from Debian's apache2-utils.

use std::net::IpAddr;

use crate::host::Host;
use crate::prerequisites::require;

/// A run of ApacheBench: each request a connection of its own.
///
/// ApacheBench does not count every request it makes: when it reports `n`, a server may have seen up to
/// `concurrency - 1` more, begun while the last of the `n` were still under way.
#[derive(Clone, Debug)]
pub struct Ab {
    requests: u32,
    concurrency: u32,
    url: String,
    source: Option<IpAddr>,
}

/// What ApacheBench reported.
#[derive(Clone, PartialEq, Debug)]
pub struct AbReport {
    /// Requests that were answered, well or not.
    pub complete: u32,
    /// Requests that failed: no connection, a wrong length, an exception.
    pub failed: u32,
    /// Answers with a status other than 2xx.
    pub non_2xx: u32,
    /// Requests a second, all together.
    pub per_second: f64,
    /// The whole report.
    pub text: String,
}

impl Ab {
    /// `ab -n requests -c concurrency url`. An IPv6 address stands in brackets in the URL, and the path
    /// is not left out.
    pub fn new(requests: u32, concurrency: u32, url: &str) -> Ab {
        Ab { requests, concurrency, url: url.to_owned(), source: None }
    }

    /// Connects from this address.
    #[must_use]
    pub fn from(mut self, source: IpAddr) -> Ab {
        self.source = Some(source);
        self
    }

    /// Runs it on a host.
    ///
    /// # Panics
    /// If `ab` is not installed, gives up (it does after ten failed connections), or prints no report.
    #[track_caller]
    pub fn run(&self, host: &Host) -> AbReport {
        require(&["ab"]);
        let (requests, concurrency) = (self.requests.to_string(), self.concurrency.to_string());
        let source = self.source.map(|source| source.to_string());
        let mut command = vec!["ab", "-q", "-n", &requests, "-c", &concurrency];
        if let Some(source) = &source {
            command.extend(["-B", source]);
        }
        command.push(&self.url);
        let output = host.run(&command).expect_success();
        AbReport::parse(&output.stdout)
            .unwrap_or_else(|| panic!("no report of ab in:\n{}{}", output.stdout, output.stderr))
    }
}

impl AbReport {
    fn parse(text: &str) -> Option<AbReport> {
        Some(AbReport {
            complete: field(text, "Complete requests:")?.parse().ok()?,
            failed: field(text, "Failed requests:")?.parse().ok()?,
            // The line is only there if there were any.
            non_2xx: field(text, "Non-2xx responses:").map_or(Some(0), |n| n.parse().ok())?,
            per_second: field(text, "Requests per second:")?.parse().ok()?,
            text: text.to_owned(),
        })
    }
}

/// The first word behind a label.
fn field<'a>(text: &'a str, label: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(label))?.split_whitespace().next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_read() {
        let text = "Complete requests:      100\nFailed requests:        2\n   (Connect: 0, ...)\n\
                    Non-2xx responses:      3\nRequests per second:    1234.50 [#/sec] (mean)\n";
        let report = AbReport::parse(text).unwrap();
        assert_eq!((report.complete, report.failed, report.non_2xx), (100, 2, 3));
        assert!((report.per_second - 1234.5).abs() < 1e-9);
    }

    #[test]
    fn a_report_that_is_cut_off_is_none() {
        assert_eq!(AbReport::parse("Complete requests:      100\n"), None);
    }
}
