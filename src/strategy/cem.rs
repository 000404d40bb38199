//! The cross-entropy method with a diagonal Gaussian: R. Rubinstein, *The Cross-Entropy Method for Combinatorial and
//! Continuous Optimization*, 1999; Z. Botev, D. Kroese, R. Rubinstein, P. L'Ecuyer, *The Cross-Entropy Method for
//! Optimization*, Handbook of Statistics 31 (2013), whose steps are named beside the lines. The best members, the elite,
//! are fitted by a Gaussian, and the next generation is drawn from it. Here σ is taken around the old mean, as in CEM-RL
//! (A. Pourchot, O. Sigaud, arXiv 1810.01222), so that progress widens the search; σ is smoothed and the mean is not, as
//! in evosax's SimpleES; and a little variance is added in each generation (I. Szita, A. Lőrincz, Neural Computation 18,
//! 2006), or the search would end by itself. A baseline: nothing corrects that a few members underestimate σ, so under
//! random fitness ln σ falls by about smoothing / (4 · elite · λ) a generation, until the added noise stops it.

use super::learner::{Clock, Learner};
use super::shaping::share_weights;
use super::spread::Spread;
use super::{Algorithm, check, damaged, defaults, resolve_population, saved};
use crate::error::Result;
use crate::linalg::{all_finite, norm};
use crate::search::Fitness;
use crate::seed::Seed;
use serde::{Deserialize, Serialize};

// ---------------------------------------------------------------------------------------------------------- config

/// Settings of the cross-entropy method.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CemConfig {
    /// λ, candidates a generation; at least 2, even with `antithetic`. Default 4 + ⌊3 ln n⌋, rounded up to even.
    pub population: Option<usize>,
    /// σ0, the first standard deviation of each number, above 0. Default 0.1.
    pub sigma: Option<f64>,
    /// ρ, the share of the members that is the elite, in (0, 1); at least one member. Default 0.5.
    pub elite: f64,
    /// α, how much of σ is replaced by the elite's, in (0, 1]. Default 0.1.
    pub smoothing: f64,
    /// What is added to each σ in a generation, as variances add, at least 0. Default 0.05 σ0.
    pub extra_noise: Option<f64>,
    /// Whether members 2i and 2i + 1 are mirrored at the mean. Default true, which took 10 to 23 % fewer evaluations on a
    /// sphere and an ellipsoid in 40-D: of a pair usually one is in the elite, so the elite's draws differ. Off is the book.
    pub antithetic: bool,
}

impl Default for CemConfig {
    fn default() -> Self {
        Self {
            population: None,
            sigma: None,
            elite: 0.5,
            smoothing: 0.1,
            extra_noise: None,
            antithetic: true,
        }
    }
}

impl CemConfig {
    /// The same settings with every default filled in; an error when one is out of range.
    pub fn resolve(&self, n: usize) -> Result<Self> {
        let sigma = self.sigma.unwrap_or(defaults(n).sigma);
        let (elite, smoothing) = (self.elite, self.smoothing);
        let noise = self.extra_noise.unwrap_or(0.05 * sigma);
        Ok(Self {
            population: Some(resolve_population(self.population, self.antithetic, n)?),
            sigma: Some(check("sigma", sigma, sigma > 0.0, "a number above 0")?),
            elite: check("elite", elite, elite > 0.0 && elite < 1.0, "a number in (0, 1)")?,
            smoothing: check(
                "smoothing",
                smoothing,
                smoothing > 0.0 && smoothing <= 1.0,
                "a number in (0, 1]",
            )?,
            extra_noise: Some(check("extra_noise", noise, noise >= 0.0, "0 or a number above")?),
            ..self.clone()
        })
    }
}

// ----------------------------------------------------------------------------------------------------------- state

/// The cross-entropy method, somewhere on its way.
#[derive(Clone, Debug)]
pub struct Cem {
    config: CemConfig,
    /// 1 over the size of the elite for its ranks and 0 for the others, best rank first, `[λ]`.
    weights: Vec<f64>,
    state: State,
}

/// What evolves.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct State {
    clock: Clock,
    /// μ, `[n]`.
    mean: Vec<f64>,
    /// σ, `[n]`.
    sigmas: Vec<f64>,
}

impl Cem {
    /// The start. `config` is resolved.
    pub(super) fn new(config: CemConfig, x0: &[f64], seed: Seed) -> Self {
        let sigma = config.sigma.expect("a resolved config has a sigma");
        let state = State {
            clock: Clock::new(seed),
            mean: x0.to_vec(),
            sigmas: vec![sigma; x0.len()],
        };
        Self::with_state(config, state)
    }

