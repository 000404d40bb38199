//! SNES, the separable natural evolution strategy: D. Wierstra, T. Schaul, T. Glasmachers, Y. Sun, J. Peters,
//! J. Schmidhuber, *Natural Evolution Strategies*, JMLR 15 (2014) 949–980; its algorithm for separable Gaussians, whose
//! names for quantities stand beside the lines. Members are drawn from N(m, diag(σ)²). The mean and the logarithm of each
//! σ follow the natural gradient of the expected utility, where utility depends on the rank alone. The learning rate of σ
//! falls with √n only, and a generation takes O(λ n), so this is the natural gradient for n in the hundreds and thousands;
//! what it cannot learn are axes that do not lie along the coordinates. The paper draws no pairs; what the two of a pair
//! have in common cancels in the step of the mean, and what they differ in cancels in that of σ. Under random fitness ln σ
//! does not drift, with ties, failures and pairs as without.

use super::algorithm::{Algorithm, MeanSettings, Search};
use super::shaping::{share_weights, utilities};
use super::spread::{Spread, geometric_mean};
use crate::error::Result;
use crate::linalg::{all_finite, norm};
use crate::search::Fitness;
use serde::{Deserialize, Serialize};

// --------------------------------------------------------------------------------------------------------- numbers

/// What SNES learns beside the mean, the paper's μ. The learning rate of σ is the paper's, (3 + ln n)/(5 √n), and that of
/// the mean is its 1 where the settings leave it alone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Snes {
    /// σ, `[n]`; the overall step size is their geometric mean.
    sigmas: Vec<f64>,
}

impl Algorithm for Snes {
    type Settings = MeanSettings;

    fn resolve(settings: &MeanSettings, n: usize, population: usize, _: f64) -> Result<MeanSettings> {
        settings.resolved(n, population)
    }

    /// The worse half shares the least utility.
    fn weighs_the_worse_half(_: &MeanSettings) -> bool {
        false
    }

    fn start(search: &mut Search<MeanSettings>) -> Self {
        let sigmas = vec![search.sigma; search.dim()];
        search.sigma = geometric_mean(&sigmas);
        Self { sigmas }
    }

    fn is_valid(&self, n: usize) -> bool {
        all_finite(&[&self.sigmas], n)
    }

    // -------------------------------------------------------------------------------------------------------- draw

    fn draw(&self, search: &Search<MeanSettings>, member: usize) -> Vec<f64> {
        let (draw, sign) = search.noise().draw_of(member);
        let s = search.noise().normals(draw, search.dim());
        let member = search.mean.iter().zip(&self.sigmas).zip(s);
        member.map(|((m, sigma), s)| m + sign * sigma * s).collect() // z_k = μ + σ s_k
    }

    // ------------------------------------------------------------------------------------------------------- learn

    fn learn(&mut self, search: &mut Search<MeanSettings>, fitness: &[Fitness]) -> f64 {
        let (noise, n) = (search.noise(), search.dim());
        let weights = share_weights(&utilities(search.population), fitness); // u_k
        let (mut of_mean, mut of_sigma) = (vec![0.0; n], vec![0.0; n]);
        for (draw, weight) in noise.weights(&weights).into_iter().enumerate() {
            let s = noise.normals(draw, n);
            for ((of_mean, of_sigma), s) in of_mean.iter_mut().zip(&mut of_sigma).zip(s) {
                *of_mean += weight.odd * s; // ∇_μ J = Σ u s
                *of_sigma += weight.even * (s * s - 1.0); // ∇_σ J = Σ u (s² − 1)
            }
        }
        let rate = (3.0 + (n as f64).ln()) / (5.0 * (n as f64).sqrt()); // η_σ, table 1
        let mean_rate = search.settings.rate();
        let (mean, sigmas) = (&mut search.mean, &mut self.sigmas);
        let mut moved = vec![0.0; n];
        for (i, moved) in moved.iter_mut().enumerate() {
            *moved = mean_rate * sigmas[i] * of_mean[i]; // η_μ σ ∇_μ J
            mean[i] += *moved;
            sigmas[i] *= (rate / 2.0 * of_sigma[i]).exp(); // σ exp(η_σ/2 ∇_σ J)
        }
        search.sigma = geometric_mean(sigmas);
        norm(&moved)
    }

    fn spread(&self, _: &Search<MeanSettings>) -> Option<Spread> {
        Some(Spread::of(&self.sigmas))
    }
}

