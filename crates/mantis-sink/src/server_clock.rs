//! How far a store's clock is from ours: HTTP answers say what time it is there (RFC 9110 section 6.6.1).

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::SystemTime;

use http::HeaderMap;

/// What the last answer said. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct ServerClock(Arc<AtomicI64>);

/// Nothing was said yet.
const UNKNOWN: i64 = i64::MIN;

impl ServerClock {
    pub(crate) fn new() -> Self {
        Self(Arc::new(AtomicI64::new(UNKNOWN)))
    }

    /// Notes the date of an answer that came just now.
    pub(crate) fn note(&self, headers: &HeaderMap) {
        let date = headers.get(http::header::DATE).and_then(|date| date.to_str().ok());
        let Some(there) = date.and_then(|date| httpdate::parse_http_date(date).ok()) else {
            return;
        };
        let now = SystemTime::now();
        let ahead = match there.duration_since(now) {
            Ok(ahead) => i64::try_from(ahead.as_millis()).ok(),
            // A date has whole seconds: it was up to one later there.
            Err(behind) => i64::try_from(behind.duration().as_millis())
                .ok()
                .map(|behind| -(behind - 1000).max(0)),
        };
        if let Some(ahead) = ahead {
            self.0.store(ahead, Ordering::Relaxed);
        }
    }

    /// How far the store's clock is ahead of ours, in milliseconds.
    pub(crate) fn skew_ms(&self) -> Option<i64> {
        Some(self.0.load(Ordering::Relaxed)).filter(|skew| *skew != UNKNOWN)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn tells_what_an_answers_date_says() {
        let clock = ServerClock::new();
        assert_eq!(clock.skew_ms(), None);
        let mut headers = HeaderMap::new();
        clock.note(&headers);
        headers.insert(http::header::DATE, "yesterday".parse().unwrap());
        clock.note(&headers);
        assert_eq!(clock.skew_ms(), None);
        for (seconds, expected) in [(0u64, -1000..=0), (3600, 3_598_000..=3_600_000)] {
            let date = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(seconds));
            headers.insert(http::header::DATE, date.parse().unwrap());
            clock.note(&headers);
            assert!(expected.contains(&clock.skew_ms().unwrap()), "{:?}", clock.skew_ms());
        }
    }
}
