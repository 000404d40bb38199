//! The cross-entropy method with a diagonal Gaussian: R. Rubinstein, *The Cross-Entropy Method for Combinatorial and
//! Continuous Optimization*, 1999; Z. Botev, D. Kroese, R. Rubinstein, P. L'Ecuyer, *The Cross-Entropy Method for
//! Optimization*, Handbook of Statistics 31 (2013), whose steps are named beside the lines. The best members, the
//! elite, are fitted by a Gaussian, and the next generation is drawn from it. Here σ is taken around the old mean, as
//! in CEM-RL (A. Pourchot, O. Sigaud, arXiv 1810.01222), so that progress widens the search; σ is smoothed and the mean
//! is not, as in evosax's SimpleES; and a little variance is added in each generation (I. Szita, A. Lőrincz, Neural
//! Computation 18, 2006), or the search would end by itself. Members in pairs, which the book does not have, took 10 to
//! 23 % fewer evaluations on a sphere and an ellipsoid in 40-D: of a pair usually one is in the elite, so the elite's
//! draws differ. A baseline: nothing corrects that a few members underestimate σ, so under random fitness ln σ falls by
//! about smoothing / (4 · elite · λ) a generation, until the added noise stops it.

use super::algorithm::{Algorithm, Search, mean_rate};
use super::check;
use super::shaping::share_weights;
use super::spread::{Spread, geometric_mean};
use crate::error::Result;
use crate::linalg::{all_finite, norm};
use crate::search::Fitness;
use serde::{Deserialize, Serialize};

// -------------------------------------------------------------------------------------------------------- settings

/// What the cross-entropy method alone has as settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CemConfig {
    /// ρ, the share of the members that is the elite, in (0, 1); at least one member. Default 0.3, with which
    /// the mean goes about as far as that of CMA-ES (tests/strategies.rs).
    pub elite: f64,
    /// α, how much of σ is replaced by the elite's, in (0, 1]. Default 0.1.
    pub smoothing: f64,
    /// What is added to each σ in a generation, as variances add, at least 0. Default 0.05 σ0.
    pub extra_noise: Option<f64>,
    /// The learning rate of the mean, above 0: how far it goes towards the elite's, or beyond it (the α of smoothed updating,
    /// which the book has for the mean as for σ). Default [`super::algorithm::default_mean_rate`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub learning_rate: Option<f64>,
}

impl Default for CemConfig {
    fn default() -> Self {
        Self {
            elite: 0.3,
            smoothing: 0.1,
            extra_noise: None,
            learning_rate: None,
        }
    }
}

// --------------------------------------------------------------------------------------------------------- numbers

/// What the cross-entropy method learns beside the mean, its μ.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cem {
    /// σ, `[n]`; the overall step size is their geometric mean.
    sigmas: Vec<f64>,
}

/// 1 over the size of the elite for its ranks and 0 for the others, best rank first, `[λ]`.
fn elite_weights(search: &Search<CemConfig>) -> Vec<f64> {
    let elite = ((search.settings.elite * search.population as f64) as usize).max(1);
    let weight = |rank| if rank < elite { 1.0 / elite as f64 } else { 0.0 };
    (0..search.population).map(weight).collect()
}

impl Algorithm for Cem {
    type Settings = CemConfig;

    fn resolve(settings: &CemConfig, n: usize, population: usize, sigma: f64) -> Result<CemConfig> {
        let CemConfig { elite, smoothing, .. } = *settings;
        let noise = settings.extra_noise.unwrap_or(0.05 * sigma);
        Ok(CemConfig {
            elite: check("elite", elite, elite > 0.0 && elite < 1.0, "a number in (0, 1)")?,
            smoothing: check(
                "smoothing",
                smoothing,
                smoothing > 0.0 && smoothing <= 1.0,
                "a number in (0, 1]",
            )?,
            extra_noise: Some(check("extra_noise", noise, noise >= 0.0, "0 or a number above")?),
            learning_rate: Some(mean_rate(settings.learning_rate, n, population)?),
        })
    }

    /// Where it is in the elite.
    fn weighs_the_worse_half(settings: &CemConfig) -> bool {
        settings.elite > 0.5
    }

    fn start(search: &mut Search<CemConfig>) -> Self {
        let sigmas = vec![search.sigma; search.dim()];
        search.sigma = geometric_mean(&sigmas);
        Self { sigmas }
    }

    fn is_valid(&self, n: usize) -> bool {
        all_finite(&[&self.sigmas], n)
    }

    // -------------------------------------------------------------------------------------------------------- draw

