//! Object storage in a few calls: put if absent, get, stat, list, delete, settle, and what the store promises.
//!
//! Objects are immutable: there is no overwrite, no rename and no append, because a backup needs none
//! and many stores do them badly. Nothing here knows what the bytes mean.
//!
//! - [`Sink`]: the trait; [`LocalSink`]: a folder, durable for real; [`MemorySink`]: for tests;
//!   feature `opendal`: every store that OpenDAL speaks to; features `s3`, `gcs`, `azblob`, `webdav`, `sftp`: those, by URL.
//! - [`StreamConfig`]: how a store over a network is talked to; `RetrySink` tries again, within bounds.
//! - [`open_url`]: the sink that a path or URL names; [`probe`]: what a store does, tried out.
//! - feature `testing`: `RecordingSink`, `FaultSink`, `FaultProxy`, `Chance` and the `conformance` suite.

#![forbid(unsafe_code)]

#[cfg(any(feature = "_http", feature = "sftp"))]
mod address;
mod anchor;
mod capability;
#[cfg(feature = "testing")]
mod chance;
#[cfg(feature = "testing")]
pub mod conformance;
mod direct;
mod error;
#[cfg(feature = "testing")]
mod fault;
#[cfg(feature = "testing")]
mod fault_proxy;
mod key;
mod local;
mod measure;
mod memory;
#[cfg(feature = "s3")]
mod object_lock;
#[cfg(feature = "opendal")]
mod opendal_sink;
mod payload;
mod probe;
#[cfg(feature = "remote")]
mod pushback;
mod rate;
#[cfg(feature = "testing")]
mod record;
#[cfg(feature = "remote")]
mod retry_sink;
#[cfg(feature = "_http")]
mod server_clock;
#[cfg(feature = "_http")]
mod services;
#[cfg(feature = "sftp")]
mod sftp_sink;
mod sink;
#[cfg(feature = "remote")]
mod stream_config;
mod temporary;
#[cfg(feature = "_http")]
mod transport;
mod url;
mod ways;

pub use capability::Capabilities;
#[cfg(feature = "testing")]
pub use chance::Chance;
pub use error::{SinkError, SinkErrorKind, error_chain};
#[cfg(feature = "testing")]
pub use fault::{Fault, FaultSink};
#[cfg(feature = "testing")]
pub use fault_proxy::{FaultProxy, ProxyFault};
pub use key::{InvalidKey, ObjectKey};
pub use local::LocalSink;
pub use measure::{parse_duration, parse_rate};
pub use memory::MemorySink;
#[cfg(feature = "opendal")]
pub use opendal_sink::OpendalSink;
pub use payload::Payload;
pub use probe::{ProbeFault, ProbeReport, ProbeStep, probe, race_creators};
pub use rate::RateLimiter;
#[cfg(feature = "testing")]
pub use record::{Call, RecordingSink};
#[cfg(feature = "remote")]
pub use retry_sink::RetrySink;
#[cfg(feature = "sftp")]
pub use sftp_sink::SftpSink;
pub use sink::{ObjectInfo, Sink, Span};
#[cfg(feature = "remote")]
pub use stream_config::StreamConfig;
pub use url::open_url;
