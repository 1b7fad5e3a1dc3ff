//! Where before-images are kept: memory up to a limit, then a temporary file.
//!
//! The temporary file has no name (it is unlinked as it is made), so a crash leaves nothing behind.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use mantis_page::PageSize;

use crate::CowError;
use crate::stripe::{Stripes, locked};

/// Buffers that are made ready for a burst of writes, such as a checkpoint of SQLite's (1,000 pages).
const PREPARED_BYTES: u64 = 4 << 20;

/// How much a shelf may hold.
#[derive(Debug, Clone)]
pub struct CowLimits {
    /// Bytes of images in memory; more goes to the spill file.
    pub memory: u64,
    /// Bytes of images in the spill file; more makes snapshots lost. 0: no spilling.
    pub spill: u64,
    /// The folder of the spill file; the system's temporary folder without one.
    pub spill_folder: Option<PathBuf>,
}

impl Default for CowLimits {
    /// 64 MiB of memory and a spill file without a limit in the system's temporary folder.
    fn default() -> Self {
        Self { memory: 64 << 20, spill: u64::MAX, spill_folder: None }
    }
}

/// What a shelf holds now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ShelfStats {
    /// Images held.
    pub images: u64,
    /// Bytes of images in memory.
    pub memory_bytes: u64,
    /// Bytes of images in the spill file.
    pub spilled_bytes: u64,
    /// What was put on it since it was made.
    pub taken: Taken,
}

/// Images that were taken, counted from the beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Taken {
    /// All of them.
    pub saved: u64,
    /// Those that went to the spill file.
    pub spilled: u64,
}

impl Taken {
    /// What was taken since then.
    #[must_use]
    pub const fn since(self, then: Self) -> Self {
        Self {
            saved: self.saved.saturating_sub(then.saved),
            spilled: self.spilled.saturating_sub(then.spilled),
        }
    }
}

#[derive(Debug, Default)]
struct Spill {
    file: Option<Arc<File>>,
    free: Vec<u64>,
    slots: u64,
}

#[derive(Debug)]
struct Inner {
    block: PageSize,
    limits: CowLimits,
    stripes: Stripes,
    spill: Mutex<Spill>,
}

impl Inner {
    fn spill(&self, image: &[u8]) -> Result<(u64, Arc<File>), CowError> {
        let block = u64::from(self.block.get());
        let (slot, file) = {
            let mut spill = locked(&self.spill);
            let file = match &spill.file {
                Some(file) => Arc::clone(file),
                None => {
                    let made = match &self.limits.spill_folder {
                        Some(folder) => tempfile::tempfile_in(folder),
                        None => tempfile::tempfile(),
                    };
                    let io = |source| CowError::Io { doing: "make the spill file", source };
                    Arc::clone(spill.file.insert(Arc::new(made.map_err(io)?)))
                }
            };
            let slot = match spill.free.pop() {
                Some(slot) => slot,
                None if (spill.slots + 1).saturating_mul(block) <= self.limits.spill => {
                    spill.slots += 1;
                    spill.slots - 1
                }
                None => return Err(CowError::SpillFull { limit: self.limits.spill }),
            };
            (slot, file)
        };
        if let Err(source) = file.write_all_at(image, slot * block) {
            locked(&self.spill).free.push(slot);
            return Err(CowError::Io { doing: "write a before-image to the spill file", source });
        }
        Ok((slot, file))
    }
}

/// A place for images of one size.
#[derive(Debug, Clone)]
pub struct Shelf {
    inner: Arc<Inner>,
}

impl Shelf {
    /// An empty shelf for images of `block` bytes.
    #[must_use]
    pub fn new(block: PageSize, limits: CowLimits) -> Self {
        let stripes = Stripes::new(block.bytes(), limits.memory);
        Self { inner: Arc::new(Inner { block, limits, stripes, spill: Mutex::default() }) }
    }

    /// Keeps an image that `fill` writes into a buffer of one block, whose old content is undefined.
    ///
    /// # Errors
    /// What `fill` returned, or that the image fits neither memory nor the spill file.
    pub fn put(&self, fill: impl FnOnce(&mut [u8]) -> io::Result<()>) -> Result<Image, CowError> {
        let inner = &self.inner;
        let mut slot = inner.stripes.take();
        if let Err(source) = fill(&mut slot.buffer) {
            inner.stripes.undo(slot);
            return Err(CowError::Io { doing: "read a page before it is changed", source });
        }
        let stripe = slot.stripe;
        let place = if slot.fits {
            Place::Memory(slot.buffer)
        } else {
            match inner.spill(&slot.buffer) {
                Ok((spill_slot, file)) => {
                    inner.stripes.spilled(slot);
                    Place::Spilled { slot: spill_slot, file }
                }
                Err(error) => {
                    inner.stripes.undo(slot);
                    return Err(error);
                }
            }
        };
        Ok(Image { inner: Arc::clone(inner), place, stripe })
    }

    /// Makes buffers ready for the next images: memory that the system has to hand out first costs several times what the rest of saving
    /// an image does.
    pub(crate) fn prepare(&self) {
        let inner = &self.inner;
        let wanted = PREPARED_BYTES.min(inner.limits.memory) as usize / inner.block.bytes();
        inner.stripes.prepare(wanted);
    }

    /// Gives the buffers back that wait for images, where none is held.
    pub(crate) fn rest(&self) {
        self.inner.stripes.rest();
    }

