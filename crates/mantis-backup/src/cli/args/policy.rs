//! The arguments that make a retention policy.

use chrono_tz::Tz;
use clap::Args;
use mantis_retention::{Policy, Span, UNLIMITED};

use crate::parse_zone;

/// `7`, or `unlimited`.
fn count(text: &str) -> Result<u32, String> {
    if text.eq_ignore_ascii_case("unlimited") {
        return Ok(UNLIMITED);
    }
    let parsed = text.parse().ok().filter(|count| (1..UNLIMITED).contains(count));
    parsed.ok_or_else(|| "give a number of 1 or more, or unlimited".into())
}

#[derive(Debug, Args)]
#[command(
    next_help_heading = "Rules: a backup is kept if one of them keeps it; each source is looked at by itself"
)]
pub(crate) struct PolicyArgs {
    /// Keep the last N (all rules that count also take unlimited)
    #[arg(long, value_name = "N", value_parser = count)]
    pub(crate) keep_last: Option<u32>,
    /// Keep the last one of each minute, for the last N minutes that have one
    #[arg(long, value_name = "N", value_parser = count)]
    pub(crate) keep_minutely: Option<u32>,
    /// Likewise of each hour
    #[arg(long, value_name = "N", value_parser = count)]
    pub(crate) keep_hourly: Option<u32>,
    /// Likewise of each day
    #[arg(long, value_name = "N", value_parser = count)]
    pub(crate) keep_daily: Option<u32>,
    /// Likewise of each week, from Monday on
    #[arg(long, value_name = "N", value_parser = count)]
    pub(crate) keep_weekly: Option<u32>,
    /// Likewise of each month
    #[arg(long, value_name = "N", value_parser = count)]
    pub(crate) keep_monthly: Option<u32>,
    /// Likewise of each year
    #[arg(long, value_name = "N", value_parser = count)]
    pub(crate) keep_yearly: Option<u32>,
    /// Keep the oldest too, as long as one of the rules that count minutes to years has some left to keep
    #[arg(long)]
    pub(crate) keep_oldest: bool,
    /// Keep all that are less than this much older than the newest: 7d, 48h, 2y5mo7d3h
    #[arg(long, value_name = "SPAN")]
    pub(crate) keep_within: Option<Span>,
    /// Keep all with this tag: KEY=VALUE, or KEY with any value; may be repeated
    #[arg(long, value_name = "TAG")]
    pub(crate) keep_tag: Vec<String>,
    /// Cap: none that is older than this, whatever the rules say
    #[arg(long, value_name = "SPAN")]
    pub(crate) max_age: Option<Span>,
    /// Cap: no more than the newest N of each source, whatever the rules say
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) max_count: Option<u32>,
    /// Whose hours, days and weeks are meant: Europe/Berlin; the system's without it
    #[arg(long, value_name = "ZONE", value_parser = parse_zone)]
    pub(crate) tz: Option<Tz>,
}

impl PolicyArgs {
    /// The policy, without a cap on space.
    pub(crate) fn policy(&self) -> Policy {
        Policy {
            keep_last: self.keep_last,
            keep_minutely: self.keep_minutely,
            keep_hourly: self.keep_hourly,
            keep_daily: self.keep_daily,
            keep_weekly: self.keep_weekly,
            keep_monthly: self.keep_monthly,
            keep_yearly: self.keep_yearly,
            keep_oldest: self.keep_oldest,
            keep_within: self.keep_within,
            keep_tags: self.keep_tag.clone(),
            max_age: self.max_age,
            max_count: self.max_count,
            min_free: None,
        }
    }

    /// The zone whose calendar is meant.
    pub(crate) fn zone(&self) -> Tz {
        self.tz.unwrap_or_else(crate::local_zone)
    }
}
