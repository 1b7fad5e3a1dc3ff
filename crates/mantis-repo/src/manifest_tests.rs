//! Manifests that say what cannot be, in envelopes that are whole: each is refused when it is read.

use crate::envelope::Header;
use crate::{BackupKind, RepoId};

use super::*;

const REPO: RepoId = RepoId([1; 16]);

fn vault() -> Vault {
    Vault::plain(REPO, [2; 32])
}

fn segment(first: u64, last: u64) -> SegmentRef {
    SegmentRef {
        session: SessionId { sequence: 1, unique: [3; 16] },
        hash: ObjectHash([4; 32]),
        len: 1000,
        index_at: 700,
        index_len: 276,
        index_hash: ObjectHash([5; 32]),
        salt: ObjectHash([6; 32]),
        key: 0,
        first,
        last,
        pages: last - first + 1,
    }
}

fn layer(segments: Vec<SegmentRef>, borrows: Vec<Borrow>) -> Layer {
    Layer { list: None, segments, borrows, shared: false }
}

fn listed() -> LayerList {
    LayerList { session: SessionId { sequence: 1, unique: [3; 16] }, hash: ObjectHash([7; 32]) }
}

/// A manifest with some of everything.
pub(crate) fn whole() -> Manifest {
    let borrow = Borrow { first: 5, pages: 3, segment: 0, from: 2 };
    Manifest {
        required: Vec::new(),
        info: BackupInfo {
            id: BackupId([3; 16]),
            generation: 0,
            session: SessionId { sequence: 1, unique: [3; 16] },
            meta: BackupMeta {
                source: "bank".into(),
                engine: "test".into(),
                object: "bank.db".into(),
                lsn: 7,
                timeline: String::new(),
                way: "closed".into(),
                created_at: UnixMillis(1),
                tags: BTreeMap::new(),
                page_size: 512,
                page_count: 10,
                byte_len: 5000,
            },
            kind: BackupKind::Full,
            parent: None,
            pages_changed: 10,
            pages_zero: 0,
            bytes_read: 5000,
            bytes_stored: 1000,
            duration_ms: 1,
            compression: "none".into(),
            fingerprint: Fingerprint(ObjectHash([8; 32])),
        },
        previous: None,
        token: None,
        layers: vec![
            layer(vec![segment(1, 4), segment(5, 10)], Vec::new()),
            layer(vec![segment(1, 9)], vec![borrow]),
        ],
    }
}

fn read(manifest: &Manifest) -> Result<Manifest, RepoError> {
    let json = serde_json::to_vec(manifest).unwrap();
    let envelope = Envelope::plain(Header::new(Kind::Manifest, REPO, [9; 32], 0));
    let sealed = envelope::seal(&envelope, &json.into(), Compression::Zstd(1)).unwrap();
    Manifest::open("man/1", &sealed.to_bytes(), &vault())
}

#[test]
fn a_manifest_that_can_be_is_read_as_it_was_written() {
    assert_eq!(read(&whole()).unwrap(), whole());
}

#[test]
fn what_cannot_be_is_refused() {
    type Spoil = fn(&mut Manifest);
    let spoils: [(&str, Spoil); 26] = [
        ("a feature of later versions", |it| it.required.push("later".into())),
        ("no page size", |it| it.info.meta.page_size = 513),
        ("longer than its pages", |it| it.info.meta.byte_len = 5121),
        ("shorter than its pages", |it| it.info.meta.byte_len = 4607),
        ("more pages than there can be", |it| {
            it.info.meta.page_count = MAX_PAGE_COUNT + 1;
            it.info.meta.byte_len = (MAX_PAGE_COUNT + 1) * 512;
        }),
        ("a length that no number holds", |it| it.info.meta.page_count = u64::MAX),
        ("the last generation", |it| it.info.generation = u32::MAX),
        ("too many layers", |it| it.layers = vec![layer(Vec::new(), Vec::new()); MAX_LAYERS + 1]),
        ("a layer that is there twice", |it| it.layers[0].list = Some(listed())),
        ("too many segments", |it| {
            it.layers[0].segments = vec![segment(1, 1); MAX_LAYER_SEGMENTS + 1];
        }),
        ("too many runs", |it| {
            it.layers[1].borrows = vec![it.layers[1].borrows[0]; 2 * MAX_RUNS + 1];
        }),
        ("a segment that ends before it begins", |it| {
            it.layers[0].segments[0] = SegmentRef { last: 1, ..segment(2, 3) };
        }),
        ("a page 0", |it| it.layers[0].segments[0].first = 0),
        ("a page after the last", |it| it.layers[0].segments[1].last = MAX_PAGE_COUNT + 1),
        ("segments that do not ascend", |it| it.layers[0].segments[1].first = 4),
        ("a segment longer than they get", |it| {
            it.layers[0].segments[0].len = MAX_SEGMENT_LEN + 1;
        }),
        ("more pages than it spans", |it| it.layers[0].segments[0].pages = 5),
        ("a run of nothing", |it| it.layers[1].borrows[0].pages = 0),
        ("runs that do not ascend", |it| {
            let run = it.layers[1].borrows[0];
            it.layers[1].borrows.push(run);
        }),
        ("a run to page 0", |it| it.layers[1].borrows[0].first = 0),
        ("a run past the last page", |it| it.layers[1].borrows[0].first = MAX_PAGE_COUNT),
        ("a run longer than numbers", |it| it.layers[1].borrows[0].pages = u64::MAX),
        ("a run from no segment", |it| it.layers[1].borrows[0].segment = 1),
        ("a run from before its segment", |it| it.layers[1].borrows[0].from = 0),
        ("a run past its segment", |it| it.layers[1].borrows[0].from = 8),
        ("a run from past the last page", |it| it.layers[1].borrows[0].from = u64::MAX),
    ];
    for (what, spoil) in spoils {
        let mut manifest = whole();
        spoil(&mut manifest);
        let refused = read(&manifest);
        let expected = matches!(refused, Err(RepoError::Damaged { .. } | RepoError::TooNew { .. }));
        assert!(expected, "{what}: {refused:?}");
    }
}

#[test]
fn a_list_names_no_other_list_and_is_held_to_the_same() {
    let envelope = || Envelope::plain(Header::new(Kind::Layer, REPO, [9; 32], 0));
    let read = |layer: &Layer| {
        let sealed = seal_list(layer, &envelope()).unwrap();
        open_list("lay/1", &sealed.to_bytes(), &vault())
    };
    let good = layer(vec![segment(1, 4)], Vec::new());
    assert_eq!(read(&good).unwrap(), good);
    assert!(read(&Layer { list: Some(listed()), ..good.clone() }).is_err());
    assert!(read(&layer(vec![segment(5, 6), segment(1, 4)], Vec::new())).is_err());
}
