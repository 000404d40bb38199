//! One run, from the first candidate to the leaderboard row. [`Run::align`] is the loop, `Run::generation` one turn
//! of it: questions, evaluations, tell, row, save. Every rank does the same; only the root writes. The exported mean is
//! the one that the validation split liked best; the test split is looked at once, at the end.

pub mod interrupt;
pub mod leaderboard;
pub mod metrics;
pub mod progress;

use crate::config::{RunConfig, SpaceSection};
use crate::error::{Error, Result};
use crate::files::write_atomically;
use crate::model::weights::hex;
use crate::objective::{Objective, Questions, Rollout};
use crate::population;
use crate::ranks::Ranks;
use crate::search::{Evaluation, Fitness, paired_gain};
use crate::seed::Seed;
use crate::strategy::Strategy;
use crate::task::Split;
use metrics::Metrics;
use progress::Progress;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A run under way.
pub struct Run<'a> {
    config: &'a RunConfig,
    directory: PathBuf,
    ranks: &'a Ranks,
    objective: &'a mut dyn Objective,
    strategy: Box<dyn Strategy>,
    seed: Seed,
    metrics: Metrics,
    rollouts: Option<File>,
    progress: Progress,
    /// The mean that the validation split liked best so far.
    best: Mean,
    start_validation: f64,
    tokens: usize,
    judged: usize,
    started: Instant,
    stop: Option<StopReason>,
}

/// A mean worth keeping: what is exported, and what `essa export` and `essa eval` work from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Mean {
    /// Generations told when it was the mean.
    pub generation: u64,
    /// The search vector.
    pub theta: Vec<f64>,
    /// Its validation score.
    pub validation: Fitness,
}

/// Why a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StopReason {
    /// All generations are done.
    Generations,
    /// The strategy has nothing more to gain, in its own words.
    Strategy(String),
    /// A signal came; the generation in flight was dropped.
    Interrupted,
}

impl std::fmt::Display for StopReason {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        match self {
            Self::Generations => f.write_str("finished"),
            Self::Strategy(reason) => write!(f, "stopped: {reason}"),
            Self::Interrupted => f.write_str("interrupted"),
        }
    }
}

/// What the objective was made of, for the leaderboard.
#[derive(Clone, Debug, Default)]
pub struct Labels {
    /// Base model.
    pub model: String,
    /// SHA-256 of its weights.
    pub model_sha256: String,
    /// Task.
    pub task: String,
}

impl<'a> Run<'a> {
    /// Makes the run's directory and writes the resolved config into it. The directory must be new or empty.
    pub fn open(
        config: &'a RunConfig,
        directory: &Path,
        ranks: &'a Ranks,
        objective: &'a mut dyn Objective,
        strategy: Box<dyn Strategy>,
    ) -> Result<Self> {
        let train = objective.examples(Split::Train);
        if config.run.prompts > train {
            return Err(Error::config(format!(
                "run.prompts is {}, but the task has only {train} training examples",
                config.run.prompts
            )));
        }
        for (split, name) in [(Split::Validation, "validation"), (Split::Test, "test")] {
            if objective.examples(split) == 0 {
                return Err(Error::config(format!(
                    "the task's {name} split is empty; a run needs examples to judge its mean by"
                )));
            }
        }
        let rollouts = ranks.agree(prepare(config, directory, ranks))?;
        let n = objective.layout().dim();
        Ok(Self {
            config,
            directory: directory.to_path_buf(),
            ranks,
            objective,
            strategy,
            seed: Seed::new(config.seed),
            metrics: Metrics::new(directory.join("metrics.csv")),
            rollouts,
            progress: Progress::new(config.run.generations, !ranks.is_root()),
            best: Mean {
                generation: 0,
                theta: vec![0.0; n],
                validation: Fitness::FAILED,
            },
            start_validation: 0.0,
            tokens: 0,
            judged: 0,
            started: Instant::now(),
            stop: None,
        })
    }