    /// Where a checkpoint left off. `config` is resolved.
    pub(super) fn restore(config: CemConfig, n: usize, state: State) -> Result<Self> {
        let valid = all_finite(&[&state.mean, &state.sigmas], n);
        if valid {
            Ok(Self::with_state(config, state))
        } else {
            Err(damaged(n))
        }
    }

    fn with_state(config: CemConfig, state: State) -> Self {
        let population = config.population.expect("a resolved config has a population");
        let elite = ((config.elite * population as f64) as usize).max(1);
        let weight = |rank| if rank < elite { 1.0 / elite as f64 } else { 0.0 };
        Self {
            config,
            weights: (0..population).map(weight).collect(),
            state,
        }
    }
}

// ------------------------------------------------------------------------------------------------------------- ask

impl Learner for Cem {
    fn kind(&self) -> &'static str {
        "cem"
    }

    fn lambda(&self) -> usize {
        self.weights.len()
    }

    fn clock(&self) -> &Clock {
        &self.state.clock
    }

    fn clock_mut(&mut self) -> &mut Clock {
        &mut self.state.clock
    }

    fn antithetic(&self) -> bool {
        self.config.antithetic
    }

    fn center(&self) -> &Vec<f64> {
        &self.state.mean
    }

    fn center_mut(&mut self) -> &mut Vec<f64> {
        &mut self.state.mean
    }

    /// The geometric mean of all σ.
    fn scale(&self) -> f64 {
        let logarithms: f64 = self.state.sigmas.iter().map(|sigma| sigma.ln()).sum();
        (logarithms / self.state.sigmas.len() as f64).exp()
    }

    fn to_json(&self) -> serde_json::Value {
        saved(Algorithm::Cem(self.config.clone()), self.state.mean.len(), &self.state)
    }

    fn draw(&self, member: usize) -> Vec<f64> {
        let State { mean, sigmas, .. } = &self.state;
        let (draw, sign) = self.noise().draw_of(member);
        let z = self.noise().normals(draw, mean.len());
        let member = mean.iter().zip(sigmas).zip(z);
        member.map(|((m, sigma), z)| m + sign * sigma * z).collect() // draw
    }

    // -------------------------------------------------------------------------------------------------------- tell

    fn learn(&mut self, fitness: &[Fitness]) -> f64 {
        let (noise, n) = (self.noise(), self.state.mean.len());
        let members = share_weights(&self.weights, fitness); // select
        // What failed members of the elite leave free stands for the old Gaussian.
        let rest = 1.0 - members.iter().sum::<f64>();
        let (mut of_mean, mut of_variance) = (vec![0.0; n], vec![rest.max(0.0); n]);
        let weights = noise.weights(&members).into_iter().enumerate();
        for (draw, weight) in weights.filter(|(_, weight)| weight.even != 0.0) {
            for (i, z) in noise.normals(draw, n).into_iter().enumerate() {
                of_mean[i] += weight.odd * z;
                of_variance[i] += weight.even * z * z;
            }
        }
        let extra = self.config.extra_noise.expect("a resolved config has its noise");
        let alpha = self.config.smoothing;
        let State { mean, sigmas, .. } = &mut self.state;
        let mut moved = vec![0.0; n];
        for (i, moved) in moved.iter_mut().enumerate() {
            *moved = sigmas[i] * of_mean[i]; // update
            mean[i] += *moved;
            let smoothed = sigmas[i] * (1.0 - alpha + alpha * of_variance[i].sqrt()); // update, smooth
            sigmas[i] = smoothed.hypot(extra);
        }
        norm(&moved)
    }

    fn spread(&self) -> Option<Spread> {
        Some(Spread::of(&self.state.sigmas))
    }

    fn limit(&self) -> Option<String> {
        let first = self.config.sigma.expect("a resolved config has a sigma");
        Spread::of(&self.state.sigmas).stop(first)
    }
}

// ----------------------------------------------------------------------------------------------------------- tests

#[cfg(test)]
mod tests {
    use super::*;
    use crate::strategy::Strategy;

    fn strategy(change: impl Fn(&mut CemConfig)) -> Cem {
        let mut config = CemConfig {
            population: Some(4),
            sigma: Some(0.5),
            extra_noise: Some(0.0),
            antithetic: false,
            ..CemConfig::default()
        };
        change(&mut config);
        Cem::new(config.resolve(3).expect("in range"), &[1.0, -2.0, 0.5], Seed::new(9))
    }

