//! Object storage in seven calls: put if absent, get, stat, list, delete, settle, and what the store promises.
//!
//! Objects are immutable: there is no overwrite, no rename and no append, because a backup needs none
//! and many stores do them badly. Nothing here knows what the bytes mean.
//!
//! - [`Sink`]: the trait; [`LocalSink`]: a folder, durable for real; [`MemorySink`]: for tests;
//!   feature `opendal`: every store that OpenDAL speaks to.
//! - [`open_url`]: the sink that a path or URL names.
//! - feature `testing`: `RecordingSink`, `FaultSink` and the `conformance` suite.

#![forbid(unsafe_code)]

mod capability;
#[cfg(feature = "testing")]
pub mod conformance;
mod error;
#[cfg(feature = "testing")]
mod fault;
mod key;
mod local;
mod memory;
#[cfg(feature = "opendal")]
mod opendal_sink;
mod payload;
#[cfg(feature = "testing")]
mod record;
mod sink;
mod url;

pub use capability::Capabilities;
pub use error::{SinkError, SinkErrorKind};
#[cfg(feature = "testing")]
pub use fault::{Fault, FaultSink};
pub use key::{InvalidKey, ObjectKey};
pub use local::LocalSink;
pub use memory::MemorySink;
#[cfg(feature = "opendal")]
pub use opendal_sink::OpendalSink;
pub use payload::Payload;
#[cfg(feature = "testing")]
pub use record::{Call, RecordingSink};
pub use sink::{ObjectInfo, Sink, Span};
pub use url::open_url;
