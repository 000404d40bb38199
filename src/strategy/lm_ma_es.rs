//! LM-MA-ES: I. Loshchilov, T. Glasmachers, H.-G. Beyer, *Large Scale Black-Box Optimization by Limited-Memory Matrix
//! Adaptation*, IEEE Transactions on Evolutionary Computation 23(2), 2019, arXiv 1705.06693; what is marked (A1) is its
//! algorithm 1. Members are drawn from N(m, σ² M Mᵀ), where M is never written down: it is a product of m = 4 + ⌊3 ln n⌋
//! matrices, each the unit matrix with one learnt direction stretched. A direction is a path of past steps, and each
//! path forgets four times as slowly as the one before. Time a member and memory are O(n m), for n in the tens of
//! thousands. Steps are drawn, weighted and cumulated as in `cma_es.rs`, so ties share weights, members come in
//! pairs unless the settings say otherwise (the paper draws none), and σ does not drift under random fitness.
//!
//! Why this one and not CR-FM-NES (Nomura and Ono, arXiv 2201.11422), which is as frugal: that one has to draw pairs, and
//! weighs members by the length of their noise, so members that tie do not count the same.

use super::algorithm::{Algorithm, MeanSettings, Search};
use super::cma_es::{Parameters, cumulate, neutral_mueff};
use super::defaults;
use super::shaping::share_weights;
use super::spread::Spread;
use crate::error::Result;
use crate::linalg::{all_finite, axpy, dot, exact, norm, squared_norm};
use crate::search::Fitness;
use serde::{Deserialize, Serialize};

// ------------------------------------------------------------------------------------------------ fixed parameters

/// What follows from n and λ once and for all (A1).
#[derive(Clone, Debug, PartialEq)]
struct Rates {
    /// w_i, best rank first, `[λ]`: those of the better half sum to 1, the rest are 0.
    weights: Vec<f64>,
    /// c_σ, how much of the path of σ one generation replaces.
    cs: f64,
    /// c_c, how much of each direction one generation replaces, `[m]`.
    cc: Vec<f64>,
    /// c_d, how far each direction is stretched, `[m]`.
    cd: Vec<f64>,
}

impl Rates {
    /// The paper's. It presumes n > 2 λ; below, where c_σ and c_c would replace more than all of a path, they stay at 1.
    fn new(n: usize, population: usize) -> Self {
        let (dim, lambda) = (n as f64, population as f64);
        let directions = 0..defaults(n).population as i32;
        Self {
            weights: Parameters::new(n, population, false).weights,
            cs: (2.0 * lambda / dim).min(1.0),
            cc: directions
                .clone()
                .map(|i| (lambda / (4_f64.powi(i) * dim)).min(1.0))
                .collect(),
            cd: directions.map(|i| 1.0 / (1.5_f64.powi(i) * dim)).collect(),
        }
    }
}

// --------------------------------------------------------------------------------------------------------- numbers

/// What LM-MA-ES learns beside the mean, the paper's y, and σ.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LmMaEs {
    /// Generations that were not flat: as many directions as that are in use.
    updates: u64,
    /// p_σ, the path that drives σ, `[n]`.
    path_sigma: Vec<f64>,
    /// m_i, the directions, one after another, `[m · n]`.
    #[serde(with = "exact")]
    directions: Vec<f64>,
}

impl LmMaEs {
    /// d = M z, (1 − c_d) d + c_d m_i (m_iᵀ d) for one direction after another (A1). O(n m).
    fn shape(&self, cd: &[f64], z: &[f64]) -> Vec<f64> {
        let mut d = z.to_vec();
        let used = usize::try_from(self.updates).unwrap_or(usize::MAX);
        let directions = self.directions.chunks_exact(z.len()).zip(cd);
        for (direction, cd) in directions.take(used) {
            let along = cd * dot(direction, &d);
            for (d, m) in d.iter_mut().zip(direction) {
                *d = (1.0 - cd) * *d + along * m;
            }
        }
        d
    }
}

impl Algorithm for LmMaEs {
    type Settings = MeanSettings;

    fn resolve(settings: &MeanSettings, n: usize, population: usize, _: f64) -> Result<MeanSettings> {
        settings.resolved(n, population)
    }

    /// Only the better half has weights.
    fn weighs_the_worse_half(_: &MeanSettings) -> bool {
        false
    }

