//! `essa align CONFIG`: the main job.

use super::open_alignment;
use crate::config::RunConfig;
use crate::error::Result;
use crate::ranks::Ranks;
use crate::run::{Labels, Run, StopReason, choose_directory, interrupt, leaderboard, took};
use crate::seed::Seed;
use chrono::{SecondsFormat, Utc};
use std::path::{Path, PathBuf};

/// Runs `config` with its overrides into `out`, or into a new directory under `runs/`. Returns how it ended.
pub fn align(config: &Path, overrides: &[String], out: Option<&Path>) -> Result<StopReason> {
    let ranks = Ranks::start()?;
    interrupt::listen()?;
    let say = |text: &str| {
        if ranks.is_root() {
            eprintln!("{} {text}", Utc::now().to_rfc3339_opts(SecondsFormat::Secs, true));
        }
    };
    let mut config = ranks.agree(RunConfig::load(config, overrides))?;
    say(&format!(
        "loading {} in {}",
        config.model.path.display(),
        format!("{:?}", config.model.precision).to_lowercase()
    ));
    let mut objective = ranks.agree(open_alignment(&config, &say))?;
    let n = crate::objective::Objective::layout(&objective).dim();
    config.strategy = ranks.agree(config.strategy.resolve(n))?;
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
    let directory = directory_of_all(&ranks, out, &config.name);
    say(&format!(
        "{}: {} on {n} numbers, {} candidates × {} prompts, {} generations, {} rank{}",
        directory.display(),
        strategy.name(),
        strategy.population(),
        config.run.prompts,
        config.run.generations,
        ranks.size(),
        if ranks.size() == 1 { "" } else { "s" }
    ));
    let run = Run::open(&config, &directory, &ranks, &mut objective, strategy)?;
    let (row, stop) = run.align(&labels)?;
    if ranks.is_root() {
        println!("{}", leaderboard::to_table(std::slice::from_ref(&row)));
        println!(
            "\nadapter of generation {}: {}/adapter   ({})",
            row.best_generation,
            directory.display(),
            took(&row)
        );
    }
    Ok(stop)
}

/// The root's choice, so that all ranks work in one directory.
fn directory_of_all(ranks: &Ranks, out: Option<&Path>, name: &str) -> PathBuf {
    let own = if ranks.is_root() {
        choose_directory(out, name)
    } else {
        PathBuf::new()
    };
    let all = ranks.all_gather(own.to_string_lossy().as_bytes());
    PathBuf::from(String::from_utf8_lossy(&all[0]).into_owned())
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
