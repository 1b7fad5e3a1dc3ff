//! Which rows of a table may differ between two moments of a database, told from the pages that differ (SQLite's file format, sections 1.5
//! and 1.6).
//!
//! A page that differs and is of the table's tree is found by looking up its own first key from the root: the way to it tells which rows it
//! holds. What hangs below a page that differs, and does not differ itself, holds what it held, if the other tree leads to it by the same
//! key. So the rows of all other pages are the same in both: their whole way from the root is.
//!
//! Values that do not fit into a page go on in others (overflow pages), which nothing on themselves tells to be of a table, and which may be
//! written anew without the page that leads to them. Where a page differs that may be one at both moments, any row may.

use std::collections::HashSet;
use std::io;
use std::ops::RangeInclusive;

use mantis_page::{PageNo, PageSet};

use super::header::{HEADER_LEN, Header, lock_page, u32_at};
use crate::DatabasePages;

/// Deeper than any tree of SQLite's.
const DEEPEST: usize = 40;
const INTERIOR: u8 = 5;
const LEAF: u8 = 13;
/// First bytes of pages of trees: tables' and indexes', inner and outer.
const OF_TREES: [u8; 4] = [2, 5, 10, 13];

/// The rows that may differ, by their rowids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChangedRows {
    /// Any of them.
    Any,
    /// Those in these ranges, in order and apart.
    Within(Vec<RangeInclusive<i64>>),
}

/// The rows of a table that may differ between two moments. `roots` are the root pages of its tree at each, as `sqlite_schema` has them;
/// `changed` the pages that both have and that differ.
///
/// # Errors
/// What keeps a page from being read; `InvalidData` where the table's tree is none.
pub fn changed_rows(
    (a, b): (&dyn DatabasePages, &dyn DatabasePages),
    (root_a, root_b): (u32, u32),
    changed: &PageSet,
) -> io::Result<ChangedRows> {
    let (a, b) = (Moment::of(a, root_a)?, Moment::of(b, root_b)?);
    if root_a != root_b || a.page_len != b.page_len {
        return Ok(ChangedRows::Any);
    }
    let both = a.pages.min(b.pages);
    let past_end = (a.pages - both) + (b.pages - both);
    // Where most differ, each row is looked at the sooner.
    if (changed.len() + past_end).saturating_mul(2) > a.pages.max(b.pages) {
        return Ok(ChangedRows::Any);
    }
    let differs = |page: u32| {
        u64::from(page) > both
            || PageNo::new(page.into()).is_some_and(|page| changed.contains(page))
    };
    let common = changed.pages().map(PageNo::get).filter(|page| *page <= both);
    let mut rows = Ranges::default();
    for page in common.filter_map(|page| u32::try_from(page).ok()) {
        let (in_a, in_b) = (a.page(page)?, b.page(page)?);
        if a.may_overflow(page, &in_a) && b.may_overflow(page, &in_b) {
            return Ok(ChangedRows::Any);
        }
        let found = a.rows_of(page, &in_a, &b, &differs, &mut rows)?
            && b.rows_of(page, &in_b, &a, &differs, &mut rows)?;
        if !found {
            return Ok(ChangedRows::Any);
        }
    }
    for (here, there) in [(&a, &b), (&b, &a)] {
        for page in (both + 1..=here.pages).filter_map(|page| u32::try_from(page).ok()) {
            if !here.rows_of(page, &here.page(page)?, there, &differs, &mut rows)? {
                return Ok(ChangedRows::Any);
            }
        }
    }
    Ok(ChangedRows::Within(rows.merged()))
}

fn damaged(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}

/// Where rows are: behind one rowid and up to another, each where there is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Span {
    behind: Option<i64>,
    up_to: Option<i64>,
}

impl Span {
    /// The largest rowid in it.
    fn last(self) -> i64 {
        self.up_to.unwrap_or(i64::MAX)
    }
}

#[derive(Debug, Default)]
struct Ranges(Vec<RangeInclusive<i64>>);

impl Ranges {
    fn add(&mut self, span: Span) {
        let first = span.behind.map_or(Some(i64::MIN), |behind| behind.checked_add(1));
        if let Some(first) = first.filter(|first| *first <= span.last()) {
            self.0.push(first..=span.last());
        }
    }

