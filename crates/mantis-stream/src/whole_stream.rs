//! Whole streams, compressed on the way: for a backup as one file, and for a pipe.
//!
//! Frames are compressed block by block on all cores; a stream has one core and one history, which
//! is what other tools read (`zstd -d`, `gunzip`, `lz4 -d`).

use async_compression::Level;
use async_compression::tokio::bufread::{
    GzipDecoder, GzipEncoder, Lz4Decoder, Lz4Encoder, ZstdDecoder, ZstdEncoder,
};
use tokio::io::{AsyncBufRead, AsyncRead};

use crate::Compression;

/// A boxed stream of bytes.
pub type Stream<'a> = Box<dyn AsyncRead + Send + Unpin + 'a>;

/// The compressed form of what `reader` gives, readable by the codec's usual tools.
pub fn compress_reader<'a>(
    reader: impl AsyncBufRead + Send + Unpin + 'a,
    compression: Compression,
) -> Stream<'a> {
    match compression {
        Compression::None => Box::new(reader),
        Compression::Lz4 => Box::new(Lz4Encoder::new(reader)),
        Compression::Zstd(level) => {
            Box::new(ZstdEncoder::with_quality(reader, Level::Precise(level)))
        }
        Compression::Gzip(level) => {
            Box::new(GzipEncoder::with_quality(reader, Level::Precise(level as i32)))
        }
    }
}

/// Undoes [`compress_reader`].
pub fn decompress_reader<'a>(
    reader: impl AsyncBufRead + Send + Unpin + 'a,
    compression: Compression,
) -> Stream<'a> {
    match compression {
        Compression::None => Box::new(reader),
        Compression::Lz4 => Box::new(Lz4Decoder::new(reader)),
        Compression::Zstd(_) => Box::new(ZstdDecoder::new(reader)),
        Compression::Gzip(_) => Box::new(GzipDecoder::new(reader)),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, BufReader};

    use super::*;

    #[tokio::test]
    async fn every_codec_undoes_itself() {
        let plain: Vec<u8> = (0..200_000u32).map(|n| (n / 97) as u8).collect();
        for compression in
            [Compression::None, Compression::Lz4, Compression::Zstd(3), Compression::Gzip(6)]
        {
            let (mut stored, mut back) = (Vec::new(), Vec::new());
            compress_reader(&plain[..], compression).read_to_end(&mut stored).await.unwrap();
            assert_eq!(stored.len() < plain.len(), compression != Compression::None);
            let stream = BufReader::new(&stored[..]);
            decompress_reader(stream, compression).read_to_end(&mut back).await.unwrap();
            assert_eq!(back, plain, "{compression}");
        }
    }
}
