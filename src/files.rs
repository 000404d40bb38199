//! How this crate writes files: to a sibling, then rename, so that a kill at any moment leaves the old file or the new
//! one and never a part (promise 8). How it reads small ones: whole, and only if they are small. And where it keeps what
//! can be computed again.

use crate::error::{Error, Result};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

/// Writes `bytes` to `path`, making its folder if need be.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    fs::create_dir_all(folder).map_err(Error::io(folder))?;
    let name = path.file_name().expect("a path of a file").to_string_lossy();
    // The process number keeps two processes that write the same file out of each other's half-written sibling.
    let sibling = folder.join(format!(".{name}.{}.tmp", std::process::id()));
    let written = File::create(&sibling).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    let renamed = written.and_then(|()| fs::rename(&sibling, path));
    renamed.map_err(|source| {
        let _ = fs::remove_file(&sibling);
        Error::io(path)(source)
    })
}

/// Removes what writers that were killed have left in a folder and its folders. Nobody else may be writing there.
pub fn remove_leftovers(folder: &Path) -> Result<()> {
    for entry in fs::read_dir(folder).map_err(Error::io(folder))?.flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        let kind = entry.file_type().map_err(Error::io(&path))?;
        let name = name.to_string_lossy();
        if kind.is_dir() {
            remove_leftovers(&path)?;
        } else if kind.is_file() && name.starts_with('.') && name.ends_with(".tmp") {
            fs::remove_file(&path).map_err(Error::io(&path))?;
        }
    }
    Ok(())
}

/// Reads a whole text file.
pub fn read_text(path: &Path) -> Result<String> {
    fs::read_to_string(path).map_err(Error::io(path))
}

/// The most bytes that a configuration has, in TOML or JSON. Parsed, it may take thirty times as much memory.
pub const CONFIG_BYTES: u64 = 16 << 20;

/// Reads a configuration: a text of at most [`CONFIG_BYTES`].
pub fn read_config_text(path: &Path) -> Result<String> {
    let bytes = read_at_most(path, CONFIG_BYTES)?;
    String::from_utf8(bytes).map_err(|_| Error::file(path, "is not UTF-8, expected a text"))
}

/// Reads a whole file that may have so many bytes, and of a larger one, or of one without an end, no more than that.
pub fn read_at_most(path: &Path, limit: u64) -> Result<Vec<u8>> {
    let file = File::open(path).map_err(Error::io(path))?;
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes).map_err(Error::io(path))?;
    if bytes.len() as u64 > limit {
        let what = format!("has more than {} MiB, which no file of this kind has", limit >> 20);
        return Err(Error::file(path, what));
    }
    Ok(bytes)
}

/// Where bases and other recomputable things are kept: `$ESSA_CACHE`, or `essa` in the user's cache folder.
pub fn cache_folder() -> PathBuf {
    let set = |name: &str| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    set("ESSA_CACHE")
        .or_else(|| set("XDG_CACHE_HOME").map(|folder| folder.join("essa")))
        .or_else(|| set("HOME").map(|folder| folder.join(".cache/essa")))
        .unwrap_or_else(|| std::env::temp_dir().join("essa"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_nothing_is_left_beside_it() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("deep/er/file.txt");
        write_atomically(&path, b"one").expect("the first write");
        write_atomically(&path, b"two").expect("the second write");
        assert_eq!(read_text(&path).expect("the file"), "two");
        let inside = fs::read_dir(path.parent().expect("a parent"))
            .expect("the folder")
            .count();
        assert_eq!(inside, 1);
    }

    #[test]
    fn a_file_without_an_end_is_not_read_to_its_end() {
        let endless = read_at_most(Path::new("/dev/zero"), 1 << 20).expect_err("too much");
        assert!(
            endless.to_string().contains("/dev/zero: has more than 1 MiB"),
            "{endless}"
        );
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("x");
        fs::write(&path, b"\xff").expect("a file");
        assert_eq!(read_at_most(&path, 1).expect("just small enough"), b"\xff");
        assert!(
            read_config_text(&path)
                .expect_err("no text")
                .to_string()
                .contains("UTF-8")
        );
    }

    #[test]
    fn a_write_that_cannot_be_leaves_no_sibling() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let target = folder.path().join("taken");
        fs::create_dir_all(target.join("full")).expect("a folder in the way");
        assert!(write_atomically(&target, b"x").is_err());
        assert_eq!(fs::read_dir(folder.path()).expect("the folder").count(), 1);
    }
}
