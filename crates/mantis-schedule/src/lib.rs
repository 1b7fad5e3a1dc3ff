//! When jobs are due.
//!
//! - [`CronSchedule`]: expressions as crontab(5) has them, by saffron, in time zones with their summer times;
//! - [`Job`]: a schedule with what happens to runs that were missed, overlap, fail or take too long;
//! - [`Agenda`]: all jobs, as a state machine: [`Agenda::poll`] says what is due, [`Agenda::next_wakeup`] when to ask again,
//!   and [`Agenda::state`] is what must outlive the process.
//!
//! Nothing here reads a clock, sleeps or does a job: the time is given, what is due comes back.
//!
//! ```
//! use chrono_tz::Tz;
//! use mantis_schedule::{Agenda, AgendaState, Event, Job, Outcome};
//! let at = |text: &str| text.parse().unwrap();
//! let mut agenda = Agenda::new(AgendaState::default(), 2);
//! agenda.create(Job::new("nightly", "0 2 * * *".parse()?, Tz::UTC), at("2026-11-25T12:00:00Z"))?;
//! assert_eq!(agenda.next_wakeup(), Some(at("2026-11-26T02:00:00Z")));
//! let events = agenda.poll(at("2026-11-26T02:00:00Z"));
//! let [Event::Begin { run, .. }] = &events[..] else { panic!("{events:?}") };
//! agenda.finished(run.run, Outcome::Done, at("2026-11-26T02:01:00Z"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]

mod agenda;
mod chance;
mod clock;
mod cron;
mod crontab;
mod due;
mod error;
mod event;
mod job;
mod state;

pub use agenda::Agenda;
pub use clock::{Clock, ManualClock};
pub use cron::CronSchedule;
pub use error::{InvalidCron, ScheduleError};
pub use event::{Event, Next, Outcome};
pub use job::{Job, MissedRuns, Overlap, Retry};
pub use state::{AgendaState, JobState, Run, RunId};

#[cfg(test)]
mod agenda_tests;
#[cfg(test)]
mod cron_tests;
