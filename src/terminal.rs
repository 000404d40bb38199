//! What a person is told: sentences on standard error, results on standard output. The reader may go away at any moment
//! (`| head`, a closed terminal, a full disk behind a log), and Rust's own macros panic then. Here a sentence that cannot be
//! said is dropped, because no work hangs on it, and a result that nobody waits for any more ends quietly.

use crate::error::{Error, Result};
use chrono::{SecondsFormat, Utc};
use std::fmt::Display;
use std::io::{ErrorKind, Write, stderr, stdout};

/// Says a line on standard error, in one write, so that what several ranks say at a time stays in lines.
pub fn say(line: impl Display) {
    let _ = stderr().write_all(format!("{line}\n").as_bytes());
}

/// Says a line with the date before it, as a log wants it.
pub fn say_dated(line: impl Display) {
    say(format_args!("{} {line}", now()));
}

/// The time, UTC, to the second, as RFC 3339 writes it.
pub fn now() -> String {
    Utc::now().to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// Writes a result and a line break to standard output. A reader that has gone away wants no more, which is no error.
pub fn print(text: impl Display) -> Result<()> {
    let mut out = stdout().lock();
    let written = out.write_all(format!("{text}\n").as_bytes()).and_then(|()| out.flush());
    match written {
        Err(e) if e.kind() != ErrorKind::BrokenPipe => Err(Error::io("standard output")(e)),
        _ => Ok(()),
    }
}
