//! One job a run directory. The lock is the operating system's, so it ends with its owner, however that ends; what the
//! file says is only for people. On file systems that know no locks (some network ones) a run goes on unguarded.

use crate::error::{Error, Result};
use crate::terminal::{now, say};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read, Write};
use std::path::Path;
use std::time::{Duration, Instant};

/// Held as long as it lives.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

/// A job that was killed may take this long to let go.
const PATIENCE: Duration = Duration::from_secs(3);

impl Lock {
    /// Takes the directory, or says who has it.
    pub fn take(directory: &Path) -> Result<Self> {
        let path = directory.join("lock");
        std::fs::create_dir_all(directory).map_err(Error::io(directory))?;
        let mut options = OpenOptions::new();
        let mut file = options
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(Error::io(&path))?;
        let asked = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::Error(e)) if knows_no_locks(&e) => {
                    say(format_args!(
                        "essa: {}: this file system cannot lock files ({e}); going on unguarded: let no other job work in here",
                        path.display()
                    ));
                    break;
                }
                Err(TryLockError::Error(e)) => return Err(Error::io(&path)(e)),
                Err(TryLockError::WouldBlock) if asked.elapsed() < PATIENCE => {
                    std::thread::sleep(Duration::from_millis(50));
                }
                Err(TryLockError::WouldBlock) => {
                    let mut owner = String::new();
                    let _ = file.read_to_string(&mut owner);
                    return Err(Error::InUse {
                        path: directory.to_path_buf(),
                        owner: owner.trim().into(),
                    });
                }
            }
        }
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let owner = format!("process {} on {} since {}\n", std::process::id(), host.trim(), now());
        let written = file.set_len(0).and_then(|()| file.write_all(owner.as_bytes()));
        written.map_err(Error::io(&path))?;
        Ok(Self { _file: file })
    }
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

    #[test]
    fn a_second_owner_is_told_who_the_first_is() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let first = Lock::take(folder.path()).expect("a free directory");
        let error = Lock::take(folder.path()).expect_err("a taken directory").to_string();
        assert!(
            error.contains(&format!("in use by process {}", std::process::id())),
            "{error}"
        );
        drop(first);
        Lock::take(folder.path()).expect("a free directory again");
    }
}
