//! Layers written as one: of two copies of a page the newer one; segments that nothing touches are taken as they
//! are.

use bytes::{Bytes, BytesMut};
use mantis_stream::{CancellationToken, Compression};

use crate::backup_writer::usual_segment_len;
use crate::borrow_pages::BorrowPages;
use crate::compact::range_of;
use crate::digest::{Digest, Held, extend};
use crate::encoder::FRAME_LEN;
use crate::layer_pages::{LayerPage, LayerPages};
use crate::manifest::Layer;
use crate::segment_stream::SegmentStream;
use crate::{Manifest, RepoError, Repository, SegmentRef, Session, WriteOptions};

/// Bytes of frames in memory of all layers together, more or less: however high a stack is.
const READ_AHEAD: u64 = 16 << 20;
/// Bytes of frames that are worth a read.
const LEAST_READ: u64 = 512 << 10;

impl Repository {
    /// Writes the pages of layers as one layer. Segments that no other layer touches are taken as they are.
    pub(crate) async fn write_merged(
        &self,
        session: &mut Session,
        manifest: &Manifest,
        layers: &[Layer],
        cancel: &CancellationToken,
    ) -> Result<Vec<SegmentRef>, RepoError> {
        let page_size = manifest.page_size("the manifest")?;
        let compression = manifest.info.compression.parse::<Compression>().unwrap_or_default();
        let options = WriteOptions {
            compression,
            segment_len: usual_segment_len(manifest.info.meta.byte_len),
            cancel: cancel.clone(),
            ..WriteOptions::default()
        };
        let mut stream = SegmentStream::new(session, page_size, &options);
        let written = self.write_clusters(session, layers, &mut stream).await;
        if written.is_err() {
            stream.settle().await;
        }
        written
    }

    async fn write_clusters(
        &self,
        session: &mut Session,
        layers: &[Layer],
        stream: &mut SegmentStream,
    ) -> Result<Vec<SegmentRef>, RepoError> {
        let window = (READ_AHEAD / layers.len().max(1) as u64).max(LEAST_READ);
        let mut segments = Vec::new();
        for cluster in clusters(layers) {
            if let [Piece { segment: Some(only), .. }] = cluster[..] {
                stream.cut(session).await?;
                segments.push(only.clone());
                continue;
            }
            let bounds = (
                cluster.iter().map(|piece| piece.first).min().unwrap_or(0),
                cluster.iter().map(|piece| piece.last).max().unwrap_or(0),
            );
            let mut sources = Vec::new();
            for (layer, number) in layers.iter().zip(0..) {
                let own = cluster.iter().filter(|piece| piece.layer == number);
                let own = own.filter_map(|piece| piece.segment);
                let mut pages = if layer.borrows.is_empty() {
                    Pages::Own(Box::new(LayerPages::new(self, own, window)?))
                } else {
                    Pages::Borrowed(BorrowPages::new(self, layer, bounds)?)
                };
                let first = pages.next().await?;
                sources.push((pages, first));
            }
            merge_pages(session, &mut sources, stream).await?;
        }
        segments.extend(stream.finish(session).await?);
        segments.sort_by_key(|segment| segment.first);
        Ok(segments)
    }
}

/// The pages of a layer of either kind.
enum Pages {
    Own(Box<LayerPages>),
    Borrowed(BorrowPages),
}

impl Pages {
    async fn next(&mut self) -> Result<Option<LayerPage>, RepoError> {
        match self {
            Self::Own(pages) => pages.next().await,
            Self::Borrowed(pages) => pages.next().await,
        }
    }
}

/// A segment of a layer, or a run that it borrows.
#[derive(Debug, Clone, Copy)]
struct Piece<'a> {
    layer: usize,
    first: u64,
    last: u64,
    segment: Option<&'a SegmentRef>,
}

