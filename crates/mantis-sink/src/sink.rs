//! What a store of objects does.

use std::fmt::Debug;
use std::ops::Range;
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;

use crate::{Capabilities, ObjectKey, Payload, SinkError};

/// Single deletes under way at once, where a store has no other ones.
const DELETES: usize = 16;

/// Which bytes of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Span {
    /// All, and at most `limit`: a longer object is an error, not an allocation.
    Whole {
        /// The most bytes that the reader is ready to take.
        limit: u64,
    },
    /// Exactly these; an object that ends before is an error.
    Part(Range<u64>),
}

impl Span {
    /// Where the wanted bytes begin in an object of `len` bytes, and how many they are.
    ///
    /// # Errors
    /// The length that the object must have for it; for all of it, at most.
    pub fn within(&self, len: u64) -> Result<(u64, u64), u64> {
        match self {
            Self::Whole { limit } if len > *limit => Err(*limit),
            Self::Whole { .. } => Ok((0, len)),
            Self::Part(range) if range.start > range.end || range.end > len => Err(range.end),
            Self::Part(range) => Ok((range.start, range.end - range.start)),
        }
    }
}

/// An object in a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectInfo {
    /// Its name.
    pub key: ObjectKey,
    /// Its length in bytes.
    pub len: u64,
}

/// A store of immutable objects.
#[async_trait]
pub trait Sink: Send + Sync + Debug {
    /// Where it is, for people; without secrets.
    fn location(&self) -> String;

    /// What it promises.
    fn capabilities(&self) -> Capabilities;

    /// How far the store's clock is ahead of ours, in milliseconds, as far as its last answer told.
    fn clock_skew_ms(&self) -> Option<i64> {
        None
    }

    /// Creates an object, whole or not at all. Once this returns, the object is as durable as the
    /// store makes it. A crash before leaves nothing under the name.
    ///
    /// # Errors
    /// `AlreadyExists` where there is one; nothing was changed then. After any other error the object
    /// may exist or not: only reading tells.
    async fn put_new(&self, key: &ObjectKey, payload: Payload) -> Result<(), SinkError>;

    /// Bytes of an object.
    ///
    /// # Errors
    /// `NotFound`; `WrongLength` for an object shorter than asked, or longer than the limit.
    async fn get(&self, key: &ObjectKey, span: Span) -> Result<Bytes, SinkError>;

    /// The length of an object in bytes.
    ///
    /// # Errors
    /// `NotFound`.
    async fn stat(&self, key: &ObjectKey) -> Result<u64, SinkError>;

    /// The objects whose names start with `folder` and a slash (all for an empty `folder`), in order.
    ///
    /// # Errors
    /// `NotFound` where the whole store is not there; an empty folder of a store that is there is an
    /// empty list.
    async fn list(&self, folder: &str) -> Result<Vec<ObjectInfo>, SinkError>;

    /// Removes an object. One that is not there is no error.
    ///
    /// # Errors
    /// What keeps the store from it.
    async fn delete(&self, key: &ObjectKey) -> Result<(), SinkError>;

    /// Removes objects, as [`Self::delete`] does: in as few calls as the store allows. After an error some may be
    /// gone.
    ///
    /// # Errors
    /// What keeps the store from it.
    async fn delete_many(&self, keys: &[ObjectKey]) -> Result<(), SinkError> {
        let deletes: Vec<_> = keys.iter().map(|key| self.delete(key)).collect();
        let mut deletes = futures::stream::iter(deletes).buffer_unordered(DELETES);
        while let Some(deleted) = deletes.next().await {
            deleted?;
        }
        Ok(())
    }

    /// Whether objects are locked as they are created, so that nobody can take them away before their time.
    fn locks(&self) -> bool {
        false
    }

    /// Until when an object is locked; `None` for one that is not.
    ///
    /// # Errors
    /// `NotFound`, or what keeps the store from telling.
    async fn locked_until(&self, key: &ObjectKey) -> Result<Option<SystemTime>, SinkError> {
        let _ = key;
        Ok(None)
    }

    /// Makes the objects that a folder shows as durable as those whose `put_new` returned. A writer that was
    /// killed may have left objects that are seen and that a power cut would still take; whoever is to rely on
    /// them calls this first. A store that shows an object only once it is durable has nothing to do.
    ///
    /// # Errors
    /// What keeps the store from it; the objects may not be relied on then.
    async fn settle(&self, folder: &str) -> Result<(), SinkError> {
        let _ = folder;
        Ok(())
    }

    /// Removes what writers that were killed left and that is no object: temporary files. Nothing of a writer that is
    /// still at work; a store that cannot tell removes what last changed before `before`. How many were removed.
    ///
    /// # Errors
    /// What keeps the store from it; some may be gone.
    async fn sweep(&self, before: SystemTime) -> Result<u64, SinkError> {
        let _ = before;
        Ok(0)
    }
}