    /// M is the unit matrix.
    fn start(search: &mut Search<MeanSettings>) -> Self {
        let n = search.dim();
        Self {
            updates: 0,
            path_sigma: vec![0.0; n],
            directions: vec![0.0; n * defaults(n).population],
        }
    }

    fn is_valid(&self, n: usize) -> bool {
        all_finite(&[&self.path_sigma], n) && all_finite(&[&self.directions], n * defaults(n).population)
    }

    // -------------------------------------------------------------------------------------------------------- draw

    fn draw(&self, search: &Search<MeanSettings>, member: usize) -> Vec<f64> {
        let (draw, sign) = search.noise().draw_of(member);
        let z = search.noise().normals(draw, search.dim());
        let d = self.shape(&Rates::new(search.dim(), search.population).cd, &z);
        let mut x = search.mean.clone();
        axpy(sign * search.sigma, &d, &mut x);
        x
    }

    // ------------------------------------------------------------------------------------------------------- learn

    fn learn(&mut self, search: &mut Search<MeanSettings>, fitness: &[Fitness]) -> f64 {
        let n = search.dim();
        let fixed = Rates::new(n, search.population);
        let weights = share_weights(&fixed.weights, fitness);
        let mueff = neutral_mueff(&weights, search.antithetic);

        // The weighted mean of the steps, as they were drawn and as they were shaped: d is linear in z.
        let (noise, mut z_w) = (search.noise(), vec![0.0; n]);
        for (draw, weight) in noise.weights(&weights).iter().enumerate().filter(|(_, w)| w.odd != 0.0) {
            axpy(weight.odd, &noise.normals(draw, n), &mut z_w);
        }
        let d_w = self.shape(&fixed.cd, &z_w);
        let step = search.settings.rate() * search.sigma;
        axpy(step, &d_w, &mut search.mean);
        let step_norm = step * norm(&d_w);

        let scale = |rate: f64| (mueff * rate * (2.0 - rate)).sqrt();
        cumulate(&mut self.path_sigma, fixed.cs, scale(fixed.cs), &z_w);
        for (direction, cc) in self.directions.chunks_exact_mut(n).zip(&fixed.cc) {
            cumulate(direction, *cc, scale(*cc), &z_w);
        }
        let excess = squared_norm(&self.path_sigma) / n as f64 - 1.0;
        // As in CMA-ES, σ grows by no more than a factor of e a generation.
        search.sigma *= (fixed.cs / 2.0 * excess).min(1.0).exp();
        self.updates += 1;
        step_norm
    }

    /// M is not written down, so its axes are not known.
    fn spread(&self, _: &Search<MeanSettings>) -> Option<Spread> {
        None
    }
}

