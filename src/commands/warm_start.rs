//! `essa warm-start CONFIG`: the supervised adapter that a search begins from. The same command on a directory in which it was stopped goes on.

use crate::config::WarmStartConfig;
use crate::error::Result;
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
