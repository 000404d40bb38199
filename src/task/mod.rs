//! A task gives examples and judges a response. It sees text only: no tensors, no tokens, no candidates.

pub mod instructions;
pub mod jsonl;
mod splits;

use crate::error::Result;
use crate::seed::Seed;
use crate::text::Message;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// Examples, and what a response to one is worth.
pub trait Task: Send + Sync {
    /// What a leaderboard calls it.
    fn name(&self) -> String;

    /// The examples of one split, in a fixed order. No example is in two splits.
    fn examples(&self, split: Split) -> &[Example];

    /// Judges `response`, the text that the model wrote after `example`'s prompt. Pure; anything goes in, and a
    /// response that cannot be judged is `failed` in the result, never a panic.
    fn judge(&self, example: &Example, response: &str) -> Verdict;

    /// The answer whose probability is what a candidate earns, and how, where candidates are to be judged by that and not
    /// by what they write ([`crate::objective::Questions::graded`]); for all examples of a task, or for none.
    fn graded_by<'a>(&self, _example: &'a Example) -> Option<(&'a str, Grade)> {
        None
    }

    /// What a user should know about the examples before trusting a score, a sentence each: prompts that were removed
    /// because another split has them.
    fn notes(&self) -> Vec<String> {
        Vec::new()
    }
}

/// A task as a config file describes it; `kind` selects which.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum TaskConfig {
    /// Made from a seed; needs no data.
    Instructions(instructions::InstructionsConfig),
    /// Read from JSON-lines files.
    Jsonl(jsonl::JsonlConfig),
}

impl TaskConfig {
    /// The task of a config whose paths are absolute. Its examples hang on the task alone and not on a run's seed, so that runs of different
    /// seeds are scored on the same test split.
    pub fn open(&self) -> Result<Box<dyn Task>> {
        self.load(Seed::new(0).named("task"), Path::new("."))
    }

    /// Makes or reads the examples. `seed` decides which are made and how one file is split; relative paths are
    /// relative to `base_dir`, the folder of the config file.
    pub fn load(&self, seed: Seed, base_dir: &Path) -> Result<Box<dyn Task>> {
        Ok(match self {
            Self::Instructions(config) => Box::new(instructions::Instructions::new(config, seed)?),
            Self::Jsonl(config) => Box::new(jsonl::Jsonl::load(config, seed, base_dir)?),
        })
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

/// One example: what the model is shown, and what the judge knows beside it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Example {
    /// Names the example among all splits of the task.
    pub id: String,
    /// The conversation so far; the chat template renders it.
    pub messages: Vec<Message>,
    /// What the judge needs: the gold answer, the instruction's arguments.
    pub reference: serde_json::Value,
}

/// The outcome of one judgement.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// What the search maximises, usually in [0, 1].
    pub reward: f64,
    /// What the reward is made of, by name; logged, never optimised by itself.
    pub terms: BTreeMap<String, f64>,
    /// The judge could not come to a verdict; the reward then stands as configured (0).
    pub failed: bool,
}

impl Verdict {
    /// A verdict. A reward that is not a finite number is no verdict: that gives [`Verdict::failed`]. A term that is not
    /// finite is left out.
    pub fn new<'a>(reward: f64, terms: impl IntoIterator<Item = (&'a str, f64)>) -> Self {
        if !reward.is_finite() {
            return Self::failed();
        }
        let finite = terms.into_iter().filter(|(_, value)| value.is_finite());
        Self {
            reward,
            terms: finite.map(|(name, value)| (name.to_owned(), value)).collect(),
            failed: false,
        }
    }

    /// No verdict: reward 0, counted by the caller.
    pub fn failed() -> Self {
        Self {
            failed: true,
            ..Self::default()
        }
    }
}

/// How the probability of the right answer pays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Grade {
    /// As it is: what an exact match of a text sampled at temperature 1 earns on average. Once an answer is unlikely, it
    /// hardly counts how unlikely.
    Probability,
    /// Its logarithm, a proper scoring rule (Gneiting and Raftery, *Strictly Proper Scoring Rules, Prediction, and
    /// Estimation*, JASA 102, 2007): being sure of a wrong answer costs the most, down to [`LEAST_PROBABILITY`] a token.
    LogProbability,
}

/// Below this probability a token costs no more. Without a floor one hopeless prompt, whose answer's logarithm can be
/// −700, outvotes all others of a generation, and how hopeless it is says nothing about a candidate. The floor is
/// each token's own, so that of a long answer the other tokens still count.
pub const LEAST_PROBABILITY: f64 = 1e-3;

impl Grade {
    /// What an answer earns whose tokens have these log-probabilities; the least there is, and a failure, where one is not
    /// a number.
    pub fn verdict(self, log_probabilities: &[f32]) -> Verdict {
        let logarithms = || log_probabilities.iter().map(|&logarithm| f64::from(logarithm));
        let failed = logarithms().any(f64::is_nan);
        let logarithm: f64 = logarithms().map(|own| own.max(LEAST_PROBABILITY.ln())).sum();
        let probability = if failed { 0.0 } else { logarithms().sum::<f64>().exp() };
        let reward = match self {
            Self::Probability => probability,
            Self::LogProbability => logarithm,
        };
        let terms = [("probability", probability), ("log_probability", logarithm)];
        Verdict {
            failed,
            ..Verdict::new(reward, terms)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_answer_that_is_certain_costs_most() {
        let floor = 0.001_f64.ln();
        let [sure, unsure, broken] = [-30.0, -3.0, f32::NAN].map(|own| Grade::LogProbability.verdict(&[own, -0.5]));
        assert_eq!((sure.reward, unsure.reward, sure.failed), (floor - 0.5, -3.5, false));
        // What is no number is no verdict, and never the better for it.
        assert!(broken.failed && broken.reward == sure.reward && broken.terms["probability"] == 0.0);
        let ends = [f32::NEG_INFINITY, 0.0].map(|own| Grade::Probability.verdict(&[own, 0.0]));
        assert!(ends[0].reward == 0.0 && ends[1].reward == 1.0);
        let small = Grade::Probability.verdict(&[-30.0, -1.0]).reward;
        assert!(
            (small / (-31_f64).exp() - 1.0).abs() < 1e-6,
            "a probability has no floor: {small}"
        );
    }

    /// One prompt that no candidate can answer is worth as much as one on which they differ, and not as nineteen.
    #[test]
    fn one_hopeless_prompt_does_not_outvote_the_others() {
        let mean = |hopeless: f32, others: f32| {
            let of = |own: f32| Grade::LogProbability.verdict(&[own]).reward;
            (of(hopeless) + 19.0 * of(others)) / 20.0
        };
        assert!(mean(-400.0, -0.5) > mean(-300.0, -0.6), "better on nineteen of twenty");
        // A long answer with one impossible token: the others still tell candidates apart.
        let long = |others: f32| Grade::LogProbability.verdict(&[others, -80.0, others]).reward;
        assert!(long(-1.0) > long(-2.0));
    }

    #[test]
    fn a_verdict_that_is_no_number_is_a_failed_judgement() {
        for reward in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let verdict = Verdict::new(reward, [("correct", 1.0)]);
            assert_eq!(verdict, Verdict::failed());
            assert!(verdict.failed && verdict.reward == 0.0 && verdict.terms.is_empty());
        }
        let verdict = Verdict::new(0.5, [("correct", 1.0), ("odd", f64::NAN)]);
        assert!(!verdict.failed && verdict.terms.len() == 1);
    }

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
