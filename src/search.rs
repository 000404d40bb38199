//! The words that both columns of the house speak: what is searched ([`Layout`]),
//! and what is known of a point of it after it was judged ([`Evaluation`], [`Fitness`]). No tensors, no text, no ranks.

use crate::statistics::{Estimate, standard_error};
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
        standard_error(&self.rewards)
    }

    /// The mean reward with its 95 % interval.
    pub fn estimate(&self) -> Estimate {
        Estimate::of_mean(&self.rewards)
    }
}

/// θ of the start, `[n]`. Every space lays its zero where the search is to begin: at the base model, or at the supervised adapter.
pub fn start(n: usize) -> Vec<f64> {
    vec![0.0; n]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_lie_in_order_of_their_names() {
        let layout = Layout::new([("b".to_string(), 2), ("a".to_string(), 3), ("c".to_string(), 1)]);
        let places: Vec<(&str, usize, usize)> = layout
            .slots()
            .iter()
            .map(|s| (s.name.as_str(), s.start, s.len))
            .collect();
        assert_eq!(places, [("a", 0, 3), ("b", 3, 2), ("c", 5, 1)]);
        assert_eq!((layout.dim(), Layout::default().dim()), (6, 0));
    }

    #[test]
    fn what_could_not_be_judged_ranks_last_and_is_null() {
        let mut all = [0.5, f64::NAN, -2.0, 1.0].map(Fitness::new);
        all.sort_by(Fitness::best_first);
        assert_eq!(all, [1.0, 0.5, -2.0, f64::NAN].map(Fitness::new));
        assert!(all[3].is_failed() && all[3] == Fitness::FAILED && !all[2].is_failed());
        let text = serde_json::to_string(&all).expect("JSON");
        assert_eq!(text, "[1.0,0.5,-2.0,null]");
        assert_eq!(serde_json::from_str::<[Fitness; 4]>(&text).expect("and back"), all);
    }
}