    /// In order, and put together where they meet.
    fn merged(mut self) -> Vec<RangeInclusive<i64>> {
        self.0.sort_unstable_by_key(|range| *range.start());
        let mut merged: Vec<RangeInclusive<i64>> = Vec::new();
        for range in self.0 {
            match merged.last_mut() {
                Some(last) if *range.start() <= last.end().saturating_add(1) => {
                    *last = *last.start()..=*last.end().max(range.end());
                }
                _ => merged.push(range),
            }
        }
        merged
    }
}

/// A page of a table's tree.
#[derive(Debug)]
enum Node {
    /// Children, each with the largest key that it may have; the last one without.
    Interior(Vec<(u32, Option<i64>)>),
    /// The first key, if there is one.
    Leaf(Option<i64>),
}

/// A number of one to nine bytes (section 1.6), and what is behind it.
fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut number = 0u64;
    for (at, byte) in bytes.iter().enumerate().take(8) {
        number = number << 7 | u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            return Some((number, bytes.get(at + 1..)?));
        }
    }
    let last = bytes.get(8)?;
    Some((number << 8 | u64::from(*last), bytes.get(9..)?))
}

fn rowid(bytes: &[u8]) -> Option<i64> {
    varint(bytes).map(|(key, _)| key.cast_signed())
}

impl Node {
    /// A page of a table's tree, if it looks like one. `head`: where its header is.
    fn parse(page: &[u8], head: usize) -> Option<Self> {
        let header = page.get(head..)?;
        let kind = *header.first()?;
        let count = usize::from(u16::from_be_bytes(header.get(3..5)?.try_into().ok()?));
        let pointers = match kind {
            INTERIOR => header.get(12..)?,
            LEAF => header.get(8..)?,
            _ => return None,
        };
        let cell = |nth: usize| {
            let pointer = pointers.get(2 * nth..2 * nth + 2)?;
            page.get(usize::from(u16::from_be_bytes(pointer.try_into().ok()?))..)
        };
        if kind == LEAF {
            if count == 0 {
                return Some(Self::Leaf(None));
            }
            let (_, key) = varint(cell(0)?)?;
            return Some(Self::Leaf(Some(rowid(key)?)));
        }
        let mut children = Vec::with_capacity(count.min(page.len() / 2) + 1);
        for nth in 0..count {
            let cell = cell(nth)?;
            children.push((u32_at(cell, 0)?, Some(rowid(cell.get(4..)?)?)));
        }
        children.push((u32_at(header, 8)?, None));
        Some(Self::Interior(children))
    }
}

/// A database at one moment, and a table of it.
struct Moment<'a> {
    pages_of: &'a dyn DatabasePages,
    root: u32,
    page_len: usize,
    pages: u64,
    /// Pages that hold nothing.
    free: HashSet<u32>,
    /// How many pages one of those is followed by that tell who each belongs to; none in most databases.
    mapped: Option<u64>,
}

impl<'a> Moment<'a> {
    fn of(pages_of: &'a dyn DatabasePages, root: u32) -> io::Result<Self> {
        let mut head = [0; HEADER_LEN];
        pages_of.read_at(0, &mut head)?;
        let header = Header::read(&head).ok_or_else(|| damaged("it is no SQLite database"))?;
        let page_len = header.page_size.bytes();
        let usable = page_len.saturating_sub(head[20].into()) as u64;
        let mut moment = Self {
            pages_of,
            root,
            page_len,
            pages: header.pages(pages_of.byte_len()),
            free: HashSet::new(),
            mapped: (u32_at(&head, 52) != Some(0)).then_some(usable / 5 + 1),
        };
        moment.free = moment.free_pages(u32_at(&head, 32).unwrap_or(0))?;
        Ok(moment)
    }

    /// The pages on the list of those that hold nothing (section 1.5).
    fn free_pages(&self, first: u32) -> io::Result<HashSet<u32>> {
        let (mut free, mut next) = (HashSet::new(), first);
        while next != 0 {
            if !free.insert(next) {
                return Err(damaged("its list of free pages goes round"));
            }
            let trunk = self.page(next)?;
            let count = u32_at(&trunk, 4).unwrap_or(0) as usize;
            let leaves = (0..count).map_while(|nth| u32_at(&trunk, 8 + 4 * nth));
            free.extend(leaves);
            next = u32_at(&trunk, 0).unwrap_or(0);
        }
        Ok(free)
    }

