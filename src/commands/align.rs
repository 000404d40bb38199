//! `essa align CONFIG`: the main job. The same command on a directory that already holds the run goes on with it.

use super::{open_alignment, open_space, run_config};
use crate::calibration::calibrate;
use crate::config::RunConfig;
use crate::error::{Error, Result};
use crate::files::write_atomically;
use crate::objective::{Alignment, Objective, Questions};
use crate::ranks::Ranks;
use crate::run::{Labels, Run, Standing, StopReason, fork, interrupt, leaderboard, standing, took};
use crate::search::{Slot, mean};
use crate::seed::Seed;
use crate::sensitivity::{self, Sensitivity};
use crate::strategy::{Kind, LARGEST_FULL};
use crate::task::Split;
use crate::terminal::{self, say_dated};
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What `essa align` was told.
#[derive(Clone, Debug)]
pub struct AlignArguments {
    /// A TOML file, or `quickstart`.
    pub config: PathBuf,
    /// `key=value` for the config.
    pub set: Vec<String>,
    /// The run's directory; without it `runs/<name>`.
    pub out: Option<PathBuf>,
    /// Goes on from the directory's newest checkpoint under another config, in a new directory.
    pub fork: bool,
    /// The run ends, and can go on, after this time.
    pub max_time: Option<Duration>,
}

/// Runs `config` with its overrides. Returns how it ended.
pub fn align(arguments: &AlignArguments) -> Result<StopReason> {
    let ranks = Ranks::start()?;
    interrupt::listen(arguments.max_time)?;
    ranks.supervise(|ranks| align_on(ranks, arguments))
}

fn align_on(ranks: &Ranks, arguments: &AlignArguments) -> Result<StopReason> {
    let config = ranks.agree(RunConfig::load(&arguments.config, &arguments.set))?;
    let usual = Path::new("runs").join(&config.name);
    align_config(ranks, config, arguments.out.clone().unwrap_or(usual), arguments.fork)
}

/// One run, in this directory or, to `fork` it, in a new one beside it.
pub(super) fn align_config(
    ranks: &Ranks,
    mut config: RunConfig,
    mut directory: PathBuf,
    fork_it: bool,
) -> Result<StopReason> {
    let is_root = ranks.is_root();
    let say = |text: &str| {
        if is_root {
            say_dated(text);
        }
    };
    let begun = if fork_it {
        Some(ranks.agree(to_fork(&directory, &mut config))?)
    } else {
        match ranks.agree(standing(&directory, &config))? {
            Standing::Finished(row) => {
                say(&format!(
                    "{} is finished; for another run choose another name or --out, or --fork this one under a changed config",
                    directory.display()
                ));
                print(ranks, &row, &directory);
                return Ok(StopReason::Generations);
            }
            Standing::Begun(begun) => Some(*begun),
            Standing::New => None,
        }
    };
    let is_calibrated = begun.is_some_and(|begun| config.take_decisions_of(&begun));
    say(&format!(
        "loading {} in {}",
        config.model.path.display(),
        format!("{:?}", config.model.precision).to_lowercase()
    ));
    let node = ranks.node();
    let mut objective = ranks.agree(open_alignment(&config, node, &say))?;
    if let Some(budget) = config.space.budget
        && config.space.only.is_none()
    {
        match choose_slots(ranks, &config, budget, &mut objective, &directory, &say)? {
            Some(only) => config.space.only = Some(only),
            None => return Ok(StopReason::Interrupted),
        }
        objective = ranks.agree(objective.reopened(|weights| open_space(&config, weights, &say)))?;
    }
    let n = objective.layout().dim();
    if matches!(config.strategy.kind, Kind::Auto(_)) && n > LARGEST_FULL {
        say(&format!(
            "strategy: sep-cma-es, because n = {n} is above {LARGEST_FULL}, where a full covariance matrix learns nothing in time"
        ));
    }
    config.strategy = ranks.agree(config.strategy.resolve(n))?;
    if fork_it {
        let forked = || {
            let to = free_beside(&directory);
            fork(&directory, &to, &config, &objective).map(|()| to)
        };
        let made = ranks.agree(if ranks.is_root() {
            forked()
        } else {
            Ok(directory.clone())
        })?;
        let made = ranks.from_root(made.to_string_lossy().as_bytes());
        directory = PathBuf::from(String::from_utf8_lossy(&made).into_owned());
    }
    if config.run.calibrate_sigma && !is_calibrated {
        let Some(sigma) = calibrate_sigma(ranks, &config, &mut objective, &directory, &say)? else {
            return Ok(StopReason::Interrupted);
        };
        config.strategy.sigma = Some(sigma);
        config.strategy = ranks.agree(config.strategy.resolve(n))?;
    }
    let strategy = config
        .strategy
        .build(n, &vec![0.0; n], Seed::new(config.seed).named("strategy"))?;
    let labels = Labels {
        model: config
            .model
            .path
            .file_name()
            .map_or(String::new(), |name| name.to_string_lossy().into_owned()),
        model_sha256: ranks.agree(objective.opened().weights.digest())?,
        task: task_name(&config),
    };
    say(&format!(
        "{}: {} on {n} numbers, {} candidates × {} prompts, {} generations, {} rank{} of {} thread{}",
        directory.display(),
        strategy.name(),
        strategy.population(),
        config.run.prompts,
        config.run.generations,
        ranks.size(),
        if ranks.size() == 1 { "" } else { "s" },
        rayon::current_num_threads(),
        if rayon::current_num_threads() == 1 { "" } else { "s" },
    ));
    let run = Run::open(&config, &directory, ranks, &mut objective, strategy)?;
    let (row, stop) = run.align(&labels)?;
    if stop == StopReason::Interrupted {
        say(&format!(
            "interrupted after generation {}; the same command goes on from there",
            row.generations
        ));
    }
    print(ranks, &row, &directory);
    Ok(stop)
}

