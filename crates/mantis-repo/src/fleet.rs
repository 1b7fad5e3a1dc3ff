//! Members of a fleet: daemons that share a set of databases, and tell one another of themselves through the store alone.
//!
//! A member has a folder of its own, `fleet/<member>`. It puts numbered **beats** there, `fleet/<member>/<number>`, each before it takes
//! the one before away, so that a list shows one at least; and the names of the databases that it has, `fleet/<member>/<hash>`, once for each
//! set of them. A crash between the two leaves an object more, which goes with the member's next beat, or with its folder.
//!
//! Nothing here decides who protects what: that is worked out by each member from the beats of all. Nothing of it is part of a backup:
//! collectors, verifies and copies pass it over.

use std::collections::{BTreeMap, BTreeSet};

use mantis_sink::{ObjectKey, Span};
use mantis_stream::Compression;
use serde::{Deserialize, Serialize};

use crate::envelope::{self, Kind};
use crate::session::put_own;
use crate::{MemberId, ObjectHash, Place, RepoError, Repository, UnixMillis};

/// The longest beat, and the longest list of names, in bytes.
const MAX_LEN: u64 = 64 << 20;

/// What a member tells of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Beat {
    /// The machine that it runs on.
    pub host: String,
    /// When it was put, by its own clock: for people.
    pub at: UnixMillis,
    /// How long it holds what it protects without another beat, in milliseconds.
    pub lease_ms: u64,
    /// Which list of names is that of the databases that it has.
    pub names: ObjectHash,
    /// How many those are.
    pub databases: u64,
    /// How many of them it protects.
    pub protected: u64,
    /// The members that it knows to be alive, each with the number of the beat by which it has given way to it.
    pub view: BTreeMap<MemberId, u64>,
}

/// A list of names.
#[derive(Debug, Serialize, Deserialize)]
struct Names {
    names: BTreeSet<String>,
}

/// The hash by which a list of names is known.
#[must_use]
pub fn hash_of_names<'a>(names: impl IntoIterator<Item = &'a str>) -> ObjectHash {
    // No name has a zero byte in it.
    ObjectHash::of(names.into_iter().flat_map(|name| [name.as_bytes(), &[0]]))
}

fn of_member(key: &ObjectKey) -> Option<(MemberId, &str)> {
    let (member, own) = key.as_str().strip_prefix("fleet/")?.split_once('/')?;
    Some((member.parse().ok()?, own))
}

impl Repository {
    /// Whether members can be told of: where objects are locked as they are created, none of their beats could be taken away.
    #[must_use]
    pub fn can_have_a_fleet(&self) -> bool {
        !self.sink().locks()
    }

    /// The members that have told of themselves, each with the number of its newest beat.
    ///
    /// # Errors
    /// What keeps the store from telling.
    pub async fn fleet(&self) -> Result<BTreeMap<MemberId, u64>, RepoError> {
        let mut newest = BTreeMap::new();
        for object in self.sink().list(Place::FLEET).await? {
            let Some((member, own)) = of_member(&object.key) else { continue };
            // Twenty digits: names are sixty-four.
            let Some(number) = own.parse::<u64>().ok().filter(|_| own.len() == 20) else {
                continue;
            };
            let known = newest.entry(member).or_insert(number);
            *known = number.max(*known);
        }
        Ok(newest)
    }

    /// A beat of a member; none where it is gone.
    ///
    /// # Errors
    /// What keeps it from being read, and a damaged one.
    pub async fn fleet_beat(
        &self,
        member: MemberId,
        number: u64,
    ) -> Result<Option<Beat>, RepoError> {
        self.fleet_object(Place::Beat(member, number), Kind::Beat).await
    }

    /// The names of a member's databases; none where the list is gone.
    ///
    /// # Errors
    /// What keeps it from being read, and a damaged one.
    pub async fn fleet_names(
        &self,
        member: MemberId,
        names: ObjectHash,
    ) -> Result<Option<BTreeSet<String>>, RepoError> {
        let read: Option<Names> =
            self.fleet_object(Place::Names(member, names), Kind::Names).await?;
        let Some(Names { names: read }) = read else { return Ok(None) };
        if hash_of_names(read.iter().map(String::as_str)) != names {
            return Err(RepoError::damaged(
                format!("fleet/{member}/{names}"),
                "its names are others",
            ));
        }
        Ok(Some(read))
    }

    async fn fleet_object<T: for<'de> Deserialize<'de>>(
        &self,
        place: Place,
        kind: Kind,
    ) -> Result<Option<T>, RepoError> {
        let key =
            place.key().map_err(|error| RepoError::damaged("a member of the fleet", error))?;
        let bytes = match self.sink().get(&key, Span::Whole { limit: MAX_LEN }).await {
            Err(error) if error.is_not_found() => return Ok(None),
            bytes => bytes?,
        };
        let json = envelope::open(key.as_str(), &bytes, kind, self.vault())?;
        serde_json::from_slice(&json).map(Some).map_err(|error| RepoError::damaged(&key, error))
    }

    /// Tells of a member: the names of its databases first, where they are not there yet, then its beat, which takes effect with that; then
    /// what both stand in the place of goes. `salts`: 32 fresh random bytes for each of two objects.
    ///
    /// # Errors
    /// What keeps the store from it. The beat may be there then, or not.
    pub async fn put_beat(
        &self,
        member: MemberId,
        number: u64,
        beat: &Beat,
        names: &BTreeSet<String>,
        salts: [[u8; 32]; 2],
    ) -> Result<(), RepoError> {
        let [of_names, of_beat] = salts;
        let folder = format!("{}/{member}", Place::FLEET);
        let key_of =
            |place: Place| place.key().map_err(|error| RepoError::damaged("a member", error));
        let (names_key, beat_key) =
            (key_of(Place::Names(member, beat.names))?, key_of(Place::Beat(member, number))?);
        let there = self.sink().list(&folder).await?;
        if !there.iter().any(|object| object.key == names_key) {
            let names = Names { names: names.clone() };
            self.put_fleet(Place::Names(member, beat.names), Kind::Names, &names, of_names).await?;
        }
        self.put_fleet(Place::Beat(member, number), Kind::Beat, beat, of_beat).await?;
        let old = there.into_iter().map(|object| object.key);
        let old: Vec<ObjectKey> = old.filter(|key| *key != names_key && *key != beat_key).collect();
        Ok(self.sink().delete_many(&old).await?)
    }

    async fn put_fleet(
        &self,
        place: Place,
        kind: Kind,
        value: &impl Serialize,
        salt: [u8; 32],
    ) -> Result<(), RepoError> {
        let json = serde_json::to_vec(value)
            .map_err(|error| RepoError::damaged("a member of the fleet", error))?;
        let envelope = self.vault().envelope(kind, salt)?;
        put_own(self.sink(), place, envelope::seal(&envelope, &json.into(), Compression::Zstd(3))?)
            .await
    }

    /// Takes away all that a member told: it protects nothing any more.
    ///
    /// # Errors
    /// What keeps the store from it; some may be gone.
    pub async fn leave_fleet(&self, member: MemberId) -> Result<(), RepoError> {
        let there = self.sink().list(&format!("{}/{member}", Place::FLEET)).await?;
        let keys: Vec<ObjectKey> = there.into_iter().map(|object| object.key).collect();
        Ok(self.sink().delete_many(&keys).await?)
    }
}