    fn fitness(values: &[f64]) -> Vec<Fitness> {
        values.iter().copied().map(Fitness::new).collect()
    }

    #[test]
    fn the_gaussian_is_fitted_to_the_elite() {
        // Of the elite of two both, then a tie over its edge, then one that is there and one that failed.
        for (values, weights) in [
            ([9.0, 1.0, 5.0, 4.0], [0.5, 0.0, 0.5, 0.0]),
            ([9.0, 5.0, 5.0, 4.0], [0.5, 0.25, 0.25, 0.0]),
            ([f64::NAN, 1.0, 5.0, f64::NAN], [0.0, 0.5, 0.5, 0.0]),
        ] {
            for antithetic in [false, true] {
                let mut cem = strategy(|config| {
                    config.smoothing = 0.25;
                    config.extra_noise = Some(0.125);
                    config.antithetic = antithetic;
                });
                let members: Vec<Vec<f64>> = (0..4).map(|member| cem.ask(member)).collect();
                cem.tell(&fitness(&values));
                for (i, start) in [1.0, -2.0, 0.5].into_iter().enumerate() {
                    let mean: f64 = (0..4).map(|k| weights[k] * members[k][i]).sum();
                    let variance: f64 = (0..4).map(|k| weights[k] * (members[k][i] - start).powi(2)).sum();
                    let sigma = 0.75 * 0.5 + 0.25 * variance.sqrt();
                    assert!((cem.mean()[i] - mean).abs() < 1e-14);
                    assert!((cem.state.sigmas[i].powi(2) - (sigma * sigma + 0.125 * 0.125)).abs() < 1e-14);
                }
            }
        }
    }

    #[test]
    fn a_lone_survivor_moves_half_as_far_as_a_whole_elite() {
        let mut cem = strategy(|_| ());
        let member = cem.ask(1);
        // Judged alone there is nothing to compare with, so a second one, which is last, must be there: both are elite.
        cem.tell(&fitness(&[f64::NAN, 3.0, f64::NAN, f64::NAN]));
        assert_eq!(cem.mean(), [1.0, -2.0, 0.5]);
        let mut narrow = strategy(|config| config.elite = 0.25);
        narrow.tell(&fitness(&[f64::NAN, 3.0, 1.0, f64::NAN]));
        for (found, expected) in narrow.mean().iter().zip(&member) {
            assert!((found - expected).abs() < 1e-14);
        }
    }

    #[test]
    fn a_flat_generation_changes_nothing_but_its_number() {
        let mut cem = strategy(|config| config.extra_noise = Some(0.1));
        cem.tell(&fitness(&[9.0, 1.0, 5.0, 4.0]));
        let before = cem.state.clone();
        for values in [[1.0; 4], [f64::NAN; 4], [2.0, f64::NAN, 2.0, 2.0]] {
            assert!(cem.tell(&fitness(&values)).flat);
        }
        assert_eq!(
            cem.state,
            State {
                clock: Clock {
                    generation: 4,
                    flat: 3,
                    ..before.clock
                },
                ..before
            }
        );
    }

    #[test]
    fn under_random_fitness_sigma_falls_as_the_header_says() {
        let config = CemConfig {
            population: Some(12),
            extra_noise: Some(0.0),
            antithetic: false,
            ..CemConfig::default()
        };
        let mut cem = Cem::new(config.resolve(50).expect("in range"), &[0.0; 50], Seed::new(1));
        let (first, generations) = (cem.sigma(), 400);
        for generation in 0..generations {
            cem.tell(&fitness(&Seed::new(generation).normals(12)));
        }
        let drift = (cem.sigma() / first).ln() / generations as f64;
        let expected = -0.1 / (4.0 * 6.0);
        assert!((drift / expected - 1.0).abs() < 0.2, "{drift}, expected {expected}");
    }

    #[test]
    fn added_noise_keeps_the_search_open() {
        let sigma = |extra: f64| {
            let mut cem = strategy(|config| {
                config.extra_noise = Some(extra);
                config.smoothing = 1.0;
            });
            for generation in 0..300 {
                cem.tell(&fitness(&Seed::new(generation).normals(4)));
            }
            cem.sigma()
        };
        assert!(sigma(0.0) < 1e-3, "{}", sigma(0.0));
        assert!(sigma(0.1) > 0.1, "{}", sigma(0.1));
    }
}