fn print(ranks: &Ranks, row: &leaderboard::Row, directory: &Path) {
    if ranks.is_root() {
        let shown = terminal::print(format_args!(
            "{}\n\nadapter of generation {}: {}/adapter   ({})",
            leaderboard::to_table(std::slice::from_ref(row)),
            row.best_generation,
            directory.display(),
            took(row)
        ));
        // The run is done and its row is in result.json, so this is no failure of it.
        if let Err(error) = shown {
            terminal::say(format_args!("essa: {error}"));
        }
    }
}

/// The config of the run that is forked, whose space has to be this one's: the checkpoint's numbers mean nothing in another.
fn to_fork(directory: &Path, config: &mut RunConfig) -> Result<RunConfig> {
    let begun = run_config(directory)?;
    config.take_decisions_of(&begun);
    // A subspace is drawn from the seed.
    let is_of_space =
        |line: &String| line.starts_with("space.") || (config.space.subspace.is_some() && line.starts_with("seed:"));
    let differences: Vec<String> = config.differences(&begun).into_iter().filter(is_of_space).collect();
    if differences.is_empty() {
        return Ok(begun);
    }
    Err(Error::file(
        directory,
        format!(
            "was a search of another space ({}, now and then); a fork goes on in the same space",
            differences.join("; ")
        ),
    ))
}

