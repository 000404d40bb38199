//! What a step of each slot costs, in nats. A slot moved alone by ± one step is D nats a response away from the start, so one of its L numbers
//! costs q = 2 D / (step² L): the mean of the Fisher information's diagonal over the slot, since a divergence is half of the step's square in
//! that metric. Numbers that cost the same at σ = 1 are what a strategy with one σ for all of them expects: each slot's gain is multiplied by
//! d = √(2 κ / (n (q + q_median / 10))), at which all n together are κ nats away. What hardly costs anything is noise of the measurement more than
//! room to move, hence the tenth of the median, and no gain is more than ten times another.
//!
//! Slots are not quite independent, so d is right up to a factor, the same for all; [`super::calibration`] finds it.

use super::calibration::TARGET;
use super::probing::{Estimator, Probing, Spent};
use crate::error::Result;
use crate::files::{cache_folder, write_atomically};
use crate::objective::Questions;
use crate::search::Slot;
use crate::seed::Seed;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// What moving one slot costs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cost {
    /// The slot.
    pub slot: String,
    /// How many numbers it has.
    pub numbers: usize,
    /// By how much each of them was moved.
    pub step: f64,
    /// Divergence from the start that this brought, nats a response.
    pub kl: f64,
    /// q: nats a response and number, at a step of 1.
    pub kl_per_number: f64,
}

/// The divergence at which a slot is measured, nats a response: above what the arithmetic of int8 adds (about 0.1), and not so far that the square
/// has ended.
const KL_OF_A_SLOT: f64 = 0.4;

/// What stands for a divergence that is no finite number.
const RUIN: f64 = 1e9;

/// Tokens that are read of a candidate, at least two texts.
const TOKENS: usize = 128;

/// How costs are measured; another method is another number, and what an older one kept is measured again.
pub const METHOD: u32 = 2;

/// The largest gain in units of the smallest.
const LARGEST_RATIO: f64 = 10.0;

/// Moves each of `slots` by itself; `sigma` is the step at which all of them together are [`TARGET`] away. None if the run was asked to end.
pub fn measure(
    probing: &mut Probing,
    slots: &[Slot],
    sigma: f64,
    questions: &Questions,
    seed: Seed,
) -> Result<Option<Vec<Cost>>> {
    let n = probing.objective.layout().dim();
    let step = sigma * (KL_OF_A_SLOT * slots.len() as f64 / TARGET).sqrt();
    let move_slot = |at: usize| {
        let slot = &slots[at];
        let mut theta = vec![0.0; n];
        // Signs, and not normals: each of few numbers counts the same.
        for (x, z) in theta[slot.start..][..slot.len]
            .iter_mut()
            .zip(seed.fold(at as u64).normals(slot.len))
        {
            *x = step.copysign(z);
        }
        theta
    };
    let Some(found) = probing.divergences(slots.len(), &move_slot, questions, Estimator::Squared)? else {
        return Ok(None);
    };
    let cost = |(slot, kl): (&Slot, f64)| {
        let kl = kl.min(RUIN);
        Cost {
            slot: slot.name.clone(),
            numbers: slot.len,
            step,
            kl,
            kl_per_number: 2.0 * kl.max(0.0) / (step * step * slot.len as f64),
        }
    };
    Ok(Some(slots.iter().zip(found).map(cost).collect()))
}

/// How many texts a slot is measured on, where one has so many tokens: 128 tokens together, and at least two texts.
pub fn texts(tokens_a_text: f64, most: usize) -> usize {
    ((TOKENS as f64 / tokens_a_text.max(1.0)).ceil() as usize).clamp(2.min(most), most)
}

/// d of each slot, in their order.
pub fn gains(costs: &[Cost]) -> Vec<f64> {
    let n: usize = costs.iter().map(|cost| cost.numbers).sum();
    let mut sorted: Vec<f64> = costs.iter().map(|cost| cost.kl_per_number).collect();
    sorted.sort_by(f64::total_cmp);
    let median = sorted[sorted.len() / 2];
    if median == 0.0 {
        // Nothing is known of most of them.
        return vec![1.0; costs.len()];
    }
    let gain = |q: f64| (2.0 * TARGET / (n as f64 * (q + 0.1 * median))).sqrt();
    let (middle, half) = (gain(median), LARGEST_RATIO.sqrt());
    let gains = costs.iter().map(|cost| gain(cost.kl_per_number));
    gains.map(|gain| gain.clamp(middle / half, middle * half)).collect()
}

