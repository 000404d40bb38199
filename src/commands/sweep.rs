//! `essa sweep FILE`: many runs, one leaderboard. Runs that are finished are skipped, broken ones go on. Several jobs may
//! work on one sweep: each takes what no other has in hand. Under a launcher the ranks are split into groups, which are
//! such jobs.

use super::align::run_in;
use crate::config::RunConfig;
use crate::error::{Error, Result};
use crate::farm::ranks::Ranks;
use crate::objective::alignment::open_task;
use crate::plan::sweep::Sweep;
use crate::record::{Outcome, Row, RunDirectory, Standing};
use crate::report::leaderboard;
use crate::run::interrupt;
use crate::terminal::{print, say};
use clap::Args;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Flags of `essa sweep`.
#[derive(Args, Clone, Debug)]
pub struct SweepArguments {
    /// A TOML file whose `[sweep]` table says which keys vary, and how (docs/sweeps.md).
    pub config: PathBuf,
    /// Overrides one key of all runs.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// The folder of the runs [default: runs/NAME]; what is finished there is skipped, what is broken goes on.
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Runs that go on side by side under a launcher, each on its part of the ranks.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub groups: usize,
    /// Ends the sweep after this time, such as 3h50m, so that the same command can go on; exit status 75.
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub max_time: Option<Duration>,
}

/// Does all runs. Returns whether it came to its end.
pub fn sweep(arguments: &SweepArguments) -> Result<Outcome> {
    let ranks = Ranks::start()?;
    interrupt::listen(arguments.max_time)?;
    ranks.supervise(|ranks| sweep_on(ranks, arguments))
}

fn sweep_on(world: &Ranks, arguments: &SweepArguments) -> Result<Outcome> {
    let mut sweep = world.agree(Sweep::load(&arguments.config, &arguments.set))?;
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
    let warm_starts = sweep.runs.iter_mut().map(|run| run.take_warm_start(&folder));
    let warm_starts = world.agree(warm_starts.collect::<Result<Vec<_>>>())?;
    // Before the first run: the rows of another sweep must not pass for this one's.
    world.root_says(|| check_folder(&sweep, &folder))?;
    world.root_says(|| check_data(&sweep))?;
    let group = world.rank() * arguments.groups / world.size();
    let ranks = world.split(group);
    // Groups begin at different places, so that they seldom reach for the same run.
    let first = sweep.runs.len() * group / arguments.groups;
    let order = (first..sweep.runs.len()).chain(0..first);
    let mut left = 0;
    for index in order {
        let config = &sweep.runs[index];
        let before = warm_starts[index].as_ref();
        let mut directory = RunDirectory::at(folder.join(&config.name));
        if world.is_root() {
            say(format_args!(
                "run {} of {}: {}",
                index + 1,
                sweep.runs.len(),
                config.name
            ));
        }
        let done = match ranks.root_says(|| directory.claim(config)) {
            Ok(Standing::Finished(_)) => continue,
            Ok(Standing::InUse(_)) => {
                left += 1;
                continue;
            }
            Ok(Standing::Begun(begun)) => {
                let mut config = config.clone();
                config.take_decisions_of(&begun);
                run_in(&ranks, &directory, config, before, Some(&directory))
            }
            Ok(Standing::New) => run_in(&ranks, &directory, config.clone(), before, None),
            Err(error) => Err(error),
        };
        match done {
            Ok(Outcome::Interrupted) => return Ok(Outcome::Interrupted),
            Ok(_) => {}
            // An error that not all ranks of the group know of would leave the others waiting.
            Err(error) if ranks.size() > 1 && !matches!(error, Error::Agreed(_) | Error::Elsewhere { .. }) => {
                return Err(error);
            }
            Err(error) => {
                if !matches!(error, Error::Elsewhere { .. }) {
                    say(format_args!("essa: run `{}`: {error}", config.name));
                    directory.write_row(&Row::failed(config, directory.path(), &error))?;
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
    Ok(Outcome::Finished)
}

/// Whether every run's data are there and enough for it: what one run lacks is said before another has spent hours.
fn check_data(sweep: &Sweep) -> Result<()> {
    let mut looked: Vec<&RunConfig> = Vec::new();
    for run in &sweep.runs {
        let same = |other: &&RunConfig| {
            (&other.task, &other.reward, &other.run) == (&run.task, &run.reward, &run.run)
                && (&other.drift, other.model.adapter_path()) == (&run.drift, run.model.adapter_path())
        };
        if looked.iter().any(same) {
            continue;
        }
        open_task(run).map_err(|error| Error::config(format!("run `{}`: {error}", run.name)))?;
        looked.push(run);
    }
    Ok(())
}

/// Refuses a folder that holds runs of these names under another config, and says which runs in it are not of this sweep.
fn check_folder(sweep: &Sweep, folder: &Path) -> Result<()> {
    for run in &sweep.runs {
        RunDirectory::at(folder.join(&run.name)).look(run)?;
    }
    let own: BTreeSet<&str> = sweep.runs.iter().map(|run| run.name.as_str()).collect();
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let runs = entries.filter(|entry| RunDirectory::at(entry.path()).has_row());
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