    fn page(&self, page: u32) -> io::Result<Vec<u8>> {
        if page == 0 || u64::from(page) > self.pages {
            return Err(damaged("a page leads past the end"));
        }
        let mut bytes = vec![0; self.page_len];
        self.pages_of.read_at(u64::from(page - 1) * self.page_len as u64, &mut bytes)?;
        Ok(bytes)
    }

    fn node(page: u32, bytes: &[u8]) -> Option<Node> {
        Node::parse(bytes, if page == 1 { HEADER_LEN } else { 0 })
    }

    /// Whether a page may hold a part of a value. It begins with the number of the next one, which with a tree's first byte would be one
    /// past 33 million.
    fn may_overflow(&self, page: u32, bytes: &[u8]) -> bool {
        let Some(first) = bytes.first() else { return false };
        let is_of_tree = OF_TREES.contains(first) && self.pages < 0x0200_0000;
        let is_map = self.mapped.is_some_and(|mapped| self.is_map(page, mapped));
        page != 1 && !is_of_tree && !is_map && !self.free.contains(&page)
    }

    fn is_map(&self, page: u32, mapped: u64) -> bool {
        let page = u64::from(page);
        let Some(behind) = page.checked_sub(2) else { return false };
        let map = behind / mapped * mapped + 2;
        let lock = mantis_page::PageSize::new(self.page_len as u64).map_or(0, lock_page);
        page == if map == lock { map + 1 } else { map }
    }

    /// The way from the root to where a key is, or would be: each page with the rows below it.
    fn way(&self, key: i64) -> io::Result<Vec<(u32, Span)>> {
        let (mut page, mut span, mut way) = (self.root, Span::default(), Vec::new());
        loop {
            way.push((page, span));
            if way.len() > DEEPEST {
                return Err(damaged("the table's tree has no end"));
            }
            let node = Self::node(page, &self.page(page)?);
            let children = match node.ok_or_else(|| damaged("the table's tree is none"))? {
                Node::Leaf(_) => return Ok(way),
                Node::Interior(children) => children,
            };
            (page, span) = child_of(&children, span, key);
        }
    }

    /// Adds the rows that may differ because a page does, if it is of the table's tree; `false` where that cannot be told.
    fn rows_of(
        &self,
        page: u32,
        bytes: &[u8],
        other: &Moment<'_>,
        differs: &impl Fn(u32) -> bool,
        rows: &mut Ranges,
    ) -> io::Result<bool> {
        // What is free may look like what it was.
        if self.free.contains(&page) {
            return Ok(true);
        }
        let Some(node) = Self::node(page, bytes) else { return Ok(true) };
        let first = match &node {
            Node::Leaf(first) => *first,
            Node::Interior(children) => children.first().and_then(|(_, key)| *key),
        };
        let way = match first {
            // A table without rows is a leaf without keys, and its root.
            None if page == self.root => vec![(page, Span::default())],
            None => return Ok(matches!(node, Node::Leaf(_))),
            Some(key) => self.way(key)?,
        };
        // Otherwise it is another table's.
        let Some((_, span)) = way.iter().find(|(on_way, _)| *on_way == page).copied() else {
            return Ok(true);
        };
        let Node::Interior(children) = node else {
            rows.add(span);
            return Ok(true);
        };
        let mut behind = span.behind;
        for (child, key) in children {
            let span = Span { behind, up_to: key.or(span.up_to) };
            behind = key;
            let is_there = || -> io::Result<bool> {
                Ok(other.way(span.last())?.iter().any(|(on_way, _)| *on_way == child))
            };
            if !differs(child) && !is_there()? {
                rows.add(span);
            }
        }
        Ok(true)
    }
}

/// The child where a key is, and the rows below it.
fn child_of(children: &[(u32, Option<i64>)], span: Span, key: i64) -> (u32, Span) {
    let mut behind = span.behind;
    for (child, up_to) in children {
        match up_to {
            Some(up_to) if key > *up_to => behind = Some(*up_to),
            Some(_) => return (*child, Span { behind, up_to: *up_to }),
            None => return (*child, Span { behind, up_to: span.up_to }),
        }
    }
    // There always is a last one without a key.
    (0, span)
}

#[cfg(test)]
#[path = "changed_rows_tests.rs"]
mod tests;
