//! xNES, the exponential natural evolution strategy: T. Glasmachers, T. Schaul, Y. Sun, D. Wierstra, J. Schmidhuber,
//! *Exponential Natural Evolution Strategies*, GECCO 2010, and Wierstra et al., *Natural Evolution Strategies*, JMLR 15
//! (2014) 949–980, whose names for quantities stand beside the lines. Members are drawn from N(m, σ² B Bᵀ), det B = 1,
//! and m, ln σ and the logarithm of B follow the natural gradient of the expected utility, in the coordinates in which
//! the Gaussian is the unit one. What the two of an antithetic pair have in common cancels in the step of the mean, and
//! what they differ in cancels in those of σ and B; the paper draws no pairs. It is invariant to rotation. A generation
//! takes O(λ n²), because the exponential is that of a matrix of rank λ. The learning rate of σ and B falls with
//! n^(3/2): at n = 40 it is 0.016, at n = 480 0.0005, where σ hardly moves in the generations that a run has. From n ≈
//! 100 on take `snes` or `cma-es`.

use super::algorithm::{Algorithm, MeanSettings, Search};
use super::shaping::{share_weights, utilities};
use super::spread::Spread;
use crate::error::{Error, Result};
use crate::linalg::{Matrix, Outer, axpy, norm, squared_norm};
use crate::search::Fitness;
use serde::{Deserialize, Serialize};

// --------------------------------------------------------------------------------------------------------- numbers

/// What xNES learns beside the mean, the paper's μ, and σ. The learning rate of σ and B is the paper's,
/// (9 + 3 ln n)/(5 n √n), and that of the mean is its 1 where the settings leave it alone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Xnes {
    /// Generations that were not flat.
    updates: u64,
    /// B, of determinant 1.
    shape: Matrix,
    /// The axes of B Bᵀ as of update `measured_at`.
    spread: Spread,
    measured_at: u64,
}

/// The largest n: B has n² numbers, at this n 128 MiB, and a checkpoint writes them all.
const LARGEST_DIMENSION: usize = 4096;

/// Updates from one look at the axes to the next, which only the log and `stop` need: so many that looking, O(n³),
/// costs no more than sampling, O(λ n²).
fn gap(search: &Search<MeanSettings>) -> u64 {
    search.dim().div_ceil(search.population) as u64
}

impl Algorithm for Xnes {
    type Settings = MeanSettings;

    fn resolve(settings: &MeanSettings, n: usize, population: usize, _: f64) -> Result<MeanSettings> {
        if n > LARGEST_DIMENSION {
            return Err(Error::config(format!(
                "strategy.kind: is xnes, which keeps n × n numbers, expected at most n = {LARGEST_DIMENSION} and the space \
                 has {n}; take snes"
            )));
        }
        settings.resolved(n, population)
    }

    /// The worse half shares the least utility.
    fn weighs_the_worse_half(_: &MeanSettings) -> bool {
        false
    }

    /// B is the unit matrix.
    fn start(search: &mut Search<MeanSettings>) -> Self {
        let n = search.dim();
        Self {
            updates: 0,
            shape: Matrix::identity(n),
            spread: Spread::ball(1.0, n),
            measured_at: 0,
        }
    }

    fn is_valid(&self, n: usize) -> bool {
        self.spread.is_valid() && self.shape.dim() == n && self.shape.is_valid()
    }

    // -------------------------------------------------------------------------------------------------------- draw

    /// O(n²)
    fn draw(&self, search: &Search<MeanSettings>, member: usize) -> Vec<f64> {
        let (draw, sign) = search.noise().draw_of(member);
        let s = search.noise().normals(draw, search.dim());
        let mut x = search.mean.clone();
        axpy(sign * search.sigma, &self.shape.times(&s), &mut x); // z_k = μ + σ B s_k
        x
    }

    // ------------------------------------------------------------------------------------------------------- learn