    /// Runs to the end and returns the leaderboard row.
    pub fn align(mut self, labels: &Labels) -> Result<(leaderboard::Row, StopReason)> {
        self.start()?;
        while self.stop.is_none() {
            self.generation()?;
        }
        self.finish(labels)
    }

    /// Generation 0: how good is the start?
    fn start(&mut self) -> Result<()> {
        let clock = Instant::now();
        let Some(evaluation) = self.validate()? else {
            return Ok(());
        };
        self.start_validation = evaluation.fitness.value();
        let row = metrics::Row {
            num_tokens: self.tokens,
            step_time: clock.elapsed().as_secs_f64(),
            terms: evaluation.terms.clone(),
            ..Default::default()
        };
        self.progress.line(&format!("start  validation {}", score(&evaluation)));
        self.save(row.validated(&evaluation), Vec::new())
    }

    /// One turn: questions, evaluations, tell, row, save.
    fn generation(&mut self) -> Result<()> {
        let clock = Instant::now();
        let questions = self.questions(self.strategy.generation());
        let mut rollouts = Vec::new();
        let evaluated = population::evaluate(
            self.ranks,
            self.strategy.as_ref(),
            self.objective,
            &questions,
            &mut rollouts,
            &mut || !interrupt::requested(),
        )?;
        let Some(evaluations) = evaluated else {
            self.stop = Some(StopReason::Interrupted);
            return Ok(());
        };
        let fitness: Vec<Fitness> = evaluations.iter().map(|evaluation| evaluation.fitness).collect();
        let step = self.strategy.tell(&fitness);
        let done = self.strategy.generation();
        self.tokens += evaluations
            .iter()
            .map(|e| e.prompt_tokens + e.completion_tokens)
            .sum::<usize>();
        self.judged += evaluations.iter().map(|e| e.rewards.len()).sum::<usize>();
        if done >= self.config.run.generations {
            self.stop = Some(StopReason::Generations);
        }
        if let Some(reason) = &step.stop {
            self.stop = Some(StopReason::Strategy(reason.clone()));
        }

        let mut row = metrics::Row::new(done, &evaluations, &step);
        let mut text = format!(
            "reward {:.3} (best {:.3}, spread {:.3})  σ {:.4}",
            row.reward.unwrap_or(f64::NAN),
            row.reward_max.unwrap_or(f64::NAN),
            row.reward_std.unwrap_or(0.0),
            step.sigma
        );
        let every = self.config.run.validate_every;
        if self.stop.is_some() || (every > 0 && done.is_multiple_of(every)) {
            match self.validate()? {
                Some(evaluation) => {
                    text += &format!("  validation {}", score(&evaluation));
                    row = row.validated(&evaluation);
                }
                None => self.stop = Some(StopReason::Interrupted),
            }
        }
        row.num_tokens = self.tokens;
        row.step_time = clock.elapsed().as_secs_f64();
        self.progress.generation(done, &text);
        self.save(row, rollouts)
    }

    /// The prompts of a generation: the training split in a new order each time around, the same for every candidate.
    fn questions(&self, generation: u64) -> Questions {
        let seed = self.seed.named("prompts");
        let (train, prompts) = (self.objective.examples(Split::Train), self.config.run.prompts);
        let first = generation as usize * prompts;
        let mut indices = Vec::with_capacity(prompts);
        for epoch in first / train..=(first + prompts - 1) / train {
            let mut order: Vec<usize> = (0..train).collect();
            seed.fold(epoch as u64).shuffle(&mut order);
            let inside = |at: usize| at.clamp(epoch * train, (epoch + 1) * train) - epoch * train;
            indices.extend(&order[inside(first)..inside(first + prompts)]);
        }
        Questions {
            split: Split::Train,
            indices,
            seed: self.seed.named("texts").fold(generation),
        }
    }

