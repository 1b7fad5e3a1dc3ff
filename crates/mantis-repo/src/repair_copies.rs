//! Damaged copies made anew: of the parameters and of each keyring there are two.

use bytes::Bytes;
use mantis_sink::{ObjectKey, Span};

use crate::session::put_own;
use crate::{Place, RepairOptions, RepairReport, RepoError, Repository};

/// The largest copied object that is read, in bytes.
const MAX_COPIED_LEN: u64 = 64 << 10;

impl Repository {
    /// Makes damaged copies anew.
    pub(crate) async fn repair_copies(
        &self,
        options: &RepairOptions,
        report: &mut RepairReport,
    ) -> Result<(), RepoError> {
        let mut pairs = vec![(Place::Params, Place::ParamsCopy)];
        for object in self.sink().list(Place::KEYS).await? {
            let name = object.key.as_str();
            let name = name.strip_suffix(".copy").unwrap_or(name);
            let number = ObjectKey::new(name).ok().and_then(|key| Place::keyring_of(&key));
            pairs.extend(number.map(|number| (Place::Keyring(number), Place::KeyringCopy(number))));
        }
        pairs.dedup();
        for (first, second) in pairs {
            let (a, b) = (self.read_copied(first).await?, self.read_copied(second).await?);
            let (good, bad) = match (a, b) {
                (Some(good), None) => (good, second),
                (None, Some(good)) => (good, first),
                _ => continue,
            };
            let key = bad.key().map_err(|error| RepoError::damaged("a copy", error))?;
            report.copies.push(key.to_string());
            if !options.dry_run {
                // The other copy serves in between.
                self.sink().delete(&key).await?;
                put_own(self.sink(), bad, good.into()).await?;
            }
        }
        Ok(())
    }

    /// An object of which there are two, if it is whole: its own checksum tells.
    async fn read_copied(&self, place: Place) -> Result<Option<Bytes>, RepoError> {
        use crate::envelope::{Kind, open_plain};
        let kind = match place {
            #[cfg(feature = "encryption")]
            Place::Keyring(_) | Place::KeyringCopy(_) => Kind::Keyring,
            _ => Kind::Params,
        };
        let key = place.key().map_err(|error| RepoError::damaged("a copy", error))?;
        let bytes = match self.sink().get(&key, Span::Whole { limit: MAX_COPIED_LEN }).await {
            Ok(bytes) => bytes,
            Err(error) => {
                let error = RepoError::from(error);
                return if error.is_damage() { Ok(None) } else { Err(error) };
            }
        };
        Ok(open_plain(key.as_str(), &bytes, kind, Some(self.id())).is_ok().then_some(bytes))
    }
}
