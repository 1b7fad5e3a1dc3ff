//! Segments made by somebody hostile, whose hashes all match: what their index says is held against their manifest, and what is in
//! their frames against the index.

use mantis_page::PageSize;
use mantis_stream::Compression;

use crate::digest::Tally;
use crate::encoder::EncodedChunk;
use crate::segment_builder::SegmentBuilder;
use crate::segment_index::MAX_PAGE_COUNT;
use crate::{RepoId, SessionId};

use super::*;

const SIZE: PageSize = PageSize::MIN;
const SESSION: SessionId = SessionId { sequence: 1, unique: [3; 16] };

fn vault() -> Arc<Vault> {
    Arc::new(Vault::plain(RepoId([1; 16]), [2; 32]))
}

fn range(first: u64, len: u64) -> PageRange {
    PageRange::new(PageNo::new(first).unwrap(), len).unwrap()
}

/// A page that is like no other.
fn page(number: u64) -> Vec<u8> {
    vec![number as u8; SIZE.bytes()]
}

/// A segment of pages 3 to 8 before its hashes are made, spoiled: a frame of pages 3 to 6 (5 is zeros and is not in it), one of 7 and 8.
/// `more` is added to the first frame's content. With what a manifest would say of the pages that it should have.
fn forge(more: &[u8], spoil: impl Fn(&mut SegmentIndex)) -> (Bytes, SegmentRef) {
    let vault = vault();
    let envelope = Arc::new(vault.envelope(Kind::Segment, [4; 32]).unwrap());
    let mut builder = SegmentBuilder::new(Arc::clone(&envelope), SIZE);
    let chunk = |pages: &[u64], data: Vec<PageRange>, zero: Vec<PageRange>, more: &[u8]| {
        let content: Vec<u8> = pages.iter().flat_map(|number| page(*number)).collect();
        let content = Bytes::from([&content, more].concat());
        let frame = envelope.encode(&content, Compression::None, (pages[0], false), true).unwrap();
        let hashes = pages.iter().map(|number| vault.hasher().hash(&page(*number))).collect();
        let (gained, lost) = (Tally::default(), Tally::default());
        EncodedChunk { data, zero, hashes, frame: Some(frame), gained, lost }
    };
    builder.push(chunk(&[3, 4, 6], vec![range(3, 2), range(6, 1)], vec![range(5, 1)], more));
    builder.push(chunk(&[7, 8], vec![range(7, 2)], vec![], &[]));
    spoil(&mut builder.index);
    let (payload, reference) = builder.finish(SESSION).unwrap();
    (payload.to_bytes(), SegmentRef { first: 3, last: 8, pages: 6, ..reference })
}

fn whole() -> (Bytes, SegmentRef) {
    forge(&[], |_| ())
}

fn open((bytes, reference): &(Bytes, SegmentRef)) -> Result<OpenSegment, RepoError> {
    SegmentReader::new(&vault(), reference)?.open(bytes.clone(), true)
}

/// The pages that are read of it, in their order.
fn pages_of(open: &OpenSegment) -> Result<Vec<u64>, RepoError> {
    let mut found = Vec::new();
    open.read_pages(vault().hasher(), &|_| true, &mut |run| {
        for (number, content) in run.range().pages().zip(run.bytes().chunks(SIZE.bytes())) {
            assert!(content == page(number.get()), "page {number} has another one's content");
            found.push(number.get());
        }
        Ok(())
    })?;
    Ok(found)
}

fn refused(segment: &(Bytes, SegmentRef), why: &str) {
    let error = open(segment).and_then(|open| pages_of(&open)).unwrap_err();
    let text = mantis_sink::error_chain(&error);
    assert!(error.is_damage() && text.contains(why), "{why}: {text}");
}

#[test]
fn what_is_whole_gives_each_page_once() {
    let segment = whole();
    let open = open(&segment).unwrap();
    assert_eq!(pages_of(&open).unwrap(), [3, 4, 6, 7, 8]);
    assert_eq!((open.frame_of(6), open.frame_of(7), open.frame_of(5)), (Some(0), Some(1), None));
    let of_frame =
        |number| -> Vec<u64> { open.pages_of_frame(number).into_iter().map(PageNo::get).collect() };
    assert_eq!((of_frame(0), of_frame(1), of_frame(2)), (vec![3, 4, 6], vec![7, 8], vec![]));
    // A frame that it has not gives nothing.
    let mut runs = 0;
    let mut count = |_| {
        runs += 1;
        Ok(())
    };
    open.read_frame(1, vault().hasher(), &mut count).unwrap();
    open.read_frame(2, vault().hasher(), &mut count).unwrap();
    assert_eq!(runs, 1);
    // What takes the pages may give up.
    let full = || RepoError::WrongPages { what: "full".into() };
    assert!(open.read_frame(0, vault().hasher(), &mut |_| Err(full())).is_err());
}

#[test]
fn a_shape_that_cannot_be_is_refused_before_anything_is_read() {
    type Spoil = fn(&mut SegmentRef);
    let spoils: [Spoil; 5] = [
        |it| it.len = MAX_SEGMENT_LEN + 1,
        |it| it.index_at = HEADER_LEN as u64 - 1,
        |it| it.index_at = u64::MAX,
        |it| it.index_len += 1,
        |it| (it.index_at, it.len) = (u64::MAX - u64::from(it.index_len), 8),
    ];
    for spoil in spoils {
        let (bytes, mut reference) = whole();
        spoil(&mut reference);
        refused(&(bytes, reference), "impossible shape");
    }
}

