//! crontab's language, told in saffron's.
//!
//! saffron numbers the days of a week from 1 for Sunday, knows neither `0` nor `@daily`, and gets ranges wrong that wrap
//! (`22-2` fires at 21 too). So fields are read here, as crontab(5) has them, and what is given to saffron are plain lists in
//! its numbers. Its own extras pass through, with crontab's numbers: `L`, `LW`, `15W`, `5L` (the last Friday), `1#2` (the
//! second Monday).

use crate::InvalidCron;

/// A field of an expression.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Field {
    pub(crate) name: &'static str,
    pub(crate) first: u32,
    pub(crate) last: u32,
    names: &'static [&'static str],
    /// Added to a name's place in `names` to give its number.
    names_from: u32,
}

const MONTHS: &[&str] =
    &["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];
const DAYS: &[&str] = &["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];

const fn field(name: &'static str, first: u32, last: u32) -> Field {
    Field { name, first, last, names: &[], names_from: 0 }
}

pub(crate) const MINUTE: Field = field("minute", 0, 59);
pub(crate) const HOUR: Field = field("hour", 0, 23);
pub(crate) const DAY: Field = field("day of month", 1, 31);
pub(crate) const MONTH: Field = Field { names: MONTHS, names_from: 1, ..field("month", 1, 12) };
/// 7 is Sunday, as 0 is.
pub(crate) const WEEKDAY: Field = Field { names: DAYS, ..field("day of week", 0, 7) };

/// What a field allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Allowed {
    /// The numbers, ascending.
    pub(crate) numbers: Vec<u32>,
    /// What only saffron can say, in its numbers; then there is no more to the field.
    pub(crate) extra: Option<String>,
    /// It has a `*`: by crontab(5), it does not restrict the days then, whatever its step.
    pub(crate) star: bool,
}

impl Allowed {
    /// The field in saffron's language.
    pub(crate) fn to_saffron(&self, field: Field) -> String {
        let whole = usize::try_from(field.last - field.first + 1 - u32::from(field == WEEKDAY));
        if let Some(extra) = &self.extra {
            return extra.clone();
        }
        if whole == Ok(self.numbers.len()) {
            return "*".into();
        }
        let shift = u32::from(field == WEEKDAY);
        let numbers: Vec<String> =
            self.numbers.iter().map(|number| (number + shift).to_string()).collect();
        numbers.join(",")
    }
}

fn number(field: Field, text: &str) -> Result<u32, InvalidCron> {
    let invalid = |why: String| InvalidCron::field(field.name, text, why);
    let name = text.to_ascii_uppercase();
    if let Some(place) = field.names.iter().position(|known| *known == name) {
        return Ok(u32::try_from(place).unwrap_or(0) + field.names_from);
    }
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(invalid("is no number of it".into()));
    }
    text.parse::<u32>()
        .ok()
        .filter(|number| (field.first..=field.last).contains(number))
        .ok_or_else(|| invalid(format!("is not from {} to {}", field.first, field.last)))
}

/// From one number to another by steps; over the end and on from the beginning where the second is smaller.
fn range(field: Field, from: u32, to: u32, step: u32) -> Vec<u32> {
    let step = usize::try_from(step).unwrap_or(usize::MAX);
    if from <= to {
        return (from..=to).step_by(step).collect();
    }
    // A week that wraps must not meet Sunday twice.
    let last = field.last - u32::from(field == WEEKDAY);
    (from..=last).chain(field.first..=to).step_by(step).collect()
}

fn item(field: Field, text: &str) -> Result<Vec<u32>, InvalidCron> {
    let (span, step) = match text.split_once('/') {
        None => (text, None),
        Some((span, step)) => {
            let step = Some(step).filter(|step| step.bytes().all(|byte| byte.is_ascii_digit()));
            let step = step.and_then(|step| step.parse().ok()).filter(|step: &u32| *step > 0);
            let wrong = || InvalidCron::field(field.name, text, "has no step of 1 or more".into());
            (span, Some(step.ok_or_else(wrong)?))
        }
    };
    let last = field.last - u32::from(field == WEEKDAY);
    Ok(match span.split_once('-') {
        _ if span == "*" => range(field, field.first, last, step.unwrap_or(1)),
        Some((from, to)) => {
            range(field, number(field, from)?, number(field, to)?, step.unwrap_or(1))
        }
        None => {
            let from = number(field, span)?;
            // 5/15 is 5-59/15.
            step.map_or_else(|| vec![from], |step| range(field, from, last.max(from), step))
        }
    })
}

