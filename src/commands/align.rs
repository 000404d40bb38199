//! `essa align CONFIG`: the main job. The same command on a directory that already holds the run goes on with it.

use super::warm_start::learn_first;
use crate::config::{RunConfig, WarmStartBefore};
use crate::error::{Error, Result};
use crate::farm::ranks::Ranks;
use crate::objective::Alignment;
use crate::plan::Plan;
use crate::plan::forecast::Forecast;
use crate::record::{Outcome, Row, RunDirectory, Standing};
use crate::report::leaderboard;
use crate::run::{self, Run, interrupt, took};
use crate::terminal::{self, say_dated};
use clap::Args;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Flags of `essa align`.
#[derive(Args, Clone, Debug)]
pub struct AlignArguments {
    /// A TOML file, or `quickstart` for the embedded one (see docs/configuration.md).
    pub config: PathBuf,
    /// Overrides one key of the config, such as run.generations=5.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// The run's directory [default: runs/NAME]; if it holds the run already, the run goes on.
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Goes on from the directory's newest checkpoint under a changed config, in a new directory beside it.
    #[arg(long)]
    pub fork: bool,
    /// Prints what would be decided and what the run would take, and does nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Ends the run after this time, such as 3h50m, so that the same command can go on; exit status 75.
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub max_time: Option<Duration>,
}

/// Runs `config` with its overrides. Returns how it ended.
pub fn align(arguments: &AlignArguments) -> Result<Outcome> {
    let ranks = Ranks::start()?;
    interrupt::listen(arguments.max_time)?;
    ranks.supervise(|ranks| align_on(ranks, arguments))
}

fn align_on(ranks: &Ranks, arguments: &AlignArguments) -> Result<Outcome> {
    let mut config = ranks.agree(RunConfig::load(&arguments.config, &arguments.set))?;
    let usual = Path::new("runs").join(&config.name);
    let mut directory = RunDirectory::at(arguments.out.clone().unwrap_or(usual));
    let beside = directory.path().parent().unwrap_or(Path::new(""));
    let warm_start = ranks.agree(config.take_warm_start(beside))?;
    if arguments.dry_run {
        if let Some(before) = warm_start.filter(|before| !before.is_done()) {
            return ranks.root_says(|| {
                let what = "is trained before the run, and is not there yet: what the run takes can be said when it is";
                terminal::print(format_args!("the adapter in {} {what}", before.directory.display()))?;
                Ok(Outcome::Finished)
            });
        }
        return forecast(ranks, config, &directory, arguments.fork);
    }
    if arguments.fork {
        return fork(ranks, config, &directory, warm_start.as_ref());
    }
    let before = warm_start.as_ref();
    match ranks.root_says(|| directory.claim(&config))? {
        Standing::Finished(row) => {
            say(
                ranks,
                &format!(
                    "{} is finished; for another run choose another name or --out, or --fork this one under a changed config",
                    directory.path().display()
                ),
            );
            print(ranks, &row, &directory);
            Ok(row.status)
        }
        Standing::InUse(owner) => Err(Error::Agreed(Box::new(Error::InUse {
            path: directory.path().to_path_buf(),
            owner,
        }))),
        Standing::Begun(begun) => {
            config.take_decisions_of(&begun);
            run_in(ranks, &directory, config, before, Some(&directory))
        }
        Standing::New => run_in(ranks, &directory, config, before, None),
    }
}

/// Says what the run would take.
fn forecast(ranks: &Ranks, mut config: RunConfig, directory: &RunDirectory, is_fork: bool) -> Result<Outcome> {
    ranks.root_says(|| {
        let path = directory.path().display();
        let (standing, begun) = if is_fork {
            (format!("a fork of {path}"), Some(directory.config(&[])?))
        } else {
            match directory.look(&config)? {
                Standing::Begun(begun) => (format!("{path}, which has begun"), Some(*begun)),
                Standing::Finished(_) => (format!("{path}, which is finished"), None),
                _ => (format!("{path}, a new run"), None),
            }
        };
        if let Some(begun) = &begun {
            config.take_decisions_of(begun);
            same_space(directory, &config, begun)?;
        }
        let forecast = Forecast::of(config, begun.is_some())?;
        terminal::print(format_args!("{standing}\n{}", forecast.to_string().trim_end()))
    })?;
    Ok(Outcome::Finished)
}

