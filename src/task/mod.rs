//! A task gives examples and says who judges the responses to them. It sees text only: no tensors, no tokens, no candidates.

pub mod choice;
pub mod countdown;
pub mod demonstrations;
pub mod gsm8k;
pub mod ifeval;
pub mod instructions;
pub mod jsonl;
pub mod math;
mod nearness;
pub mod preference;
pub mod rows;
pub mod splits;
mod template;

pub use crate::judge::{Example, Verdict};

use crate::error::{Error, Result};
use crate::judge::{Judge, JudgeConfig, Said, judge_all};
use crate::seed::Seed;
use rows::{Preset, RowsConfig};
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Examples, and who judges the responses to them.
pub trait Task: Send + Sync {
    /// What a leaderboard calls it.
    fn name(&self) -> String;

    /// The examples of one split, in a fixed order. No example is in two splits.
    fn examples(&self, split: Split) -> &[Example];

    /// Removes from train the prompts that supervised learning has seen, by their [`splits::prompt_key`]. An error where a split that is scored has one of
    /// them, or nothing would be left to search on; a task that can remove none refuses them in any split.
    fn set_apart(&mut self, seen: &HashSet<String>) -> Result<()> {
        let mut examples = Split::ALL.into_iter().flat_map(|split| self.examples(split));
        match examples.find(|example| seen.contains(&splits::prompt_key(example))) {
            None => Ok(()),
            Some(example) => Err(Error::config(format!(
                "example `{}` was a row of the warm start, and the task {} cannot leave it out; train the adapter on other rows",
                example.id,
                self.name()
            ))),
        }
    }

    /// Begins to judge what the model says after an example's prompt.
    fn judge(&self) -> Result<Box<dyn Judge>>;

    /// The same for candidates while the search goes on, where that is another judge: one that is cheaper, or tells degrees.
    fn train_judge(&self) -> Result<Option<Box<dyn Judge>>> {
        Ok(None)
    }

    /// What a user should know about the examples before trusting a score, a sentence each: prompts that were removed
    /// because another split has them.
    fn notes(&self) -> Vec<String> {
        Vec::new()
    }
}

/// What a task's judge of texts says of one response: for looking at a judge, where nothing is decoded beside it.
pub fn verdict(task: &dyn Task, example: &Example, response: &str) -> Result<Verdict> {
    let said = (Arc::new(example.clone()), Said::Text(response.into()));
    Ok(judge_all(&mut *task.judge()?, vec![said]).remove(0))
}

/// A task as a config file describes it; `kind` selects which.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum TaskConfig {
    /// Made from a seed; needs no data.
    Instructions(instructions::InstructionsConfig),
    /// Read from JSON-lines files of any columns.
    Jsonl(RowsConfig),
    /// GSM8K.
    Gsm8k(RowsConfig),
    /// MATH, PRM800K, MATH-500.
    Math(RowsConfig),
    /// IFEval.
    Ifeval(RowsConfig),
    /// Multiple choice.
    Choice(RowsConfig),
    /// Preference pairs and labels.
    Preference(RowsConfig),
    /// Countdown, made from a seed or read from files.
    Countdown(countdown::CountdownConfig),
}

/// Kinds whose rows are read from files, by the names under which `essa judge` knows them too.
pub const PRESETS: [&Preset; 7] = [
    &jsonl::PRESET,
    &gsm8k::PRESET,
    &math::PRESET,
    &ifeval::PRESET,
    &choice::PRESET,
    &countdown::PRESET,
    &preference::PRESET,
];

impl TaskConfig {
    /// The task of a config whose paths are absolute. Its examples hang on the task alone and not on a run's seed, so that runs of different
    /// seeds are scored on the same test split.
    pub fn open(&self) -> Result<Box<dyn Task>> {
        self.load(Seed::new(0).named("task"), Path::new("."))
    }

    /// Makes or reads the examples. `seed` decides which are made; relative paths are relative to `base_dir`, the folder of the config file.
    pub fn load(&self, seed: Seed, base_dir: &Path) -> Result<Box<dyn Task>> {
        Ok(match self {
            Self::Instructions(config) => Box::new(instructions::Instructions::new(config, seed)?),
            Self::Countdown(config) if config.rows().is_none() => Box::new(countdown::Countdown::new(config, seed)?),
            _ => {
                let (config, preset) = self.rows().expect("all others are made of rows");
                Box::new(config.open(preset, base_dir)?)
            }
        })
    }

    /// How its rows are read, where they come from files.
    pub fn rows(&self) -> Option<(RowsConfig, &'static Preset)> {
        match self {
            Self::Instructions(_) => None,
            Self::Jsonl(config) => Some((config.clone(), &jsonl::PRESET)),
            Self::Gsm8k(config) => Some((config.clone(), &gsm8k::PRESET)),
            Self::Math(config) => Some((config.clone(), &math::PRESET)),
            Self::Ifeval(config) => Some((config.clone(), &ifeval::PRESET)),
            Self::Choice(config) => Some((config.clone(), &choice::PRESET)),
            Self::Preference(config) => Some((config.clone(), &preference::PRESET)),
            Self::Countdown(config) => config.rows().map(|rows| (rows, &countdown::PRESET)),
        }
    }

    /// Files that it reads.
    pub fn files(&self) -> Vec<PathBuf> {
        self.rows()
            .map_or(Vec::new(), |(rows, _)| rows.files().map(PathBuf::from).collect())
    }

    /// The judge of texts, and that of candidates where it is another; none where the task brings its own.
    pub fn judges(&self) -> Option<(JudgeConfig, Option<JudgeConfig>)> {
        match (self, self.rows()) {
            (Self::Instructions(_), _) => None,
            (_, Some((rows, preset))) => Some((rows.judge(preset).ok()?, rows.train_judge)),
            (_, None) => Some((JudgeConfig::named("countdown"), None)),
        }
    }

    /// Names of the terms that its judge of texts gives; none where they are only known from its answers.
    pub fn terms(&self) -> Option<&'static [&'static str]> {
        match self.judges() {
            None => Some(&["follows", "closeness", "correct"]),
            Some((judge, _)) => Some(judge.terms()).filter(|terms| !terms.is_empty()),
        }
    }

    /// Whether candidates are judged by probabilities, and write nothing.
    pub fn asks_likelihood(&self) -> bool {
        self.judges()
            .is_some_and(|(judge, train)| train.unwrap_or(judge).asks_likelihood())
    }
}

impl Default for TaskConfig {
    fn default() -> Self {
        Self::Instructions(instructions::InstructionsConfig::default())
    }
}

/// Which examples. Nothing is ever selected on `Test`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Split {
    /// Judges candidates.
    Train,
    /// Judges the mean during a run.
    Validation,
    /// Judges the result, once.
    Test,
}

impl Split {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Train, Self::Validation, Self::Test];
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_config_names_its_kind() {
        let config: TaskConfig = toml::from_str("kind = \"instructions\"\ntrain_size = 24").expect("valid");
        assert!(matches!(&config, TaskConfig::Instructions(config) if config.train_size == 24));
        let written = toml::to_string(&config).expect("a config can be written");
        assert_eq!(toml::from_str::<TaskConfig>(&written).expect("and read again"), config);
        for bad in [
            "kind = \"essay\"",
            "kind = \"instructions\"\ntrain_sise = 24",
            "train_size = 24",
        ] {
            assert!(toml::from_str::<TaskConfig>(bad).is_err(), "{bad}");
        }
    }
}
