//! `essa warm-start CONFIG`: the supervised adapter that a search begins from. The same command on a directory in which it was stopped goes on.

use crate::config::{RunConfig, WarmStartBefore, WarmStartConfig};
use crate::error::{Error, Result};
use crate::farm::ranks::Ranks;
use crate::record::Outcome;
use crate::run::interrupt;
use crate::terminal::{print, say_dated};
use crate::warm_start::{adapter_of, train};
use clap::Args;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Flags of `essa warm-start`.
#[derive(Args, Clone, Debug)]
pub struct WarmStartArguments {
    /// A TOML file (see docs/warm-start.md).
    pub config: PathBuf,
    /// Overrides one key of the config, such as training.max_steps=50.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Where it works, and leaves `adapter/` [default: warm-starts/NAME of the config file]; a warm start that was stopped in it goes on.
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Ends after this time, such as 50m, so that the same command can go on; exit status 75.
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub max_time: Option<Duration>,
}

/// Trains the adapter of a config. Returns how it ended.
pub fn warm_start(arguments: &WarmStartArguments) -> Result<Outcome> {
    interrupt::listen(arguments.max_time)?;
    let config = WarmStartConfig::load(&arguments.config, &arguments.set)?;
    let name = arguments.config.file_stem().unwrap_or_default();
    let directory = arguments
        .out
        .clone()
        .unwrap_or_else(|| Path::new("warm-starts").join(name));
    let mut go_on = || !interrupt::requested();
    match train(&config, &directory, &|text| say_dated(text), &mut go_on)? {
        Some(_) => {
            print(adapter_of(&directory).display())?;
            Ok(Outcome::Finished)
        }
        None => {
            say_dated("interrupted; the same command goes on from there");
            Ok(Outcome::Interrupted)
        }
    }
}

/// How often a job looks whether another one has trained the adapter that both ask for.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Trains the adapter that a run begins from, on the root, unless it is there already; waits where another job is at it. Returns whether it is
/// there, which it is not when the job was asked to end.
/// A row that the run is scored on is refused before the first step.
pub(super) fn learn_first(ranks: &Ranks, config: &RunConfig, before: &WarmStartBefore) -> Result<bool> {
    ranks.root_says(|| {
        if !before.is_done() {
            let seen = before.config.demonstrations()?.keys();
            config.task.open()?.set_apart(&seen.into_iter().collect())?;
        }
        let mut is_told = false;
        loop {
            let mut go_on = || !interrupt::requested();
            match train(&before.config, &before.directory, &|text| say_dated(text), &mut go_on) {
                Err(error @ Error::InUse { .. }) => {
                    if !std::mem::replace(&mut is_told, true) {
                        say_dated(format!("waiting for the warm start of another job: {error}"));
                    }
                    if interrupt::requested() {
                        return Ok(false);
                    }
                    std::thread::sleep(LOOK_EVERY);
                }
                learned => return Ok(learned?.is_some()),
            }
        }
    })
}