// ----------------------------------------------------------------------------------------------------------- tests

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::Seed;
    use crate::strategy::{AskTell, Strategy};

    fn strategy(antithetic: bool) -> AskTell<Snes> {
        let x0 = [1.0, -2.0, 0.5];
        AskTell::new(
            "snes",
            Search::new(MeanSettings::default(), &x0, 0.5, 4, antithetic, Seed::new(9)),
        )
    }

    fn fitness(values: &[f64]) -> Vec<Fitness> {
        values.iter().copied().map(Fitness::new).collect()
    }

    /// The noise of the first generation, by its address.
    fn noise(draw: u64) -> Vec<f64> {
        Seed::new(9).named("noise").fold(0).fold(draw).normals(3)
    }

    #[test]
    fn a_step_is_that_of_the_paper() {
        let u = utilities(4);
        // (antithetic, fitness, weight of each member): a member that failed leaves its utility to nobody, and members that
        // tie share theirs.
        let (first, last) = ((u[0] + u[1]) / 2.0, (u[1] + u[2] + u[3]) / 3.0);
        for (antithetic, values, weights) in [
            (false, [1.0, 9.0, 5.0, 4.0], [u[3], u[0], u[1], u[2]]),
            (true, [1.0, 9.0, 5.0, 4.0], [u[3], u[0], u[1], u[2]]),
            (false, [1.0, 9.0, 5.0, f64::NAN], [u[2], u[0], u[1], 0.0]),
            (false, [5.0, 1.0, 4.0, 5.0], [first, u[3], u[2], first]),
            (true, [1.0, 1.0, 9.0, 1.0], [last, last, u[0], last]),
        ] {
            let mut snes = strategy(antithetic);
            let members: Vec<Vec<f64>> = (0..4).map(|member| snes.ask(member)).collect();
            let step = snes.tell(&fitness(&values));
            let rate = (3.0 + 3.0_f64.ln()) / (5.0 * 3.0_f64.sqrt());
            for i in 0..3 {
                let start = [1.0, -2.0, 0.5][i];
                let s = |member: usize| (members[member][i] - start) / 0.5;
                let of_mean: f64 = (0..4).map(|k| weights[k] * s(k)).sum();
                let of_sigma: f64 = (0..4).map(|k| weights[k] * (s(k).powi(2) - 1.0)).sum();
                assert!((snes.mean()[i] - (start + 0.5 * of_mean)).abs() < 1e-14);
                assert!((snes.own.sigmas[i] - 0.5 * (rate / 2.0 * of_sigma).exp()).abs() < 1e-14);
            }
            assert_eq!(step.failed, values.iter().filter(|value| value.is_nan()).count());
            assert!(step.spread.expect("known").axis_ratio() > 1.0 && step.step_norm > 0.0 && step.stop.is_none());
        }
    }

    #[test]
    fn members_are_the_noise_in_pairs_or_not() {
        let at = |sign: f64, z: Vec<f64>| -> Vec<f64> {
            let x = [1.0, -2.0, 0.5].into_iter().zip(z);
            x.map(|(m, z)| m + sign * 0.5 * z).collect()
        };
        assert_eq!(strategy(false).ask(3), at(1.0, noise(3)));
        assert_eq!(strategy(true).ask(3), at(-1.0, noise(1)));
    }

    #[test]
    fn a_flat_generation_changes_nothing_but_its_number() {
        let mut snes = strategy(true);
        snes.tell(&fitness(&[9.0, 1.0, 5.0, 4.0]));
        let before = snes.clone();
        for values in [[1.0; 4], [f64::NAN; 4], [2.0, f64::NAN, 2.0, 2.0]] {
            assert!(snes.tell(&fitness(&values)).flat);
        }
        assert_eq!(snes.own, before.own);
        let expected = Search {
            generation: 4,
            flat: 3,
            ..before.search
        };
        assert_eq!(snes.search, expected);
    }

    #[test]
    fn numerical_limits_ask_to_stop() {
        let told = |sigmas: [f64; 3]| {
            let mut snes = strategy(false);
            snes.own.sigmas = sigmas.to_vec();
            snes.tell(&fitness(&[1.0; 4])).stop.expect("a limit is passed")
        };
        assert!(told([1.0, f64::INFINITY, 1.0]).contains("out of control"));
        assert!(told([1e-13; 3]).contains("converged"));
        assert!(told([1.0, 1e4, 1.0]).contains("diverges"));
        assert!(told([1.0, 1e-8, 1.0]).contains("condition"));
    }
}