    fn learn(&mut self, search: &mut Search<MeanSettings>, fitness: &[Fitness]) -> f64 {
        let (noise, n) = (search.noise(), search.dim());
        let dim = n as f64;
        let weights = noise.weights(&share_weights(&utilities(search.population), fitness)); // u_k
        let draws: Vec<Vec<f64>> = (0..weights.len()).map(|draw| noise.normals(draw, n)).collect();
        let rate = (9.0 + 3.0 * dim.ln()) / (5.0 * dim * dim.sqrt()); // η_σ = η_B, table 1

        let mut of_mean = vec![0.0; n];
        for (weight, s) in weights.iter().zip(&draws) {
            axpy(weight.odd, s, &mut of_mean); // ∇_δ J = Σ u s
        }
        let step = self.shape.times(&of_mean);
        let mean_rate = search.settings.rate() * search.sigma;
        axpy(mean_rate, &step, &mut search.mean); // η_δ σ B ∇_δ J
        let step_norm = mean_rate * norm(&step);

        // ∇_M J = Σ u (s sᵀ − I) is not made: σ takes its trace, and B the rest, Σ u s sᵀ less its own trace.
        let terms: Vec<Outer> = weights
            .iter()
            .zip(&draws)
            .map(|(weight, vector)| Outer {
                weight: rate / 2.0 * weight.even,
                vector,
            })
            .collect();
        let mass: f64 = weights.iter().zip(&draws).map(|(w, s)| w.even * squared_norm(s)).sum();
        let of_sigma = mass / dim - weights.iter().map(|w| w.even).sum::<f64>(); // ∇_σ J = tr(∇_M J)/d
        let whole = self.shape.times_exponential(-rate / 2.0 * mass / dim, &terms); // exp(η_B/2 ∇_B J)
        search.sigma *= (rate / 2.0 * of_sigma).exp(); // σ exp(η_σ/2 ∇_σ J)

        self.updates += 1;
        if whole && self.updates >= self.measured_at + gap(search) {
            // A matrix without axes keeps the old ones, and `stop` says so.
            if let Some(axes) = self.shape.axes() {
                self.spread = Spread::of(axes.lengths());
                self.measured_at = self.updates;
            }
        }
        step_norm
    }

    fn spread(&self, search: &Search<MeanSettings>) -> Option<Spread> {
        Some(self.spread.times(search.sigma))
    }

    fn limit(&self, search: &Search<MeanSettings>) -> Option<String> {
        if self.updates >= self.measured_at + gap(search) {
            return Some("the covariance matrix has no decomposition any more".to_string());
        }
        self.spread.times(search.sigma).stop(search.first_sigma)
    }
}

