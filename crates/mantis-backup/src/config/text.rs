//! Values that stand in the file as text: `"2h"`, `"10GiB"`, `"0 2 * * *"`.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;
use std::time::Duration;

use chrono_tz::Tz;
use mantis_retention::Span;
use mantis_schedule::CronSchedule;
use mantis_stream::Compression;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, Error, Visitor};

use crate::parse::{duration, grace, interval, log_len, share, size_or_none, size_rate};

/// What is read from a text.
pub trait FromText: Sized {
    /// What it is, for the schema.
    const NAME: &'static str;
    /// How it is written, for the schema.
    const EXAMPLES: &'static [&'static str];

    /// Reads it.
    ///
    /// # Errors
    /// How it is written.
    fn from_text(text: &str) -> Result<Self, String>;
}

/// A value that stands in the file as text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Text<T>(pub T);

impl<T> Deref for Text<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

struct Reader<T>(PhantomData<T>);

impl<T: FromText> Visitor<'_> for Reader<T> {
    type Value = Text<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} as text", T::NAME)?;
        T::EXAMPLES.first().map_or(Ok(()), |example| write!(f, ", such as {example:?}"))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Text<T>, E> {
        T::from_text(text).map(Text).map_err(E::custom)
    }
}

impl<'de, T: FromText> Deserialize<'de> for Text<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Reader(PhantomData))
    }
}

impl<T: FromText> JsonSchema for Text<T> {
    fn schema_name() -> Cow<'static, str> {
        T::NAME.into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "title": T::NAME, "examples": T::EXAMPLES })
    }
}

/// A number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ByteSize(pub u64);

/// A number of bytes that may be none at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpoolSize(pub u64);

/// A number of bytes that a log may grow to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogSize(pub u64);

/// The time from one look at a source to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interval(pub Duration);

/// A number of bytes per second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ByteRate(pub u64);

/// A share, from 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Share(pub f64);

/// A time that may be none at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wait(pub Duration);

impl FromText for ByteSize {
    const NAME: &'static str = "a size";
    const EXAMPLES: &'static [&'static str] = &["10GiB", "500MB"];

    fn from_text(text: &str) -> Result<Self, String> {
        match size_or_none(text) {
            Ok(size) if size > 0 => Ok(Self(size)),
            _ => Err("a size is written as 500MB or 10GiB".into()),
        }
    }
}

impl FromText for SpoolSize {
    const NAME: &'static str = "a size or 0";
    const EXAMPLES: &'static [&'static str] = &["1GiB", "0"];

    fn from_text(text: &str) -> Result<Self, String> {
        size_or_none(text).map(Self)
    }
}

impl FromText for LogSize {
    const NAME: &'static str = "a size of 1MiB or more";
    const EXAMPLES: &'static [&'static str] = &["16MiB"];

    fn from_text(text: &str) -> Result<Self, String> {
        log_len(text).map(Self)
    }
}

impl fmt::Display for Interval {
    /// As it stands in the file, in the largest unit that it is a whole number of.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0.as_millis();
        let units = [(3_600_000, "h"), (60_000, "m"), (1000, "s")];
        let whole = units.into_iter().find(|(unit, _)| millis.is_multiple_of(*unit));
        let (unit, name) = whole.unwrap_or((1, "ms"));
        write!(f, "{}{name}", millis / unit)
    }
}

impl FromText for Interval {
    const NAME: &'static str = "a time from 100ms to 24h";
    const EXAMPLES: &'static [&'static str] = &["5s", "1s", "1m"];

    fn from_text(text: &str) -> Result<Self, String> {
        interval(text).map(Self)
    }
}

impl FromText for ByteRate {
    const NAME: &'static str = "a rate";
    const EXAMPLES: &'static [&'static str] = &["50MB/s"];

    fn from_text(text: &str) -> Result<Self, String> {
        size_rate(text).map(Self)
    }
}

impl FromText for Share {
    const NAME: &'static str = "a share";
    const EXAMPLES: &'static [&'static str] = &["5%", "0.05"];

    fn from_text(text: &str) -> Result<Self, String> {
        share(text).map(Self)
    }
}

impl FromText for Wait {
    const NAME: &'static str = "a time, or 0s";
    const EXAMPLES: &'static [&'static str] = &["24h", "0s"];

    fn from_text(text: &str) -> Result<Self, String> {
        grace(text).map(Self)
    }
}

impl FromText for Duration {
    const NAME: &'static str = "a time";
    const EXAMPLES: &'static [&'static str] = &["90s", "10m", "2h", "1d"];

    fn from_text(text: &str) -> Result<Self, String> {
        duration(text)
    }
}

impl FromText for CronSchedule {
    const NAME: &'static str = "a cron expression";
    const EXAMPLES: &'static [&'static str] = &["0 2 * * *", "*/15 * * * *", "@daily"];

    fn from_text(text: &str) -> Result<Self, String> {
        text.parse().map_err(|error: mantis_schedule::InvalidCron| error.to_string())
    }
}

impl FromText for Tz {
    const NAME: &'static str = "a time zone";
    const EXAMPLES: &'static [&'static str] = &["Europe/Berlin", "UTC"];

    fn from_text(text: &str) -> Result<Self, String> {
        crate::parse_zone(text)
    }
}

impl FromText for Span {
    const NAME: &'static str = "a span of the calendar";
    const EXAMPLES: &'static [&'static str] = &["30d", "2y5mo7d3h"];

    fn from_text(text: &str) -> Result<Self, String> {
        text.parse().map_err(|error: <Span as std::str::FromStr>::Err| error.to_string())
    }
}

impl FromText for Compression {
    const NAME: &'static str = "a codec";
    const EXAMPLES: &'static [&'static str] = &["zstd:3", "lz4", "none", "gzip:6"];

    fn from_text(text: &str) -> Result<Self, String> {
        text.parse().map_err(|error: <Compression as std::str::FromStr>::Err| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_example_of_a_value_is_one() {
        fn all<T: FromText>() {
            for example in T::EXAMPLES {
                assert!(T::from_text(example).is_ok(), "{}: {example}", T::NAME);
            }
            assert!(T::from_text("nonsense!").is_err(), "{}", T::NAME);
        }
        all::<ByteSize>();
        all::<SpoolSize>();
        all::<LogSize>();
        all::<Interval>();
        all::<ByteRate>();
        all::<Share>();
        all::<Wait>();
        all::<Duration>();
        all::<CronSchedule>();
        all::<Tz>();
        all::<Span>();
        all::<Compression>();
    }

    #[test]
    fn an_interval_is_shown_as_it_is_written() {
        for text in ["5s", "90s", "2m", "24h", "250ms", "1500ms"] {
            assert_eq!(Interval::from_text(text).unwrap().to_string(), text);
        }
        assert!(Interval::from_text("10ms").is_err() && Interval::from_text("25h").is_err());
    }

    #[test]
    fn a_rate_is_no_size() {
        assert!(ByteSize::from_text("10MB/s").is_err());
    }
}
