//! The serialised form of a [`PageSet`]: runs, as gaps and lengths.
//!
//! `varint(number of runs)`, then for each run `varint(gap since the end of the last) varint(len)`,
//! in LEB128. A dense set costs a few bytes, a sparse one about three bytes a page.

use std::fmt;

use crate::{PageNo, PageRange, PageSet};

/// Bytes that are no serialised [`PageSet`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidPageSet {
    /// Where in the bytes the fault is.
    pub offset: usize,
    /// What is wrong there.
    pub reason: &'static str,
}

fn put(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn take(bytes: &[u8], at: &mut usize) -> Result<u64, InvalidPageSet> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let byte = *bytes.get(*at).ok_or(InvalidPageSet { offset: *at, reason: "cut short" })?;
        *at += 1;
        let part = u64::from(byte & 0x7F);
        if shift == 63 && part > 1 {
            break;
        }
        value |= part << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(InvalidPageSet { offset: *at, reason: "a number is too large" })
}

impl PageSet {
    /// The serialised form.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put(&mut out, self.ranges().count() as u64);
        let mut end = 0;
        for range in self.ranges() {
            put(&mut out, range.first().index() - end);
            put(&mut out, range.len());
            end = range.first().index() + range.len();
        }
        out
    }

    /// Reads the serialised form of a set whose largest page number is at most `max_pages`.
    /// The bound keeps a forged set from growing without limit.
    ///
    /// # Errors
    /// [`InvalidPageSet`] for anything that [`PageSet::to_bytes`] does not write.
    pub fn from_bytes(bytes: &[u8], max_pages: u64) -> Result<Self, InvalidPageSet> {
        let mut set = Self::new();
        for range in Self::ranges_from_bytes(bytes, max_pages)? {
            set.insert_range(range);
        }
        Ok(set)
    }

    /// Reads the serialised form as ranges, ascending: takes memory for the ranges only, however
    /// long they are.
    ///
    /// # Errors
    /// As [`Self::from_bytes`].
    pub fn ranges_from_bytes(
        bytes: &[u8],
        max_pages: u64,
    ) -> Result<Vec<PageRange>, InvalidPageSet> {
        let mut at = 0;
        let mut ranges = Vec::new();
        let mut end = 0u64;
        let runs = take(bytes, &mut at)?;
        for run in 0..runs {
            let here = at;
            let fault = |reason| InvalidPageSet { offset: here, reason };
            let gap = take(bytes, &mut at)?;
            let len = take(bytes, &mut at)?;
            if run > 0 && gap == 0 {
                return Err(fault("two runs touch"));
            }
            let start = end.checked_add(gap).ok_or(fault("a run starts too far on"))?;
            end = start
                .checked_add(len)
                .filter(|end| *end <= max_pages)
                .ok_or(fault("a run ends too far on"))?;
            let first = PageNo::from_index(start).ok_or(fault("a run starts too far on"))?;
            ranges.push(PageRange::new(first, len).ok_or(fault("an empty run"))?);
        }
        if at == bytes.len() {
            Ok(ranges)
        } else {
            Err(InvalidPageSet { offset: at, reason: "bytes left over" })
        }
    }
}

impl fmt::Display for InvalidPageSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no valid page set: {} at byte {}", self.reason, self.offset)
    }
}

impl std::error::Error for InvalidPageSet {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::page_set::tests::{any_ranges, build};

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20))]
        #[test]
        fn comes_back_as_it_went(ranges in any_ranges()) {
            let (set, _) = build(&ranges);
            prop_assert_eq!(PageSet::from_bytes(&set.to_bytes(), u64::MAX), Ok(set));
        }

        #[test]
        fn arbitrary_bytes_never_panic_nor_pass_the_bound(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            if let Ok(set) = PageSet::from_bytes(&bytes, 100_000) {
                prop_assert!(set.len() <= 100_000);
                prop_assert!(set.pages().all(|page| page.get() <= 100_000));
            }
        }
    }

    #[test]
    fn a_whole_database_costs_a_few_bytes() {
        let all = PageRange::new(PageNo::FIRST, 2_000_000).unwrap();
        let mut set = PageSet::new();
        set.insert_range(all);
        assert!(set.to_bytes().len() < 8);
        assert!(PageSet::from_bytes(&set.to_bytes(), 1_999_999).is_err());
    }
}
