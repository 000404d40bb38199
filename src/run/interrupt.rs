//! What asks a run to end: Ctrl-C, SIGTERM, SIGUSR1 (which batch systems send ahead of a time limit), or a time limit of
//! its own. It ends at the next batch, with everything saved that was judged. A second Ctrl-C or SIGTERM ends the process
//! at once; a killed run loses no more than that.

use crate::error::{Error, Result};
use signal_hook::consts::{SIGINT, SIGTERM, SIGUSR1};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// Exit status of a run that was asked to end and can go on: the `EX_TEMPFAIL` of sysexits, "try again later".
pub const EXIT_CODE: u8 = 75;

static REQUESTED: OnceLock<Arc<AtomicBool>> = OnceLock::new();
static DEADLINE: OnceLock<Instant> = OnceLock::new();

/// Listens from now on; `max_time` counts from now too.
pub fn listen(max_time: Option<Duration>) -> Result<()> {
    let flag = REQUESTED.get_or_init(Default::default);
    let failed = |e: std::io::Error| Error::config(format!("signals cannot be caught: {e}"));
    for signal in [SIGINT, SIGTERM] {
        // In this order: the second signal finds the flag set and ends the process, the first sets it.
        signal_hook::flag::register_conditional_shutdown(signal, i32::from(EXIT_CODE), Arc::clone(flag))
            .map_err(failed)?;
    }
    for signal in [SIGINT, SIGTERM, SIGUSR1] {
        signal_hook::flag::register(signal, Arc::clone(flag)).map_err(failed)?;
    }
    if let Some(deadline) = max_time.and_then(|time| Instant::now().checked_add(time)) {
        let _ = DEADLINE.set(deadline);
    }
    Ok(())
}

/// Whether the run is to end.
pub fn requested() -> bool {
    REQUESTED.get().is_some_and(|flag| flag.load(Ordering::Relaxed))
        || DEADLINE.get().is_some_and(|deadline| Instant::now() >= *deadline)
}
