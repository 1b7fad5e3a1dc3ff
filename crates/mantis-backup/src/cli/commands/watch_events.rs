//! What `mantis watch` tells.

use std::time::Duration;

use mantis_repo::BackupInfo;
use serde_json::{Value, json};

use crate::cli::context::Context;
use crate::cli::output::{backup_json, count, counted, size, time};
use crate::format_time;
use crate::jobs::WatchEvent;

/// A source that a pattern found, or that is gone.
pub(super) fn show_change(context: &Context, name: &str, is_there: bool) {
    let event = if is_there { "found" } else { "gone" };
    if context.json {
        let event = json!({ "event": event, "source": name });
        let _ = crate::cli::output::write_out(format!("{event}\n").as_bytes());
    }
    let _ = context.say(match is_there {
        true => format!("found {name}"),
        false => format!("{name} is gone, and no longer watched; its backups stay"),
    });
}

/// One line for each event: for people what was stored, and on the error output what went wrong; as JSON all of it.
pub(super) fn show(context: &Context, name: &str, event: &WatchEvent) {
    if context.json {
        // One document a line, as there is no end to them.
        let _ = crate::cli::output::write_out(format!("{}\n", event_json(name, event)).as_bytes());
    }
    let warn = |text: String| eprintln!("warning: {name}: {text}");
    match event {
        WatchEvent::Made { info, exposed } => {
            let _ = context.say(line(info, *exposed));
        }
        WatchEvent::Failed { error, failures, wait } => {
            crate::cli::report(error);
            warn(format!("backup {failures} in a row that failed; again in {}", time(*wait)));
        }
        WatchEvent::Queued { moments, bytes } => {
            tracing::info!(source = %name, moments, bytes, "a moment waits for the store");
        }
        WatchEvent::Dequeued { moments, bytes } => {
            tracing::info!(source = %name, moments, bytes, "a moment waits no more");
        }
        WatchEvent::Gap => warn("lost sight of what changed: all pages are compared".into()),
        WatchEvent::Relieved(relief) => {
            tracing::info!(source = %name, writers_held = ?relief.writers_held, relieved = relief.relieved, "WAL put into the database");
        }
        WatchEvent::NotRelieved(error) => {
            warn(format!("its WAL cannot be put into the database: {}", error.chain()));
        }
        WatchEvent::Expired(removed) => {
            for (source, backups) in removed {
                let backups = counted(backups.len() as u64, "backup", "backups");
                let _ = context.say(format!("{source}: rules removed {backups}"));
            }
        }
        WatchEvent::NotExpired(error) => warn(format!("rules were not applied: {}", error.chain())),
    }
}

fn line(info: &BackupInfo, exposed: Option<Duration>) -> String {
    let behind = exposed.map(|exposed| format!("; at most {} behind", time(exposed)));
    format!(
        "{} {} of {}: {} pages changed, {} stored, in {}{}",
        format_time(info.meta.created_at),
        info.id.short(),
        info.meta.source,
        count(info.pages_changed),
        size(info.bytes_stored),
        time(Duration::from_millis(info.duration_ms)),
        behind.unwrap_or_default(),
    )
}

fn event_json(name: &str, event: &WatchEvent) -> Value {
    let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    match event {
        WatchEvent::Made { info, exposed } => {
            json!({ "event": "backup", "backup": backup_json(info), "exposed_ms": exposed.map(millis) })
        }
        WatchEvent::Failed { error, failures, wait } => json!({
            "event": "failed", "source": name, "error": error.chain(), "failures": failures,
            "again_in_ms": millis(*wait),
        }),
        WatchEvent::Queued { moments, bytes } => {
            json!({ "event": "queued", "source": name, "moments": moments, "bytes": bytes })
        }
        WatchEvent::Dequeued { moments, bytes } => {
            json!({ "event": "dequeued", "source": name, "moments": moments, "bytes": bytes })
        }
        WatchEvent::Gap => json!({ "event": "gap", "source": name }),
        WatchEvent::Relieved(relief) => json!({
            "event": "relieved", "source": name, "relieved": relief.relieved,
            "writers_held_us": u64::try_from(relief.writers_held.as_micros()).unwrap_or(u64::MAX),
        }),
        WatchEvent::NotRelieved(error) => {
            json!({ "event": "not_relieved", "source": name, "error": error.chain() })
        }
        WatchEvent::Expired(removed) => {
            let ids: Vec<String> = removed.values().flatten().map(ToString::to_string).collect();
            json!({ "event": "expired", "sources": removed.keys().collect::<Vec<_>>(), "backups": ids })
        }
        WatchEvent::NotExpired(error) => {
            json!({ "event": "not_expired", "source": name, "error": error.chain() })
        }
    }
}
