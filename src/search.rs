//! The words that both columns of the house speak: what is searched ([`Layout`]), one point of it ([`Candidate`]),
//! and what is known of a point after it was judged ([`Evaluation`], [`Fitness`]). No tensors, no text, no ranks.

use serde::{Deserialize, Serialize};
use std::cmp::Ordering;
use std::collections::BTreeMap;

/// The named slots of a search vector, in the order in which they lie in it (sorted by name, so that it is the same
/// in every process).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layout {
    slots: Vec<Slot>,
}

/// One run of neighbouring numbers in a search vector.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slot {
    /// What the numbers act on, such as `model.layers.0.self_attn.q_proj.a`.
    pub name: String,
    /// Index of the slot's first number in the vector.
    pub start: usize,
    /// How many numbers.
    pub len: usize,
}

impl Layout {
    /// Lays out `(name, len)` pairs; sorts them by name.
    pub fn new(slots: impl IntoIterator<Item = (String, usize)>) -> Self {
        let mut named: Vec<_> = slots.into_iter().collect();
        named.sort();
        let mut start = 0;
        let slots = named
            .into_iter()
            .map(|(name, len)| {
                let slot = Slot { name, start, len };
                start += len;
                slot
            })
            .collect();
        Self { slots }
    }

    /// n, the dimension of the search.
    pub fn dim(&self) -> usize {
        self.slots.last().map_or(0, |slot| slot.start + slot.len)
    }

    /// All slots in order.
    pub fn slots(&self) -> &[Slot] {
        &self.slots
    }
}

/// One point of the search space, made by [`crate::strategy::Strategy::ask`].
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// Position in its generation, 0 ≤ member < population.
    pub member: usize,
    /// The search vector, `[n]`.
    pub theta: Vec<f64>,
}

/// How good a candidate is: larger is better, everywhere. What could not be judged is [`Fitness::FAILED`]; it ranks last.
/// In JSON, which has no infinities, a failure is `null`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "Option<f64>", into = "Option<f64>")]
pub struct Fitness(f64);

impl From<Option<f64>> for Fitness {
    fn from(value: Option<f64>) -> Self {
        value.map_or(Self::FAILED, Self::new)
    }
}

impl From<Fitness> for Option<f64> {
    fn from(fitness: Fitness) -> Self {
        (!fitness.is_failed()).then_some(fitness.0)
    }
}

impl Fitness {
    /// A candidate of which nothing could be judged.
    pub const FAILED: Self = Self(f64::NEG_INFINITY);

    /// NaN becomes [`Fitness::FAILED`].
    pub fn new(value: f64) -> Self {
        if value.is_nan() { Self::FAILED } else { Self(value) }
    }

    /// The number; −∞ when failed.
    pub fn value(self) -> f64 {
        self.0
    }

    /// Whether nothing could be judged.
    pub fn is_failed(self) -> bool {
        self == Self::FAILED
    }

    /// Orders the better fitness first.
    pub fn best_first(&self, other: &Self) -> Ordering {
        other.0.total_cmp(&self.0)
    }
}

/// What is known of one candidate after its rollouts were judged. This, and nothing else, crosses ranks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Mean reward over the rollouts.
    pub fitness: Fitness,
    /// Mean of each named term of the reward.
    pub terms: BTreeMap<String, f64>,
    /// Reward of each rollout in the order of the batch's prompts: what paired comparisons are made of.
    pub rewards: Vec<f64>,
    /// Judgements that failed (counted in `rewards` as 0).
    pub failed: usize,
    /// Rollouts that ended because their token budget did.
    pub truncated: usize,
    /// Prompt tokens read.
    pub prompt_tokens: usize,
    /// Tokens written.
    pub completion_tokens: usize,
}

impl Evaluation {
    /// Standard error of the fitness over the rollouts.
    pub fn standard_error(&self) -> f64 {
        standard_deviation(&self.rewards) / (self.rewards.len().max(1) as f64).sqrt()
    }
}

/// Mean and standard error of the differences `after − before`, question by question.
pub fn paired_gain(after: &Evaluation, before: &Evaluation) -> (f64, f64) {
    let differences: Vec<f64> = after.rewards.iter().zip(&before.rewards).map(|(a, b)| a - b).collect();
    (
        mean(&differences),
        standard_deviation(&differences) / (differences.len() as f64).sqrt(),
    )
}

/// The mean; NaN of none.
pub fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// The sample standard deviation; 0 of fewer than two.
pub fn standard_deviation(values: &[f64]) -> f64 {
    if values.len() < 2 {
        return 0.0;
    }
    let mean = mean(values);
    (values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (values.len() - 1) as f64).sqrt()
}
