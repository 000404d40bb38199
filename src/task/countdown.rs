//! Countdown: numbers, a target, and an expression that makes the one of the others. Made from a seed, or read from files in the shape in which
//! TinyZero's data are published:
//!
//! ```json
//! {"target": 98, "nums": [44, 19, 35]}
//! ```
//!
//! The prompt is TinyZero's. The judge is `countdown`: the reward is `correct`; `reward.weights = { correct = 0.9, valid = 0.1 }` gives a small
//! one to whoever uses the numbers rightly, as TinyZero does.

use super::rows::{Preset, RowsConfig, Size};
use super::splits::Splits;
use super::template::Template;
use super::{Example, Split, Task};
use crate::error::{Error, Result};
use crate::judge::kind::Asked;
use crate::judge::{Judge, JudgeConfig};
use crate::reward::countdown::generate;
use crate::rows::Row;
use crate::seed::Seed;
use crate::text::Message;
use rand::RngExt;
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::path::PathBuf;

/// What the kind takes where its config says nothing.
pub const PRESET: Preset = Preset {
    name: "countdown",
    prompt: Some(
        "Using the numbers {nums}, create an equation that equals {target}. You can use basic arithmetic operations (+, -, *, /) and each number can \
         only be used once. Show your work in <think> </think> tags. And return the final answer in <answer> </answer> tags, for example \
         <answer> (1 + 2) / 3 </answer>.",
    ),
    prompt_after_shots: None,
    shot: None,
    answer: None,
    options: None,
    judge: Some("countdown"),
};

/// What to make, or which files to read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CountdownConfig {
    /// Files of rows; without them puzzles are made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub train: Option<PathBuf>,
    /// The same for validation; without it `validation_size` rows are carved off train.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub validation: Option<PathBuf>,
    /// The same for test.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test: Option<PathBuf>,
    /// Puzzles to make that judge candidates.
    pub train_size: usize,
    /// Puzzles to make that judge the mean.
    pub validation_size: usize,
    /// Puzzles to make that judge the result.
    pub test_size: usize,
    /// How many numbers a puzzle has: the fewest and the most.
    pub numbers: [usize; 2],
    /// The largest number.
    pub largest: i64,
    /// The user's turn, a template with `{nums}` and `{target}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt: Option<String>,
    /// The system's turn.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub system: Option<String>,
}

impl Default for CountdownConfig {
    fn default() -> Self {
        Self {
            train: None,
            validation: None,
            test: None,
            train_size: 512,
            validation_size: 128,
            test_size: 256,
            numbers: [3, 4],
            largest: 99,
            prompt: None,
            system: None,
        }
    }
}

impl CountdownConfig {
    /// How rows are read where there are files.
    pub fn rows(&self) -> Option<RowsConfig> {
        let train = self.train.clone()?;
        let carved = |file: &Option<PathBuf>, size: usize| file.is_none().then_some(Size::Count(size));
        Some(RowsConfig {
            train,
            validation_size: carved(&self.validation, self.validation_size),
            test_size: carved(&self.test, self.test_size),
            validation: self.validation.clone(),
            test: self.test.clone(),
            prompt: self.prompt.clone(),
            system: self.system.clone(),
            ..RowsConfig::default()
        })
    }
}

/// Puzzles made from a seed, each different.
pub struct Countdown {
    splits: Splits,
}

impl Countdown {
    /// Makes the puzzles.
    pub fn new(config: &CountdownConfig, seed: Seed) -> Result<Self> {
        let [fewest, most] = config.numbers;
        if !(3..=6).contains(&fewest) || most < fewest || most > 6 {
            return Err(Error::config(format!(
                "task.numbers is [{fewest}, {most}], expected the fewest and the most numbers of a puzzle, from 3 to 6"
            )));
        }
        if !(5..=1_000_000).contains(&config.largest) {
            return Err(Error::config(format!(
                "task.largest is {}, expected 5 to 1000000",
                config.largest
            )));
        }
        let prompt = config.prompt.as_deref().or(PRESET.prompt).expect("the preset has one");
        let prompt = Template::parse("prompt", prompt)?;
        let kind = JudgeConfig::named("countdown").open(&Default::default())?;
        let mut seen = HashSet::new();
        let mut random = seed.named("countdown").rng();
        let mut make = |name: &str, size: usize| {
            if size == 0 {
                return Err(Error::config(format!("task.{name}_size is 0, expected 1 or more")));
            }
            let mut examples = Vec::with_capacity(size);
            let mut tries = 0;
            while examples.len() < size {
                tries += 1;
                if tries > 100 * size + 10_000 {
                    return Err(Error::config(format!(
                        "task.{name}_size is {size}, and there are not that many different puzzles of {fewest} to {most} numbers up to {}; raise task.largest",
                        config.largest
                    )));
                }
                let mut below = |n: u64| random.random_range(0..n);
                let count = fewest + below((most - fewest + 1) as u64) as usize;
                let (numbers, target, _) = generate(&mut below, count, config.largest);
                let mut sorted = numbers.clone();
                sorted.sort_unstable();
                if !seen.insert((sorted, target)) {
                    continue;
                }
                let listed: Vec<String> = numbers.iter().map(i64::to_string).collect();
                let line = format!("{{\"nums\": [{}], \"target\": {target}}}", listed.join(", "));
                let row = Row::parse(&line).map_err(Error::config)?;
                let text = prompt
                    .render(&row, &[])
                    .map_err(|what| Error::config(format!("task.prompt: {what}")))?;
                let system = config.system.iter().map(Message::system);
                examples.push(Example {
                    id: format!("{name}/{}", examples.len()),
                    messages: system.chain([Message::user(text)]).collect(),
                    reference: kind.reference(&Asked::of(&row)).map_err(Error::config)?,
                    row,
                    ..Example::default()
                });
            }
            Ok(examples)
        };
        let test = make("test", config.test_size)?;
        let validation = make("validation", config.validation_size)?;
        let train = make("train", config.train_size)?;
        Ok(Self {
            splits: Splits::new(train, validation, test),
        })
    }
}

impl Task for Countdown {
    fn name(&self) -> String {
        "countdown".into()
    }

    fn examples(&self, split: Split) -> &[Example] {
        self.splits.get(split)
    }

    fn set_apart(&mut self, seen: &HashSet<String>) -> Result<()> {
        self.splits.set_apart(seen)
    }

    fn judge(&self) -> Result<Box<dyn Judge>> {
        JudgeConfig::named("countdown").open(&Default::default())?.begin(1)
    }
}
