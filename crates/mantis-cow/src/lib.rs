//! Copy-on-write for a file that keeps changing: a snapshot sees the pages of its moment.
//!
//! Before the first write to a page after a freeze, the page's old content (its *before-image*) is
//! saved; a reader of the snapshot takes the before-image where there is one and the live page where
//! there is none. Overlapping snapshots share one image.
//!
//! - [`EpochTable`]: which page is saved for which generation. Pure, generic over the image, model
//!   checked with loom.
//! - [`Shelf`]: where images are kept: memory up to a limit, then a temporary file.
//! - [`CowFile`]: the two put together over a file of bytes: call [`CowFile::before_write`] and
//!   [`CowFile::before_truncate`] ahead of each change, [`CowFile::freeze`] for a snapshot.
//! - [`DirtyPages`]: which pages changed since the last seal.
//!
//! A writer never fails and never waits for a reader because of this crate: where an image cannot be
//! saved (the spill is full, the old page cannot be read), the snapshots that needed it are marked
//! lost and the write goes on.

#![forbid(unsafe_code)]

#[cfg(not(loom))]
mod cow_file;
mod dirty;
mod epoch;
mod error;
mod leaves;
mod marks;
#[cfg(not(loom))]
mod shelf;
#[cfg(not(loom))]
mod stripe;
mod sync;
mod table;
mod tree;

#[cfg(not(loom))]
pub use cow_file::{CowFile, FrozenFile, LiveFile, WriteGate};
pub use dirty::{DirtyPages, Sealed};
pub use epoch::Epoch;
pub use error::CowError;
#[cfg(not(loom))]
pub use shelf::{CowLimits, Image, Shelf, ShelfStats, Taken};
pub use table::{EpochTable, MAX_PAGES, PageView, Saved};