fn pieces(layer: &Layer, number: usize) -> Vec<Piece<'_>> {
    if layer.borrows.is_empty() {
        let piece = |segment: &'_ SegmentRef| (segment.first, segment.last);
        let all = layer.segments.iter().map(|segment| (piece(segment), Some(segment)));
        return all
            .map(|((first, last), segment)| Piece { layer: number, first, last, segment })
            .collect();
    }
    let runs = layer.borrows.iter().map(|run| (run.first, run.first + run.pages - 1));
    runs.map(|(first, last)| Piece { layer: number, first, last, segment: None }).collect()
}

/// Pieces that overlap, directly or through others; clusters ascend.
fn clusters(layers: &[Layer]) -> Vec<Vec<Piece<'_>>> {
    let mut all: Vec<Piece<'_>> =
        layers.iter().enumerate().flat_map(|(number, layer)| pieces(layer, number)).collect();
    all.sort_by_key(|piece| (piece.first, piece.layer));
    let mut clusters: Vec<Vec<Piece<'_>>> = Vec::new();
    let mut end = 0;
    for piece in all {
        match clusters.last_mut() {
            Some(cluster) if piece.first <= end => cluster.push(piece),
            _ => clusters.push(vec![piece]),
        }
        end = end.max(piece.last);
    }
    clusters
}

/// Gives out the pages of layers, oldest layer first, in the order of the pages; of two copies the newer one.
async fn merge_pages(
    session: &mut Session,
    sources: &mut [(Pages, Option<LayerPage>)],
    stream: &mut SegmentStream,
) -> Result<(), RepoError> {
    let mut digest = Digest::default();
    let mut bytes = BytesMut::new();
    loop {
        let smallest =
            sources.iter().filter_map(|(_, next)| next.as_ref()).map(|next| next.0).min();
        let Some(page) = smallest else { break };
        let mut newest = None;
        for (pages, next) in sources.iter_mut() {
            if next.as_ref().is_some_and(|next| next.0 == page) {
                newest = next.take();
                *next = pages.next().await?;
            }
        }
        let Some((page, held, content)) = newest else { continue };
        let Some(range) = range_of(page, 1) else { continue };
        if bytes.len() + content.len() > FRAME_LEN {
            digest.bytes = std::mem::take(&mut bytes).freeze();
            stream.push_digest(session, std::mem::take(&mut digest)).await?;
        }
        match held {
            Held::Zero => extend(&mut digest.zero, range),
            Held::Page(hash) => {
                extend(&mut digest.data, range);
                digest.hashes.push(hash);
                bytes.extend_from_slice(&content);
            }
        }
    }
    digest.bytes = Bytes::from(bytes);
    stream.push_digest(session, digest).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ObjectHash, SessionId};

    fn segment(first: u64, last: u64) -> SegmentRef {
        let session = SessionId { sequence: 1, unique: [0; 16] };
        let (hash, len) = (ObjectHash([0; 32]), 0);
        SegmentRef {
            session,
            hash,
            len,
            index_at: 0,
            index_len: 0,
            index_hash: hash,
            salt: hash,
            key: 0,
            first,
            last,
            pages: 1,
        }
    }

    #[test]
    fn segments_that_nothing_touches_stay_alone() {
        let layer = |bounds: &[(u64, u64)]| Layer {
            list: None,
            borrows: Vec::new(),
            shared: false,
            segments: bounds.iter().map(|(first, last)| segment(*first, *last)).collect(),
        };
        let layers =
            [layer(&[(1, 10), (11, 20), (21, 30)]), layer(&[(15, 16), (18, 25), (40, 50)])];
        let found: Vec<Vec<(usize, u64)>> = clusters(&layers)
            .iter()
            .map(|cluster| cluster.iter().map(|piece| (piece.layer, piece.first)).collect())
            .collect();
        assert_eq!(found, [vec![(0, 1)], vec![(0, 11), (1, 15), (1, 18), (0, 21)], vec![(1, 40)],]);
    }
}