    /// Judges the mean on the validation split, and keeps and exports it if it is the best so far.
    fn validate(&mut self) -> Result<Option<Evaluation>> {
        let theta = self.strategy.mean().to_vec();
        let Some(evaluations) = self.judge(std::slice::from_ref(&theta), Split::Validation)? else {
            self.stop = Some(StopReason::Interrupted);
            return Ok(None);
        };
        let evaluation = evaluations.into_iter().next().expect("one for one");
        // Of equals the later one: the search has moved on from there.
        if evaluation.fitness.value() >= self.best.validation.value() {
            self.best = Mean {
                generation: self.strategy.generation(),
                theta,
                validation: evaluation.fitness,
            };
            if self.ranks.is_root() {
                self.objective
                    .export(&self.best.theta, &self.directory.join("adapter"))?;
                write_json(&self.directory.join("mean.json"), &self.best)?;
            }
        }
        Ok(Some(evaluation))
    }

    /// Judges search vectors on a whole split. The seed is the split's own, so that every look asks the same.
    fn judge(&mut self, thetas: &[Vec<f64>], split: Split) -> Result<Option<Vec<Evaluation>>> {
        let questions = Questions {
            split,
            indices: (0..self.objective.examples(split)).collect(),
            seed: self.seed.named(if split == Split::Test {
                "test texts"
            } else {
                "validation texts"
            }),
        };
        let mut rollouts = Vec::new();
        let judged = self
            .objective
            .evaluate(thetas, &questions, &mut rollouts, &mut || !interrupt::requested());
        let judged = self.ranks.agree(judged)?;
        if let Some(evaluations) = &judged {
            self.tokens += evaluations
                .iter()
                .map(|e| e.prompt_tokens + e.completion_tokens)
                .sum::<usize>();
            if self.ranks.is_root() {
                self.write_rollouts(split, &rollouts)?;
            }
        }
        Ok(judged)
    }

    /// Writes what a later look at the run needs, each file whole.
    fn save(&mut self, row: metrics::Row, rollouts: Vec<Rollout>) -> Result<()> {
        self.write_rollouts(Split::Train, &rollouts)?;
        if !self.ranks.is_root() {
            return Ok(());
        }
        write_json(&self.directory.join("state.json"), &self.strategy.state())?;
        self.metrics.push(row)
    }

