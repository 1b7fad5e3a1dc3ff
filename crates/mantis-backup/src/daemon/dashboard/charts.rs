//! Charts as SVG: no script, and each part has its own words for who cannot see it, or points at it.

use std::collections::BTreeMap;
use std::fmt::Write;

use chrono::{Datelike, Days, NaiveDate};

use super::facts::{Backup, Run};

/// Text that may stand in an attribute or an element.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// The last runs as bars, oldest first: high and plain for what was done, low and marked for what was not.
pub(super) fn strip(runs: &[Run]) -> String {
    const STEP: usize = 8;
    let done = runs.iter().filter(|run| run.outcome == "done").count();
    let mut svg = format!(
        "<svg class=\"strip\" role=\"img\" aria-label=\"{done} of the last {} runs were done\" width=\"{}\" height=\"24\">",
        runs.len(),
        runs.len().max(1) * STEP
    );
    for (at, run) in runs.iter().enumerate() {
        let (y, height) = match run.outcome.as_str() {
            "done" => (0, 24),
            "part" => (6, 18),
            _ => (14, 10),
        };
        let what = escaped(&format!("{} {}: {}", run.began, run.outcome, run.summary));
        let _ = write!(
            svg,
            "<rect class=\"run {}\" x=\"{}\" y=\"{y}\" width=\"6\" height=\"{height}\"><title>{what}</title></rect>",
            escaped(&run.outcome),
            at * STEP,
        );
    }
    svg + "</svg>"
}

/// A year of days, a column for each week: the more backups, the darker.
pub(super) fn calendar(backups: &[Backup], today: NaiveDate) -> String {
    const STEP: u64 = 13;
    let mut counts: BTreeMap<NaiveDate, usize> = BTreeMap::new();
    for backup in backups {
        let day = backup.created_at.get(..10).and_then(|day| day.parse().ok());
        day.into_iter().for_each(|day| *counts.entry(day).or_default() += 1);
    }
    let most = counts.values().copied().max().unwrap_or(0).max(1);
    let behind = 52 * 7 + u64::from(today.weekday().num_days_from_monday());
    let first = today.checked_sub_days(Days::new(behind)).unwrap_or(today);
    let mut svg = format!(
        "<svg class=\"calendar\" role=\"img\" aria-label=\"Backups of each day of the last year: {} on {} days\" width=\"{}\" height=\"{}\">",
        backups.len(),
        counts.len(),
        53 * STEP,
        7 * STEP
    );
    for (at, day) in (0u64..).zip(first.iter_days().take_while(|day| *day <= today)) {
        let count = counts.get(&day).copied().unwrap_or(0);
        let shade = if count == 0 { 0 } else { 1 + (count * 3) / most };
        let _ = write!(
            svg,
            "<rect class=\"day shade{shade}\" x=\"{}\" y=\"{}\" width=\"11\" height=\"11\"><title>{day}: {count}</title></rect>",
            at / 7 * STEP,
            at % 7 * STEP,
        );
    }
    svg + "</svg>"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(outcome: &str, summary: &str) -> Run {
        Run {
            job: "a/b".into(),
            action: "backup".into(),
            outcome: outcome.into(),
            scheduled: String::new(),
            began: "2026-11-27T01:00:00Z".into(),
            duration_ms: 1,
            attempt: 1,
            backup: None,
            summary: summary.into(),
            error: None,
        }
    }

    #[test]
    fn a_strip_has_a_bar_for_each_run_and_no_foreign_markup() {
        let svg = strip(&[run("done", "fine"), run("failed", "<script>\"&")]);
        assert_eq!(svg.matches("<rect").count(), 2);
        assert!(svg.contains("1 of the last 2 runs were done") && !svg.contains("<script>"));
    }

    #[test]
    fn a_calendar_has_a_year_of_days() {
        let today = NaiveDate::from_ymd_opt(2026, 11, 27).unwrap();
        let svg = calendar(&[], today);
        let days = svg.matches("<rect").count();
        assert!((365..=371).contains(&days), "{days}");
        assert!(svg.contains("2026-11-27: 0") && !svg.contains("2026-11-28"));
    }
}
