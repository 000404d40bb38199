//! OpenAI's evolution strategy: T. Salimans, J. Ho, X. Chen, S. Sidor, I. Sutskever, *Evolution Strategies as a
//! Scalable Alternative to Reinforcement Learning*, arXiv 1703.03864. Members are drawn from N(m, σ² I) in antithetic
//! pairs, the fitness-weighted sum of their noise estimates the gradient of the smoothed fitness, and an optimizer steps
//! along it. σ is fixed but for an optional decay, so nothing here notices that steps are too long: the learning rate
//! must be right, and CMA-ES is the safer choice where it is not known. What it gives in return is O(n) time and memory.

use super::learner::{Clock, Learner};
use super::shaping::{centred_ranks, share_weights, utilities, z_scores};
use super::spread::Spread;
use super::{Algorithm, check, damaged, defaults, resolve_population, saved};
use crate::error::Result;
use crate::linalg::{all_finite, axpy, norm};
use crate::search::Fitness;
use crate::seed::Seed;
use serde::{Deserialize, Serialize};

// ---------------------------------------------------------------------------------------------------------- config

/// Settings of OpenAI-ES.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OpenEsConfig {
    /// λ, candidates a generation; at least 2, even with `antithetic`. Default 4 + ⌊3 ln n⌋, rounded up to even.
    pub population: Option<usize>,
    /// σ, the standard deviation of each number of a candidate, above 0. Default 0.1.
    pub sigma: Option<f64>,
    /// What σ is multiplied by after each generation that was not flat, in (0, 1]. Default 1.
    pub sigma_decay: f64,
    /// Length of a step, above 0. Default 0.2 σ for Adam; for momentum 4 σ², divided by how much larger the
    /// weights of another shaping are than centred ranks (√12 for z-scores).
    pub learning_rate: Option<f64>,
    /// What turns gradient estimates into steps. Default `adam`.
    pub optimizer: Optimizer,
    /// How much of the running mean of gradients one generation keeps, in [0, 1) (β₁ of Adam). Default 0.9.
    pub momentum: f64,
    /// How much of the running mean of squared gradients one generation keeps, in [0, 1); Adam alone
    /// has one. Default 0.999.
    pub beta2: f64,
    /// How fitness becomes weights. Default `centred-ranks`.
    pub shaping: Shaping,
    /// Whether members 2i and 2i + 1 are mirrored at the mean. Default true.
    pub antithetic: bool,
    /// The part of the mean that each generation takes away, which draws it back to 0, the model as it was loaded; in
    /// [0, 1). Default 0.
    pub weight_decay: f64,
}

/// What turns gradient estimates into steps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Optimizer {
    /// D. Kingma, J. Ba, *Adam: A Method for Stochastic Optimization*, arXiv 1412.6980.
    #[default]
    Adam,
    /// A running mean of gradients, times the learning rate.
    Momentum,
}

/// How fitness becomes weights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Shaping {
    /// [`centred_ranks`]: only the order counts.
    #[default]
    CentredRanks,
    /// [`z_scores`]: distances count.
    ZScore,
    /// [`utilities`] times λ: the better half counts by the logarithm of its ranks, the worse half all the same.
    Utilities,
}

impl Shaping {
    /// Standard deviation of the weights of λ members, in units of that of centred ranks.
    fn deviation(self, population: usize) -> f64 {
        match self {
            Self::CentredRanks => 1.0,
            Self::ZScore => 12.0_f64.sqrt(),
            Self::Utilities => (12.0 * population as f64).sqrt() * norm(&utilities(population)),
        }
    }

    fn weights(self, fitness: &[Fitness]) -> Vec<f64> {
        match self {
            Self::CentredRanks => centred_ranks(fitness),
            Self::ZScore => z_scores(fitness),
            Self::Utilities => {
                let lambda = fitness.len() as f64;
                let shared = share_weights(&utilities(fitness.len()), fitness);
                shared.iter().map(|u| lambda * u).collect()
            }
        }
    }
}

impl Default for OpenEsConfig {
    fn default() -> Self {
        Self {
            population: None,
            sigma: None,
            sigma_decay: 1.0,
            learning_rate: None,
            optimizer: Optimizer::default(),
            momentum: 0.9,
            beta2: 0.999,
            shaping: Shaping::default(),
            antithetic: true,
            weight_decay: 0.0,
        }
    }
}

