//! OpenAI's evolution strategy: T. Salimans, J. Ho, X. Chen, S. Sidor, I. Sutskever, *Evolution Strategies as a
//! Scalable Alternative to Reinforcement Learning*, arXiv 1703.03864. Members are drawn from N(m, σ² I) in antithetic
//! pairs, the fitness-weighted sum of their noise estimates the gradient of the smoothed fitness, and an optimizer steps
//! along it. σ is fixed but for an optional decay, so nothing here notices that steps are too long: the learning rate
//! must be right, and CMA-ES is the safer choice where it is not known. What it gives in return is O(n) time and memory.

use super::algorithm::{Algorithm, Search};
use super::shaping::{centred_ranks, share_weights, utilities, z_scores};
use super::{check, defaults};
use crate::error::Result;
use crate::linalg::{all_finite, axpy, norm};
use crate::search::Fitness;
use serde::{Deserialize, Serialize};

// -------------------------------------------------------------------------------------------------------- settings

/// What OpenAI-ES alone has as settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OpenEsConfig {
    /// What σ is multiplied by after each generation that was not flat, in (0, 1]. Default 1.
    pub sigma_decay: f64,
    /// Length of a step, above 0. Default 0.4 σ for Adam; for momentum 4 σ², divided by how much larger the
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
            sigma_decay: 1.0,
            learning_rate: None,
            optimizer: Optimizer::default(),
            momentum: 0.9,
            beta2: 0.999,
            shaping: Shaping::default(),
            weight_decay: 0.0,
        }
    }
}

// --------------------------------------------------------------------------------------------------------- numbers

/// What OpenAI-ES learns beside the mean, the paper's θ.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OpenEs {
    /// Generations that were not flat: the optimizer's clock, Adam's t.
    updates: u64,
    /// Running mean of gradients, `[n]`.
    first_moment: Vec<f64>,
    /// Running mean of squared gradients, `[n]`; stays 0 without Adam.
    second_moment: Vec<f64>,
}

impl Algorithm for OpenEs {
    type Settings = OpenEsConfig;

    fn resolve(settings: &OpenEsConfig, n: usize, population: usize, sigma: f64) -> Result<OpenEsConfig> {
        let rate = settings.learning_rate.unwrap_or(match settings.optimizer {
            Optimizer::Adam => defaults(n).adam_rate * sigma,
            Optimizer::Momentum => defaults(n).momentum_rate * sigma * sigma / settings.shaping.deviation(population),
        });
        let portion = |key, value: f64| check(key, value, (0.0..1.0).contains(&value), "a number in [0, 1)");
        let decay = settings.sigma_decay;
        Ok(OpenEsConfig {
            sigma_decay: check("sigma_decay", decay, decay > 0.0 && decay <= 1.0, "a number in (0, 1]")?,
            learning_rate: Some(check("learning_rate", rate, rate > 0.0, "a number above 0")?),
            momentum: portion("momentum", settings.momentum)?,
            beta2: portion("beta2", settings.beta2)?,
            weight_decay: portion("weight_decay", settings.weight_decay)?,
            ..settings.clone()
        })
    }

    /// All but utilities, of which the worse half shares the least.
    fn weighs_the_worse_half(settings: &OpenEsConfig) -> bool {
        settings.shaping != Shaping::Utilities
    }

    fn start(search: &mut Search<OpenEsConfig>) -> Self {
        Self {
            updates: 0,
            first_moment: vec![0.0; search.dim()],
            second_moment: vec![0.0; search.dim()],
        }
    }

    fn is_valid(&self, n: usize) -> bool {
        all_finite(&[&self.first_moment, &self.second_moment], n)
    }

    // -------------------------------------------------------------------------------------------------------- draw

    fn draw(&self, search: &Search<OpenEsConfig>, member: usize) -> Vec<f64> {
        let (draw, sign) = search.noise().draw_of(member);
        let epsilon = search.noise().normals(draw, search.dim());
        let mut x = search.mean.clone();
        axpy(sign * search.sigma, &epsilon, &mut x);
        x
    }

    // ------------------------------------------------------------------------------------------------------- learn

    fn learn(&mut self, search: &mut Search<OpenEsConfig>, fitness: &[Fitness]) -> f64 {
        let gradient = Self::gradient(search, fitness);
        self.updates += 1;
        let step = self.optimize(&search.settings, &gradient);
        let mut moved = vec![0.0; step.len()];
        for ((m, step), moved) in search.mean.iter_mut().zip(step).zip(&mut moved) {
            *moved = step - search.settings.weight_decay * *m;
            *m += *moved;
        }
        search.sigma *= search.settings.sigma_decay;
        norm(&moved)
    }

    fn limit(&self, search: &Search<OpenEsConfig>) -> Option<String> {
        let length = norm(&search.mean);
        (!length.is_finite()).then(|| format!("the mean has length {length}: the steps are out of control"))
    }
}