    fn write_rollouts(&mut self, split: Split, rollouts: &[Rollout]) -> Result<()> {
        let Some(file) = &mut self.rollouts else { return Ok(()) };
        #[derive(Serialize)]
        struct Line<'a> {
            generation: u64,
            split: Split,
            #[serde(flatten)]
            rollout: &'a Rollout,
        }
        let generation = self.strategy.generation();
        let mut lines = Vec::new();
        for rollout in rollouts {
            serde_json::to_writer(
                &mut lines,
                &Line {
                    generation,
                    split,
                    rollout,
                },
            )
            .expect("JSON of text and numbers");
            lines.push(b'\n');
        }
        file.write_all(&lines)
            .map_err(Error::io(self.directory.join("rollouts.jsonl")))
    }

    /// The test split, once: the start and the chosen mean on the same examples.
    fn finish(mut self, labels: &Labels) -> Result<(leaderboard::Row, StopReason)> {
        let stop = self.stop.clone().expect("the loop ends with a reason");
        let tested = if stop == StopReason::Interrupted {
            None
        } else {
            self.progress.line(&format!(
                "testing the start and the mean of generation {}",
                self.best.generation
            ));
            let start = vec![0.0; self.best.theta.len()];
            self.judge(&[start, self.best.theta.clone()], Split::Test)?
        };
        let stop = if tested.is_none() {
            StopReason::Interrupted
        } else {
            stop
        };
        let config_toml = self.config.to_toml();
        let mut row = leaderboard::Row {
            name: self.config.name.clone(),
            status: stop.to_string(),
            start_validation: self.start_validation,
            best_validation: self.best.validation.value(),
            best_generation: self.best.generation,
            generations: self.strategy.generation(),
            model: labels.model.clone(),
            model_sha256: labels.model_sha256.clone(),
            precision: format!("{:?}", self.config.model.precision).to_lowercase(),
            task: labels.task.clone(),
            space: match &self.config.space {
                SpaceSection::Spectral { part, rank, .. } => format!("spectral {part:?} {rank}").to_lowercase(),
                SpaceSection::LoraSvd { alpha, .. } => format!("lora-svd {alpha}"),
            },
            n: self.best.theta.len(),
            strategy: self.strategy.name().into(),
            population: self.strategy.population(),
            prompts: self.config.run.prompts,
            seed: self.config.seed,
            rollouts: self.judged,
            num_tokens: self.tokens,
            wall_s: (self.started.elapsed().as_secs_f64() * 10.0).round() / 10.0,
            config_sha256: hex(&Sha256::digest(config_toml.as_bytes())),
            essa: env!("CARGO_PKG_VERSION").into(),
            finished: chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Secs, true),
            directory: self.directory.display().to_string(),
            ..Default::default()
        };
        if let Some([start, mean_of_run]) = tested.as_deref() {
            let (gain, gain_se) = paired_gain(mean_of_run, start);
            row.test = Some(mean_of_run.fitness.value());
            row.test_se = Some(mean_of_run.standard_error());
            row.start_test = Some(start.fitness.value());
            row.start_test_se = Some(start.standard_error());
            row.gain = Some(gain);
            row.gain_se = Some(gain_se);
            row.test_examples = start.rewards.len();
        }
        self.progress.finish();
        if self.ranks.is_root() {
            write_json(&self.directory.join("result.json"), &row)?;
            if let Some(folder) = self.directory.parent().filter(|folder| !folder.as_os_str().is_empty()) {
                leaderboard::write(folder)?;
            }
        }
        Ok((row, stop))
    }
}

/// A directory that no run has used: `out`, or `runs/<name>`, `runs/<name>-2`, … when none was named.
pub fn choose_directory(out: Option<&Path>, name: &str) -> PathBuf {
    let is_free = |path: &Path| !path.join("config.toml").exists();
    match out {
        Some(out) => out.to_path_buf(),
        None => (1_u32..)
            .map(|number| {
                if number == 1 {
                    name.to_string()
                } else {
                    format!("{name}-{number}")
                }
            })
            .map(|name| Path::new("runs").join(name))
            .find(|path| is_free(path))
            .expect("one of four billion names is free"),
    }
}

/// Makes the directory and writes the config; opens this rank's rollouts.
fn prepare(config: &RunConfig, directory: &Path, ranks: &Ranks) -> Result<Option<File>> {
    if ranks.is_root() {
        if directory.join("config.toml").exists() {
            return Err(Error::file(
                directory,
                "already holds a run; choose another --out, or remove it",
            ));
        }
        write_atomically(&directory.join("config.toml"), config.to_toml().as_bytes())?;
    } else {
        std::fs::create_dir_all(directory).map_err(Error::io(directory))?;
    }
    if !config.run.rollouts {
        return Ok(None);
    }
    let name = if ranks.is_root() {
        "rollouts.jsonl".into()
    } else {
        format!("rollouts.{}.jsonl", ranks.rank())
    };
    let path = directory.join(name);
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(&path)
        .map(Some)
        .map_err(Error::io(path))
}

fn score(evaluation: &Evaluation) -> String {
    format!("{:.3} ± {:.3}", evaluation.fitness.value(), evaluation.standard_error())
}

fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    write_atomically(path, &serde_json::to_vec(value).expect("JSON of text and numbers"))
}

/// For a person: how long a run took.
pub fn took(row: &leaderboard::Row) -> String {
    progress::duration(Duration::from_secs_f64(row.wall_s))
}