impl OpenEsConfig {
    /// The same settings with every default filled in; an error when one is out of range.
    pub fn resolve(&self, n: usize) -> Result<Self> {
        let sigma = self.sigma.unwrap_or(defaults(n).sigma);
        let population = resolve_population(self.population, self.antithetic, n)?;
        let rate = self.learning_rate.unwrap_or(match self.optimizer {
            Optimizer::Adam => defaults(n).adam_rate * sigma,
            Optimizer::Momentum => defaults(n).momentum_rate * sigma * sigma / self.shaping.deviation(population),
        });
        let portion = |key, value: f64| check(key, value, (0.0..1.0).contains(&value), "a number in [0, 1)");
        let decay = self.sigma_decay;
        Ok(Self {
            population: Some(population),
            sigma: Some(check("sigma", sigma, sigma > 0.0, "a number above 0")?),
            sigma_decay: check("sigma_decay", decay, decay > 0.0 && decay <= 1.0, "a number in (0, 1]")?,
            learning_rate: Some(check("learning_rate", rate, rate > 0.0, "a number above 0")?),
            momentum: portion("momentum", self.momentum)?,
            beta2: portion("beta2", self.beta2)?,
            weight_decay: portion("weight_decay", self.weight_decay)?,
            ..self.clone()
        })
    }
}

// ----------------------------------------------------------------------------------------------------------- state

/// OpenAI-ES, somewhere on its way.
#[derive(Clone, Debug)]
pub struct OpenEs {
    config: OpenEsConfig,
    state: State,
}

/// What evolves.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct State {
    clock: Clock,
    /// Generations that were not flat: the optimizer's clock, Adam's t.
    updates: u64,
    /// σ
    sigma: f64,
    /// m, the paper's θ, `[n]`.
    mean: Vec<f64>,
    /// Running mean of gradients, `[n]`.
    first_moment: Vec<f64>,
    /// Running mean of squared gradients, `[n]`; stays 0 without Adam.
    second_moment: Vec<f64>,
}

impl OpenEs {
    /// The start. `config` is resolved.
    pub(super) fn new(config: OpenEsConfig, x0: &[f64], seed: Seed) -> Self {
        let state = State {
            clock: Clock::new(seed),
            updates: 0,
            sigma: config.sigma.expect("a resolved config has a sigma"),
            mean: x0.to_vec(),
            first_moment: vec![0.0; x0.len()],
            second_moment: vec![0.0; x0.len()],
        };
        Self { config, state }
    }

    /// Where a checkpoint left off. `config` is resolved.
    pub(super) fn restore(config: OpenEsConfig, n: usize, state: State) -> Result<Self> {
        let vectors = [&state.mean, &state.first_moment, &state.second_moment];
        if all_finite(&vectors, n) && state.sigma.is_finite() {
            Ok(Self { config, state })
        } else {
            Err(damaged(n))
        }
    }
}

// ------------------------------------------------------------------------------------------------------------- ask

impl Learner for OpenEs {
    fn kind(&self) -> &'static str {
        "open-es"
    }

    fn lambda(&self) -> usize {
        self.config.population.expect("a resolved config has a population")
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

    fn scale(&self) -> f64 {
        self.state.sigma
    }

    fn to_json(&self) -> serde_json::Value {
        saved(
            Algorithm::OpenEs(self.config.clone()),
            self.state.mean.len(),
            &self.state,
        )
    }

    fn draw(&self, member: usize) -> Vec<f64> {
        let (draw, sign) = self.noise().draw_of(member);
        let epsilon = self.noise().normals(draw, self.state.mean.len());
        let mut x = self.state.mean.clone();
        axpy(sign * self.state.sigma, &epsilon, &mut x);
        x
    }

    // -------------------------------------------------------------------------------------------------------- tell

    fn learn(&mut self, fitness: &[Fitness]) -> f64 {
        let gradient = self.gradient(fitness);
        self.state.updates += 1;
        let step = self.optimize(&gradient);
        let mut moved = vec![0.0; step.len()];
        for ((m, step), moved) in self.state.mean.iter_mut().zip(step).zip(&mut moved) {
            *moved = step - self.config.weight_decay * *m;
            *m += *moved;
        }
        self.state.sigma *= self.config.sigma_decay;
        norm(&moved)
    }

    fn spread(&self) -> Option<Spread> {
        Some(Spread::ball(self.state.sigma, self.state.mean.len()))
    }

    fn limit(&self) -> Option<String> {
        let length = norm(&self.state.mean);
        (!length.is_finite()).then(|| format!("the mean has length {length}: the steps are out of control"))
    }
}

