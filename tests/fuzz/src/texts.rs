//! What people and programs write as text.

use std::sync::LazyLock;

use chrono::{DateTime, Utc};
use mantis_backup::daemon::control::Request;
use mantis_repo::{Identity, Recipient};
use mantis_schedule::{AgendaState, CronSchedule};

/// Times that are asked for of each expression.
const TIMES: usize = 4;

fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}

/// A cron expression: its times ascend, and do not end in the past.
pub(crate) fn cron(bytes: &[u8]) {
    let Some(text) = text(bytes) else { return };
    let Ok(cron) = text.parse::<CronSchedule>() else { return };
    let begin = DateTime::<Utc>::from_timestamp(1_700_000_000, 0).unwrap();
    let zones = [chrono_tz::UTC, chrono_tz::Europe::Berlin, chrono_tz::Australia::Lord_Howe];
    for zone in zones {
        let mut last = begin;
        for time in cron.after(begin, zone).take(TIMES) {
            assert!(time > last, "{text:?} in {zone}: {time} after {last}");
            last = time;
        }
    }
}

/// The address of a store; nothing is connected to.
pub(crate) fn address(bytes: &[u8]) {
    // Connections are set up in a runtime, if at all.
    static RUNTIME: LazyLock<tokio::runtime::Runtime> =
        LazyLock::new(|| tokio::runtime::Builder::new_current_thread().build().unwrap());
    let _inside = RUNTIME.enter();
    if let Some(text) = text(bytes) {
        let _ = mantis_sink::open_url(text);
        let _ = mantis_sink::open_url(&format!("sftp://{text}"));
        let _ = mantis_sink::ObjectKey::new(text);
    }
}

/// `mantis.toml`: all of its faults are found, and each says where.
pub(crate) fn config(bytes: &[u8]) {
    let Some(text) = text(bytes) else { return };
    if let Err(faults) = mantis_backup::config::parse(text) {
        assert!(!faults.is_empty());
        for fault in faults {
            assert!(!fault.to_string().is_empty());
        }
    }
    let _ = mantis_backup::parse_time(text);
    let _ = Recipient::parse_file(text);
    let _ = Identity::parse_file(text);
}

/// What a daemon is asked for, and what it kept of its schedules.
pub(crate) fn request(bytes: &[u8]) {
    if let Ok(request) = serde_json::from_slice::<Request>(bytes) {
        let again = serde_json::to_vec(&request).unwrap();
        assert_eq!(serde_json::from_slice::<Request>(&again).unwrap(), request);
    }
    if let Ok(state) = serde_json::from_slice::<AgendaState>(bytes) {
        let mut agenda = mantis_schedule::Agenda::new(state, 2);
        let now = DateTime::<Utc>::from_timestamp(1_700_000_000, 0).unwrap();
        agenda.take_up(now);
        agenda.poll(now);
        let _ = (agenda.next_wakeup(), agenda.queued(now));
    }
}