/// What saffron alone can say: the last day, the weekday nearest to a day, the last and the n-th of a day of the week.
fn extra(field: Field, text: &str) -> Result<Option<String>, InvalidCron> {
    let upper = text.to_ascii_uppercase();
    if field == DAY {
        if upper == "L" || upper == "LW" {
            return Ok(Some(upper));
        }
        if let Some(back) = upper.strip_prefix("L-") {
            let days = back.strip_suffix('W').unwrap_or(back);
            let days: u32 =
                days.parse().ok().filter(|days| (1..=30).contains(days)).ok_or_else(|| {
                    InvalidCron::field(field.name, text, "counts no days before the last".into())
                })?;
            let weekday = if back.ends_with('W') { "W" } else { "" };
            return Ok(Some(format!("L-{days}{weekday}")));
        }
        if let Some(day) = upper.strip_suffix('W') {
            return Ok(Some(format!("{}W", number(field, day)?)));
        }
    }
    if field == WEEKDAY {
        if let Some(day) = upper.strip_suffix('L').filter(|day| !day.is_empty()) {
            return Ok(Some(format!("{}L", number(field, day)? % 7 + 1)));
        }
        if let Some((day, nth)) = upper.split_once('#') {
            let nth = nth.parse().ok().filter(|nth: &u32| (1..=5).contains(nth));
            let wrong = || InvalidCron::field(field.name, text, "has no #1 to #5".into());
            return Ok(Some(format!("{}#{}", number(field, day)? % 7 + 1, nth.ok_or_else(wrong)?)));
        }
    }
    Ok(None)
}

/// Reads a field.
pub(crate) fn parse(field: Field, text: &str) -> Result<Allowed, InvalidCron> {
    if let Some(extra) = extra(field, text)? {
        return Ok(Allowed { numbers: Vec::new(), extra: Some(extra), star: false });
    }
    let mut numbers = Vec::new();
    for item_text in text.split(',') {
        if extra(field, item_text)?.is_some() {
            let why = "cannot be part of a list: make it a schedule of its own".into();
            return Err(InvalidCron::field(field.name, item_text, why));
        }
        numbers.extend(item(field, item_text)?);
    }
    if field == WEEKDAY {
        numbers.iter_mut().for_each(|day| *day %= 7);
    }
    numbers.sort_unstable();
    numbers.dedup();
    Ok(Allowed { numbers, extra: None, star: text.contains('*') })
}

/// `@daily` and its like, in five fields.
pub(crate) fn nickname(text: &str) -> Option<&'static str> {
    Some(match text.to_ascii_lowercase().as_str() {
        "@yearly" | "@annually" => "0 0 1 1 *",
        "@monthly" => "0 0 1 * *",
        "@weekly" => "0 0 * * 0",
        "@daily" | "@midnight" => "0 0 * * *",
        "@hourly" => "0 * * * *",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(field: Field, text: &str) -> String {
        parse(field, text).unwrap().to_saffron(field)
    }

    #[test]
    fn lists_ranges_steps_names_and_wraps_become_lists() {
        assert_eq!(told(HOUR, "22-2"), "0,1,2,22,23");
        assert_eq!(told(HOUR, "22-6/4"), "2,6,22");
        assert_eq!(told(MINUTE, "5/20"), "5,25,45");
        assert_eq!(told(MINUTE, "*/20,7"), "0,7,20,40");
        assert_eq!(told(MONTH, "nov-Feb"), "1,2,11,12");
        assert_eq!(told(WEEKDAY, "0"), "1");
        assert_eq!(told(WEEKDAY, "7"), "1");
        assert_eq!(told(WEEKDAY, "FRI-MON"), "1,2,6,7");
        assert_eq!(told(WEEKDAY, "5-7"), "1,6,7");
        assert_eq!(told(WEEKDAY, "0-7"), "*");
        assert_eq!(told(WEEKDAY, "*/2"), "1,3,5,7");
        assert_eq!(told(WEEKDAY, "5L"), "6L");
        assert_eq!(told(WEEKDAY, "0#3"), "1#3");
        assert_eq!(told(DAY, "1-31"), "*");
        assert_eq!(
            (told(DAY, "lw"), told(DAY, "15W"), told(DAY, "L-3")),
            ("LW".into(), "15W".into(), "L-3".into())
        );
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (field, text) in [
            (MINUTE, "60"),
            (MINUTE, ""),
            (MINUTE, "1,,2"),
            (MINUTE, "*/0"),
            (MINUTE, "*/-5"),
            (MINUTE, "+5"),
            (MINUTE, "JAN"),
            (HOUR, "24"),
            (HOUR, "1-"),
            (DAY, "0"),
            (DAY, "32W"),
            (DAY, "1,L"),
            (MONTH, "13"),
            (WEEKDAY, "8"),
            (WEEKDAY, "1#6"),
            (WEEKDAY, "L"),
        ] {
            let error = parse(field, text).unwrap_err().to_string();
            assert!(error.contains(field.name), "{error}");
        }
    }
}
