//! Moments that wait, and become one.

use std::collections::BTreeMap;
use std::time::Duration;

use mantis_page::Lsn;
use mantis_page::PageSize;
use mantis_snapshot::FreezeWay;
use proptest::prelude::*;

use super::*;

const SIZE: PageSize = PageSize::MIN;

fn content(seed: u8) -> Vec<u8> {
    vec![seed; SIZE.bytes()]
}

fn moment(folder: &Path, pages: &BTreeMap<u64, u8>, page_count: u64) -> QueuedMoment {
    let mut writer = PageFileWriter::new(folder).unwrap();
    let mut changed = PageSet::new();
    for (page, seed) in pages {
        let page = PageNo::new(*page).unwrap();
        changed.insert(page);
        writer.push(&PageRun::new(page, SIZE, content(*seed).into()).unwrap()).unwrap();
    }
    let point = ConsistencyPoint {
        lsn: Lsn::new(1),
        timeline: [0; 16],
        way: FreezeWay::ReadLock,
        writers_held: Duration::ZERO,
    };
    let moment = Moment {
        source: SourceInfo { engine: "test".into(), object: "a".into(), knows_changes: true },
        point,
        geometry: Geometry {
            page_size: SIZE,
            page_count,
            byte_len: page_count * SIZE.bytes() as u64,
        },
        at: UnixMillis(page_count as i64),
        looked: Instant::now(),
        baseline: SnapshotToken(page_count.to_le_bytes().to_vec()),
        token: Some(SnapshotToken(vec![1])),
    };
    QueuedMoment { moment, changed, pages: writer.finish().unwrap() }
}

fn all(moment: &QueuedMoment, page_count: u64) -> BTreeMap<u64, u8> {
    let page = |number: u64| {
        let found = moment.pages.page(PageNo::new(number).unwrap(), SIZE.bytes()).unwrap()?;
        assert!(found.iter().all(|byte| *byte == found[0]) && found.len() == SIZE.bytes());
        Some((number, found[0]))
    };
    (1..=page_count).filter_map(page).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn of_two_moments_that_become_one_the_later_page_counts(
        earlier in proptest::collection::btree_map(1_u64..2000, 0_u8..4, 0..900),
        later in proptest::collection::btree_map(1_u64..2000, 4_u8..8, 0..900),
        page_count in 1_u64..2000,
    ) {
        let folder = tempfile::tempdir().unwrap();
        let (one, two) = (moment(folder.path(), &earlier, 1999), moment(folder.path(), &later, page_count));
        prop_assert_eq!(&all(&one, 1999), &earlier);
        prop_assert_eq!(&all(&two, 1999), &later);
        let merged = QueuedMoment::merged(&one, &two, folder.path()).unwrap();
        let mut expected = earlier;
        expected.extend(later);
        expected.retain(|page, _| *page <= page_count);
        prop_assert_eq!(all(&merged, 1999), expected);
        prop_assert_eq!(&merged.moment.baseline, &one.moment.baseline);
        prop_assert_eq!(merged.moment.at, two.moment.at);
        prop_assert_eq!(merged.moment.geometry.page_count, page_count);
    }
}

#[test]
fn what_waits_is_counted_and_what_the_disk_spoils_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let pages = (1..2000).map(|page| (page, page as u8)).collect();
    let moment = moment(folder.path(), &pages, 1999);
    assert!(moment.len() > 0 && queued() >= moment.len());
    assert!(moment.len() < 1999 * SIZE.bytes() as u64 / 2, "it is compressed");
    let mut byte = [0; 1];
    let at = moment.len() - 9;
    moment.pages.file.read_exact_at(&mut byte, at).unwrap();
    moment.pages.file.write_all_at(&[byte[0] ^ 1], at).unwrap();
    let last = PageNo::new(1999).unwrap();
    assert!(moment.pages.page(last, SIZE.bytes()).is_err());
    assert!(moment.pages.page(PageNo::FIRST, SIZE.bytes()).unwrap().is_some());
}
