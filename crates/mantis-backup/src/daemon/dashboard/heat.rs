//! Which pages of a database change how often.

use std::time::{Duration, Instant};

use askama::Template;
use axum::Router;
use axum::extract::{Extension, Query, State};
use axum::response::Response;
use axum::routing::get;
use mantis_page::PageRange;
use mantis_repo::BackupInfo;
use serde::Deserialize;

use super::visitor::Visitor;
use super::{Board, charts, gather, pages, work};
use crate::Error;
use crate::daemon::worker::Place;

/// Backups that are compared, each with the one before.
const STEPS: usize = 366;
/// How long that may take; what was compared until then is shown.
const PATIENCE: Duration = Duration::from_secs(15);
/// Fields of the map.
const FIELDS: u64 = 1024;

/// How often each part of a database changed.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Heat {
    /// Pages of the newest backup.
    pub(super) pages: u64,
    /// Pages in each field; the last may have fewer.
    pub(super) per_field: u64,
    /// Times that backups were compared.
    pub(super) steps: u64,
    /// The share of each field's pages that changed from one backup to the next, on average.
    pub(super) fields: Vec<f64>,
}

impl Heat {
    /// A map on which nothing has changed yet.
    fn of(pages: u64) -> Self {
        let per_field = pages.div_ceil(FIELDS).max(1);
        let fields = usize::try_from(pages.div_ceil(per_field)).unwrap_or(0);
        Self { pages, per_field, steps: 0, fields: vec![0.0; fields] }
    }

    /// The pages of a field, numbered from 1.
    pub(super) fn range(&self, field: usize) -> (u64, u64) {
        let first = (field as u64).saturating_mul(self.per_field);
        (first + 1, first.saturating_add(self.per_field).min(self.pages))
    }

    /// Adds what changed once. Counts pages, until [`Self::finish`].
    fn add(&mut self, changed: impl Iterator<Item = PageRange>) {
        self.steps += 1;
        for range in changed {
            let mut at = range.first().get() - 1;
            let end = range.last().get().min(self.pages);
            while at < end {
                let field = at / self.per_field;
                let next = (field + 1).saturating_mul(self.per_field).min(end);
                let place = usize::try_from(field).ok().and_then(|it| self.fields.get_mut(it));
                place.into_iter().for_each(|count| *count += (next - at) as f64);
                at = next;
            }
        }
    }

    /// Makes shares of counts.
    fn finish(mut self) -> Self {
        for field in 0..self.fields.len() {
            let (first, last) = self.range(field);
            let all = (last + 1).saturating_sub(first).saturating_mul(self.steps).max(1);
            if let Some(count) = self.fields.get_mut(field) {
                *count = (*count / all as f64).clamp(0.0, 1.0);
            }
        }
        self
    }
}

/// Compares backups, newest first, each with the one before it.
async fn compare(board: Board, name: String, backups: Vec<BackupInfo>) -> Result<Heat, Error> {
    let Some(newest) = backups.first() else { return Ok(Heat::default()) };
    let repo = board.repository(&Place::of(&board.config(), &name)?).await?;
    let mut heat = Heat::of(newest.meta.page_count);
    let until = Instant::now() + PATIENCE;
    for two in backups.windows(2).take(STEPS) {
        if Instant::now() > until {
            break;
        }
        if let [new, old] = two
            && new.meta.page_size == newest.meta.page_size
            && old.meta.page_size == newest.meta.page_size
        {
            let difference = repo.diff(old, new).await?;
            heat.add(difference.changed.ranges());
        }
    }
    Ok(heat.finish())
}

#[derive(Template)]
#[template(path = "heat.html")]
struct HeatPage {
    visitor: Visitor,
    asked: Asked,
    /// Repositories and sources that there are.
    choices: Vec<(String, String)>,
    problems: Vec<String>,
    heat: Option<Result<(Heat, String), String>>,
    /// Backups that there are to compare.
    backups: usize,
}

/// What the map is to be of.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Asked {
    repository: String,
    source: String,
}

async fn map(
    State(board): State<Board>,
    Extension(visitor): Extension<Visitor>,
    Query(asked): Query<Asked>,
) -> Response {
    let (all, problems) = gather::infos(&board).await;
    let mut choices: Vec<(String, String)> = all
        .iter()
        .map(|(repository, backup)| (repository.clone(), backup.meta.source.clone()))
        .collect();
    choices.sort();
    choices.dedup();
    let mut backups: Vec<BackupInfo> = all
        .into_iter()
        .filter(|(repository, backup)| {
            *repository == asked.repository && backup.meta.source == asked.source
        })
        .map(|(_, backup)| backup)
        .collect();
    backups.sort_by_key(|backup| std::cmp::Reverse(backup.meta.created_at));
    let count = backups.len();
    let mut heat = None;
    if count > 1 {
        let _turn = board.simulations.acquire().await;
        let (of_it, name) = (board.clone(), asked.repository.clone());
        let compared = work::on_a_thread(async move |_| compare(of_it, name, backups).await).await;
        heat = Some(compared);
    }
    let heat = heat.map(|heat| {
        heat.map(|heat| {
            let drawn = charts::heat(&heat);
            (heat, drawn)
        })
    });
    pages::page(Ok(HeatPage { visitor, asked, choices, problems, heat, backups: count }))
}

pub(super) fn routes() -> Router<Board> {
    Router::new().route("/pages", get(map))
}

#[cfg(test)]
mod tests {
    use mantis_page::PageNo;

    use super::*;

    fn range(first: u64, count: u64) -> PageRange {
        PageRange::new(PageNo::new(first).unwrap(), count).unwrap()
    }

    #[test]
    fn a_field_is_as_hot_as_its_pages() {
        let mut heat = Heat::of(10_000);
        assert_eq!((heat.per_field, heat.fields.len()), (10, 1000));
        heat.add([range(1, 10), range(6001, 25)].into_iter());
        heat.add([range(1, 5), range(9_999, 50)].into_iter());
        let heat = heat.finish();
        assert_eq!(heat.fields[0], 0.75);
        assert_eq!(heat.fields[600..604], [0.5, 0.5, 0.25, 0.0]);
        assert_eq!(heat.fields[999], 0.1);
        assert_eq!((heat.range(0), heat.range(999)), ((1, 10), (9_991, 10_000)));
    }

    #[test]
    fn small_databases_and_none_have_a_map_too() {
        assert_eq!(Heat::of(0).finish().fields, Vec::<f64>::new());
        let mut heat = Heat::of(3);
        heat.add([range(2, 1)].into_iter());
        assert_eq!(heat.finish().fields, [0.0, 1.0, 0.0]);
        let mut heat = Heat::of(1025);
        assert_eq!((heat.per_field, heat.fields.len()), (2, 513));
        heat.add([range(1025, 1)].into_iter());
        assert_eq!(heat.finish().fields[512], 1.0);
    }

    proptest::proptest! {
        #[test]
        fn no_share_is_more_than_all(pages in 1_u64..5000, ranges in proptest::collection::vec((1_u64..6000, 1_u64..6000), 0..8)) {
            let mut heat = Heat::of(pages);
            for (first, count) in ranges {
                heat.add(std::iter::once(range(first, count)));
            }
            let heat = heat.finish();
            proptest::prop_assert!(heat.fields.iter().all(|share| (0.0..=1.0).contains(share)));
            proptest::prop_assert_eq!(heat.range(heat.fields.len() - 1).1, pages);
        }
    }
}
