//! Who is told of what.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio_util::task::TaskTracker;

use super::limiter::Limiter;
use super::{Command, Log, Notice, Notifier};
use crate::config::{NotificationConfig, Occasion};

/// Tries of each notification.
const ATTEMPTS: u32 = 3;
/// The wait before the second try; then it doubles.
const DELAY: Duration = Duration::from_secs(2);

struct Target {
    config: NotificationConfig,
    notifier: Arc<dyn Notifier>,
}

/// Everyone who is told something.
///
/// Telling takes its time in tasks of its own: it neither holds up nor fails what it is told of.
#[derive(Default)]
pub struct Notifications {
    targets: Mutex<BTreeMap<String, Target>>,
    limiters: Mutex<BTreeMap<String, Limiter>>,
    /// Added by a program, not by the configuration: told of everything.
    own: Mutex<Vec<Arc<dyn Notifier>>>,
    tasks: TaskTracker,
}

impl std::fmt::Debug for Notifications {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<String> = lock(&self.targets).keys().cloned().collect();
        f.debug_struct("Notifications").field("targets", &names).finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn notifier(config: &NotificationConfig) -> Option<Arc<dyn Notifier>> {
    #[cfg(feature = "webhook")]
    if let Some(webhook) = &config.webhook {
        return Some(Arc::new(super::Webhook::new(webhook.clone())));
    }
    #[cfg(feature = "email")]
    if let Some(email) = &config.email {
        return Some(Arc::new(super::Email::new(email.clone())));
    }
    if let Some(command) = &config.command {
        return Some(Arc::new(Command::new(command.clone())));
    }
    config.log.then(|| Arc::new(Log) as Arc<dyn Notifier>)
}

impl Notifications {
    /// Those of a configuration.
    #[must_use]
    pub fn new(configs: &BTreeMap<String, NotificationConfig>) -> Self {
        let notifications = Self::default();
        notifications.replace(configs);
        notifications
    }

    /// Has others told from here on. How often each was told stays known by its name.
    pub fn replace(&self, configs: &BTreeMap<String, NotificationConfig>) {
        let targets = configs.iter().filter_map(|(name, config)| {
            let notifier = notifier(config)?;
            Some((name.clone(), Target { config: config.clone(), notifier }))
        });
        *lock(&self.targets) = targets.collect();
        lock(&self.limiters).retain(|name, _| configs.contains_key(name));
    }

    /// Adds someone who is told of everything.
    pub fn add(&self, notifier: impl Notifier + 'static) {
        lock(&self.own).push(Arc::new(notifier));
    }

    /// Tells everyone who wants to know. Returns at once.
    pub fn tell(&self, notice: &Notice, now: DateTime<Utc>) {
        for notifier in lock(&self.own).iter() {
            self.send("own", Arc::clone(notifier), notice.clone());
        }
        for (name, target) in lock(&self.targets).iter() {
            let config = &target.config;
            if notice.event == Occasion::Recovery
                && let Some(limiter) = lock(&self.limiters).get_mut(name)
            {
                limiter.recover(notice);
            }
            if !config.wants(notice.event, notice.schedule.as_deref()) {
                continue;
            }
            let limits = (config.repeat_after.0, config.max_per_hour);
            let mut limiters = lock(&self.limiters);
            match limiters.entry(name.clone()).or_default().pass(notice, limits, now) {
                Some(left_out) => {
                    let notice = Notice { left_out, ..notice.clone() };
                    self.send(name, Arc::clone(&target.notifier), notice);
                }
                None => count(name, "left out"),
            }
        }
    }

    fn send(&self, name: &str, notifier: Arc<dyn Notifier>, notice: Notice) {
        let name = name.to_owned();
        self.tasks.spawn(async move {
            let mut delay = DELAY;
            for attempt in 1..=ATTEMPTS {
                match notifier.notify(&notice).await {
                    Ok(()) => return count(&name, "told"),
                    Err(error) if attempt == ATTEMPTS => {
                        let help = error.help().unwrap_or_default();
                        tracing::error!(notification = %name, error = %error.chain(), help, "nobody could be told");
                    }
                    Err(error) => {
                        tracing::debug!(notification = %name, error = %error.chain(), attempt, "not told yet");
                        tokio::time::sleep(delay).await;
                        delay *= 2;
                    }
                }
            }
            count(&name, "failed");
        });
    }

    /// Waits until all was told, or the time is over.
    pub async fn flush(&self, patience: Duration) {
        self.tasks.close();
        let _ = tokio::time::timeout(patience, self.tasks.wait()).await;
        self.tasks.reopen();
    }
}

fn count(name: &str, outcome: &'static str) {
    metrics::counter!("mantis_notifications_total", "notification" => name.to_owned(), "outcome" => outcome)
        .increment(1);
}

#[cfg(test)]
mod tests {
    use futures::future::BoxFuture;

    use super::*;
    use crate::Error;
    use crate::config::Occasion;

    struct Flaky(Arc<Mutex<Vec<String>>>, Mutex<u32>);

    impl Notifier for Flaky {
        fn notify<'a>(&'a self, notice: &'a Notice) -> BoxFuture<'a, Result<(), Error>> {
            let mut left = lock(&self.1);
            let result = if *left > 0 {
                *left -= 1;
                Err(Error::usage("not now", "later"))
            } else {
                lock(&self.0).push(notice.title.clone());
                Ok(())
            };
            Box::pin(std::future::ready(result))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn telling_is_tried_again_and_given_up_without_harm() {
        let told = Arc::new(Mutex::new(Vec::new()));
        let notifications = Notifications::default();
        notifications.add(Flaky(Arc::clone(&told), Mutex::new(2)));
        notifications.add(Flaky(Arc::clone(&told), Mutex::new(99)));
        notifications.tell(&Notice::new(Occasion::Failure, "a", "b"), DateTime::default());
        notifications.flush(Duration::from_secs(60)).await;
        assert_eq!(*lock(&told), ["a"]);
    }

    #[tokio::test]
    async fn each_is_told_what_it_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("told");
        let text = format!(
            "[notifications.n]\non = [\"failure\"]\ncommand = {{ run = 'echo \"$MANTIS_TITLE\" >> {}' }}\n",
            file.display()
        );
        let notifications = Notifications::new(&crate::config::parse(&text).unwrap().notifications);
        for (event, title) in [
            (Occasion::Failure, "a"),
            (Occasion::Success, "b"),
            (Occasion::Failure, "a"),
            (Occasion::Recovery, "d"),
            (Occasion::Failure, "a"),
        ] {
            notifications.tell(&Notice::new(event, title, ""), DateTime::default());
        }
        notifications.flush(Duration::from_secs(30)).await;
        assert_eq!(
            std::fs::read_to_string(&file).unwrap(),
            "a\na\n",
            "the same is told again only after a recovery"
        );
    }
}