    /// What the shelf holds now.
    #[must_use]
    pub fn stats(&self) -> ShelfStats {
        let spill = locked(&self.inner.spill);
        let slots = spill.slots - spill.free.len() as u64;
        let counts = self.inner.stripes.counts();
        ShelfStats {
            images: counts.images,
            memory_bytes: counts.memory,
            spilled_bytes: slots * u64::from(self.inner.block.get()),
            taken: Taken { saved: counts.saved, spilled: counts.spilled },
        }
    }

    /// What was put on it since it was made.
    #[must_use]
    pub fn taken(&self) -> Taken {
        let counts = self.inner.stripes.counts();
        Taken { saved: counts.saved, spilled: counts.spilled }
    }
}

#[derive(Debug)]
enum Place {
    Memory(Box<[u8]>),
    Spilled { slot: u64, file: Arc<File> },
}

/// One image on a [`Shelf`]; its place is free again the moment it is dropped.
#[derive(Debug)]
pub struct Image {
    inner: Arc<Inner>,
    place: Place,
    /// The part of the shelf that it is counted in.
    stripe: u8,
}

impl Image {
    /// Copies the image's bytes from `offset` on into `out`.
    ///
    /// # Errors
    /// [`CowError::OutOfRange`] past the image's end; [`CowError::Io`] where the spill file cannot be
    /// read.
    pub fn copy_to(&self, offset: usize, out: &mut [u8]) -> Result<(), CowError> {
        let block = self.inner.block.bytes();
        let end = offset.saturating_add(out.len());
        if end > block {
            return Err(CowError::OutOfRange {
                offset: offset as u64,
                end: end as u64,
                len: block as u64,
            });
        }
        match &self.place {
            Place::Memory(bytes) => out.copy_from_slice(&bytes[offset..end]),
            Place::Spilled { slot, file } => {
                file.read_exact_at(out, slot * block as u64 + offset as u64).map_err(|source| {
                    CowError::Io { doing: "read a before-image from the spill file", source }
                })?;
            }
        }
        Ok(())
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        match std::mem::replace(&mut self.place, Place::Memory(Box::default())) {
            Place::Memory(buffer) => self.inner.stripes.release(self.stripe, Some(buffer)),
            Place::Spilled { slot, .. } => {
                let mut spill = locked(&self.inner.spill);
                spill.free.push(slot);
                if spill.free.len() as u64 == spill.slots {
                    // The file is unlinked: closing it gives the disk space back.
                    *spill = Spill::default();
                }
                drop(spill);
                self.inner.stripes.release(self.stripe, None);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shelf(memory: u64, spill: u64) -> Shelf {
        Shelf::new(PageSize::MIN, CowLimits { memory, spill, spill_folder: None })
    }

    fn put(shelf: &Shelf, byte: u8) -> Result<Image, CowError> {
        shelf.put(|buffer| {
            buffer.fill(byte);
            Ok(())
        })
    }

    #[test]
    fn spills_past_the_memory_limit_and_reads_both_back() {
        let shelf = shelf(1024, u64::MAX);
        let images: Vec<Image> = (0..9).map(|byte| put(&shelf, byte).unwrap()).collect();
        assert_eq!(
            shelf.stats(),
            ShelfStats {
                images: 9,
                memory_bytes: 1024,
                spilled_bytes: 7 * 512,
                taken: Taken { saved: 9, spilled: 7 },
            }
        );
        for (byte, image) in images.iter().enumerate() {
            let mut out = [99; 12];
            image.copy_to(500, &mut out).unwrap();
            assert_eq!(out, [byte as u8; 12]);
            assert!(image.copy_to(501, &mut out).is_err());
        }
    }

    #[test]
    fn dropping_frees_at_once_and_slots_are_used_again() {
        let shelf = shelf(0, 1024);
        let first = put(&shelf, 1).unwrap();
        let second = put(&shelf, 2).unwrap();
        assert!(matches!(put(&shelf, 3), Err(CowError::SpillFull { limit: 1024 })));
        drop(first);
        let third = put(&shelf, 3).unwrap();
        let mut out = [0; 512];
        third.copy_to(0, &mut out).unwrap();
        assert_eq!(out[0], 3);
        drop((second, third));
        assert_eq!(shelf.stats(), ShelfStats { taken: shelf.taken(), ..ShelfStats::default() });
        assert!(locked(&shelf.inner.spill).file.is_none());
        assert_eq!(shelf.inner.stripes.waiting(), 1);
    }

    #[test]
    fn buffers_are_made_ready_and_given_back() {
        let shelf = shelf(2048, 0);
        shelf.prepare();
        assert_eq!(shelf.inner.stripes.waiting(), 4, "no more than may be held");
        let image = put(&shelf, 1).unwrap();
        shelf.rest();
        assert_eq!(shelf.inner.stripes.waiting(), 3, "while an image is held, others may come");
        drop(image);
        shelf.rest();
        assert!(shelf.inner.stripes.waiting() == 0);
    }

    #[test]
    fn a_failed_fill_keeps_nothing() {
        let shelf = shelf(1024, 0);
        assert!(shelf.put(|_| Err(io::Error::other("gone"))).is_err());
        assert_eq!(shelf.stats(), ShelfStats { taken: shelf.taken(), ..ShelfStats::default() });
    }
}
