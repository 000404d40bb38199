//! From search vectors to evaluations. Texts and tensors stay below this line; numbers go up. [`Alignment`] is the
//! objective that the engine exists for; [`sphere`] lets everything above be tried without a model.

pub mod alignment;
pub mod sphere;

use crate::engine::Finish;
use crate::error::Result;
use crate::search::{Evaluation, Fitness, Layout};
use crate::seed::Seed;
use crate::statistics::mean;
use crate::task::{Split, Verdict};
pub use alignment::Alignment;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// Something that can be maximised by judging search vectors.
pub trait Objective {
    /// The search vector's slots.
    fn layout(&self) -> &Layout;

    /// How many examples a split has.
    fn examples(&self, split: Split) -> usize;

    /// Judges search vectors on questions, all `items` in one batch. Rollouts go to `report` as they end, in any order; an
    /// error of its ends the work. `go_on` is asked now and then; returns whether all was done, which it is not when that
    /// says no.
    fn evaluate(
        &mut self,
        thetas: &[Vec<f64>],
        questions: &Questions,
        items: &[Item],
        report: &mut dyn FnMut(Vec<Rollout>) -> Result<()>,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<bool>;

    /// SHA-256 of all that decides a judgement beside the config: weights, bases, examples. A run is only resumed on
    /// the same.
    fn digest(&self) -> Result<String>;

    /// Writes one search vector as something that others can use.
    fn export(&self, theta: &[f64], directory: &Path) -> Result<()>;

    /// What it is made of, for the leaderboard.
    fn labels(&self) -> Result<Labels> {
        Ok(Labels::default())
    }
}

/// What an objective is made of, for the leaderboard.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labels {
    /// Base model.
    pub model: String,
    /// SHA-256 of its weights.
    pub model_sha256: String,
    /// Task.
    pub task: String,
}

/// The examples that all candidates of a generation are judged on.
#[derive(Clone, Debug, PartialEq)]
pub struct Questions {
    /// Which split.
    pub split: Split,
    /// Which of its examples.
    pub indices: Vec<usize>,
    /// The stream of sampled texts; example i uses `seed.fold(i)`, whoever the candidate is.
    pub seed: Seed,
    /// Whether a task that can tell degrees ([`crate::task::Task::graded_by`]) is asked for them, and no text is written.
    pub graded: bool,
}

impl Questions {
    /// All `examples` of a split, for texts. The stream is the split's own below the run's `seed`, so that every look asks the same.
    pub fn whole(split: Split, examples: usize, seed: Seed) -> Self {
        Self {
            split,
            indices: (0..examples).collect(),
            seed: seed.named(if split == Split::Test {
                "test texts"
            } else {
                "validation texts"
            }),
            graded: false,
        }
    }
}

/// One search vector on one question: the unit of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Item {
    /// Index into the search vectors; in a generation, the member.
    pub candidate: usize,
    /// Index into the questions' examples.
    pub question: usize,
}

/// One judged text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rollout {
    /// Whose it is, and to what.
    #[serde(flatten)]
    pub item: Item,
    /// The example.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub prompt_id: String,
    /// The example's last turn.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub prompt: String,
    /// What the model wrote.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub completion: String,
    /// The judgement.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// Tokens of the completion.
    pub tokens: usize,
    /// Why it ended.
    pub finish_reason: Finish,
}

impl Rollout {
    /// Its numbers alone: what crosses ranks.
    pub fn without_texts(&self) -> Self {
        Self {
            prompt_id: String::new(),
            prompt: String::new(),
            completion: String::new(),
            verdict: self.verdict.clone(),
            ..*self
        }
    }
}

/// Sums up the rollouts of one candidate; a failed judgement counts as its reward says, and is counted.
pub fn evaluation(rollouts: &[&Rollout]) -> Evaluation {
    let rewards: Vec<f64> = rollouts.iter().map(|rollout| rollout.verdict.reward).collect();
    let mut terms: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for (term, value) in rollouts.iter().flat_map(|rollout| &rollout.verdict.terms) {
        terms.entry(term.clone()).or_default().push(*value);
    }
    let count = |is: &dyn Fn(&Rollout) -> bool| rollouts.iter().filter(|rollout| is(rollout)).count();
    let failed = count(&|rollout| rollout.verdict.failed);
    Evaluation {
        fitness: if failed == rollouts.len() {
            Fitness::FAILED
        } else {
            Fitness::new(mean(&rewards))
        },
        terms: terms.into_iter().map(|(term, values)| (term, mean(&values))).collect(),
        rewards,
        failed,
        truncated: count(&|rollout| rollout.finish_reason == Finish::Length),
        prompt_tokens: rollouts.iter().map(|rollout| rollout.prompt_tokens).sum(),
        completion_tokens: rollouts.iter().map(|rollout| rollout.tokens).sum(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rollout(reward: f64, failed: bool) -> Rollout {
        Rollout {
            item: Item {
                candidate: 0,
                question: 0,
            },
            prompt_id: "1".into(),
            prompt: String::new(),
            completion: String::new(),
            verdict: Verdict {
                reward,
                failed,
                ..Default::default()
            },
            prompt_tokens: 10,
            tokens: 3,
            finish_reason: Finish::Stop,
        }
    }

    /// Promise 6: a failed judgement is data, counted and scored as it says; only where nothing could be judged has
    /// the candidate failed.
    #[test]
    fn failed_judgements_are_counted() {
        let some = evaluation(&[&rollout(1.0, false), &rollout(0.0, true)]);
        assert_eq!(
            (some.fitness, some.failed, some.completion_tokens),
            (Fitness::new(0.5), 1, 6)
        );
        assert!(evaluation(&[&rollout(0.0, true)]).fitness.is_failed());
    }
}
