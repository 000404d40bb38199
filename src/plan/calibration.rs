//! σ0 without tuning. Rewards of a few candidates say little, their texts say much: written greedily they are free of
//! noise, and the share of them that differs from what the unmoved model writes rises with σ up to all. Where little
//! changes there is nothing to select among; where everything changes the model is on its way to nonsense. So σ0 is the step at which
//! three quarters of the texts change, found by bisection from any guess, on a few antithetic pairs and the same questions each time.

use super::probing::Probing;
use crate::error::Result;
use crate::objective::{Questions, Rollout};
use crate::seed::Seed;
use crate::statistics::mean;
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

/// Why σ0 is what it is, in a plan.
pub const REASON: &str =
    "the step at which three quarters of the candidates' texts differ from the start's (calibration.csv)";

/// Candidates that are tried at most, the start among them.
pub const MOST_CANDIDATES: usize = 1 + 2 * PAIRS * (STEPS + HALVINGS);

/// Finds σ0 for a search from `start`, `[n]`, beginning at `guess`. Returns it with all probes in their order; none if the run was asked
/// to end.
pub fn calibrate(
    probing: &mut Probing,
    start: &[f64],
    questions: &Questions,
    guess: f64,
    seed: Seed,
) -> Result<Option<(f64, Vec<Probe>)>> {
    let noise: Vec<Vec<f64>> = (0..PAIRS)
        .map(|pair| seed.fold(pair as u64).normals(start.len()))
        .collect();
    let mut texts: BTreeMap<usize, (String, f64)> = BTreeMap::new();
    let mut probes = Vec::new();
    let mut probe = |sigma: f64, texts: &mut BTreeMap<usize, (String, f64)>| -> Result<Option<Probe>> {
        let candidates = if sigma == 0.0 { 1 } else { 2 * PAIRS };
        let theta = |candidate: usize| {
            let step = if candidate.is_multiple_of(2) { sigma } else { -sigma };
            let moved = start.iter().zip(&noise[candidate / 2]);
            moved.map(|(x, z)| x + step * z).collect()
        };
        let Some(evaluated) = probing.evaluate(candidates, &theta, questions)? else {
            return Ok(None);
        };
        let told = |rollout: &Rollout| (rollout.completion.clone(), rollout.verdict.reward);
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
        let bytes = probing
            .ranks
            .from_root(&serde_json::to_vec(&own).expect("JSON of finite numbers"));
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
    use crate::farm::ranks::Ranks;
    use crate::objective::{Item, Objective};
    use crate::plan::probing::Spent;
    use crate::search::Layout;
    use crate::task::{Split, Verdict};
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
                verdict: Verdict::default(),
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
        let questions = Questions::new(Split::Train, (0..40).collect(), Seed::new(0));
        let found = [0.001, 0.1, 10.0].map(|guess| {
            let mut objective = Thresholds(Layout::new([("x".to_string(), 5)]));
            let mut probing = Probing {
                ranks: &Ranks::alone(),
                objective: &mut objective,
                go_on: &mut || true,
                spent: Spent::default(),
            };
            let done = calibrate(&mut probing, &[0.0; 5], &questions, guess, Seed::new(2));
            let spent = probing.spent;
            let (sigma, probes) = done.expect("probes").expect("nobody says stop");
            assert_eq!(probes[0].changed, 0.0);
            // The start once and three pairs each time, on 40 questions, a token read and one written for each.
            let rollouts = 40 * (1 + 6 * (probes.len() - 1));
            assert_eq!((spent.rollouts, spent.num_tokens), (rollouts, 2 * rollouts));
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