/// Spends `space.budget` and keeps what was found in the run's directory. None when the run was asked to end.
fn choose_slots(
    ranks: &Ranks,
    config: &RunConfig,
    budget: usize,
    objective: &mut Alignment,
    directory: &Path,
    say: &dyn Fn(&str),
) -> Result<Option<Vec<String>>> {
    let slots: Vec<Slot> = objective.space().adapter_slots().cloned().collect();
    let least = slots.iter().map(|slot| slot.len).min().unwrap_or(0);
    if budget < least {
        return Err(Error::config(format!(
            "space.budget is {budget}, and the smallest slot has {least} numbers; raise it to at least that"
        )));
    }
    let config_strategy = ranks.agree(config.strategy.resolve(objective.layout().dim()))?;
    let sigma = config_strategy.sigma.expect("a resolved strategy has a sigma");
    let seed = Seed::new(config.seed).named("sensitivity");
    let questions = questions(objective, seed, sensitivity::QUESTIONS);
    let mut go_on = || !interrupt::requested();
    let spent = (sigma, budget);
    let found = sensitivity::probe(
        ranks,
        objective,
        &slots,
        &questions,
        spent,
        seed.named("noise"),
        &mut go_on,
    )?;
    let Some(found) = found else { return Ok(None) };
    let chosen: Vec<&Sensitivity> = found.iter().filter(|slot| slot.chosen).collect();
    say(&format!(
        "sensitivity: {} of {} slots chosen, {} numbers; moved alone, they change {:.0} % of the texts and the others {:.0} %",
        chosen.len(),
        found.len(),
        chosen.iter().map(|slot| slot.numbers).sum::<usize>(),
        100.0 * mean(&chosen.iter().map(|slot| slot.changed).collect::<Vec<_>>()),
        100.0
            * mean(
                &found
                    .iter()
                    .filter(|slot| !slot.chosen)
                    .map(|slot| slot.changed)
                    .collect::<Vec<_>>()
            ),
    ));
    if ranks.is_root() {
        write_csv(&directory.join("sensitivity.csv"), &found)?;
    }
    Ok(Some(chosen.into_iter().map(|slot| slot.slot.clone()).collect()))
}

/// Some questions of the training split.
fn questions(objective: &dyn Objective, seed: Seed, count: usize) -> Questions {
    let mut indices: Vec<usize> = (0..objective.examples(Split::Train)).collect();
    seed.named("prompts").shuffle(&mut indices);
    indices.truncate(count);
    Questions {
        split: Split::Train,
        indices,
        seed: seed.named("texts"),
        graded: false,
    }
}

fn write_csv(path: &Path, rows: &[impl Serialize]) -> Result<()> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    rows.iter()
        .for_each(|row| writer.serialize(row).expect("a flat row in memory"));
    write_atomically(path, &writer.into_inner().expect("a writer to memory"))
}

/// Finds σ0 and keeps the curve in the run's directory. None when the run was asked to end.
fn calibrate_sigma(
    ranks: &Ranks,
    config: &RunConfig,
    objective: &mut dyn Objective,
    directory: &Path,
    say: &dyn Fn(&str),
) -> Result<Option<f64>> {
    let guess = config.strategy.sigma.expect("a resolved strategy has a sigma");
    let seed = Seed::new(config.seed).named("calibration");
    let questions = questions(objective, seed, config.run.prompts);
    let mut go_on = || !interrupt::requested();
    let found = calibrate(ranks, objective, &questions, guess, seed.named("noise"), &mut go_on)?;
    let Some((sigma, probes)) = found else { return Ok(None) };
    for probe in &probes {
        say(&format!(
            "calibration: σ {:<9.4} {:>3.0} % of texts changed, reward {:.3}",
            probe.sigma,
            100.0 * probe.changed,
            probe.reward
        ));
    }
    say(&format!("calibration: σ0 = {sigma:.4}"));
    if ranks.is_root() {
        write_csv(&directory.join("calibration.csv"), &probes)?;
    }
    Ok(Some(sigma))
}

/// The first of `<directory>-2`, `<directory>-3`, … that nobody uses.
fn free_beside(directory: &Path) -> PathBuf {
    let name = directory.file_name().unwrap_or_default().to_string_lossy();
    (2_u32..)
        .map(|number| directory.with_file_name(format!("{name}-{number}")))
        .find(|path| !path.exists())
        .expect("one of four billion names is free")
}

fn task_name(config: &RunConfig) -> String {
    use crate::task::TaskConfig;
    match &config.task {
        TaskConfig::Instructions(_) => "instructions".into(),
        TaskConfig::Jsonl(task) => {
            format!(
                "jsonl {}",
                task.train
                    .file_stem()
                    .map_or(String::new(), |stem| stem.to_string_lossy().into_owned())
            )
        }
    }
}