impl OpenEs {
    /// 1/(λ σ) Σ F_i ε_i (the paper's algorithm 1, line 5), F shaped.
    fn gradient(&self, fitness: &[Fitness]) -> Vec<f64> {
        let shaped = self.config.shaping.weights(fitness);
        let (noise, n) = (self.noise(), self.state.mean.len());
        // A pair's noise is drawn once, and counts with the difference of the two.
        let mut gradient = vec![0.0; n];
        for (draw, weight) in noise
            .weights(&shaped)
            .iter()
            .enumerate()
            .filter(|(_, weight)| weight.odd != 0.0)
        {
            axpy(
                weight.odd / (shaped.len() as f64 * self.state.sigma),
                &noise.normals(draw, n),
                &mut gradient,
            );
        }
        gradient
    }

    /// The step up the gradient.
    fn optimize(&mut self, gradient: &[f64]) -> Vec<f64> {
        let OpenEsConfig {
            optimizer,
            momentum: beta1,
            beta2,
            learning_rate,
            ..
        } = self.config;
        let rate = learning_rate.expect("a resolved config has a learning rate");
        let State {
            first_moment,
            second_moment,
            updates,
            ..
        } = &mut self.state;
        for (m, g) in first_moment.iter_mut().zip(gradient) {
            *m = beta1 * *m + (1.0 - beta1) * g;
        }
        if optimizer == Optimizer::Momentum {
            return first_moment.iter().map(|m| rate * m).collect();
        }
        for (v, g) in second_moment.iter_mut().zip(gradient) {
            *v = beta2 * *v + (1.0 - beta2) * g * g;
        }
        let t = i32::try_from(*updates).unwrap_or(i32::MAX);
        let (unbias1, unbias2) = (1.0 - beta1.powi(t), 1.0 - beta2.powi(t));
        let step = |(m, v): (&f64, &f64)| rate * (m / unbias1) / ((v / unbias2).sqrt() + EPSILON);
        first_moment.iter().zip(second_moment.iter()).map(step).collect()
    }
}

/// Adam's guard against division by zero.
const EPSILON: f64 = 1e-8;

// ----------------------------------------------------------------------------------------------------------- tests

#[cfg(test)]
mod tests {
    use super::*;
    use crate::strategy::Strategy;

    fn strategy(change: impl Fn(&mut OpenEsConfig)) -> OpenEs {
        let mut config = OpenEsConfig {
            population: Some(4),
            sigma: Some(0.5),
            learning_rate: Some(0.1),
            ..OpenEsConfig::default()
        };
        change(&mut config);
        let config = config.resolve(3).expect("in range");
        OpenEs::new(config, &[1.0, -2.0, 0.5], Seed::new(9))
    }

    fn fitness(values: &[f64]) -> Vec<Fitness> {
        values.iter().copied().map(Fitness::new).collect()
    }

    /// The noise of the first generation, by its address.
    fn epsilon(draw: u64) -> Vec<f64> {
        Seed::new(9).named("noise").fold(0).fold(draw).normals(3)
    }