    fn draw(&self, search: &Search<CemConfig>, member: usize) -> Vec<f64> {
        let (draw, sign) = search.noise().draw_of(member);
        let z = search.noise().normals(draw, search.dim());
        let member = search.mean.iter().zip(&self.sigmas).zip(z);
        member.map(|((m, sigma), z)| m + sign * sigma * z).collect() // draw
    }

    // ------------------------------------------------------------------------------------------------------- learn

    fn learn(&mut self, search: &mut Search<CemConfig>, fitness: &[Fitness]) -> f64 {
        let (noise, n) = (search.noise(), search.dim());
        let members = share_weights(&elite_weights(search), fitness); // select
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
        let extra = search.settings.extra_noise.expect("a resolved config has its noise");
        let alpha = search.settings.smoothing;
        let mean_rate = search.settings.learning_rate.unwrap_or(1.0);
        let (mean, sigmas) = (&mut search.mean, &mut self.sigmas);
        let mut moved = vec![0.0; n];
        for (i, moved) in moved.iter_mut().enumerate() {
            *moved = mean_rate * sigmas[i] * of_mean[i]; // update
            mean[i] += *moved;
            let smoothed = sigmas[i] * (1.0 - alpha + alpha * of_variance[i].sqrt()); // update, smooth
            sigmas[i] = smoothed.hypot(extra);
        }
        search.sigma = geometric_mean(sigmas);
        norm(&moved)
    }

    fn spread(&self, _: &Search<CemConfig>) -> Option<Spread> {
        Some(Spread::of(&self.sigmas))
    }
}

// ----------------------------------------------------------------------------------------------------------- tests

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::Seed;
    use crate::strategy::{AskTell, Strategy};

    fn strategy(antithetic: bool, change: impl Fn(&mut CemConfig)) -> AskTell<Cem> {
        let mut settings = CemConfig {
            elite: 0.5,
            extra_noise: Some(0.0),
            ..CemConfig::default()
        };
        change(&mut settings);
        let x0 = [1.0, -2.0, 0.5];
        AskTell::new("cem", Search::new(settings, &x0, 0.5, 4, antithetic, Seed::new(9)))
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
                let mut cem = strategy(antithetic, |config| {
                    config.smoothing = 0.25;
                    config.extra_noise = Some(0.125);
                });
                let members: Vec<Vec<f64>> = (0..4).map(|member| cem.ask(member)).collect();
                cem.tell(&fitness(&values));
                for (i, start) in [1.0, -2.0, 0.5].into_iter().enumerate() {
                    let mean: f64 = (0..4).map(|k| weights[k] * members[k][i]).sum();
                    let variance: f64 = (0..4).map(|k| weights[k] * (members[k][i] - start).powi(2)).sum();
                    let sigma = 0.75 * 0.5 + 0.25 * variance.sqrt();
                    assert!((cem.mean()[i] - mean).abs() < 1e-14);
                    assert!((cem.own.sigmas[i].powi(2) - (sigma * sigma + 0.125 * 0.125)).abs() < 1e-14);
                }
            }
        }
    }

    #[test]
    fn a_lone_survivor_moves_half_as_far_as_a_whole_elite() {
        let mut cem = strategy(false, |_| ());
        let member = cem.ask(1);
        // Judged alone there is nothing to compare with, so a second one, which is last, must be there: both are elite.
        cem.tell(&fitness(&[f64::NAN, 3.0, f64::NAN, f64::NAN]));
        assert_eq!(cem.mean(), [1.0, -2.0, 0.5]);
        let mut narrow = strategy(false, |config| config.elite = 0.25);
        narrow.tell(&fitness(&[f64::NAN, 3.0, 1.0, f64::NAN]));
        for (found, expected) in narrow.mean().iter().zip(&member) {
            assert!((found - expected).abs() < 1e-14);
        }
    }

    #[test]
    fn a_flat_generation_changes_nothing_but_its_number() {
        let mut cem = strategy(false, |config| config.extra_noise = Some(0.1));
        cem.tell(&fitness(&[9.0, 1.0, 5.0, 4.0]));
        let before = cem.clone();
        for values in [[1.0; 4], [f64::NAN; 4], [2.0, f64::NAN, 2.0, 2.0]] {
            assert!(cem.tell(&fitness(&values)).flat);
        }
        assert_eq!(cem.own, before.own);
        let expected = Search {
            generation: 4,
            flat: 3,
            ..before.search
        };
        assert_eq!(cem.search, expected);
    }

    #[test]
    fn under_random_fitness_sigma_falls_as_the_header_says() {
        let settings = CemConfig {
            elite: 0.5,
            extra_noise: Some(0.0),
            ..CemConfig::default()
        };
        let search = Search::new(settings, &[0.0; 50], 0.1, 12, false, Seed::new(1));
        let mut cem = AskTell::<Cem>::new("cem", search);
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
            let mut cem = strategy(false, |config| {
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
