//! `essa sweep FILE`: many runs, one leaderboard. Runs that are finished are skipped, broken ones go on. Several jobs may
//! work on one sweep: each takes what no other has in hand. Under a launcher the ranks are split into groups, which are
//! such jobs.

use super::align::align_config;
use crate::error::{Error, Result};
use crate::ranks::Ranks;
use crate::run::leaderboard::{self, Row};
use crate::run::{StopReason, interrupt};
use crate::sweep::Sweep;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What `essa sweep` was told.
#[derive(Clone, Debug)]
pub struct SweepArguments {
    /// A config with a `[sweep]` table.
    pub config: PathBuf,
    /// `key=value` for all runs.
    pub set: Vec<String>,
    /// The folder of the runs; without it `runs/<name>`.
    pub out: Option<PathBuf>,
    /// How many runs go on side by side, each on its part of the ranks.
    pub groups: usize,
    /// The sweep ends, and can go on, after this time.
    pub max_time: Option<Duration>,
}

/// Does all runs. Returns whether it came to its end.
pub fn sweep(arguments: &SweepArguments) -> Result<StopReason> {
    let ranks = Ranks::start()?;
    interrupt::listen(arguments.max_time)?;
    ranks.supervise(|ranks| sweep_on(ranks, arguments))
}

fn sweep_on(world: &Ranks, arguments: &SweepArguments) -> Result<StopReason> {
    let sweep = world.agree(Sweep::load(&arguments.config, &arguments.set))?;
    let folder = arguments
        .out
        .clone()
        .unwrap_or_else(|| Path::new("runs").join(&sweep.name));
    if !(1..=world.size()).contains(&arguments.groups) {
        return Err(Error::Agreed(Box::new(Error::config(format!(
            "--groups is {}, expected from 1 to the {} ranks that there are",
            arguments.groups,
            world.size()
        )))));
    }
    let group = world.rank() * arguments.groups / world.size();
    let ranks = world.split(group);
    // Groups begin at different places, so that they seldom reach for the same run.
    let first = sweep.runs.len() * group / arguments.groups;
    let order = (first..sweep.runs.len()).chain(0..first);
    let mut left = 0;
    for index in order {
        let (config, directory) = (&sweep.runs[index], folder.join(&sweep.runs[index].name));
        if world.is_root() {
            eprintln!("run {} of {}: {}", index + 1, sweep.runs.len(), config.name);
        }
        if is_done(&ranks, &directory)? {
            continue;
        }
        match align_config(&ranks, config.clone(), directory.clone(), false) {
            Ok(StopReason::Interrupted) => return Ok(StopReason::Interrupted),
            Ok(_) => {}
            Err(error) if is_in_use(&error) => left += 1,
            // An error that not all ranks of the group know of would leave the others waiting.
            Err(error) if ranks.size() > 1 && !matches!(error, Error::Agreed(_) | Error::Elsewhere { .. }) => {
                return Err(error);
            }
            Err(error) => {
                if !matches!(error, Error::Elsewhere { .. }) {
                    eprintln!("essa: run `{}`: {error}", config.name);
                    Row::failed(config, &directory, &error).write(&directory)?;
                }
            }
        }
    }
    // Every group has to be through for the table to be whole.
    world.all_gather(&[]);
    if world.is_root() {
        leaderboard::write(&folder)?;
        println!("{}", leaderboard::to_table(&leaderboard::collect(&[folder])?));
    }
    if left > 0 {
        eprintln!("{left} runs were in other jobs' hands");
    }
    Ok(StopReason::Generations)
}

/// Whether the run in this directory needs nothing any more: the root looks, so that all ranks agree.
fn is_done(ranks: &Ranks, directory: &Path) -> Result<bool> {
    let row = directory
        .join("result.json")
        .exists()
        .then(|| leaderboard::collect(&[directory.to_path_buf()]));
    let done = match (ranks.is_root(), row) {
        (true, Some(row)) => row.map(|rows| rows.iter().all(Row::is_finished)),
        _ => Ok(false),
    };
    let done = ranks.agree(done)?;
    Ok(ranks.from_root(&[u8::from(done)]) == [1])
}

fn is_in_use(error: &Error) -> bool {
    match error {
        Error::InUse { .. } => true,
        Error::Agreed(error) => is_in_use(error),
        // The root's words, which the other ranks have as text.
        Error::Elsewhere { what, .. } => what.contains("is in use by"),
        _ => false,
    }
}