    fn assert_close(found: &[f64], expected: &[f64]) {
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-14, "{found} and {expected}");
        }
    }

    #[test]
    fn the_gradient_is_the_weighted_sum_of_the_noise() {
        let es = strategy(|_| ());
        // Centred ranks ½, −½, 1/6, −1/6: the pairs count with 1 and 1/3, over λ σ = 2.
        let expected: Vec<f64> = epsilon(0)
            .iter()
            .zip(epsilon(1))
            .map(|(a, b)| (a + b / 3.0) / 2.0)
            .collect();
        assert_close(&es.gradient(&fitness(&[9.0, 1.0, 5.0, 4.0])), &expected);

        let single = strategy(|config| config.antithetic = false);
        // A failed member's noise is not in the sum.
        let expected: Vec<f64> = epsilon(0)
            .iter()
            .zip(epsilon(2))
            .map(|(a, c)| (a - c) / 3.0 / 2.0)
            .collect();
        assert_close(&single.gradient(&fitness(&[9.0, f64::NAN, 1.0, 5.0])), &expected);

        let scored = strategy(|config| config.shaping = Shaping::ZScore);
        let expected: Vec<f64> = epsilon(1).iter().map(|b| 2.0 * 2.0_f64.sqrt() * b / 2.0).collect();
        assert_close(&scored.gradient(&fitness(&[0.0, 0.0, 3.0, -3.0])), &expected);
    }

    #[test]
    fn momentum_averages_gradients() {
        let mut es = strategy(|config| {
            config.optimizer = Optimizer::Momentum;
            config.momentum = 0.75;
        });
        assert_close(&es.optimize(&[4.0, 0.0, 8.0]), &[0.1, 0.0, 0.2]);
        assert_close(&es.optimize(&[4.0, 4.0, 0.0]), &[0.175, 0.1, 0.15]);
    }

    #[test]
    fn the_first_step_of_adam_has_the_learning_rate_in_each_number() {
        let mut es = strategy(|_| ());
        let step = es.learn(&fitness(&[9.0, 1.0, 5.0, 4.0]));
        assert!((step - 0.1 * 3.0_f64.sqrt()).abs() < 1e-6, "{step}");
        // Two steps by the book: m and v of gradients 1 and 3.
        let mut es = strategy(|_| ());
        for gradient in [1.0, 3.0] {
            es.state.updates += 1;
            let step = es.optimize(&[gradient; 3])[0];
            let (m, v) = if gradient == 1.0 {
                (1.0, 1.0)
            } else {
                (0.39 / 0.19, 0.009999 / 0.001999)
            };
            assert!((step - 0.1 * m / f64::sqrt(v)).abs() < 1e-8, "{step}");
        }
    }

    #[test]
    fn weight_decay_draws_the_mean_to_zero_and_sigma_decays() {
        let mut es = strategy(|config| {
            config.optimizer = Optimizer::Momentum;
            config.learning_rate = Some(1e-300);
            config.weight_decay = 0.25;
            config.sigma_decay = 0.5;
        });
        let step = es.tell(&fitness(&[9.0, 1.0, 5.0, 4.0]));
        assert_close(es.mean(), &[0.75, -1.5, 0.375]);
        assert_eq!(step.sigma, 0.25);
        assert!((step.step_norm - norm(&[0.25, 0.5, 0.125])).abs() < 1e-15);
    }

    #[test]
    fn a_flat_generation_changes_nothing_but_its_number() {
        let mut es = strategy(|config| {
            config.weight_decay = 0.1;
            config.sigma_decay = 0.9;
        });
        es.tell(&fitness(&[9.0, 1.0, 5.0, 4.0]));
        let before = es.state.clone();
        for values in [[1.0; 4], [f64::NAN; 4], [2.0, f64::NAN, 2.0, 2.0]] {
            assert!(es.tell(&fitness(&values)).flat);
        }
        assert_eq!(
            es.state,
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

    /// By its definition, on a thousand members; centred ranks lie evenly in [−½, ½], so they deviate by √(1/12).
    #[test]
    fn the_default_rate_of_momentum_makes_up_for_the_shaping() {
        let values: Vec<f64> = (0..1000).map(f64::from).collect();
        for shaping in [Shaping::CentredRanks, Shaping::ZScore, Shaping::Utilities] {
            let weights = shaping.weights(&fitness(&values));
            assert!(weights.iter().sum::<f64>().abs() < 1e-9);
            let deviation = (weights.iter().map(|w| w * w).sum::<f64>() / 1000.0).sqrt();
            let found = shaping.deviation(1000);
            assert!(
                (found / (12.0_f64.sqrt() * deviation) - 1.0).abs() < 2e-3,
                "{shaping:?}: {found}"
            );
        }
        let rate = |shaping: Shaping, optimizer: Optimizer| {
            let config = OpenEsConfig {
                shaping,
                optimizer,
                sigma: Some(0.5),
                ..OpenEsConfig::default()
            };
            config.resolve(3).expect("in range").learning_rate.expect("filled in")
        };
        // 4 σ² for ranks, 0.2 σ for Adam.
        assert_eq!(rate(Shaping::CentredRanks, Optimizer::Momentum), 1.0);
        assert!((rate(Shaping::ZScore, Optimizer::Momentum) - 1.0 / 12.0_f64.sqrt()).abs() < 1e-15);
        assert_eq!(rate(Shaping::ZScore, Optimizer::Adam), 0.1);
    }

    /// A gradient of the size of ε takes half of the learning rate: 0.1 · 1e-8 / (1e-8 + 1e-8).
    #[test]
    fn adams_guard_holds_small_gradients_back() {
        let mut es = strategy(|_| ());
        es.state.updates = 1;
        for step in es.optimize(&[1e-8; 3]) {
            assert!((step - 0.05).abs() < 1e-12, "{step}");
        }
    }
}
