//! Moments as a browser's fields send them, and as people write them. UTC.

use chrono::{NaiveDate, NaiveDateTime, NaiveTime};

/// Which end of a day, or of a minute, is meant where no more is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Edge {
    Start,
    End,
}

/// A moment: `2026-11-27`, `2026-11-27 14:00`, `2026-11-27T14:00:05Z`.
pub(super) fn moment(text: &str, edge: Edge) -> Option<NaiveDateTime> {
    let text = text.trim().trim_end_matches('Z').replacen(' ', "T", 1);
    let of = |format: &str| NaiveDateTime::parse_from_str(&text, format).ok();
    let day = || {
        let time = match edge {
            Edge::Start => NaiveTime::MIN,
            Edge::End => NaiveTime::from_hms_milli_opt(23, 59, 59, 999)?,
        };
        Some(NaiveDate::parse_from_str(&text, "%Y-%m-%d").ok()?.and_time(time))
    };
    of("%Y-%m-%dT%H:%M:%S%.f").or_else(|| of("%Y-%m-%dT%H:%M")).or_else(day)
}

/// As [`moment`]; nothing for an empty text.
///
/// # Errors
/// How it is written.
pub(super) fn optional(text: &str, edge: Edge) -> Result<Option<NaiveDateTime>, String> {
    if text.trim().is_empty() {
        return Ok(None);
    }
    moment(text, edge)
        .map(Some)
        .ok_or_else(|| format!("{text:?} is no moment: write it as 2026-11-27 14:00, UTC"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_as_people_write_them() {
        let shown = |text, edge| moment(text, edge).map(|it| it.to_string());
        for (text, start, end) in [
            ("2026-11-27", "2026-11-27 00:00:00", "2026-11-27 23:59:59.999"),
            ("2026-11-27 14:00", "2026-11-27 14:00:00", "2026-11-27 14:00:00"),
            (" 2026-11-27T14:00:05Z ", "2026-11-27 14:00:05", "2026-11-27 14:00:05"),
        ] {
            assert_eq!(shown(text, Edge::Start).as_deref(), Some(start));
            assert_eq!(shown(text, Edge::End).as_deref(), Some(end));
        }
        for wrong in ["", "yesterday", "2026-13-01", "99999999999-01-01", "2026-11-27T25:00"] {
            assert_eq!(moment(wrong, Edge::End), None, "{wrong}");
        }
        assert_eq!(optional(" ", Edge::End), Ok(None));
        assert!(optional("soon", Edge::End).unwrap_err().contains("no moment"));
    }
}
