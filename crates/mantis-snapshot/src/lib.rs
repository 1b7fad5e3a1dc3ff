//! One consistent moment of a live database: the ports an engine implements, and the coordinator that
//! takes, limits and releases snapshots.
//!
//! - [`Engine`] and [`FrozenPages`]: what a storage engine implements to be backed up hot.
//! - [`PageTarget`]: where restored pages go.
//! - [`Coordinator`] and [`Snapshot`]: at most N at once, a time limit, states, release on drop.
//! - [`MemoryEngine`]: the reference engine; [`conformance`]: the checks that every engine must pass.
//!
//! Nothing here knows how a backup is stored, nor where.

#![forbid(unsafe_code)]

mod cancel;
mod config;
pub mod conformance;
mod coordinator;
mod engine;
mod error;
mod memory_engine;
mod point;
mod snapshot;
mod state;
mod sync;
mod target;

pub use cancel::CancelFlag;
pub use config::{SnapshotConfig, WhenFull};
pub use coordinator::Coordinator;
pub use engine::{Changed, Engine, FreezeRequest, FrozenPages, Outcome, Relief};
pub use error::{BoxError, SnapshotError};
pub use memory_engine::MemoryEngine;
pub use point::{ConsistencyPoint, FreezeWay, Geometry, SnapshotToken, SourceInfo};
pub use snapshot::Snapshot;
pub use state::{SnapshotState, SnapshotStatus};
pub use target::PageTarget;

pub use mantis_cow::Taken;
