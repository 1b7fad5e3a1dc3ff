//! What can be wrong with an expression or a job.

/// An expression that is none, or that never comes true.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidCron {
    /// A field cannot be read.
    #[error("the {field} {text:?} {why}")]
    Field {
        /// Which.
        field: &'static str,
        /// What stands there.
        text: String,
        /// What is wrong with it.
        why: String,
    },
    /// There are not five fields.
    #[error("{text:?} has {found} fields, not 5: minute, hour, day of month, month, day of week")]
    Shape {
        /// The expression.
        text: String,
        /// How many fields it has.
        found: usize,
    },
    /// A name with an `@` that is not known.
    #[error(
        "{text:?} is not one of @hourly, @daily, @midnight, @weekly, @monthly, @yearly, @annually"
    )]
    Nickname {
        /// The name.
        text: String,
    },
    /// There is no such date in any year.
    #[error("{text:?} never comes true: no year has such a date")]
    Never {
        /// The expression.
        text: String,
    },
}

impl InvalidCron {
    pub(crate) fn field(field: &'static str, text: &str, why: String) -> Self {
        Self::Field { field, text: text.chars().take(40).collect(), why }
    }
}

/// Why something cannot be done with a schedule's jobs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ScheduleError {
    /// There is no such job.
    #[error("there is no job called {id:?}")]
    Unknown {
        /// Its name.
        id: String,
    },
    /// There is one already.
    #[error("there is a job called {id:?} already")]
    Exists {
        /// Its name.
        id: String,
    },
}
