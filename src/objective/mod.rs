//! From search vectors to evaluations. Texts and tensors stay below this line; numbers go up. [`Alignment`] is the
//! objective that the engine exists for; [`sphere`] lets everything above be tried without a model.

pub mod alignment;
mod bench;
mod drift;
pub mod exam;
mod references;
pub mod sphere;

use crate::config::RunConfig;
use crate::engine::Finish;
use crate::error::Result;
use crate::judge::{OfSamples, Scope};
use crate::search::{Evaluation, Fitness, Layout};
use crate::seed::Seed;
use crate::statistics::mean;
use crate::task::{Split, Verdict};
pub use alignment::Alignment;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

/// Something that can be maximised by judging search vectors.
pub trait Objective {
    /// The search vector's slots.
    fn layout(&self) -> &Layout;

    /// How many examples a split has.
    fn examples(&self, split: Split) -> usize;

    /// How many examples a split of a task has that only watches ([`Asks::OffTask`]).
    fn off_task_examples(&self, _task: usize, _split: Split) -> usize {
        0
    }

    /// What has to be judged in one batch: responses one by one, or all of a question together.
    fn scope(&self, _questions: &Questions) -> Scope {
        Scope::Response
    }

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
    /// How many texts to each example; where a judge asks for no text, 1.
    pub samples: usize,
    /// What the texts of an example earn together.
    pub of_samples: OfSamples,
    /// What about.
    pub asks: Asks,
}

/// What candidates are asked about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Asks {
    /// The run's task, judged as a candidate is ([`crate::task::Task::train_judge`]).
    Candidates,
    /// The run's task, judged as the mean is.
    #[default]
    Mean,
    /// Texts of the reference: a rollout's reward is its logarithm under the reference less that under the candidate, in nats, whose mean is
    /// the KL divergence of the candidate from the reference.
    Drift,
    /// The same from where the search begins, whatever the reference is. The texts hang on no run's seed.
    DriftFromStart,
    /// The task of this number among those that watch what a run costs elsewhere.
    OffTask(usize),
}

impl Questions {
    /// All `examples` of a split, as a run of this config looks at its mean. The stream is the split's own below the run's seed, so that every look
    /// asks the same.
    pub fn whole(config: &RunConfig, split: Split, examples: usize) -> Self {
        let stream = if split == Split::Test {
            "test texts"
        } else {
            "validation texts"
        };
        Self {
            samples: config.samples_of_mean(),
            of_samples: config.reward.of_samples,
            ..Self::new(split, (0..examples).collect(), Seed::new(config.seed).named(stream))
        }
    }

    /// These examples, a text each, judged as the mean is.
    pub fn new(split: Split, indices: Vec<usize>, seed: Seed) -> Self {
        Self {
            split,
            indices,
            seed,
            samples: 1,
            of_samples: OfSamples::Mean,
            asks: Asks::Mean,
        }
    }

    /// All that one candidate is asked in a range of the questions.
    pub fn items(&self, candidate: usize, questions: Range<usize>) -> impl Iterator<Item = Item> + use<> {
        let samples = self.samples;
        questions.flat_map(move |question| {
            (0..samples).map(move |sample| Item {
                candidate,
                question,
                sample,
            })
        })
    }

    /// The stream of one text. The first text to an example has the stream that it has alone.
    pub fn stream(&self, item: Item) -> Seed {
        let own = self.seed.fold(self.indices[item.question] as u64);
        if item.sample == 0 {
            own
        } else {
            own.fold(item.sample as u64)
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
    /// Which of the texts to it.
    #[serde(default, skip_serializing_if = "is_first")]
    pub sample: usize,
}

#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_first(sample: &usize) -> bool {
    *sample == 0
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
            verdict: Verdict {
                terms: self.verdict.terms.clone(),
                parts: BTreeMap::new(),
                error: None,
                ..self.verdict
            },
            ..*self
        }
    }
}

/// Sums up the rollouts of one candidate, which are in the order of their items; a failed judgement counts as its reward says, and is counted. Where
/// there are several texts to a question, they earn together what `of_samples` says, and beside the other terms stands what they would by the other
/// rules.
pub fn evaluation(rollouts: &[&Rollout], of_samples: OfSamples) -> Evaluation {
    let questions: Vec<&[&Rollout]> = rollouts.chunk_by(|a, b| a.item.question == b.item.question).collect();
    let by = |rule: OfSamples| -> Vec<f64> {
        let of_question =
            |texts: &&[&Rollout]| rule.reward(&texts.iter().map(|text| text.verdict.reward).collect::<Vec<_>>());
        questions.iter().map(of_question).collect()
    };
    let rewards = by(of_samples);
    let mut terms: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for (term, value) in rollouts.iter().flat_map(|rollout| &rollout.verdict.terms) {
        terms.entry(term.clone()).or_default().push(*value);
    }
    let samples = questions.first().map_or(1, |texts| texts.len());
    if samples > 1 {
        for rule in [OfSamples::Mean, OfSamples::Best, OfSamples::Pass(samples)] {
            terms.insert(String::from(rule), by(rule));
        }
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
                sample: 0,
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

    fn question(mut rollout: Rollout, question: usize) -> Rollout {
        rollout.item.question = question;
        rollout
    }

    #[test]
    fn texts_of_a_question_earn_together() {
        let rollouts =
            [(0, 1.0), (0, 0.0), (1, 0.0), (1, 0.5)].map(|(at, reward)| question(rollout(reward, false), at));
        let rollouts: Vec<&Rollout> = rollouts.iter().collect();
        let best = evaluation(&rollouts, OfSamples::Best);
        assert_eq!(
            (best.rewards.as_slice(), best.fitness),
            ([1.0, 0.5].as_slice(), Fitness::new(0.75))
        );
        assert_eq!(
            (best.terms["mean"], best.terms["pass@2"], best.completion_tokens),
            (0.375, 0.5, 12)
        );
    }

    /// Promise 6: a failed judgement is data, counted and scored as it says; only where nothing could be judged has
    /// the candidate failed.
    #[test]
    fn failed_judgements_are_counted() {
        let some = evaluation(
            &[&question(rollout(1.0, false), 0), &question(rollout(0.0, true), 1)],
            OfSamples::Mean,
        );
        assert_eq!(
            (some.fitness, some.failed, some.completion_tokens),
            (Fitness::new(0.5), 1, 6)
        );
        assert!(evaluation(&[&rollout(0.0, true)], OfSamples::Mean).fitness.is_failed());
    }
}
