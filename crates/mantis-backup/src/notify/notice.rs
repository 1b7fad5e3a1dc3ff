//! What is told, and a way to tell it.

use futures::future::BoxFuture;
use serde::Serialize;

use crate::Error;
use crate::config::Occasion;

/// What someone is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Notice {
    /// What kind of thing happened.
    pub event: Occasion,
    /// The whole in a few words.
    pub title: String,
    /// What happened, for people.
    pub message: String,
    /// The schedule.
    pub schedule: Option<String>,
    /// The source.
    pub source: Option<String>,
    /// The repository.
    pub repository: Option<String>,
    /// The backup's id.
    pub backup: Option<String>,
    /// Why it failed: the error with all its causes.
    pub error: Option<String>,
    /// The machine.
    pub host: String,
    /// When, in RFC 3339.
    pub time: String,
    /// How many of the same were left out since the last one.
    pub left_out: u64,
}

impl Notice {
    /// A notice of which only the words are known.
    pub fn new(event: Occasion, title: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            event,
            title: title.into(),
            message: message.into(),
            schedule: None,
            source: None,
            repository: None,
            backup: None,
            error: None,
            host: crate::host_name(),
            time: crate::format_time(crate::now()),
            left_out: 0,
        }
    }

    /// Whether it is of something bad.
    #[must_use]
    pub const fn is_bad(&self) -> bool {
        !matches!(self.event, Occasion::Success | Occasion::Recovery)
    }

    /// The placeholders of templates.
    pub(super) const HOLES: [&'static str; 10] = [
        "event",
        "title",
        "message",
        "schedule",
        "source",
        "repository",
        "backup",
        "error",
        "host",
        "time",
    ];

    /// The value of a placeholder.
    pub(super) fn value(&self, hole: &str) -> String {
        let of = |text: &Option<String>| text.clone().unwrap_or_default();
        match hole {
            "event" => self.event.name().to_owned(),
            "title" => self.title.clone(),
            "message" => self.text(),
            "schedule" => of(&self.schedule),
            "source" => of(&self.source),
            "repository" => of(&self.repository),
            "backup" => of(&self.backup),
            "error" => of(&self.error),
            "host" => self.host.clone(),
            "time" => self.time.clone(),
            _ => String::new(),
        }
    }

    /// The message, with how many were left out.
    pub(super) fn text(&self) -> String {
        match self.left_out {
            0 => self.message.clone(),
            count => format!("{} ({count} more of these were not told)", self.message),
        }
    }
}

/// A way to tell people something.
pub trait Notifier: Send + Sync {
    /// Tells it. May be tried again after an error.
    ///
    /// # Errors
    /// What kept it from being told.
    fn notify<'a>(&'a self, notice: &'a Notice) -> BoxFuture<'a, Result<(), Error>>;
}
