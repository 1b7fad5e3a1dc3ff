//! The vocabulary of Mantis Backup: page numbers, sizes, ranges, runs, changed-page sets and log
//! positions.
//!
//! Values only. Nothing here reads a file, asks the time, or knows what a snapshot is, so that any
//! crate can speak of pages without paying for more.
//!
//! | word | type |
//! | --- | --- |
//! | one page | [`PageNo`], counted from 1 |
//! | how large a page is | [`PageSize`], 512 to 65536 bytes, known at run time |
//! | adjacent pages by number | [`PageRange`] |
//! | adjacent pages with their bytes | [`PageRun`] |
//! | which pages changed | [`PageSet`] |
//! | the position of a commit | [`Lsn`] |

#![forbid(unsafe_code)]

mod lsn;
mod page_no;
mod page_range;
mod page_run;
mod page_set;
mod page_set_codec;
mod page_size;

pub use lsn::{InvalidLsn, Lsn};
pub use page_no::PageNo;
pub use page_range::PageRange;
pub use page_run::{InvalidPageRun, PageRun};
pub use page_set::{PageSet, Ranges};
pub use page_set_codec::InvalidPageSet;
pub use page_size::{InvalidPageSize, PageSize};
