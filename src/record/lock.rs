//! One job a run directory. The lock is the operating system's, so it ends with its owner, however that ends. What the file says, who has it and
//! since when, is for people, and for whoever is refused: an owner that runs on this machine is not waited for. On file systems that know no
//! locks (some network ones) a run goes on unguarded.

use crate::error::{Error, Result};
use crate::terminal::{now, say};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// Held as long as it lives.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

/// What came of asking for a lock.
#[derive(Debug)]
pub enum Asked {
    /// It is ours.
    Taken(Lock),
    /// Somebody has it, who says so.
    InUse(String),
}

/// A job that was killed may take this long to let go.
const PATIENCE: Duration = Duration::from_secs(3);

/// An owner on this machine that is running after this time does not let go.
const FIRST_LOOK: Duration = Duration::from_millis(100);

impl Lock {
    /// Takes the lock in this file, making it and its folder, or says who has it.
    pub fn take(path: &Path) -> Result<Asked> {
        let folder = path.parent().unwrap_or(Path::new("."));
        std::fs::create_dir_all(folder).map_err(Error::io(folder))?;
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let mut file = options.open(path).map_err(Error::io(path))?;
        let asked = Instant::now();
        loop {
            match file.try_lock() {
                // Whoever had it may have removed the file, and made way for another of the same name.
                Ok(()) if !is_at(&file, path) => {
                    std::fs::create_dir_all(folder).map_err(Error::io(folder))?;
                    file = options.open(path).map_err(Error::io(path))?;
                }
                Ok(()) => break,
                Err(TryLockError::Error(e)) if knows_no_locks(&e) => {
                    say(format_args!(
                        "essa: {}: this file system cannot lock files ({e}); going on unguarded: let no other job work in here",
                        path.display()
                    ));
                    break;
                }
                Err(TryLockError::Error(e)) => return Err(Error::io(path)(e)),
                Err(TryLockError::WouldBlock) => {
                    let mut owner = String::new();
                    let _ = file.seek(SeekFrom::Start(0));
                    let _ = file.read_to_string(&mut owner);
                    let stays = asked.elapsed() > FIRST_LOOK && is_running_here(&owner);
                    if stays || asked.elapsed() > PATIENCE {
                        return Ok(Asked::InUse(owner.trim().into()));
                    }
                    std::thread::sleep(Duration::from_millis(50));
                }
            }
        }
        let owner = format!("process {} on {} since {}\n", std::process::id(), host(), now());
        let written = file
            .seek(SeekFrom::Start(0))
            .and_then(|_| file.set_len(0))
            .and_then(|()| file.write_all(owner.as_bytes()));
        written.map_err(Error::io(path))?;
        Ok(Asked::Taken(Self { _file: file }))
    }
}

/// Whether the path still names this file.
fn is_at(file: &File, path: &Path) -> bool {
    let place = |metadata: std::fs::Metadata| (metadata.dev(), metadata.ino());
    match (file.metadata(), std::fs::metadata(path)) {
        (Ok(own), Ok(there)) => place(own) == place(there),
        _ => false,
    }
}

fn host() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    host.trim().into()
}

/// Whether the owner that a lock names is a process of this machine that has memory: one that was killed gives that back first, and its
/// locks last.
fn is_running_here(owner: &str) -> bool {
    let mut words = owner.split_whitespace().skip(1).step_by(2);
    let (Some(process), Some(on)) = (words.next(), words.next()) else {
        return false;
    };
    let memory = std::fs::read_to_string(format!("/proc/{process}/statm")).unwrap_or_default();
    on == host() && memory.split_whitespace().next().is_some_and(|pages| pages != "0")
}

/// Whether the file system, or the server behind it, has no locks to give. `ENOLCK` has no kind of its own.
fn knows_no_locks(error: &io::Error) -> bool {
    const ENOLCK: i32 = 37;
    error.kind() == ErrorKind::Unsupported || error.raw_os_error() == Some(ENOLCK)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_system_without_locks_is_told_from_one_that_fails() {
        // EOPNOTSUPP, ENOSYS, ENOLCK; EIO, EACCES.
        let knows = [95, 38, 37, 5, 13].map(|code| knows_no_locks(&io::Error::from_raw_os_error(code)));
        assert_eq!(knows, [true, true, true, false, false]);
    }

    fn take(path: &Path) -> std::result::Result<Lock, String> {
        match Lock::take(path).expect("a folder that can be written to") {
            Asked::Taken(lock) => Ok(lock),
            Asked::InUse(owner) => Err(owner),
        }
    }

    #[test]
    fn a_second_owner_is_told_who_the_first_is_and_soon() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("run/lock");
        let first = take(&path).expect("a free directory");
        let asked = Instant::now();
        let owner = take(&path).expect_err("a taken directory");
        assert!(
            owner.starts_with(&format!("process {} on ", std::process::id())),
            "{owner}"
        );
        assert!(asked.elapsed() < Duration::from_secs(1));
        drop(first);
        take(&path).expect("a free directory again");
    }

    /// An owner that is not running here may be one that is on its way out, or one on another machine: it is waited for.
    #[test]
    fn who_is_running_here_is_known() {
        let own = format!(
            "process {} on {} since 2026-01-01T00:00:00Z",
            std::process::id(),
            host()
        );
        assert!(is_running_here(&own));
        for other in [
            format!("process {} on another since 2026-01-01T00:00:00Z", std::process::id()),
            format!("process 4194305 on {} since 2026-01-01T00:00:00Z", host()),
            // The kernel's own threads have no memory, as a process that ends has none.
            format!("process 2 on {} since 2026-01-01T00:00:00Z", host()),
            String::new(),
        ] {
            assert!(!is_running_here(&other), "{other}");
        }
    }

    #[test]
    fn a_lock_whose_file_was_removed_is_taken_anew() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("lock");
        let first = take(&path).expect("a free directory");
        let waiting = std::thread::spawn({
            let path = path.clone();
            move || {
                let mut options = OpenOptions::new();
                let file = options.read(true).write(true).open(&path).expect("the file");
                file.lock().expect("a lock in the end");
                is_at(&file, &path)
            }
        });
        std::thread::sleep(Duration::from_millis(50));
        std::fs::remove_file(&path).expect("a file");
        drop(first);
        assert!(
            !waiting.join().expect("a thread"),
            "the file that was waited for is gone"
        );
        take(&path).expect("a new file");
    }
}
