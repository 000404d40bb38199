//! The step that leads one nat a response away from the start. How far candidates of a step size are from the model that they begin from is
//! known without a reward and without a text of theirs: the start's own texts are scored ([`Probing::divergences`]). The divergence rises with σ²
//! while steps are small, so from one that is not far off the next is σ √(target / found), until that is near.
//!
//! In int8 even a step of nothing rounds activations otherwise, and that has a divergence of its own, which no σ changes. It is measured with a
//! small part of the step, and taken off.

use super::probing::{Estimator, Probing};
use crate::error::{Error, Result};
use crate::objective::Questions;
use crate::seed::Seed;
use crate::statistics::mean;
use serde::{Deserialize, Serialize};

/// What candidates at one σ did.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Probe {
    /// The step size that was tried.
    pub sigma: f64,
    /// Divergence from the start, nats a response.
    pub kl: f64,
}

/// The divergence that is looked for, nats a response.
pub const TARGET: f64 = 1.0;

/// Texts of the start that are scored.
pub const TEXTS: usize = 8;

/// Antithetic pairs of a probe.
const PAIRS: usize = 3;

/// Probes at most, and the most by which one step goes on from another.
const PROBES: usize = 16;
const LARGEST_FACTOR: f64 = 8.0;

/// How near to the target is near enough, as a factor.
const NEAR: f64 = 1.25;

/// The step at which only the arithmetic is left of a divergence, in units of one that is far enough.
const STEP_OF_FLOOR: f64 = 1.0 / 512.0;

/// Candidates that are tried at most.
pub const MOST_CANDIDATES: usize = 2 * PAIRS * PROBES;

/// Why σ0 is what it is, in a plan.
pub const REASON: &str = "the step that leads one nat a response away from the start (calibration.csv)";

/// Finds σ0, beginning at `guess`. Returns it with all probes in their order; none if the run was asked to end.
///
/// # Errors
/// Where no step comes near the target, which is said with what was found.
pub fn calibrate(
    probing: &mut Probing,
    questions: &Questions,
    guess: f64,
    seed: Seed,
) -> Result<Option<(f64, Vec<Probe>)>> {
    let n = probing.objective.layout().dim();
    let noise: Vec<Vec<f64>> = (0..PAIRS).map(|pair| seed.fold(pair as u64).normals(n)).collect();
    let mut probes: Vec<Probe> = Vec::new();
    let mut probe = |sigma: f64, probes: &mut Vec<Probe>| -> Result<Option<f64>> {
        let step = |pair: usize| noise[pair].iter().map(|z| sigma * z).collect();
        let Some(found) = probing.divergences(PAIRS, &step, questions, Estimator::Logarithm)? else {
            return Ok(None);
        };
        let kl = mean(&found);
        probes.push(Probe { sigma, kl });
        Ok(Some(kl))
    };
    let mut sigma = guess;
    let (mut low, mut high): (Option<f64>, Option<f64>) = (None, None);
    let mut floor: Option<f64> = None;
    while probes.len() < PROBES {
        let Some(kl) = probe(sigma, &mut probes)? else {
            return Ok(None);
        };
        if let Some(floor) = floor {
            let own = kl - floor;
            if (TARGET / NEAR..=TARGET * NEAR).contains(&own) {
                return Ok(Some((sigma * factor(own), probes)));
            }
            sigma = next(sigma, own, &mut low, &mut high);
        } else if (TARGET..=TARGET * LARGEST_FACTOR.powi(2)).contains(&kl) {
            let Some(of_nothing) = probe(sigma * STEP_OF_FLOOR, &mut probes)? else {
                return Ok(None);
            };
            let of_nothing = of_nothing.max(0.0);
            floor = Some(of_nothing);
            sigma = next(sigma, kl - of_nothing, &mut low, &mut high);
        } else {
            // First a step that is far enough for the floor to be told from it, and not so far that its part of it is not small.
            let end = if kl < TARGET { &mut low } else { &mut high };
            *end = Some(sigma);
            sigma = match (low, high) {
                (Some(low), Some(high)) => (low * high).sqrt(),
                (Some(low), None) => low * LARGEST_FACTOR,
                (None, _) => sigma / LARGEST_FACTOR,
            };
        }
    }
    let tried = probes
        .iter()
        .map(|probe| format!("{:.1e}: {:.3}", probe.sigma, probe.kl));
    Err(Error::config(format!(
        "no step of the space leads {TARGET} nat a response away from the start (σ and nats that were tried: {}); leave out run.calibrate_sigma and \
         space.units = \"kl\", and set strategy.sigma",
        tried.collect::<Vec<_>>().join(", ")
    )))
}

