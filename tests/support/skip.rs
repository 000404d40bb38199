//! What a test does where it cannot run: it says so, and passes as skipped. `scripts/test.sh` counts what was said here. In CI
//! (`ESSA_TEST_STRICT`) only that may be missing which no set-up can bring; anything else is a failure. One file for the tests
//! in `tests/` and, included by `src/lib.rs`, for the library's own.

use std::io::Write;

/// What a test may find missing.
#[allow(dead_code, reason = "each program misses some of it")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// The reference data.
    Data,
    /// The small inputs on which the program was wrong.
    Cases,
    /// The real model that set-up fetches.
    Model,
    /// Ranks: the `mpi` feature and a launcher.
    Mpi,
    /// A program that set-up or the system brings.
    Program,
    /// Leave to mount a file system, or to be without a network, in a namespace of one's own.
    Namespace,
    /// Instructions of the processor.
    Processor,
}

impl Missing {
    /// The list of allowed skips: why even CI may go without it.
    fn allowed(self) -> Option<&'static str> {
        match self {
            Self::Namespace => Some("a sandbox may forbid it, and no set-up can change that"),
            Self::Processor => Some("not every machine has every vector instruction; the portable loops run on all"),
            Self::Data | Self::Cases | Self::Model | Self::Mpi | Self::Program => None,
        }
    }
}

/// The test that calls this cannot run here, or a part of it cannot.
pub fn skip(missing: Missing, what: &str) {
    println!("skipped: {what}");
    let strict = std::env::var_os("ESSA_TEST_STRICT").is_some_and(|value| !value.is_empty());
    let allowed = missing.allowed();
    assert!(
        allowed.is_some() || !strict,
        "{what}. Where ESSA_TEST_STRICT is set that is a failure and no reason to skip a test."
    );
    let Some(list) = std::env::var_os("ESSA_TEST_SKIPS") else {
        return;
    };
    let program = std::env::current_exe().unwrap_or_default();
    let program = program.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    // Without the hash that cargo puts behind the name.
    let program = program.rsplit_once('-').map_or(&*program, |(name, _)| name);
    let thread = std::thread::current();
    let because = allowed.map(|why| format!(" ({why})")).unwrap_or_default();
    let line = format!("{program}::{}: {what}{because}\n", thread.name().unwrap_or("?"));
    let file = std::fs::OpenOptions::new().append(true).create(true).open(&list);
    file.and_then(|mut file| file.write_all(line.as_bytes()))
        .unwrap_or_else(|error| panic!("{}: {error}", list.display()));
}
