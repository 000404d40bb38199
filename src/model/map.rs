//! Weight files are mapped into memory, not read: ranks of one machine share the pages, and only what is looked at is
//! loaded. This is the one place that does it.

use crate::error::{Error, Result};
use memmap2::{Mmap, UncheckedAdvice};
use std::fs::File;
use std::path::Path;

/// The bytes of a file.
pub fn open(path: &Path) -> Result<Mmap> {
    let file = File::open(path).map_err(Error::io(path))?;
    // SAFETY: the map is only read. A file that another process shortens while we run would raise a bus error, which is
    // the bargain that every memory-mapped loader makes.
    unsafe { Mmap::map(&file) }.map_err(Error::io(path))
}

/// Lets the system take the file's pages back; they are read again when they are looked at again. Without it a loaded model
/// would count twice, as the file's pages and as the weights made of them.
pub fn release(map: &Mmap) {
    // SAFETY: the map is of a file and read-only, so a dropped page comes back with the same bytes. Advice that the system
    // does not take changes nothing but memory, so its answer does not matter.
    let _ = unsafe { map.unchecked_advise(UncheckedAdvice::DontNeed) };
}
