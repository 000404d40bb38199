//! Which parts of a space matter, found by forward passes alone. Each slot of the search vector is moved by itself, and what
//! counts is how many texts differ from the unmoved model's, written greedily, so free of noise. Blind to the reward, as the
//! calibration of σ0 is: it finds what can steer the model, not what steers it well. A budget of parameters then goes to the slots
//! that change the most texts.

use super::probing::Probing;
use crate::error::Result;
use crate::objective::{Questions, Rollout};
use crate::search::Slot;
use crate::seed::Seed;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What moving one slot did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sensitivity {
    /// The slot.
    pub slot: String,
    /// How many numbers it has.
    pub numbers: usize,
    /// Share of the texts that differ from the unmoved model's.
    pub changed: f64,
    /// Whether the budget goes to it.
    pub chosen: bool,
}

/// How far a slot is moved, in σ0 a number: alone it has to be seen among texts that all of them together would change.
const STEP: f64 = 4.0;

/// Questions that are asked after each move, which goes both ways.
pub const QUESTIONS: usize = 6;

/// Moves each of `slots` by itself from `start`, `[n]`, and gives at most `budget` numbers to those that change most; none if the run was
/// asked to end.
pub fn probe(
    probing: &mut Probing,
    start: &[f64],
    slots: &[Slot],
    questions: &Questions,
    (sigma, budget): (f64, usize),
    seed: Seed,
) -> Result<Option<Vec<Sensitivity>>> {
    let theta = |candidate: usize| {
        let mut theta = start.to_vec();
        // Candidate 0 is the unmoved model.
        if let Some(at) = candidate.checked_sub(1) {
            let (slot, sign) = (&slots[at / 2], if at % 2 == 0 { STEP } else { -STEP });
            let noise = seed.fold(at as u64 / 2).normals(slot.len);
            for (x, z) in theta[slot.start..][..slot.len].iter_mut().zip(noise) {
                *x += sign * sigma * z;
            }
        }
        theta
    };
    let Some(evaluated) = probing.evaluate(1 + 2 * slots.len(), &theta, questions)? else {
        return Ok(None);
    };
    // A text, or where an objective writes none, what it is worth.
    let told = |rollout: &Rollout| (rollout.completion.clone(), rollout.verdict.reward.to_bits());
    let (unmoved, moved) = evaluated.rollouts.split_at(questions.indices.len());
    let unmoved: BTreeMap<usize, _> = unmoved.iter().map(|r| (r.item.question, told(r))).collect();
    let changed = |some: &[Rollout]| {
        let others = some.iter().filter(|r| unmoved[&r.item.question] != told(r));
        others.count() as f64 / some.len() as f64
    };
    let shares: Vec<f64> = moved.chunks_exact(2 * questions.indices.len()).map(changed).collect();
    // Texts are the root's, and so is the answer.
    let bytes = probing
        .ranks
        .from_root(&serde_json::to_vec(&shares).expect("JSON of finite numbers"));
    let shares: Vec<f64> = serde_json::from_slice(&bytes).unwrap_or(shares);
    Ok(Some(choose(slots, &shares, budget)))
}

/// The most sensitive slots first, of equals the first, as long as the budget lasts; in the order of the slots.
fn choose(slots: &[Slot], shares: &[f64], budget: usize) -> Vec<Sensitivity> {
    let mut order: Vec<usize> = (0..slots.len()).collect();
    order.sort_by(|&a, &b| shares[b].total_cmp(&shares[a]));
    let mut left = budget;
    let mut found: Vec<Sensitivity> = slots
        .iter()
        .zip(shares)
        .map(|(slot, &changed)| Sensitivity {
            slot: slot.name.clone(),
            numbers: slot.len,
            changed,
            chosen: false,
        })
        .collect();
    for at in order {
        if let Some(rest) = left.checked_sub(slots[at].len) {
            (left, found[at].chosen) = (rest, true);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::farm::ranks::Ranks;
    use crate::objective::sphere::Sphere;
    use crate::plan::probing::Spent;
    use crate::search::Layout;
    use crate::task::Split;

    #[test]
    fn the_budget_goes_to_the_most_sensitive_slots() {
        let slots = Layout::new([("a".into(), 4), ("b".into(), 4), ("c".into(), 2), ("d".into(), 4)]);
        let chosen = |budget: usize| -> String {
            let found = choose(slots.slots(), &[0.1, 0.9, 0.1, 0.5], budget);
            found.iter().filter(|s| s.chosen).map(|s| s.slot.as_str()).collect()
        };
        assert_eq!(
            ["", "c", "b", "bc", "bd", "bcd", "abd", "abcd"],
            [1, 2, 4, 6, 8, 10, 12, 14].map(chosen).each_ref().map(String::as_str)
        );
    }

    /// Of a sphere only what is moved changes; every slot moves it.
    #[test]
    fn every_slot_is_moved_by_itself() {
        let questions = Questions::new(Split::Train, vec![0, 1], Seed::new(0));
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
        let found = probe(&mut probing, &[0.0; 3], &slots, &questions, (0.1, 1), Seed::new(1));
        // The start, and each of two slots both ways, on two questions.
        assert_eq!(probing.spent.rollouts, 10);
        let found = found.expect("evaluations").expect("nobody says stop");
        let told: Vec<_> = found.iter().map(|s| (s.changed, s.chosen)).collect();
        assert_eq!(told, [(1.0, false), (1.0, true)]);
    }
}
