//! Ctrl-C and SIGTERM ask a run to end; it does so at the next batch, with what there is saved. A second signal ends the
//! process at once.

use crate::error::{Error, Result};
use signal_hook::consts::{SIGINT, SIGTERM};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

static REQUESTED: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// Listens from now on.
pub fn listen() -> Result<()> {
    let flag = REQUESTED.get_or_init(Default::default);
    let failed = |e: std::io::Error| Error::config(format!("signals cannot be caught: {e}"));
    for signal in [SIGINT, SIGTERM] {
        // In this order: the second signal finds the flag set and ends the process, the first sets it.
        signal_hook::flag::register_conditional_shutdown(signal, 130, Arc::clone(flag)).map_err(failed)?;
        signal_hook::flag::register(signal, Arc::clone(flag)).map_err(failed)?;
    }
    Ok(())
}

/// Whether a signal came.
pub fn requested() -> bool {
    REQUESTED.get().is_some_and(|flag| flag.load(Ordering::Relaxed))
}
