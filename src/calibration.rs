//! σ0 without tuning. Rewards of a few candidates say little, their texts say much: written greedily they are free of
//! noise, and the share of them that differs from what the unmoved model writes rises with σ up to all. Where little
//! changes there is nothing to select among; where everything changes the model is on its way to nonsense. So σ0 is the step at which
//! three quarters of the texts change, found by bisection from any guess, on a few antithetic pairs and the same questions each time.

use crate::error::Result;
use crate::objective::{Objective, Questions, Rollout};
use crate::population::{self, Work};
use crate::ranks::Ranks;
use crate::search::mean;
use crate::seed::Seed;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What candidates at one σ did.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Probe {
    /// The step size that was tried.
    pub sigma: f64,
    /// Share of the texts that differ from the unmoved model's.
    pub changed: f64,
    /// Mean reward.
    pub reward: f64,
}

/// The share of changed texts that is looked for. Not one half: in int8 the smallest nudge already turns whatever lies on the edge
/// between two steps, and with it 45 % of SmolLM2-135M's texts, whatever σ is below 0.03 (experiments/LOG.md, 2026-11-24).
const TARGET: f64 = 0.75;

/// Antithetic pairs of a probe.
const PAIRS: usize = 3;

/// Steps of a factor of four on the way to a bracket, and halvings of its logarithm afterwards.
const STEPS: usize = 10;
const HALVINGS: usize = 3;

/// Finds σ0 for a search of `objective` from θ = 0, beginning at `guess`. Returns it with all probes in their order; none if
/// `go_on` said no.
pub fn calibrate(
    ranks: &Ranks,
    objective: &mut dyn Objective,
    questions: &Questions,
    guess: f64,
    seed: Seed,
    go_on: &mut dyn FnMut() -> bool,
) -> Result<Option<(f64, Vec<Probe>)>> {
    let n = objective.layout().dim();
    let noise: Vec<Vec<f64>> = (0..PAIRS).map(|pair| seed.fold(pair as u64).normals(n)).collect();
    let mut texts: BTreeMap<usize, (String, f64)> = BTreeMap::new();
    let mut probes = Vec::new();
    let mut probe = |sigma: f64, texts: &mut BTreeMap<usize, (String, f64)>| -> Result<Option<Probe>> {
        let candidates = if sigma == 0.0 { 1 } else { 2 * PAIRS };
        let work = Work {
            candidates,
            theta: &|candidate| {
                let sign = if candidate % 2 == 0 { sigma } else { -sigma };
                noise[candidate / 2].iter().map(|z| sign * z).collect()
            },
            questions,
            digest: "",
            known: Vec::new(),
            racing: false,
        };
        let Some(evaluated) = population::evaluate(ranks, objective, work, &mut |_| Ok(()), go_on)? else {
            return Ok(None);
        };
        let told = |rollout: &Rollout| (rollout.completion.clone(), rollout.terms.reward);
        if sigma == 0.0 {
            texts.extend(
                evaluated
                    .rollouts
                    .iter()
                    .map(|rollout| (rollout.item.question, told(rollout))),
            );
        }
        let is_other = |rollout: &Rollout| f64::from(u8::from(texts[&rollout.item.question] != told(rollout)));
        let rewards: Vec<f64> = evaluated.evaluations.iter().map(|e| e.fitness.value()).collect();
        let own = Probe {
            sigma,
            changed: mean(&evaluated.rollouts.iter().map(is_other).collect::<Vec<_>>()),
            reward: mean(&rewards),
        };
        // Texts are the root's, and so is the answer.
        let bytes = ranks.from_root(&serde_json::to_vec(&own).expect("JSON of finite numbers"));
        Ok(serde_json::from_slice(&bytes).ok())
    };
    let Some(start) = probe(0.0, &mut texts)? else {
        return Ok(None);
    };
    probes.push(start);
    let (mut low, mut high): (Option<f64>, Option<f64>) = (None, None);
    let mut sigma = guess;
    for step in 0..STEPS + HALVINGS {
        let Some(found) = probe(sigma, &mut texts)? else {
            return Ok(None);
        };
        probes.push(found);
        if found.changed <= TARGET {
            low = Some(sigma);
        } else {
            high = Some(sigma);
        }
        sigma = match (low, high) {
            (Some(low), Some(high)) if high / low < 1.3 => break,
            (Some(low), Some(high)) => (low * high).sqrt(),
            _ if step >= STEPS => break,
            (Some(low), None) => 4.0 * low,
            (None, _) => sigma / 4.0,
        };
    }
    Ok(Some((low.or(high).unwrap_or(guess), probes)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Finish;
    use crate::objective::Item;
    use crate::search::Layout;
    use crate::task::{Split, Terms};
    use std::path::Path;

    /// A text changes as soon as the first number of θ is beyond a threshold of the question's own.
    struct Thresholds(Layout);

    impl Objective for Thresholds {
        fn layout(&self) -> &Layout {
            &self.0
        }

        fn examples(&self, _: Split) -> usize {
            40
        }

        fn evaluate(
            &mut self,
            thetas: &[Vec<f64>],
            _: &Questions,
            items: &[Item],
            take: &mut dyn FnMut(Vec<Rollout>) -> Result<()>,
            _: &mut dyn FnMut() -> bool,
        ) -> Result<bool> {
            let rollout = |item: &Item| Rollout {
                item: *item,
                prompt_id: String::new(),
                prompt: String::new(),
                completion: (thetas[item.candidate][0].abs() > 0.003 * (item.question + 1) as f64).to_string(),
                terms: Terms::default(),
                prompt_tokens: 1,
                tokens: 1,
                finish_reason: Finish::Stop,
            };
            take(items.iter().map(rollout).collect()).map(|()| true)
        }

        fn digest(&self) -> Result<String> {
            Ok(String::new())
        }

        fn export(&self, _: &[f64], _: &Path) -> Result<()> {
            Ok(())
        }
    }

    #[test]
    fn guesses_two_decades_apart_end_at_the_same_step() {
        let questions = Questions {
            split: Split::Train,
            indices: (0..40).collect(),
            seed: Seed::new(0),
            graded: false,
        };
        let found = [0.001, 0.1, 10.0].map(|guess| {
            let mut objective = Thresholds(Layout::new([("x".to_string(), 5)]));
            let done = calibrate(
                &Ranks::alone(),
                &mut objective,
                &questions,
                guess,
                Seed::new(2),
                &mut || true,
            );
            let (sigma, probes) = done.expect("probes").expect("nobody says stop");
            assert_eq!(probes[0].changed, 0.0);
            assert!(probes.len() < 12, "{}", probes.len());
            sigma
        });
        let (low, high) = (
            found.iter().copied().fold(f64::INFINITY, f64::min),
            found.iter().copied().fold(0.0, f64::max),
        );
        assert!(high / low < 2.0, "{found:?}");
    }
}