/// Costs, and what it took to measure them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// One a slot, in their order.
    pub costs: Vec<Cost>,
    /// Counted by every run that uses them, so that a run's figures do not hang on what ran before it.
    pub spent: Spent,
}

/// What earlier runs measured, by what it hangs on. It only saves time: what cannot be read is measured again, and what cannot be written is not kept.
pub struct Kept(PathBuf);

impl Kept {
    /// Under this digest of all that decides it.
    pub fn of(digest: &str) -> Self {
        Self(cache_folder().join("units").join(format!("{digest}.json")))
    }

    /// What is kept of these slots, if anything.
    pub fn read(&self, slots: &[Slot]) -> Option<Measured> {
        let kept: Measured = serde_json::from_slice(&std::fs::read(&self.0).ok()?).ok()?;
        let same = |(cost, slot): (&Cost, &Slot)| cost.slot == slot.name && cost.numbers == slot.len;
        let is_whole = kept.costs.len() == slots.len() && kept.costs.iter().zip(slots).all(same);
        is_whole.then_some(kept)
    }

    /// Keeps it.
    pub fn write(&self, measured: &Measured) {
        let folder = self.0.parent().expect("a folder");
        if std::fs::create_dir_all(folder).is_ok() {
            let _ = write_atomically(&self.0, &serde_json::to_vec(measured).expect("JSON of numbers"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::farm::ranks::Ranks;
    use crate::objective::sphere::Sphere;

    fn cost(numbers: usize, kl_per_number: f64) -> Cost {
        Cost {
            slot: String::new(),
            numbers,
            step: 1.0,
            kl: 0.0,
            kl_per_number,
        }
    }

    /// Of a sphere every number costs the same, 2 nats at a step of 1: ‖θ‖² is half of that in its metric.
    #[test]
    fn numbers_that_cost_the_same_have_the_same_gain() {
        let slots = [("x", 0, 2), ("y", 2, 1)].map(|(name, start, len)| Slot {
            name: name.into(),
            start,
            len,
        });
        let mut sphere = Sphere::new(3, 1.0);
        let mut probing = Probing {
            ranks: &Ranks::alone(),
            objective: &mut sphere,
            go_on: &mut || true,
            spent: Spent::default(),
        };
        let questions = probing.questions(2);
        let found = measure(&mut probing, &slots, 0.1, &questions, Seed::new(1));
        let costs = found.expect("evaluations").expect("nobody says stop");
        // Two slots both ways, on two texts.
        assert_eq!(probing.spent.rollouts, 8);
        for cost in &costs {
            assert!((cost.kl_per_number - 2.0).abs() < 0.02, "{cost:?}");
        }
        let own = gains(&[cost(2, 2.0), cost(1, 2.0)]);
        assert_eq!(own[0], own[1]);
        // Σ ½ d² q over the three numbers is the target, but for the tenth of the median.
        assert!((3.0 * own[0] * own[0] * 1.1 - TARGET).abs() < 1e-12, "{own:?}");
    }

    #[test]
    fn what_costs_little_is_not_moved_without_bounds() {
        let own = gains(&[cost(4, 0.0), cost(4, 1.0), cost(4, 100.0), cost(4, 1e9)]);
        assert!(own[0] > own[1] && own[1] > own[2] && own[2] >= own[3], "{own:?}");
        assert!(own[0] / own[3] <= LARGEST_RATIO * 1.000_001, "{own:?}");
        assert_eq!(gains(&[cost(4, 0.0), cost(1, 0.0), cost(1, 1.0)]), [1.0; 3]);
        assert_eq!([1.0, 50.0, 400.0].map(|tokens| texts(tokens, 8)), [8, 3, 2]);
        assert_eq!(texts(400.0, 1), 1);
    }
}