#[test]
fn a_manifest_that_says_otherwise_is_not_believed() {
    type Spoil = fn(&mut SegmentRef);
    let spoils: [(&str, Spoil); 7] = [
        ("its index is not the one", |it| it.index_hash = ObjectHash([0; 32])),
        ("do not match its name", |it| it.hash = ObjectHash([0; 32])),
        ("its header is not the one", |it| it.salt = ObjectHash([0; 32])),
        ("whether it is encrypted", |it| it.key = 1),
        ("other pages than", |it| it.first = 2),
        ("other pages than", |it| it.last = 9),
        ("other pages than", |it| it.pages = 5),
    ];
    for (why, spoil) in spoils {
        let (bytes, mut reference) = whole();
        spoil(&mut reference);
        refused(&(bytes, reference), why);
    }
}

#[test]
fn an_index_that_lies_is_refused() {
    type Spoil = fn(&mut SegmentIndex);
    let spoils: [(&str, Spoil); 8] = [
        ("do not fill it", |it| it.frames[0].len += 1),
        ("frames and its pages do not agree", |it| it.frames[0].pages = 2),
        ("hashes and its pages do not agree", |it| it.hashes.truncate(4)),
        ("a page is there twice", |it| it.zero = vec![range(4, 1)]),
        ("does not match its hash", |it| it.hashes.swap(0, 1)),
        ("another length than its index says", |it| it.page_size = PageSize::DEFAULT),
        // Lengths of two frames that add up, and are each wrong.
        ("frame 0", |it| {
            (it.frames[0].len, it.frames[1].len) = (it.frames[0].len - 1, it.frames[1].len + 1);
        }),
        ("frame 0", |it| {
            (it.frames[0].len, it.frames[1].len) = (it.frames[0].len + 1, it.frames[1].len - 1);
        }),
    ];
    for (why, spoil) in spoils {
        refused(&forge(&[], spoil), why);
    }
    // A page more in its frame than its index says.
    refused(&forge(&page(9), |_| ()), "another length than its index says");
}

#[test]
fn pages_past_the_last_that_can_be_are_no_pages() {
    let (bytes, mut reference) =
        forge(&[], |it| it.data = vec![range(3, 2), range(MAX_PAGE_COUNT + 1, 3)]);
    reference.last = MAX_PAGE_COUNT + 3;
    refused(&(bytes, reference), "its index");
}

#[test]
fn what_is_cut_or_changed_is_refused_with_and_without_the_hash_of_all() {
    let (bytes, reference) = whole();
    let reader = SegmentReader::new(&vault(), &reference).unwrap();
    let index_end = (reference.index_at + u64::from(reference.index_len)) as usize;
    for cut in 0..bytes.len() {
        assert!(reader.open(bytes.slice(..cut), false).is_err(), "cut to {cut}");
        let by_manifest = reader.open_by_manifest(bytes.slice(..cut));
        assert_eq!(by_manifest.is_ok(), cut >= index_end, "cut to {cut}");
    }
    let longer = Bytes::from([&bytes[..], b"x"].concat());
    assert!(reader.open(longer, false).is_err());
    // The footer: every byte of its place, of its sum and of its mark. What is only counted there is in the sum.
    for at in index_end..bytes.len() {
        let mut spoiled = bytes.to_vec();
        spoiled[at] ^= 1;
        let spoiled = Bytes::from(spoiled);
        let error = reader.open(spoiled.clone(), false).map(drop).unwrap_err();
        assert!(error.to_string().contains("footer"), "byte {at}: {error}");
        // Its manifest knows what the footer does.
        assert_eq!(pages_of(&reader.open_by_manifest(spoiled).unwrap()).unwrap().len(), 5);
    }
    // A place that is another's, with the sum to it.
    let mut spoiled = bytes.to_vec();
    spoiled[index_end] ^= 1;
    let sum = footer_sum(&spoiled[..HEADER_LEN], &spoiled[index_end..index_end + 24]);
    spoiled[index_end + 24..index_end + 28].copy_from_slice(&sum.to_le_bytes());
    assert!(reader.open(spoiled.into(), false).is_err());
}

#[test]
fn only_what_is_wanted_is_given_in_runs() {
    let all = range(10, 6);
    let parts = |wanted: &[u64]| -> Vec<(u64, u64, u64)> {
        let wanted = wanted.to_vec();
        let parts = wanted_ranges(all, &move |page| wanted.contains(&page.get()));
        parts.into_iter().map(|(range, at)| (range.first().get(), range.len(), at)).collect()
    };
    assert_eq!(parts(&[]), []);
    assert_eq!(parts(&[10, 11, 13, 15]), [(10, 2, 0), (13, 1, 3), (15, 1, 5)]);
    assert_eq!(parts(&[9, 10, 11, 12, 13, 14, 15, 16]), [(10, 6, 0)]);
}

#[test]
fn a_segment_of_nothing_is_not_made() {
    let envelope = Arc::new(vault().envelope(Kind::Segment, [4; 32]).unwrap());
    assert!(SegmentBuilder::new(envelope, SIZE).finish(SESSION).is_err());
}
