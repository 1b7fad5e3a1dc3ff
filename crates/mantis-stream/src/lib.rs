//! Chunks to frames and back.
//!
//! A **chunk** is opaque bytes; a **frame** is one chunk compressed, sealed where a key is given, and
//! covered by a CRC-32 that also covers a context of the caller's, which binds the frame to its place. Nothing here knows pages,
//! segments, keys of objects or stores.
//!
//! - synchronous and free of I/O: [`encode_frame`], [`decode_frame`], [`CodecRegistry`],
//!   [`Compression`];
//! - asynchronous: [`OrderedPipeline`] runs work on all cores, bounded, and gives results in order;
//!   [`ProgressTracker`];
//! - feature `encryption`: [`Aes256Gcm`] for sealed frames;
//! - feature `streams`: [`compress_reader`] and its inverse for whole streams.

#![forbid(unsafe_code)]

mod cipher;
mod codec;
mod compression;
mod error;
mod frame;
mod pipeline;
mod progress;
#[cfg(feature = "streams")]
mod whole_stream;

#[cfg(feature = "encryption")]
pub use cipher::Aes256Gcm;
pub use cipher::FrameCipher;
pub use codec::{Codec, CodecRegistry};
pub use compression::{Compression, InvalidCompression};
pub use error::StreamError;
pub use frame::{FRAME_HEADER_LEN, Frame, MAX_CHUNK_LEN, Seal, decode_frame, encode_frame};
pub use pipeline::OrderedPipeline;
pub use progress::{Progress, ProgressTracker};
pub use tokio_util::sync::CancellationToken;
#[cfg(feature = "streams")]
pub use whole_stream::{Stream, compress_reader, decompress_reader};
