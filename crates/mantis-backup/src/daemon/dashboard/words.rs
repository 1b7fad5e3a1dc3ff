//! A cron expression in words. What has no plain words, as the last weekday of a month, gets none: the expression and its next runs are
//! shown beside.

/// One field: its single numbers, or every so many.
enum Field {
    Every,
    Step(u32),
    Of(Vec<(u32, u32)>),
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 8] =
    ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

/// A number, or the first three letters of one of these names, which count from `first`.
fn number(text: &str, names: &[&str], first: u32) -> Option<u32> {
    text.parse().ok().or_else(|| {
        let fits = |name: &&str| text.len() == 3 && name[..3].eq_ignore_ascii_case(text);
        Some(u32::try_from(names.iter().position(fits)?).ok()? + first)
    })
}

fn field(text: &str, names: &[&str], first: u32) -> Option<Field> {
    match text.split_once('/') {
        Some(("*", step)) => return step.parse().ok().map(Field::Step),
        Some(_) => return None,
        None if text == "*" => return Some(Field::Every),
        None => {}
    }
    let part = |part: &str| match part.split_once('-') {
        Some((from, to)) => Some((number(from, names, first)?, number(to, names, first)?)),
        None => number(part, names, first).map(|one| (one, one)),
    };
    text.split(',').map(part).collect::<Option<_>>().map(Field::Of)
}

/// Several things, as one says them.
fn list(mut parts: Vec<String>, last: &str) -> String {
    match parts.pop() {
        None => String::new(),
        Some(only) if parts.is_empty() => only,
        Some(end) => format!("{} {last} {end}", parts.join(", ")),
    }
}

fn spans(of: &[(u32, u32)], name: impl Fn(u32) -> String) -> String {
    let span = |(from, to): &(u32, u32)| match from == to {
        true => name(*from),
        false => format!("{} to {}", name(*from), name(*to)),
    };
    list(of.iter().map(span).collect(), "and")
}

/// All single, or none.
fn singles(of: &[(u32, u32)]) -> Option<Vec<u32>> {
    of.iter().map(|(from, to)| (from == to).then_some(*from)).collect()
}

fn every(step: u32, what: &str) -> String {
    if step == 1 { format!("every {what}") } else { format!("every {step} {what}s") }
}

fn time_of_day(minute: &Field, hour: &Field) -> String {
    let plain = |number: u32| number.to_string();
    match (minute, hour) {
        (Field::Every, Field::Every) => "every minute".into(),
        (Field::Step(step), Field::Every) => every(*step, "minute"),
        (Field::Of(minutes), Field::Every) if minutes[..] == [(0, 0)] => "every hour".into(),
        (Field::Of(minutes), Field::Every) => {
            format!("every hour, at minute {}", spans(minutes, plain))
        }
        (Field::Of(minutes), Field::Step(step)) => match minutes[..] {
            [(0, 0)] => every(*step, "hour"),
            _ => format!("{}, at minute {}", every(*step, "hour"), spans(minutes, plain)),
        },
        (Field::Of(minutes), Field::Of(hours)) => match (singles(minutes), singles(hours)) {
            (Some(minutes), Some(hours)) if minutes.len() * hours.len() <= 12 => {
                let times = hours
                    .iter()
                    .flat_map(|hour| minutes.iter().map(move |at| format!("{hour:02}:{at:02}")));
                format!("at {}", list(times.collect(), "and"))
            }
            _ => format!("at minute {} of hour {}", spans(minutes, plain), spans(hours, plain)),
        },
        (minute, hour) => {
            let minutes = match minute {
                Field::Step(step) => every(*step, "minute"),
                _ => "every minute".into(),
            };
            match hour {
                Field::Of(hours) => format!("{minutes} of hour {}", spans(hours, plain)),
                Field::Step(step) => format!("{minutes} of every {step}th hour"),
                Field::Every => minutes,
            }
        }
    }
}

fn on_days(day: &Field, weekday: &Field) -> Option<String> {
    let of_month = match day {
        Field::Every => None,
        Field::Step(step) => Some(format!("on every {step}th day of the month")),
        Field::Of(days) => {
            Some(format!("on day {} of the month", spans(days, |day| day.to_string())))
        }
    };
    let of_week = match weekday {
        Field::Every => None,
        Field::Step(_) => return None,
        Field::Of(days) => {
            let name = |day: u32| DAYS.get(day as usize).map_or(String::new(), |day| (*day).into());
            Some(format!("on {}", spans(days, name)))
        }
    };
    // crontab(5): where both are given, either is enough.
    Some(list(of_month.into_iter().chain(of_week).collect(), "or"))
}

/// The expression in words, where it has some.
pub(super) fn explain(cron: &str) -> Option<String> {
    let text = match cron.trim() {
        "@yearly" | "@annually" => "0 0 1 1 *",
        "@monthly" => "0 0 1 * *",
        "@weekly" => "0 0 * * 0",
        "@daily" | "@midnight" => "0 0 * * *",
        "@hourly" => "0 * * * *",
        other => other,
    };
    let fields: Vec<&str> = text.split_whitespace().collect();
    let [minute, hour, day, month, weekday] = fields[..] else { return None };
    let (minute, hour) = (field(minute, &[], 0)?, field(hour, &[], 0)?);
    let (day, weekday) = (field(day, &[], 1)?, field(weekday, &DAYS, 0)?);
    let days = on_days(&day, &weekday)?;
    let months = match field(month, &MONTHS, 1)? {
        Field::Every => String::new(),
        Field::Step(_) => return None,
        Field::Of(months) => {
            let name = |month: u32| {
                let name = MONTHS.get((month as usize).wrapping_sub(1));
                name.map_or(String::new(), |name| (*name).into())
            };
            format!("in {}", spans(&months, name))
        }
    };
    let parts = [time_of_day(&minute, &hour), days, months];
    Some(parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_people_say() {
        for (cron, words) in [
            ("* * * * *", "every minute"),
            ("*/15 * * * *", "every 15 minutes"),
            ("0 * * * *", "every hour"),
            ("@hourly", "every hour"),
            ("17 * * * *", "every hour, at minute 17"),
            ("0 */6 * * *", "every 6 hours"),
            ("30 2 * * *", "at 02:30"),
            ("0 2,14 * * *", "at 02:00 and 14:00"),
            ("0 3 * * 0", "at 03:00 on Sunday"),
            ("0 22 * * mon-fri", "at 22:00 on Monday to Friday"),
            ("0 0 1 1 *", "at 00:00 on day 1 of the month in January"),
            ("0 0 13 * 5", "at 00:00 on day 13 of the month or on Friday"),
            ("*/10 9-17 * * *", "every 10 minutes of hour 9 to 17"),
        ] {
            assert_eq!(explain(cron).as_deref(), Some(words), "{cron}");
        }
    }

    #[test]
    fn says_nothing_rather_than_something_wrong() {
        for cron in ["0 0 L * *", "0 0 * * 5#2", "0 0 15W * *", "5-20/5 * * * *", "", "1 2 3"] {
            assert_eq!(explain(cron), None, "{cron}");
        }
    }
}
