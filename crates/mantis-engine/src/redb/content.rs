//! What a redb database holds, told without reading it: by the root of its tables, which has a checksum of all that is below it, and by its
//! persistent savepoints.
//!
//! A commit slot in the header tells at byte 1 whether there are tables, and at byte 8 their root: page, checksum and count in 32 bytes. What
//! redb keeps for itself has a root of its own, which an empty commit changes too.

use redb::WriteTransaction;

use super::backend::{FLAGS_AT, PRIMARY};

/// Bytes of a header with both of its commit slots.
pub(super) const HEADER: usize = 64 + 2 * SLOT;
const SLOT: usize = 128;
const HAS_TABLES_AT: usize = 1;
const ROOT_AT: usize = 8;
const ROOT: usize = 32;

/// The root of the tables; none where there are no tables.
pub(crate) type Root = Option<[u8; ROOT]>;

/// The ids of persistent savepoints, ascending.
pub(super) type Savepoints = Vec<u64>;

/// What is in a database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Content {
    root: Root,
    savepoints: Savepoints,
}

impl Content {
    /// None where either is not known.
    pub(super) fn new(root: Option<Root>, savepoints: Option<Savepoints>) -> Option<Self> {
        Some(Self { root: root?, savepoints: savepoints? })
    }

    /// Whether the tables are those of this root.
    pub(super) fn has_root(&self, root: Option<Root>) -> bool {
        root.is_some_and(|root| root == self.root)
    }
}

/// The root that a header's primary commit slot tells of.
pub(super) fn root_in(header: &[u8; HEADER]) -> Option<Root> {
    let flags = header.get(usize::try_from(FLAGS_AT).ok()?)?;
    let slot = 64 + usize::from(flags & PRIMARY) * SLOT;
    let has_tables = *header.get(slot + HAS_TABLES_AT)? != 0;
    let root = header.get(slot + ROOT_AT..)?.first_chunk::<ROOT>()?;
    Some(has_tables.then_some(*root))
}

/// The persistent savepoints as a transaction sees them; none where it does not tell.
pub(super) fn savepoints_of(transaction: &WriteTransaction) -> Option<Savepoints> {
    let mut ids: Savepoints = transaction.list_persistent_savepoints().ok()?.collect();
    ids.sort_unstable();
    Some(ids)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use mantis_cow::CowLimits;
    use mantis_snapshot::{CancelFlag, Coordinator, Engine, Outcome};
    use redb::backends::InMemoryBackend;
    use redb::{Database, Durability, TableDefinition};

    use crate::redb::{RedbEngine, SnapshotBackend};

    const TABLE: TableDefinition<'_, u64, u64> = TableDefinition::new("t");

    fn open() -> (Arc<Database>, RedbEngine) {
        let backend = SnapshotBackend::new(InMemoryBackend::new(), CowLimits::default());
        let database = Database::builder().create_with_backend(backend.clone()).unwrap();
        let database = Arc::new(database);
        (Arc::clone(&database), RedbEngine::new("live", database, backend))
    }

    fn put(database: &Database, durability: Durability, value: u64) {
        let mut write = database.begin_write().unwrap();
        write.set_durability(durability).unwrap();
        write.open_table(TABLE).unwrap().insert(1, value).unwrap();
        write.commit().unwrap();
    }

    fn back_up(engine: &RedbEngine, outcome: Outcome) {
        let coordinator = Coordinator::new(Default::default());
        let snapshot = coordinator.begin("live", engine, None, &CancelFlag::new()).unwrap();
        snapshot.finish(outcome).unwrap();
    }

    #[test]
    fn it_is_idle_until_something_is_committed() {
        let (database, engine) = open();
        assert!(!engine.is_idle().unwrap(), "there is no backup yet");
        back_up(&engine, Outcome::Committed);
        for round in 0..20 {
            assert!(engine.is_idle().unwrap(), "{round}: empty commits change nothing");
        }
        for durability in [Durability::Immediate, Durability::None] {
            for value in 1..4 {
                put(&database, durability, value);
                assert!(!engine.is_idle().unwrap(), "{durability:?}");
                assert!(!engine.is_idle().unwrap(), "{durability:?}: it is in no backup yet");
                back_up(&engine, Outcome::Committed);
                assert!(engine.is_idle().unwrap(), "{durability:?}");
            }
        }
    }

    #[test]
    fn what_ended_in_another_way_is_no_backup() {
        let (database, engine) = open();
        put(&database, Durability::Immediate, 1);
        back_up(&engine, Outcome::Committed);
        put(&database, Durability::Immediate, 2);
        back_up(&engine, Outcome::Aborted);
        assert!(!engine.is_idle().unwrap());
        back_up(&engine, Outcome::Committed);
        assert!(engine.is_idle().unwrap());
    }

    #[test]
    fn a_savepoint_is_something_and_a_transaction_under_way_may_be() {
        let (database, engine) = open();
        put(&database, Durability::Immediate, 1);
        back_up(&engine, Outcome::Committed);
        let write = database.begin_write().unwrap();
        write.persistent_savepoint().unwrap();
        let asked = std::time::Instant::now();
        assert!(!engine.is_idle().unwrap());
        assert!(asked.elapsed() < Duration::from_secs(5), "nobody waited for it");
        write.commit().unwrap();
        assert!(!engine.is_idle().unwrap());
        back_up(&engine, Outcome::Committed);
        assert!(engine.is_idle().unwrap());
    }
}
