//! How this crate writes files: to a sibling, then rename, so that a kill at any moment leaves the old file or the new
//! one and never a part (promise 8). What a user named may be no file at all but a pipe, a device or a link
//! ([`write_output`]). How small files are read: whole, and only if they are small. And where that is kept which can be
//! computed again.

use crate::error::{Error, Result};
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, chown};
use std::path::{Path, PathBuf};

/// Writes `bytes` to `path`, making its folder if need be. A file that was there is replaced; its mode and owner stay.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    let folder = folder_of(path);
    fs::create_dir_all(folder).map_err(Error::io(folder))?;
    replace(path, bytes).map_err(Error::io(path))
}

fn replace(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let name = path.file_name().ok_or(ErrorKind::InvalidFilename)?.to_string_lossy();
    // The process number keeps two processes that write the same file out of each other's half-written sibling. A
    // long name is cut, because the sibling's may be no longer than a name can be.
    let start = &name[..name.floor_char_boundary(200)];
    let sibling = folder_of(path).join(format!(".{start}.{}.tmp", std::process::id()));
    let before = fs::metadata(path).ok();
    // Nobody who may not read the old file shall read the new one half-written.
    let mode = before.as_ref().map_or(0o666, |_| 0o600);
    let mut options = OpenOptions::new();
    let opened = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(mode)
        .open(&sibling);
    let written = opened.and_then(|mut file| {
        file.write_all(bytes)?;
        if let Some(before) = &before {
            keep_owner_and_mode(&file, &sibling, before)?;
        }
        file.sync_all()
    });
    written.and_then(|()| fs::rename(&sibling, path)).inspect_err(|_| {
        let _ = fs::remove_file(&sibling);
    })?;
    // The new name is the folder's, and on the disk when the folder is. A file system that cannot say so has renamed all the same.
    let _ = File::open(folder_of(path)).and_then(|folder| folder.sync_all());
    Ok(())
}

fn keep_owner_and_mode(file: &File, path: &Path, before: &Metadata) -> std::io::Result<()> {
    let own = file.metadata()?;
    if (own.uid(), own.gid()) != (before.uid(), before.gid()) {
        // Only root may give a file away; for others it becomes theirs, as with any editor.
        let _ = chown(path, Some(before.uid()), Some(before.gid()));
    }
    file.set_permissions(before.permissions())
}

fn folder_of(path: &Path) -> &Path {
    path.parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
}

/// Writes `bytes` to a path that a user named. A file is replaced as [`write_atomically`] does it, a symbolic link stays and
/// the file that it names is replaced, and what is no file (a pipe, a device, a descriptor such as `/dev/stdout`) is
/// written into. A pipe whose reader has gone away is no error.
pub fn write_output(path: &Path, bytes: &[u8]) -> Result<()> {
    check_output(path)?;
    let written = match target(path) {
        Target::File(file) => return write_atomically(&file, bytes),
        // At its end: opening a descriptor's file again begins at 0, over what others wrote before.
        Target::Stream => OpenOptions::new().append(true).open(path),
        Target::Fixed => OpenOptions::new().write(true).truncate(true).open(path),
    };
    match written.and_then(|mut stream| stream.write_all(bytes)) {
        Err(e) if e.kind() != ErrorKind::BrokenPipe => Err(Error::io(path)(e)),
        _ => Ok(()),
    }
}

/// Whether [`write_output`] has a chance, to be asked before the work whose result it writes.
pub fn check_output(path: &Path) -> Result<()> {
    match fs::metadata(path) {
        Ok(found) if found.is_dir() => Err(Error::file(path, "is a folder, expected the name of a file to write")),
        // A pipe is not opened before there is something to write: that would wait for its reader.
        Ok(found) if found.is_file() => match OpenOptions::new().append(true).open(path) {
            Ok(_) => Ok(()),
            Err(e) => Err(Error::io(path)(e)),
        },
        Ok(_) => Ok(()),
        Err(e) if e.kind() == ErrorKind::NotFound => {
            let Target::File(file) = target(path) else {
                return Err(Error::io(path)(e));
            };
            let folder = folder_of(&file);
            fs::create_dir_all(folder).map_err(Error::io(folder))
        }
        Err(e) => Err(Error::io(path)(e)),
    }
}

/// What stands behind a name.
enum Target {
    /// A file, or nothing yet, at the end of all symbolic links.
    File(PathBuf),
    /// A pipe, a device, a socket, or one of a process' own descriptors.
    Stream,
    /// A file in a folder where no sibling can be made.
    Fixed,
}

fn target(path: &Path) -> Target {
    let mut end = path.to_path_buf();
    // As many links as Linux follows.
    for _ in 0..40 {
        let folder = fs::canonicalize(folder_of(&end)).unwrap_or_else(|_| folder_of(&end).to_path_buf());
        if folder.starts_with("/proc") {
            return Target::Stream;
        }
        let Ok(link) = fs::read_link(&end) else { break };
        end = folder.join(link);
    }
    match fs::metadata(&end) {
        Ok(found) if !found.is_file() => Target::Stream,
        Ok(_) if !can_make_files(folder_of(&end)) => Target::Fixed,
        _ => Target::File(end),
    }
}

fn can_make_files(folder: &Path) -> bool {
    let attempt = folder.join(format!(".{}.tmp", std::process::id()));
    let made = File::create(&attempt).is_ok();
    let _ = fs::remove_file(attempt);
    made
}

/// Removes what writers that were killed have left in a folder and its folders, as far as that can be done. Nobody else may
/// be writing there.
pub fn remove_leftovers(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        let name = name.to_string_lossy();
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => remove_leftovers(&path),
            Ok(kind) if kind.is_file() && name.starts_with('.') && name.ends_with(".tmp") => {
                let _ = fs::remove_file(&path);
            }
            _ => {}
        }
    }
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