impl OpenEs {
    /// 1/(λ σ) Σ F_i ε_i (the paper's algorithm 1, line 5), F shaped.
    fn gradient(search: &Search<OpenEsConfig>, fitness: &[Fitness]) -> Vec<f64> {
        let shaped = search.settings.shaping.weights(fitness);
        let (noise, n) = (search.noise(), search.dim());
        // A pair's noise is drawn once, and counts with the difference of the two.
        let mut gradient = vec![0.0; n];
        for (draw, weight) in noise
            .weights(&shaped)
            .iter()
            .enumerate()
            .filter(|(_, weight)| weight.odd != 0.0)
        {
            axpy(
                weight.odd / (shaped.len() as f64 * search.sigma),
                &noise.normals(draw, n),
                &mut gradient,
            );
        }
        gradient
    }

    /// The step up the gradient.
    fn optimize(&mut self, settings: &OpenEsConfig, gradient: &[f64]) -> Vec<f64> {
        let OpenEsConfig {
            optimizer,
            momentum: beta1,
            beta2,
            learning_rate,
            ..
        } = *settings;
        let rate = learning_rate.expect("a resolved config has a learning rate");
        let Self {
            updates,
            first_moment,
            second_moment,
        } = self;
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
    use crate::seed::Seed;
    use crate::strategy::{AskTell, Strategy};

    fn strategy(change: impl Fn(&mut OpenEsConfig)) -> AskTell<OpenEs> {
        let mut settings = OpenEsConfig {
            learning_rate: Some(0.1),
            ..OpenEsConfig::default()
        };
        change(&mut settings);
        let settings = OpenEs::resolve(&settings, 3, 4, 0.5).expect("in range");
        let x0 = [1.0, -2.0, 0.5];
        AskTell::new("open-es", Search::new(settings, &x0, 0.5, 4, true, Seed::new(9)))
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
        assert_close(
            &OpenEs::gradient(&es.search, &fitness(&[9.0, 1.0, 5.0, 4.0])),
            &expected,
        );

        let mut single = strategy(|_| ());
        single.search.antithetic = false;
        // A failed member's noise is not in the sum.
        let expected: Vec<f64> = epsilon(0)
            .iter()
            .zip(epsilon(2))
            .map(|(a, c)| (a - c) / 3.0 / 2.0)
            .collect();
        assert_close(
            &OpenEs::gradient(&single.search, &fitness(&[9.0, f64::NAN, 1.0, 5.0])),
            &expected,
        );

        let scored = strategy(|config| config.shaping = Shaping::ZScore);
        let expected: Vec<f64> = epsilon(1).iter().map(|b| 2.0 * 2.0_f64.sqrt() * b / 2.0).collect();
        assert_close(
            &OpenEs::gradient(&scored.search, &fitness(&[0.0, 0.0, 3.0, -3.0])),
            &expected,
        );
    }

    #[test]
    fn momentum_averages_gradients() {
        let mut es = strategy(|config| {
            config.optimizer = Optimizer::Momentum;
            config.momentum = 0.75;
        });
        assert_close(
            &es.own.optimize(&es.search.settings, &[4.0, 0.0, 8.0]),
            &[0.1, 0.0, 0.2],
        );
        assert_close(
            &es.own.optimize(&es.search.settings, &[4.0, 4.0, 0.0]),
            &[0.175, 0.1, 0.15],
        );
    }

    #[test]
    fn the_first_step_of_adam_has_the_learning_rate_in_each_number() {
        let mut es = strategy(|_| ());
        let step = es.own.learn(&mut es.search, &fitness(&[9.0, 1.0, 5.0, 4.0]));
        assert!((step - 0.1 * 3.0_f64.sqrt()).abs() < 1e-6, "{step}");
        // Two steps by the book: m and v of gradients 1 and 3.
        let mut es = strategy(|_| ());
        for gradient in [1.0, 3.0] {
            es.own.updates += 1;
            let step = es.own.optimize(&es.search.settings, &[gradient; 3])[0];
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
        let before = es.clone();
        for values in [[1.0; 4], [f64::NAN; 4], [2.0, f64::NAN, 2.0, 2.0]] {
            assert!(es.tell(&fitness(&values)).flat);
        }
        assert_eq!(es.own, before.own);
        let expected = Search {
            generation: 4,
            flat: 3,
            ..before.search
        };
        assert_eq!(es.search, expected);
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
            let settings = OpenEsConfig {
                shaping,
                optimizer,
                ..OpenEsConfig::default()
            };
            let resolved = OpenEs::resolve(&settings, 3, 8, 0.5).expect("in range");
            resolved.learning_rate.expect("filled in")
        };
        // 4 σ² for ranks, 0.4 σ for Adam.
        assert_eq!(rate(Shaping::CentredRanks, Optimizer::Momentum), 1.0);
        assert!((rate(Shaping::ZScore, Optimizer::Momentum) - 1.0 / 12.0_f64.sqrt()).abs() < 1e-15);
        assert_eq!(rate(Shaping::ZScore, Optimizer::Adam), 0.2);
    }

    /// A gradient of the size of ε takes half of the learning rate: 0.1 · 1e-8 / (1e-8 + 1e-8).
    #[test]
    fn adams_guard_holds_small_gradients_back() {
        let mut es = strategy(|_| ());
        es.own.updates = 1;
        for step in es.own.optimize(&es.search.settings, &[1e-8; 3]) {
            assert!((step - 0.05).abs() < 1e-12, "{step}");
        }
    }
}
