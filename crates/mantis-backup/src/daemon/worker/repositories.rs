//! Repositories that stay open for watches: each is opened once, however many databases are watched into it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mantis_repo::Repository;
use tokio::sync::OnceCell;

use super::place::Place;
use crate::Error;
use crate::jobs::SharedRules;

/// An open repository, and what sees to the rules of all that is watched into it.
type Open = (Repository, Arc<SharedRules>);

/// By their names: each with its configuration, and once it is open.
type All = BTreeMap<String, (Place, Arc<OnceCell<Open>>)>;

/// Repositories that are open, or are being opened.
#[derive(Debug, Default)]
pub(super) struct Repositories(Mutex<All>);

impl Repositories {
    fn all(&self) -> MutexGuard<'_, All> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A repository that is open, or is opened now; those who ask for it meanwhile wait for that.
    pub(super) async fn open(&self, place: &Place) -> Result<Open, Error> {
        let cell = {
            let mut all = self.all();
            match all.get(&place.name) {
                Some((of, cell)) if of == place => Arc::clone(cell),
                _ => {
                    let cell = Arc::default();
                    all.insert(place.name.clone(), (place.clone(), Arc::clone(&cell)));
                    cell
                }
            }
        };
        let open = cell.get_or_try_init(async || {
            let repo = place.open().await?;
            Ok::<_, Error>((repo.clone(), Arc::new(SharedRules::new(repo))))
        });
        open.await.cloned()
    }

    /// Has a repository opened anew by whoever asks next.
    pub(super) fn let_go_of(&self, place: &Place) {
        self.all().retain(|_, (of, cell)| of != place || !cell.initialized());
    }
}
