//! What can be wrong with a frame, or stop a pipeline.

use std::io;

/// Why a frame cannot be made or read, or a pipeline stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StreamError {
    /// Fewer bytes than the frame says, or than a header needs.
    #[error("the frame is cut short: {have} bytes of {need}")]
    CutShort {
        /// Bytes there are.
        have: usize,
        /// Bytes there should be.
        need: usize,
    },
    /// The checksum does not match: the frame is damaged, or belongs elsewhere.
    #[error(
        "the frame's checksum is {found:08x}, not {expected:08x}: damaged, or out of its place"
    )]
    Checksum {
        /// What the frame says.
        expected: u32,
        /// What its bytes give.
        found: u32,
    },
    /// A length past what any writer makes.
    #[error("a frame of {len} bytes is larger than the largest allowed ({max})")]
    TooLarge {
        /// The length.
        len: u64,
        /// The largest allowed.
        max: u64,
    },
    /// A codec this build does not have.
    #[error("the frame was compressed with codec {id}, which this version does not know")]
    UnknownCodec {
        /// The codec's number.
        id: u8,
    },
    /// A cipher this build does not have.
    #[error("the frame was sealed with cipher {id}, which this version does not know")]
    UnknownCipher {
        /// The cipher's number.
        id: u8,
    },
    /// The cipher refused: the key is another one, or the sealed bytes are not what was written.
    #[error("cannot {doing}: another key, or not what was written")]
    Cipher {
        /// What was being done.
        doing: &'static str,
    },
    /// Bits that must be zero are not.
    #[error("the frame has flags that this version does not know")]
    UnknownFlags,
    /// The codec failed.
    #[error("{codec}: {doing}")]
    Codec {
        /// The codec's name.
        codec: &'static str,
        /// What was being done.
        doing: &'static str,
        /// Why it failed.
        source: io::Error,
    },
    /// Decompressed, the chunk has another length than the frame says.
    #[error("the chunk has {found} bytes, not {expected} as its frame says")]
    Length {
        /// What the frame says.
        expected: usize,
        /// What came out.
        found: usize,
    },
    /// A frame just made did not decode to what it was made from.
    #[error("a frame just made does not decode to its chunk; nothing of it was stored")]
    SelfCheck,
    /// The work was stopped.
    #[error("cancelled")]
    Cancelled,
    /// A worker thread died.
    #[error("a worker thread panicked")]
    Worker,
}

impl StreamError {
    /// Whether trying the same again may succeed.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        false
    }
}
