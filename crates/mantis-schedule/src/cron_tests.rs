//! Expressions against a naive matcher that looks at every minute, and against another library.

use chrono::{
    DateTime, Datelike, Months, NaiveDate, NaiveDateTime, TimeDelta, TimeZone, Timelike, Utc,
    Weekday,
};
use chrono_tz::{Europe::Berlin, Tz};
use proptest::prelude::*;

use super::CronSchedule;

fn at(text: &str) -> DateTime<Utc> {
    DateTime::parse_from_rfc3339(text).unwrap().to_utc()
}

fn next(text: &str, from: &str, zone: Tz, count: usize) -> Vec<String> {
    let cron: CronSchedule = text.parse().unwrap();
    cron.after(at(from), zone)
        .take(count)
        .map(|time| time.with_timezone(&zone).to_rfc3339())
        .collect()
}

/// Numbers of one field, written in one of many ways, with the numbers that it means.
fn any_field(first: u32, last: u32) -> impl Strategy<Value = (String, Vec<u32>, bool)> {
    let star = Just(("*".to_owned(), (first..=last).collect(), true));
    let steps = (1u32..30).prop_map(move |step| {
        (format!("*/{step}"), (first..=last).step_by(step as usize).collect(), true)
    });
    let list = prop::collection::vec(first..=last, 1..4).prop_map(|numbers| {
        let text: Vec<String> = numbers.iter().map(u32::to_string).collect();
        (text.join(","), numbers, false)
    });
    let span = (first..=last, first..=last, 1u32..5).prop_map(move |(from, to, step)| {
        let all: Vec<u32> = if from <= to {
            (from..=to).collect()
        } else {
            (from..=last).chain(first..=to).collect()
        };
        let some = all.into_iter().step_by(step as usize).collect();
        (format!("{from}-{to}/{step}"), some, false)
    });
    prop_oneof![3 => star, 1 => steps, 2 => list, 2 => span]
}

#[derive(Debug, Clone)]
struct Naive {
    text: String,
    fields: [Vec<u32>; 5],
    both: bool,
}

impl Naive {
    fn fits(&self, time: NaiveDateTime) -> bool {
        let [minute, hour, day, month, weekday] = &self.fields;
        let of_month = day.contains(&time.day());
        let of_week = weekday.contains(&time.weekday().num_days_from_sunday());
        let days = if self.both { of_month && of_week } else { of_month || of_week };
        minute.contains(&time.minute())
            && hour.contains(&time.hour())
            && month.contains(&time.month())
            && days
    }
}

