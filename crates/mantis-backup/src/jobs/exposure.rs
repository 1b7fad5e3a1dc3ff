//! How much a watched source stands to lose.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

#[derive(Debug, Clone, Copy)]
struct Known {
    /// When the watch began.
    began: Instant,
    /// All that was committed until then is in backups; nothing is known before the first one.
    safe_until: Option<Instant>,
}

/// How much of a watched source would be lost if it were lost now: what was committed since the last moment of which all is in backups. Shared by
/// the watch and by those who ask.
#[derive(Debug)]
pub struct Exposure(Mutex<Known>);

impl Default for Exposure {
    fn default() -> Self {
        Self(Mutex::new(Known { began: Instant::now(), safe_until: None }))
    }
}

impl Exposure {
    /// Nothing is known yet: of a watch that begins now.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn known(&self) -> Known {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All that was committed until then is in backups. Returns for how long that was not so, at the worst, where it is known.
    pub(crate) fn safe_until(&self, moment: Instant) -> Option<Duration> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = known.safe_until.replace(moment);
        before.map(|before| before.elapsed())
    }

    /// The time from the last moment of which all is in backups until now: at most so much would be lost. `None` before the first backup of the
    /// watch, as what was committed before it began is not known.
    #[must_use]
    pub fn get(&self) -> Option<Duration> {
        self.known().safe_until.map(|moment| moment.elapsed())
    }

    /// As [`Self::get`]; before the first backup since the watch began. It cannot be held against a watch that it did not run before.
    #[must_use]
    pub fn of_watch(&self) -> Duration {
        let known = self.known();
        known.safe_until.unwrap_or(known.began).elapsed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_grows_until_a_later_moment_is_safe() {
        let exposure = Exposure::new();
        let pass = async |seconds| tokio::time::advance(Duration::from_secs(seconds)).await;
        pass(3).await;
        assert_eq!((exposure.get(), exposure.of_watch()), (None, Duration::from_secs(3)));
        let looked = Instant::now();
        pass(2).await;
        assert_eq!(exposure.safe_until(looked), None, "what came before is not known");
        assert_eq!(exposure.get(), Some(Duration::from_secs(2)));
        pass(5).await;
        assert_eq!(exposure.safe_until(Instant::now()), Some(Duration::from_secs(7)));
        assert_eq!(exposure.of_watch(), Duration::ZERO);
    }
}
