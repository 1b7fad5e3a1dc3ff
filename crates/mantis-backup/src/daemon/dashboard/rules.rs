//! Rules of retention as a form has them: text in fields, to and from the configuration's.

use std::fmt::Write;

use mantis_retention::{Policy, Span};
use serde::Deserialize;
use toml_edit::{Array, Value};

use crate::config::{RetentionConfig, is_name};

/// Rules as they stand in the fields, and which ones of the configuration they began as.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct Rules {
    pub(super) policy: String,
    /// Something where the fields count, and not the configuration.
    pub(super) own: String,
    keep_last: String,
    keep_minutely: String,
    keep_hourly: String,
    keep_daily: String,
    keep_weekly: String,
    keep_monthly: String,
    keep_yearly: String,
    pub(super) keep_oldest: String,
    pub(super) keep_within: String,
    pub(super) keep_tags: String,
    pub(super) max_age: String,
    max_count: String,
    pub(super) cron: String,
}

impl Rules {
    /// The fields, filled in with rules of the configuration.
    pub(super) fn of(name: &str, rules: &RetentionConfig, cron: String) -> Self {
        let number = |number: Option<u32>| number.map(|it| it.to_string()).unwrap_or_default();
        Self {
            policy: name.to_owned(),
            own: String::new(),
            keep_last: number(rules.keep_last),
            keep_minutely: number(rules.keep_minutely),
            keep_hourly: number(rules.keep_hourly),
            keep_daily: number(rules.keep_daily),
            keep_weekly: number(rules.keep_weekly),
            keep_monthly: number(rules.keep_monthly),
            keep_yearly: number(rules.keep_yearly),
            keep_oldest: if rules.keep_oldest { "yes".into() } else { String::new() },
            keep_within: rules.keep_within.map(|span| span.0.to_string()).unwrap_or_default(),
            keep_tags: rules.keep_tags.join(", "),
            max_age: rules.max_age.map(|span| span.0.to_string()).unwrap_or_default(),
            max_count: number(rules.max_count),
            cron,
        }
    }

    /// The fields that hold numbers, by the keys of the configuration, with what each is.
    pub(super) fn numbers(&self) -> [(&'static str, &'static str, &str); 8] {
        [
            ("keep_last", "The last", &self.keep_last),
            ("keep_minutely", "Minutes", &self.keep_minutely),
            ("keep_hourly", "Hours", &self.keep_hourly),
            ("keep_daily", "Days", &self.keep_daily),
            ("keep_weekly", "Weeks", &self.keep_weekly),
            ("keep_monthly", "Months", &self.keep_monthly),
            ("keep_yearly", "Years", &self.keep_yearly),
            ("max_count", "No more than", &self.max_count),
        ]
    }

    fn tags(&self) -> Vec<String> {
        let tags = self.keep_tags.split(',').map(str::trim);
        tags.filter(|tag| !tag.is_empty()).map(str::to_owned).collect()
    }

    /// The policy, and what is wrong with the fields.
    pub(super) fn policy(&self) -> (Policy, Vec<String>) {
        let mut faults = Vec::new();
        let mut numbers = [None; 8];
        for (place, (key, _, text)) in numbers.iter_mut().zip(self.numbers()) {
            match text.trim() {
                "" => {}
                text => match text.parse::<u32>() {
                    Ok(number @ 1..) => *place = Some(number),
                    _ => faults.push(format!("{key}: a count is a number from 1")),
                },
            }
        }
        let mut span = |key: &str, text: &str| match text.trim() {
            "" => None,
            text => match text.parse::<Span>() {
                Ok(span) => Some(span),
                Err(error) => {
                    faults.push(format!("{key}: {error}"));
                    None
                }
            },
        };
        let (keep_within, max_age) =
            (span("keep_within", &self.keep_within), span("max_age", &self.max_age));
        let [
            keep_last,
            keep_minutely,
            keep_hourly,
            keep_daily,
            keep_weekly,
            keep_monthly,
            keep_yearly,
            max_count,
        ] = numbers;
        let policy = Policy {
            keep_last,
            keep_minutely,
            keep_hourly,
            keep_daily,
            keep_weekly,
            keep_monthly,
            keep_yearly,
            keep_oldest: !self.keep_oldest.is_empty(),
            keep_within,
            keep_tags: self.tags(),
            max_age,
            max_count,
            min_free: None,
        };
        (policy, faults)
    }

    /// The keys of the configuration, each with its value, or none.
    pub(super) fn rules(&self) -> Vec<(&'static str, Option<Value>)> {
        let text = |text: &String| {
            let text = text.trim();
            (!text.is_empty()).then(|| Value::from(text))
        };
        let number =
            |text: &str| text.trim().parse::<u32>().ok().map(|it| Value::from(i64::from(it)));
        let mut rules: Vec<(&'static str, Option<Value>)> =
            self.numbers().iter().map(|(key, _, text)| (*key, number(text))).collect();
        rules.push(("keep_within", text(&self.keep_within)));
        rules.push(("max_age", text(&self.max_age)));
        rules.push(("keep_oldest", (!self.keep_oldest.is_empty()).then(|| Value::from(true))));
        let tags = self.tags();
        let tags = (!tags.is_empty()).then(|| Value::from(tags.iter().collect::<Array>()));
        rules.push(("keep_tags", tags));
        rules
    }

    /// The fields, by their names, as a form carries them on.
    pub(super) fn fields(&self) -> Vec<(&'static str, &str)> {
        let mut fields: Vec<(&'static str, &str)> =
            self.numbers().iter().map(|(key, _, text)| (*key, *text)).collect();
        fields.extend([
            ("own", "yes"),
            ("keep_within", self.keep_within.as_str()),
            ("max_age", &self.max_age),
            ("keep_oldest", &self.keep_oldest),
            ("keep_tags", &self.keep_tags),
            ("cron", &self.cron),
        ]);
        fields
    }

    /// The same for the configuration file.
    pub(super) fn as_toml(&self) -> String {
        let name = if is_name(&self.policy) { &self.policy } else { "NAME" };
        let mut toml = format!("[retention.{name}]\n");
        for (key, value) in self.rules() {
            if let Some(value) = value {
                let _ = writeln!(toml, "{key} = {value}");
            }
        }
        toml
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;

    const RULES: &str = "[retention.mine]\nkeep_last = 3\nkeep_daily = 14\nkeep_within = \"48h\"\nmax_age = \"7y\"\nkeep_oldest = true\nkeep_tags = [\"keep=\\\"forever\\\"\", \"x\"]\n";

    #[test]
    fn rules_come_through_the_fields_and_back_as_they_were() {
        let config = parse(RULES).unwrap();
        let rules = Rules::of("mine", &config.retention["mine"], String::new());
        assert_eq!(rules.policy(), (config.retention["mine"].policy(), Vec::new()));
        assert_eq!(parse(&rules.as_toml()).unwrap().retention, config.retention);
    }

    #[test]
    fn what_is_wrong_in_a_field_is_told_and_nothing_is_taken_for_it() {
        let rules = Rules {
            keep_last: "0".into(),
            keep_daily: "many".into(),
            keep_within: "soon".into(),
            keep_hourly: " 5 ".into(),
            ..Rules::default()
        };
        let (policy, faults) = rules.policy();
        assert_eq!(faults.len(), 3, "{faults:?}");
        assert_eq!(policy, Policy { keep_hourly: Some(5), ..Policy::default() });
        assert!(Rules::default().policy().0.is_empty());
    }
}