fn any_expression() -> impl Strategy<Value = Naive> {
    (any_field(0, 59), any_field(0, 23), any_field(1, 31), any_field(1, 12), any_field(0, 6))
        .prop_map(|(minute, hour, day, month, weekday)| Naive {
            text: [&minute.0, &hour.0, &day.0, &month.0, &weekday.0].map(String::as_str).join(" "),
            both: day.2 || weekday.2,
            fields: [minute.1, hour.1, day.1, month.1, weekday.1],
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn every_minute_that_fits_and_no_other(naive in any_expression(), start in 0i64..1_900_000_000) {
        let Ok(cron) = naive.text.parse::<CronSchedule>() else {
            // Only dates that no year has are refused: see below for which they are.
            let [_, _, day, month, _] = &naive.fields;
            let has = |month: u32| day.iter().any(|day| *day <= [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31][month as usize - 1]);
            prop_assert!(!month.iter().any(|month| has(*month)), "{}", naive.text);
            return Ok(());
        };
        let start = DateTime::from_timestamp(start, 0).unwrap();
        let end = start + TimeDelta::days(3);
        let mut minute = start.naive_utc().with_second(0).unwrap() + TimeDelta::minutes(1);
        let mut wanted = Vec::new();
        while minute.and_utc() <= end {
            if naive.fits(minute) { wanted.push(minute.and_utc()); }
            minute += TimeDelta::minutes(1);
        }
        let found: Vec<_> = cron.after(start, Tz::UTC).take_while(|time| *time <= end).collect();
        prop_assert_eq!(found, wanted, "{}", &naive.text);
    }

    #[test]
    fn a_zone_shows_each_fitting_time_of_day_once_and_each_fitting_hour(
        naive in any_expression(), zone in prop_oneof![Just(Berlin), Just(Tz::Australia__Lord_Howe), Just(Tz::America__Sao_Paulo), Just(Tz::Africa__Casablanca)],
        day in 0i64..9000,
    ) {
        let Ok(cron) = naive.text.parse::<CronSchedule>() else { return Ok(()) };
        let start = DateTime::from_timestamp(day * 86_400 + 600_000_000, 0).unwrap();
        let end = start + TimeDelta::days(4);
        let mut wanted = std::collections::BTreeSet::new();
        if naive.text.split(' ').nth(1).is_some_and(|hour| hour.contains('*')) {
            let mut minute = start + TimeDelta::minutes(1);
            while minute <= end {
                if naive.fits(minute.with_timezone(&zone).naive_local()) { wanted.insert(minute); }
                minute += TimeDelta::minutes(1);
            }
        } else {
            let mut local = (start - TimeDelta::days(2)).with_timezone(&zone).naive_local();
            while local <= end.naive_utc() + TimeDelta::days(2) {
                if naive.fits(local) {
                    let moment = (0..200).find_map(|minutes| zone.from_local_datetime(&(local + TimeDelta::minutes(minutes))).earliest());
                    let moment = moment.unwrap().to_utc();
                    if moment > start && moment <= end { wanted.insert(moment); }
                }
                local += TimeDelta::minutes(1);
            }
        }
        let found: Vec<_> = cron.after(start, zone).take_while(|time| *time <= end).collect();
        prop_assert_eq!(found, wanted.into_iter().collect::<Vec<_>>(), "{} in {}", naive.text, zone);
    }

    #[test]
    fn no_time_panics(naive in any_expression(), back in prop_oneof![0i64..100_000, 0i64..90_000_000_000], early in any::<bool>(), zone in prop_oneof![Just(Berlin), Just(Tz::America__New_York), Just(Tz::Pacific__Apia)]) {
        let Ok(cron) = naive.text.parse::<CronSchedule>() else { return Ok(()) };
        let back = TimeDelta::seconds(back);
        let time = if early { DateTime::<Utc>::MIN_UTC + back } else { DateTime::<Utc>::MAX_UTC - back };
        for next in cron.after(time, zone).take(5) {
            prop_assert!(next > time);
        }
    }

    #[test]
    fn no_text_panics(text in "[-0-9*/,LW#@a-z ]{0,24}|.{0,12}") {
        if let Ok(cron) = text.parse::<CronSchedule>() {
            prop_assert!(cron.next_after(at("2026-01-01T00:00:00Z"), Berlin).is_some());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn croner_agrees(naive in any_expression(), start in 0i64..1_900_000_000) {
        // It takes days and days of the week with a step for restricted ones, and does not wrap.
        let days: Vec<&str> = naive.text.split(' ').collect();
        let stepped = |one: &str, other: &str| one.starts_with("*/") && other != "*";
        prop_assume!(!stepped(days[2], days[4]));
        prop_assume!(!stepped(days[4], days[2]));
        let Ok(cron) = naive.text.parse::<CronSchedule>() else { return Ok(()) };
        let Ok(other) = naive.text.parse::<croner::Cron>() else { return Ok(()) };
        let start = DateTime::from_timestamp(start, 0).unwrap();
        let mut time = start;
        for mine in cron.after(start, Tz::UTC).take(20) {
            let Ok(theirs) = other.find_next_occurrence(&time, false) else { break };
            prop_assert_eq!(mine, theirs, "{}", &naive.text);
            time = theirs;
        }
    }
}

#[test]
fn clocks_that_change() {
    // Berlin goes from 02:00 to 03:00 on 29 March 2026, and from 03:00 back to 02:00 on 25 October.
    let gap = "2026-03-28T20:00:00Z";
    assert_eq!(
        next("30 2 * * *", gap, Berlin, 2),
        ["2026-03-29T03:00:00+02:00", "2026-03-30T02:30:00+02:00"]
    );
    assert_eq!(
        next("0,30 2,3 * * *", gap, Berlin, 3)[..2],
        ["2026-03-29T03:00:00+02:00", "2026-03-29T03:30:00+02:00"]
    );
    assert_eq!(
        next("30 * * * *", "2026-03-29T00:00:00Z", Berlin, 2),
        ["2026-03-29T01:30:00+01:00", "2026-03-29T03:30:00+02:00"]
    );
    let twice = "2026-10-24T23:00:00Z";
    assert_eq!(
        next("30 2 * * *", twice, Berlin, 2),
        ["2026-10-25T02:30:00+02:00", "2026-10-26T02:30:00+01:00"]
    );
    assert_eq!(
        next("30 * * * *", twice, Berlin, 4),
        [
            "2026-10-25T01:30:00+02:00",
            "2026-10-25T02:30:00+02:00",
            "2026-10-25T02:30:00+01:00",
            "2026-10-25T03:30:00+01:00"
        ]
    );
    // Samoa had no 30 December 2011.
    assert_eq!(
        next("0 12 * * *", "2011-12-29T23:00:00Z", Tz::Pacific__Apia, 2),
        ["2011-12-31T00:00:00+14:00", "2011-12-31T12:00:00+14:00"]
    );
}

#[test]
fn the_rare_and_the_impossible() {
    let from = "2025-01-01T00:00:00Z";
    assert_eq!(
        next("0 0 29 2 *", from, Tz::UTC, 2),
        ["2028-02-29T00:00:00+00:00", "2032-02-29T00:00:00+00:00"]
    );
    assert_eq!(
        next("0 0 */28 2 1", from, Tz::UTC, 1),
        ["2028-02-01T00:00:00+00:00".replace("2028-02-01", "2027-02-01")]
    );
    assert_eq!(
        next("0 0 L * *", from, Tz::UTC, 2),
        ["2025-01-31T00:00:00+00:00", "2025-02-28T00:00:00+00:00"]
    );
    assert_eq!(next("0 0 * * 5L", from, Tz::UTC, 1), ["2025-01-31T00:00:00+00:00"]);
    assert_eq!(next("0 0 * * 1#2", from, Tz::UTC, 1), ["2025-01-13T00:00:00+00:00"]);
    assert_eq!(next("0 0 LW * *", from, Tz::UTC, 5)[4], "2025-05-30T00:00:00+00:00");
    assert_eq!(next("@weekly", from, Tz::UTC, 1), ["2025-01-05T00:00:00+00:00"]);
    assert_eq!(
        next("0 0 1,15 * FRI", from, Tz::UTC, 3)[..2],
        ["2025-01-03T00:00:00+00:00", "2025-01-10T00:00:00+00:00"]
    );
    for never in ["0 0 30 2 *", "0 0 31 4,6,9,11 *", "0 0 31 2 */1"] {
        let error = never.parse::<CronSchedule>().unwrap_err().to_string();
        assert!(error.contains("never comes true"), "{error}");
    }
    for wrong in ["", "* * * *", "* * * * * *", "@reboot", "a b c d e", "0 0 0 * *"] {
        assert!(wrong.parse::<CronSchedule>().is_err(), "{wrong}");
    }
}

/// Days of twelve years that fit, by saffron's extras said plainly.
#[test]
fn the_extras_are_what_they_say() {
    let first = at("2020-01-01T00:00:00Z").date_naive();
    let days: Vec<NaiveDate> = first.iter_days().take(12 * 365).collect();
    let last_of = |day: NaiveDate| {
        day + Months::new(1) - TimeDelta::days(i64::from((day + Months::new(1)).day()))
    };
    let check = |text: String, fits: &dyn Fn(NaiveDate) -> bool| {
        let wanted: Vec<NaiveDate> = days.iter().copied().filter(|day| fits(*day)).collect();
        let Ok(cron) = text.parse::<CronSchedule>() else {
            assert!(wanted.is_empty(), "{text} is refused, but comes true");
            return;
        };
        let start = at("2019-12-31T23:59:59Z");
        let found = cron.after(start, Tz::UTC).map(|time| time.date_naive());
        let found: Vec<NaiveDate> = found.take_while(|day| *day <= *days.last().unwrap()).collect();
        let wrong = found.iter().zip(&wanted).find(|(found, wanted)| found != wanted);
        assert!(found == wanted, "{text}: {wrong:?}, {} for {}", found.len(), wanted.len());
    };
    // The weekday nearest to a day, in the same month.
    let nearest = |day: NaiveDate| match day.weekday() {
        Weekday::Sat if day.day() == 1 => day + TimeDelta::days(2),
        Weekday::Sat => day - TimeDelta::days(1),
        Weekday::Sun if last_of(day) == day => day - TimeDelta::days(2),
        Weekday::Sun => day + TimeDelta::days(1),
        _ => day,
    };
    for number in 1..=31 {
        check(format!("0 0 {number}W * *"), &|day| {
            day.with_day(number).is_some_and(|meant| nearest(meant) == day)
        });
    }
    check("0 0 L * *".into(), &|day| last_of(day) == day);
    check("0 0 LW * *".into(), &|day| nearest(last_of(day)) == day);
    for back in 1..=30 {
        let meant = move |day| {
            let meant = last_of(day) - TimeDelta::days(back);
            (meant.month() == day.month()).then_some(meant)
        };
        check(format!("0 0 L-{back} * *"), &|day| meant(day) == Some(day));
        check(format!("0 0 L-{back}W * *"), &|day| {
            meant(day).is_some_and(|meant| nearest(meant) == day)
        });
    }
    for weekday in 0..=7u32 {
        let is = move |day: NaiveDate| day.weekday().num_days_from_sunday() == weekday % 7;
        check(format!("0 0 * * {weekday}L"), &|day| is(day) && last_of(day).day() - day.day() < 7);
        for nth in 1..=5 {
            check(format!("0 0 * * {weekday}#{nth}"), &|day| {
                is(day) && (day.day() - 1) / 7 + 1 == nth
            });
        }
    }
}