/// Goes on from the newest checkpoint of the run in `from`, in a new directory beside it.
fn fork(
    ranks: &Ranks,
    mut config: RunConfig,
    from: &RunDirectory,
    before: Option<&WarmStartBefore>,
) -> Result<Outcome> {
    let begun = ranks.root_says(|| from.config(&[]))?;
    config.take_decisions_of(&begun);
    ranks.agree(same_space(from, &config, &begun))?;
    let mut made = None;
    let path: PathBuf = ranks.root_says(|| {
        let directory = from.claim_beside()?;
        let path = directory.path().to_path_buf();
        made = Some(directory);
        Ok(path)
    })?;
    let directory = made.unwrap_or_else(|| RunDirectory::at(path));
    run_in(ranks, &directory, config, before, Some(from))
}

/// Refuses another space, in which the checkpoint's numbers mean nothing.
fn same_space(from: &RunDirectory, config: &RunConfig, begun: &RunConfig) -> Result<()> {
    // A subspace is drawn from the seed.
    let is_of_space =
        |line: &String| line.starts_with("space.") || (config.space.subspace.is_some() && line.starts_with("seed:"));
    let differences: Vec<String> = config.differences(begun).into_iter().filter(is_of_space).collect();
    if differences.is_empty() {
        return Ok(());
    }
    Err(Error::file(
        from.path(),
        format!(
            "was a search of another space ({}, now and then); a fork goes on in the same space",
            differences.join("; ")
        ),
    ))
}

/// One run in a directory that this job has claimed: its warm start where it asks for one, model, plan, generations. `from` is where
/// the run is that goes on: this directory, or the one that is forked; the config has that run's decisions.
pub(super) fn run_in(
    ranks: &Ranks,
    directory: &RunDirectory,
    config: RunConfig,
    before: Option<&WarmStartBefore>,
    from: Option<&RunDirectory>,
) -> Result<Outcome> {
    if let Some(before) = before
        && !learn_first(ranks, &config, before)?
    {
        say(
            ranks,
            "interrupted in the warm start; the same command goes on from there",
        );
        return Ok(Outcome::Interrupted);
    }
    let is_root = ranks.is_root();
    let hear = |text: &str| {
        if is_root {
            say_dated(text);
        }
    };
    hear(&format!(
        "loading {} in {}",
        config.model.path.display(),
        format!("{:?}", config.model.precision).to_lowercase()
    ));
    let node = ranks.node();
    let mut objective = ranks.agree(Alignment::open(&config, node, &hear))?;
    let mut go_on = || !interrupt::requested();
    let plan = Plan::decide(ranks, config, from, &mut objective, directory, &hear, &mut go_on)?;
    let Some(plan) = plan else {
        return Ok(Outcome::Interrupted);
    };
    if let Some(from) = from.filter(|from| from.path() != directory.path()) {
        let digest = ranks.agree(run::digest(&plan.config, &objective))?;
        ranks.root_says(|| directory.fork_from(from, &plan.config, plan.start.len(), digest))?;
    }
    let run = Run::open(&plan, directory, ranks, &mut objective)?;
    hear(&format!(
        "{}: {}, {} generations, {} rank{} of {} thread{}",
        directory.path().display(),
        run.describe(),
        plan.config.run.generations,
        ranks.size(),
        if ranks.size() == 1 { "" } else { "s" },
        rayon::current_num_threads(),
        if rayon::current_num_threads() == 1 { "" } else { "s" },
    ));
    let (row, outcome) = run.align()?;
    if outcome == Outcome::Interrupted {
        hear(&format!(
            "interrupted after generation {}; the same command goes on from there",
            row.generations
        ));
    }
    print(ranks, &row, directory);
    Ok(outcome)
}

fn say(ranks: &Ranks, text: &str) {
    if ranks.is_root() {
        say_dated(text);
    }
}

fn print(ranks: &Ranks, row: &Row, directory: &RunDirectory) {
    if ranks.is_root() {
        let shown = terminal::print(format_args!(
            "{}\n\nadapter of generation {}: {}   ({})",
            leaderboard::to_table(std::slice::from_ref(row)),
            row.best_generation,
            directory.adapter().display(),
            took(row)
        ));
        // The run is done and its row is in result.json, so this is no failure of it.
        if let Err(error) = shown {
            terminal::say(format_args!("essa: {error}"));
        }
    }
}