// ----------------------------------------------------------------------------------------------------------- tests

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::Seed;
    use crate::strategy::{AskTell, Strategy};

    fn strategy(n: usize, population: usize, antithetic: bool) -> AskTell<Xnes> {
        let x0 = vec![0.25; n];
        AskTell::new(
            "xnes",
            Search::new(MeanSettings::default(), &x0, 0.5, population, antithetic, Seed::new(11)),
        )
    }

    fn fitness(values: &[f64]) -> Vec<Fitness> {
        values.iter().copied().map(Fitness::new).collect()
    }

    /// All of a step in the paper's own words, with dense matrices and the exponential's series.
    #[test]
    fn a_step_is_that_of_the_paper() {
        let u = utilities(6);
        for antithetic in [false, true] {
            for n in [2, 4, 9] {
                let mut xnes = strategy(n, 6, antithetic);
                let mut shape = vec![vec![0.0; n]; n]; // rows of B
                (0..n).for_each(|i| shape[i][i] = 1.0);
                let rate = (9.0 + 3.0 * (n as f64).ln()) / (5.0 * (n as f64).powf(1.5));
                for generation in 0..3 {
                    let s: Vec<Vec<f64>> = (0..6)
                        .map(|member| {
                            let (draw, sign) = xnes.search.noise().draw_of(member);
                            xnes.search.noise().normals(draw, n).iter().map(|z| sign * z).collect()
                        })
                        .collect();
                    // Member 5 is best, 2 and 3 tie, 0 failed.
                    let tied = (u[1] + u[2]) / 2.0;
                    let weights = [0.0, u[4], tied, tied, u[3], u[0]];
                    let (mean, sigma) = (xnes.mean().to_vec(), xnes.sigma());
                    xnes.tell(&fitness(&[f64::NAN, 0.0, 0.5, 0.5, 0.25, 1.0]));

                    let times = |x: &[f64]| -> Vec<f64> {
                        let row = |row: &Vec<f64>| row.iter().zip(x).map(|(b, x)| b * x).sum();
                        shape.iter().map(row).collect()
                    };
                    let g: Vec<f64> = (0..n).map(|i| (0..6).map(|k| weights[k] * s[k][i]).sum()).collect();
                    let moved = times(&g);
                    for i in 0..n {
                        assert!((xnes.mean()[i] - (mean[i] + sigma * moved[i])).abs() < 1e-13);
                    }
                    let unit = |i, j| f64::from(u8::from(i == j));
                    let g_m = |i: usize, j: usize| -> f64 {
                        (0..6).map(|k| weights[k] * (s[k][i] * s[k][j] - unit(i, j))).sum()
                    };
                    let g_sigma = (0..n).map(|i| g_m(i, i)).sum::<f64>() / n as f64;
                    assert!((xnes.sigma() - sigma * (rate / 2.0 * g_sigma).exp()).abs() < 1e-14);

                    let exponent = |i, j| rate / 2.0 * (g_m(i, j) - g_sigma * unit(i, j));
                    let (mut sum, mut power) = (shape.clone(), shape.clone());
                    for order in 1..60 {
                        let entry =
                            |row: &Vec<f64>, j| (0..n).map(|i| row[i] * exponent(i, j)).sum::<f64>() / f64::from(order);
                        power = power
                            .iter()
                            .map(|row| (0..n).map(|j| entry(row, j)).collect())
                            .collect();
                        for (sum, power) in sum.iter_mut().zip(&power) {
                            axpy(1.0, power, sum);
                        }
                    }
                    shape = sum;
                    let x = Seed::new(generation).normals(n);
                    let row = |row: &Vec<f64>| row.iter().zip(&x).map(|(b, x)| b * x).sum::<f64>();
                    for (found, expected) in xnes.own.shape.times(&x).iter().zip(shape.iter().map(row)) {
                        assert!((found - expected).abs() < 1e-12, "n {n} generation {generation}");
                    }
                }
            }
        }
    }

    #[test]
    fn the_determinant_stays_one() {
        let mut xnes = strategy(3, 8, false);
        for generation in 0..200 {
            let chance = Seed::new(generation).normals(8);
            xnes.tell(&fitness(&chance));
        }
        let column = |j: usize| {
            let mut unit = [0.0; 3];
            unit[j] = 1.0;
            xnes.own.shape.times(&unit)
        };
        let (a, b, c) = (column(0), column(1), column(2));
        let det = a[0] * (b[1] * c[2] - b[2] * c[1]) - b[0] * (a[1] * c[2] - a[2] * c[1])
            + c[0] * (a[1] * b[2] - a[2] * b[1]);
        assert!((det - 1.0).abs() < 1e-10, "{det}");
    }

    #[test]
    fn a_flat_generation_changes_nothing_but_its_number() {
        let mut xnes = strategy(4, 6, true);
        xnes.tell(&fitness(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]));
        let before = xnes.clone();
        for values in [[1.0; 6], [f64::NAN; 6], [f64::NAN, 2.0, 2.0, f64::NAN, 2.0, 2.0]] {
            let step = xnes.tell(&fitness(&values));
            assert!(step.flat && step.step_norm == 0.0, "{values:?}");
        }
        assert_eq!(xnes.own, before.own);
        let expected = Search {
            generation: 4,
            flat: 3,
            ..before.search
        };
        assert_eq!(xnes.search, expected);
    }

    #[test]
    fn the_axes_are_looked_at_now_and_then() {
        let mut xnes = strategy(20, 6, true);
        for update in 1..=8 {
            let step = xnes.tell(&fitness(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]));
            assert_eq!((xnes.own.measured_at, step.stop), (update / 4 * 4, None));
            assert_eq!(step.spread.expect("known").axis_ratio() > 1.0, update >= 4);
        }
    }

    #[test]
    fn numerical_limits_ask_to_stop() {
        let told = |change: fn(&mut AskTell<Xnes>)| {
            let mut xnes = strategy(3, 4, false);
            change(&mut xnes);
            xnes.tell(&fitness(&[1.0; 4])).stop.expect("a limit is passed")
        };
        assert!(told(|xnes| xnes.search.sigma = f64::INFINITY).contains("out of control"));
        assert!(told(|xnes| xnes.search.sigma = 1e-13).contains("converged"));
        assert!(told(|xnes| xnes.search.sigma = 1e4).contains("diverges"));
        assert!(told(|xnes| xnes.own.spread.shortest = 1e-8).contains("condition"));
    }

    #[test]
    fn a_matrix_that_no_machine_holds_is_refused() {
        let error = Xnes::resolve(&MeanSettings::default(), 5000, 4, 0.1);
        let error = error.expect_err("too large").to_string();
        assert!(error.contains("5000") && error.contains("snes"), "{error}");
    }
}