/// The step to try after one that had this divergence: by the square, but between the largest that was too short and the smallest that was too long, because
/// far from the start the divergence rises as it likes.
fn next(sigma: f64, kl: f64, low: &mut Option<f64>, high: &mut Option<f64>) -> f64 {
    if kl < TARGET {
        *low = Some(low.map_or(sigma, |low| low.max(sigma)));
    } else {
        *high = Some(high.map_or(sigma, |high| high.min(sigma)));
    }
    let next = sigma * factor(kl);
    match (*low, *high) {
        (Some(low), Some(high)) if !(low < next && next < high) => (low * high).sqrt(),
        _ => next,
    }
}

/// From the step of a divergence to that of the target, where it rises with the square.
fn factor(kl: f64) -> f64 {
    let factor = if kl > 0.0 { (TARGET / kl).sqrt() } else { LARGEST_FACTOR };
    factor.clamp(1.0 / LARGEST_FACTOR, LARGEST_FACTOR)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::farm::ranks::Ranks;
    use crate::objective::sphere::Sphere;
    use crate::plan::probing::Spent;

    /// The divergence of this model is ‖θ‖² and what the arithmetic adds.
    fn found(floor: f64, guess: f64) -> Result<(f64, Vec<Probe>)> {
        let mut objective = Sphere::rounded(5, floor);
        let mut probing = Probing {
            ranks: &Ranks::alone(),
            objective: &mut objective,
            go_on: &mut || true,
            spent: Spent::default(),
        };
        let questions = probing.questions(TEXTS);
        let done = calibrate(&mut probing, &questions, guess, Seed::new(2));
        done.map(|found| found.expect("nobody says stop"))
    }

    #[test]
    fn guesses_decades_apart_end_at_the_same_step_whatever_the_floor() {
        let noise: Vec<f64> = (0..PAIRS as u64)
            .flat_map(|pair| Seed::new(2).fold(pair).normals(5))
            .collect();
        let exact = (TARGET * PAIRS as f64 / noise.iter().map(|z| z * z).sum::<f64>()).sqrt();
        for floor in [0.0, 0.1, 0.7, 3.0] {
            for guess in [1e-4, 0.1, 100.0] {
                let (sigma, probes) = found(floor, guess).expect("a step");
                assert!((sigma / exact - 1.0).abs() < 1e-3, "{sigma} {exact}, {probes:?}");
                assert!(probes.len() < 12, "{}", probes.len());
            }
        }
    }

    /// Nothing for a long way and then as the sixth power, from either side.
    #[test]
    fn a_divergence_that_rises_otherwise_than_the_square_is_bracketed() {
        let (mut low, mut high, mut sigma) = (Some(0.1), None, 6.4);
        let kl = |sigma: f64| if sigma < 2.2 { -0.01 } else { (sigma / 3.5).powi(6) };
        let tried = (0..10).find(|_| {
            let own = kl(sigma);
            let is_near = (TARGET / NEAR..=TARGET * NEAR).contains(&own);
            sigma = if is_near {
                sigma
            } else {
                next(sigma, own, &mut low, &mut high)
            };
            is_near
        });
        assert!(tried.is_some(), "{sigma} between {low:?} and {high:?}");
    }

    #[test]
    fn a_model_that_no_step_leads_so_far_is_named() {
        for floor in [-1e9, 1e9] {
            let error = found(floor, 0.1).expect_err("no step").to_string();
            assert!(error.contains("no step of the space leads 1 nat"), "{error}");
        }
    }
}
