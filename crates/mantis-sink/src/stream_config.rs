//! How a store over a network is talked to: tries, times, and how much at once.

use std::time::Duration;

#[cfg(any(feature = "_http", feature = "sftp"))]
use crate::{SinkError, address::Address, parse_duration, parse_rate};

/// How a store over a network is talked to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamConfig {
    /// How often a call is tried that may succeed later.
    pub attempts: u32,
    /// The wait before the second try; it doubles from try to try, and is lengthened by chance, up to twice.
    pub delay: Duration,
    /// The longest wait between two tries, before chance lengthens it.
    pub max_delay: Duration,
    /// How long a connection may take to be made.
    pub connect_timeout: Duration,
    /// How long a connection may be silent while an answer is awaited.
    pub idle_timeout: Duration,
    /// How long a call may take, with all its tries and waits.
    pub timeout: Duration,
    /// Calls under way at once.
    pub concurrency: usize,
    /// Bytes sent per second, at most.
    pub upload_rate: Option<u64>,
    /// Bytes received per second, at most.
    pub download_rate: Option<u64>,
}

impl Default for StreamConfig {
    fn default() -> Self {
        Self {
            attempts: 8,
            delay: Duration::from_millis(200),
            max_delay: Duration::from_secs(20),
            connect_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(30),
            timeout: Duration::from_secs(300),
            concurrency: 16,
            upload_rate: None,
            download_rate: None,
        }
    }
}

/// The options that every store over a network has.
#[cfg(any(feature = "_http", feature = "sftp"))]
pub(crate) const OPTIONS: &str = "attempts, delay, max_delay, connect_timeout, idle_timeout, timeout, concurrency, \
     upload_rate, download_rate";

#[cfg(any(feature = "_http", feature = "sftp"))]
impl StreamConfig {
    /// Takes the options out of an address.
    pub(crate) fn take_from(address: &mut Address) -> Result<Self, SinkError> {
        let usual = Self::default();
        let mut time = |name: &str, usual: Duration| {
            address.take_as(name, parse_duration).map(|given| given.unwrap_or(usual))
        };
        let config = Self {
            delay: time("delay", usual.delay)?,
            max_delay: time("max_delay", usual.max_delay)?,
            connect_timeout: time("connect_timeout", usual.connect_timeout)?,
            idle_timeout: time("idle_timeout", usual.idle_timeout)?,
            timeout: time("timeout", usual.timeout)?,
            attempts: address.take_number("attempts")?.unwrap_or(usual.attempts),
            concurrency: address.take_number("concurrency")?.unwrap_or(usual.concurrency),
            upload_rate: address.take_as("upload_rate", parse_rate)?,
            download_rate: address.take_as("download_rate", parse_rate)?,
        };
        if !(1..=100).contains(&config.attempts) || !(1..=1024).contains(&config.concurrency) {
            return Err(address.invalid("attempts are 1 to 100, concurrency is 1 to 1024"));
        }
        Ok(config)
    }
}

#[cfg(all(test, any(feature = "_http", feature = "sftp")))]
mod tests {
    use super::*;

    #[test]
    fn is_read_from_an_address() {
        let text = "b?attempts=3&delay=10ms&timeout=5s&concurrency=2&upload_rate=1MB/s";
        let mut address = Address::parse("s3", text).unwrap();
        let config = StreamConfig::take_from(&mut address).unwrap();
        assert_eq!((config.attempts, config.concurrency), (3, 2));
        assert_eq!((config.timeout, config.upload_rate), (Duration::from_secs(5), Some(1_000_000)));
        address.finish(OPTIONS).unwrap();
        for bad in ["b?attempts=0", "b?timeout=soon", "b?concurrency=-1", "b?upload_rate=fast"] {
            let mut address = Address::parse("s3", bad).unwrap();
            assert!(StreamConfig::take_from(&mut address).is_err(), "{bad}");
        }
    }
}
