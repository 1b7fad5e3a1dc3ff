//! Which backups are asked for.

use mantis_repo::BackupInfo;

use super::moments::{Edge, optional};

/// What backups are asked for.
#[derive(Debug, Clone, Default, serde::Deserialize, utoipa::IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
pub(super) struct Filter {
    /// Of this repository.
    pub(super) repository: String,
    /// Of this source.
    pub(super) source: String,
    /// With this tag: KEY=VALUE, or KEY with any value.
    pub(super) tag: String,
    /// Taken at or after this moment, UTC: 2026-11-27, 2026-11-27 14:00.
    pub(super) from: String,
    /// Taken at or before this moment, UTC; a day is all of it.
    pub(super) to: String,
}

impl Filter {
    /// Between which moments, in Unix milliseconds.
    pub(super) fn bounds(&self) -> Result<(i64, i64), String> {
        let millis = |moment: chrono::NaiveDateTime| moment.and_utc().timestamp_millis();
        let from = optional(&self.from, Edge::Start)?.map_or(i64::MIN, millis);
        let to = optional(&self.to, Edge::End)?.map_or(i64::MAX, millis);
        Ok((from, to))
    }

    pub(super) fn fits(&self, backup: &BackupInfo) -> bool {
        let of_source = self.source.is_empty() || self.source == backup.meta.source;
        let tagged = match self.tag.split_once('=') {
            Some((key, value)) => backup.meta.tags.get(key).is_some_and(|found| found == value),
            None => self.tag.is_empty() || backup.meta.tags.contains_key(&self.tag),
        };
        of_source && tagged
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_all_of_it_and_what_is_no_moment_is_told() {
        let bounds = |from: &str, to: &str| {
            Filter { from: from.into(), to: to.into(), ..Filter::default() }.bounds()
        };
        assert_eq!(bounds("", ""), Ok((i64::MIN, i64::MAX)));
        assert_eq!(bounds("1970-01-01", "1970-01-01"), Ok((0, 86_399_999)));
        assert_eq!(bounds("1970-01-01 00:01", ""), Ok((60_000, i64::MAX)));
        assert!(bounds("soon", "").is_err() && bounds("", "soon").is_err());
    }
}
