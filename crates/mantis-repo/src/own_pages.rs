//! Where the pages are that a backup stored.

use crate::{Layer, SegmentRef};

/// What was stored of a backup.
#[derive(Debug, Default)]
pub(crate) struct OwnPages {
    /// Segments of its own, in the order of their pages.
    pub(crate) segments: Vec<SegmentRef>,
    /// The layer of all its pages, where they are in a segment together with those of others, and the bytes that are there for it.
    pub(crate) shared: Option<(Layer, u64)>,
}

impl From<Vec<SegmentRef>> for OwnPages {
    fn from(segments: Vec<SegmentRef>) -> Self {
        Self { segments, shared: None }
    }
}

impl OwnPages {
    /// Bytes that the backup added to the repository.
    pub(crate) fn bytes(&self) -> u64 {
        let own: u64 = self.segments.iter().map(|segment| segment.len).sum();
        own + self.shared.as_ref().map_or(0, |(_, bytes)| *bytes)
    }

    /// Segments that its manifest names for them.
    pub(crate) fn named(&self) -> &[SegmentRef] {
        self.shared.as_ref().map_or(&self.segments, |(layer, _)| &layer.segments)
    }

    /// The segment that a page is in, by what number, and how many pages from there on are next to each other in both; none where it is in none.
    pub(crate) fn place_of(&self, page: u64) -> Option<(&SegmentRef, u64, u64)> {
        let Some((layer, _)) = &self.shared else {
            let at = self.segments.partition_point(|segment| segment.last < page);
            let segment = self.segments.get(at).filter(|segment| segment.first <= page)?;
            return Some((segment, page, segment.last + 1 - page));
        };
        let behind = layer.borrows.partition_point(|run| run.first <= page);
        let run = layer.borrows.get(behind.checked_sub(1)?)?;
        let into = page - run.first;
        let pages = run.pages.checked_sub(into).filter(|pages| *pages > 0)?;
        Some((layer.segments.get(run.segment as usize)?, run.from + into, pages))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Borrow;
    use crate::manifest::tests::whole;

    #[test]
    fn each_page_is_where_it_was_stored() {
        let segment = whole().layers[0].segments[0].clone();
        let part = |first, last| SegmentRef { first, last, ..segment.clone() };
        let own = OwnPages::from(vec![part(3, 5), part(9, 9)]);
        let found = |own: &OwnPages, page| own.place_of(page).map(|(_, at, pages)| (at, pages));
        assert_eq!(
            [2, 3, 5, 6, 9, 10].map(|page| found(&own, page)),
            [None, Some((3, 3)), Some((5, 1)), None, Some((9, 1)), None]
        );
        let run = |first, pages, from| Borrow { first, pages, segment: 0, from };
        let borrows = vec![run(3, 3, 70), run(9, 1, 73)];
        let layer = Layer { list: None, segments: vec![segment], borrows, shared: true };
        let own = OwnPages { segments: Vec::new(), shared: Some((layer, 1)) };
        assert_eq!(
            [2, 3, 5, 6, 9, 10].map(|page| found(&own, page)),
            [None, Some((70, 3)), Some((72, 1)), None, Some((73, 1)), None]
        );
    }
}
