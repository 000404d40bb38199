//! `essa sweep FILE`: many runs, one leaderboard. Runs that are finished are skipped, broken ones go on. Several jobs may
//! work on one sweep: each takes what no other has in hand. Under a launcher the ranks are split into groups, which are
//! such jobs.

use super::align::align_config;
use crate::error::{Error, Result};
use crate::ranks::Ranks;
use crate::run::leaderboard::{self, Row};
use crate::run::{Standing, StopReason, interrupt, standing};
use crate::sweep::Sweep;
use crate::terminal::{print, say};
use std::collections::BTreeSet;
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
    // Before the first run: the rows of another sweep must not pass for this one's.
    world.agree(if world.is_root() {
        check_folder(&sweep, &folder)
    } else {
        Ok(())
    })?;
    let group = world.rank() * arguments.groups / world.size();
    let ranks = world.split(group);
    // Groups begin at different places, so that they seldom reach for the same run.
    let first = sweep.runs.len() * group / arguments.groups;
    let order = (first..sweep.runs.len()).chain(0..first);
    let mut left = 0;
    for index in order {
        let (config, directory) = (&sweep.runs[index], folder.join(&sweep.runs[index].name));
        if world.is_root() {
            say(format_args!(
                "run {} of {}: {}",
                index + 1,
                sweep.runs.len(),
                config.name
            ));
        }
        let done = matches!(ranks.agree(standing(&directory, config))?, Standing::Finished(_));
        // The root's look counts, because another job may end the run while ranks look one after the other.
        if ranks.from_root(&[u8::from(done)]) == [1] {
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
                    say(format_args!("essa: run `{}`: {error}", config.name));
                    Row::failed(config, &directory, &error).write(&directory)?;
                }
            }
        }
    }
    // Every group has to be through for the table to be whole.
    world.all_gather(&[]);
    if world.is_root() {
        leaderboard::write(&folder)?;
        print(leaderboard::to_table(&leaderboard::collect(&[folder])?))?;
    }
    if left > 0 {
        say(format_args!("{left} runs were in other jobs' hands"));
    }
    Ok(StopReason::Generations)
}

/// Refuses a folder that holds runs of these names under another config, and says which runs in it are not of this sweep.
fn check_folder(sweep: &Sweep, folder: &Path) -> Result<()> {
    for run in &sweep.runs {
        standing(&folder.join(&run.name), run)?;
    }
    let own: BTreeSet<&str> = sweep.runs.iter().map(|run| run.name.as_str()).collect();
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let runs = entries.filter(|entry| entry.path().join("result.json").exists());
    let names = runs.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let mut others: Vec<String> = names.filter(|name| !own.contains(name.as_str())).collect();
    others.sort();
    if !others.is_empty() {
        say(format_args!(
            "{}: holds {} runs that are not of this sweep and stand in its leaderboard too: {}",
            folder.display(),
            others.len(),
            others.join(" ")
        ));
    }
    Ok(())
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