// ----------------------------------------------------------------------------------------------------------- tests

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::Seed;
    use crate::strategy::{AskTell, Strategy};

    fn strategy(n: usize, antithetic: bool) -> AskTell<LmMaEs> {
        let x0 = vec![0.25; n];
        AskTell::new(
            "lm-ma-es",
            Search::new(MeanSettings::default(), &x0, 0.5, 6, antithetic, Seed::new(11)),
        )
    }

    fn fitness(values: &[f64]) -> Vec<Fitness> {
        values.iter().copied().map(Fitness::new).collect()
    }

    #[test]
    fn the_rates_are_those_of_the_paper() {
        let rates = Rates::new(1000, 24);
        assert_eq!((rates.cs, rates.cc.len(), rates.cd.len()), (0.048, 24, 24));
        assert_eq!(rates.cc[..3], [0.024, 0.006, 0.0015]);
        assert!((rates.cd[2] - 1.0 / 2250.0).abs() < 1e-18);
        // Where the paper's would turn a path around.
        let small = Rates::new(10, 30);
        assert_eq!((small.cs, small.cc[0], small.cc[1]), (1.0, 1.0, 0.75));
    }

    #[test]
    fn members_are_shaped_by_one_direction_more_each_generation() {
        let mut es = strategy(5, false);
        let z = Seed::new(11).named("noise").fold(0).fold(4).normals(5);
        let expected: Vec<f64> = z.iter().map(|z| 0.25 + 0.5 * z).collect();
        assert_eq!(es.ask(4), expected);
        es.tell(&fitness(&[3.0, 5.0, 4.0, 1.0, 0.0, 2.0]));
        let m = &es.own.directions[..5];
        let (cd, along) = (1.0 / 5.0, dot(m, &z));
        for ((found, z), m) in es.own.shape(&Rates::new(5, 6).cd, &z).iter().zip(&z).zip(m) {
            assert!((found - ((1.0 - cd) * z + cd * along * m)).abs() < 1e-14);
        }
    }

    #[test]
    fn the_mean_moves_to_the_weighted_mean_of_the_better_half() {
        for antithetic in [false, true] {
            let mut es = strategy(6, antithetic);
            for _ in 0..4 {
                let members: Vec<_> = (0..6).map(|member| es.ask(member)).collect();
                let w = Rates::new(6, 6).weights;
                // Member 5 is best, then 2 and 3 tie; 0 failed.
                let weights = [0.0, 0.0, (w[1] + w[2]) / 2.0, (w[1] + w[2]) / 2.0, 0.0, w[0]];
                let before = es.mean().to_vec();
                let mut expected = before.clone();
                for (member, weight) in members.iter().zip(weights) {
                    let step: Vec<f64> = member.iter().zip(&before).map(|(x, m)| x - m).collect();
                    axpy(weight, &step, &mut expected);
                }
                let step = es.tell(&fitness(&[f64::NAN, 0.0, 0.5, 0.5, 0.25, 1.0]));
                for (found, expected) in es.mean().iter().zip(&expected) {
                    assert!((found - expected).abs() < 1e-14, "antithetic {antithetic}");
                }
                let moved: Vec<f64> = es.mean().iter().zip(&before).map(|(new, old)| new - old).collect();
                assert!((step.step_norm - norm(&moved)).abs() < 1e-14);
            }
        }
    }

    /// The paths and σ in the paper's own words, also where σ may not grow as fast as its path says.
    #[test]
    fn the_paths_and_sigma_are_those_of_the_paper() {
        let n = 30;
        let mut es = strategy(n, false);
        let rates = Rates::new(n, 6);
        let w = &rates.weights;
        let mueff = 1.0 / squared_norm(w);
        let mut was_cut = 0;
        for generation in 0..6 {
            if generation == 3 {
                es.own.path_sigma = vec![5.0; n];
            }
            let before = es.clone();
            es.tell(&fitness(&[3.0, 5.0, 4.0, 1.0, 0.0, 2.0]));
            // Best first.
            let noise = Seed::new(11).named("noise").fold(generation);
            let z = [1, 2, 0, 5, 3, 4].map(|member| noise.fold(member).normals(n));
            let z_w: Vec<f64> = (0..n).map(|i| (0..6).map(|rank| w[rank] * z[rank][i]).sum()).collect();
            let path = |old: &[f64], rate: f64| -> Vec<f64> {
                let new = old.iter().zip(&z_w);
                new.map(|(p, z)| (1.0 - rate) * p + (mueff * rate * (2.0 - rate)).sqrt() * z)
                    .collect()
            };
            let path_sigma = path(&before.own.path_sigma, rates.cs);
            let growth = rates.cs / 2.0 * (squared_norm(&path_sigma) / n as f64 - 1.0);
            was_cut += usize::from(growth > 1.0);
            let close = |found: &[f64], expected: &[f64]| {
                found
                    .iter()
                    .zip(expected)
                    .all(|(a, b)| (a - b).abs() < 1e-12 * (1.0 + b.abs()))
            };
            assert!(close(&es.own.path_sigma, &path_sigma), "generation {generation}");
            assert!(
                close(&[es.sigma()], &[before.search.sigma * growth.min(1.0).exp()]),
                "generation {generation}: {growth}"
            );
            for (i, cc) in rates.cc.iter().enumerate() {
                let at = i * n..(i + 1) * n;
                assert!(close(
                    &es.own.directions[at.clone()],
                    &path(&before.own.directions[at], *cc)
                ));
            }
        }
        assert!((1..6).contains(&was_cut), "{was_cut}");
    }

    #[test]
    fn a_flat_generation_changes_nothing_but_its_number() {
        let mut es = strategy(4, true);
        es.tell(&fitness(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]));
        let before = es.clone();
        assert!(es.tell(&fitness(&[f64::NAN, 2.0, 2.0, f64::NAN, 2.0, 2.0])).flat);
        assert_eq!(es.own, before.own);
        let expected = Search {
            generation: 2,
            flat: 1,
            ..before.search
        };
        assert_eq!(es.search, expected);
    }
}
