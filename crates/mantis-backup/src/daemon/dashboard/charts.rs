//! Charts as SVG: no script, and each part has its own words for who cannot see it, or points at it.

use std::collections::BTreeMap;
use std::fmt::Write;

use chrono::{DateTime, Datelike, Days, NaiveDate};

use super::facts::{Backup, Run};
use super::heat::Heat;

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
pub(super) fn calendar(days: impl Iterator<Item = NaiveDate>, today: NaiveDate) -> String {
    const STEP: u64 = 13;
    let mut counts: BTreeMap<NaiveDate, usize> = BTreeMap::new();
    days.for_each(|day| *counts.entry(day).or_default() += 1);
    let most = counts.values().copied().max().unwrap_or(0).max(1);
    let behind = 52 * 7 + u64::from(today.weekday().num_days_from_monday());
    let first = today.checked_sub_days(Days::new(behind)).unwrap_or(today);
    let mut svg = format!(
        "<svg class=\"calendar\" role=\"img\" aria-label=\"Backups of each day of the last year: {} on {} days\" width=\"{}\" height=\"{}\">",
        counts.values().sum::<usize>(),
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

/// How much is stored as time goes on: Unix seconds and bytes, oldest first.
pub(super) fn growth(points: &[(i64, u64)]) -> String {
    const SIZE: (f64, f64) = (960.0, 160.0);
    let (Some((from, _)), Some((to, most))) = (points.first(), points.last()) else {
        return String::new();
    };
    if to == from {
        return String::new();
    }
    let mut path = String::new();
    let mut before = SIZE.1;
    for (time, bytes) in points {
        let x = SIZE.0 * (time - from) as f64 / (to - from) as f64;
        let y = SIZE.1 * (1.0 - *bytes as f64 / (*most).max(1) as f64);
        // It grows at a moment, and stands still until the next.
        let _ = write!(path, "L{x:.1} {before:.1}L{x:.1} {y:.1}");
        before = y;
    }
    let date = |seconds: i64| {
        DateTime::from_timestamp(seconds, 0)
            .unwrap_or_default()
            .format("%Y-%m-%d %H:%M")
            .to_string()
    };
    let (from, to, most) = (date(*from), date(*to), super::show::size(most));
    format!(
        "<svg class=\"growth\" role=\"img\" aria-label=\"It grew to {most} from {from} to {to}\" viewBox=\"-5 -20 {} {}\"><path class=\"area\" d=\"M0 {}{path}L{} {}Z\"/><text x=\"0\" y=\"-5\">{most}</text><text x=\"0\" y=\"{}\">{from}</text><text class=\"end\" x=\"{}\" y=\"{}\">{to}</text></svg>",
        SIZE.0 + 10.0,
        SIZE.1 + 45.0,
        SIZE.1,
        SIZE.0,
        SIZE.1,
        SIZE.1 + 18.0,
        SIZE.0,
        SIZE.1 + 18.0,
    )
}

/// A database as fields, row by row: the more of a field's pages change each time, the darker.
pub(super) fn heat(heat: &Heat) -> String {
    const STEP: usize = 14;
    const IN_A_ROW: usize = 64;
    let rows = heat.fields.len().div_ceil(IN_A_ROW);
    let hot = heat.fields.iter().filter(|share| **share > 0.0).count();
    let mut svg = format!(
        "<svg class=\"heat\" role=\"img\" aria-label=\"{hot} of {} fields changed\" width=\"{}\" height=\"{}\">",
        heat.fields.len(),
        IN_A_ROW * STEP,
        rows * STEP
    );
    for (at, share) in heat.fields.iter().enumerate() {
        // What changes seldom is to be seen beside what never does.
        let shade = match *share {
            0.0 => 0,
            ..0.02 => 1,
            ..0.1 => 2,
            ..0.4 => 3,
            _ => 4,
        };
        let (first, last) = heat.range(at);
        let _ = write!(
            svg,
            "<rect class=\"day shade{shade}\" x=\"{}\" y=\"{}\" width=\"12\" height=\"12\"><title>pages {first} to {last}: {:.1} %</title></rect>",
            at % IN_A_ROW * STEP,
            at / IN_A_ROW * STEP,
            share * 100.0
        );
    }
    svg + "</svg>"
}

/// Moments on a line, each a link: where in time they are, and which one is chosen. They come newest first.
pub(super) fn timeline(
    backups: &[Backup],
    chosen: &str,
    link: impl Fn(&Backup) -> String,
) -> String {
    const WIDTH: f64 = 960.0;
    let time = |backup: &Backup| {
        DateTime::parse_from_rfc3339(&backup.created_at).map_or(0, |time| time.timestamp())
    };
    let (Some(newest), Some(oldest)) = (backups.first(), backups.last()) else {
        return String::new();
    };
    let (from, to) = (time(oldest), time(newest));
    let all = (to - from).max(1) as f64;
    let mut svg = format!(
        "<svg class=\"timeline\" role=\"group\" aria-label=\"{} moments from {} to {}\" viewBox=\"0 0 {} 46\"><line x1=\"10\" y1=\"20\" x2=\"{}\" y2=\"20\"/>",
        backups.len(),
        escaped(&oldest.created_at),
        escaped(&newest.created_at),
        WIDTH + 20.0,
        WIDTH + 10.0,
    );
    for backup in backups.iter().rev() {
        let x = 10.0 + WIDTH * (time(backup) - from) as f64 / all;
        let class = if backup.id == chosen { "moment chosen" } else { "moment" };
        let radius = if backup.kind == "full" { 8 } else { 6 };
        let what = escaped(&format!("{}, {}", backup.created_at, backup.kind));
        let _ = write!(
            svg,
            "<a href=\"{}\" aria-label=\"{what}\"><circle class=\"{class}\" cx=\"{x:.1}\" cy=\"20\" r=\"{radius}\"><title>{what}</title></circle></a>",
            escaped(&link(backup)),
        );
    }
    let _ = write!(
        svg,
        "<text x=\"0\" y=\"44\">{}</text><text class=\"end\" x=\"{}\" y=\"44\">{}</text>",
        escaped(&super::show::when(&oldest.created_at)),
        WIDTH + 20.0,
        escaped(&super::show::when(&newest.created_at)),
    );
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
    fn growth_is_drawn_from_two_moments_on() {
        assert_eq!((growth(&[]), growth(&[(5, 1)])), (String::new(), String::new()));
        let svg = growth(&[(0, 1 << 20), (60, 1 << 20), (120, 2 << 20)]);
        assert!(svg.contains("2.00 MiB") && svg.contains("1970-01-01 00:02"), "{svg}");
        assert!(growth(&[(0, 0), (1, 0)]).starts_with("<svg"));
    }

    #[test]
    fn a_map_has_a_field_for_each_part() {
        let fields = vec![0.0, 0.01, 0.05, 0.3, 1.0];
        let svg = heat(&Heat { pages: 50, per_field: 10, steps: 2, fields });
        assert_eq!(svg.matches("<rect").count(), 5);
        for shown in ["shade0", "shade1", "shade4", "pages 41 to 50: 100.0 %", "4 of 5 fields"] {
            assert!(svg.contains(shown), "{shown}: {svg}");
        }
    }

    #[test]
    fn a_calendar_has_a_year_of_days() {
        let today = NaiveDate::from_ymd_opt(2026, 11, 27).unwrap();
        let svg = calendar(std::iter::empty(), today);
        let days = svg.matches("<rect").count();
        assert!((365..=371).contains(&days), "{days}");
        assert!(svg.contains("2026-11-27: 0") && !svg.contains("2026-11-28"));
        let svg = calendar([today, today].into_iter(), today);
        assert!(svg.contains("2026-11-27: 2") && svg.contains("2 on 1 days"), "{svg}");
    }
}
