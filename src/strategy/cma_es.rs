//! CMA-ES with a full covariance matrix and cumulative step-size control, the (μ/μ_w, λ)-CMA-ES of N. Hansen, *The CMA
//! Evolution Strategy: A Tutorial*, arXiv 1604.00772; numbers in parentheses are its equations. Members are drawn from
//! N(m, σ² C). The better half pulls the mean m, two evolution paths remember where it went, the one drives σ (a path
//! longer than chance would make it says that steps are too short), and the other together with the members shapes C.
//! In the generations that a run has, at n in the hundreds, the mean does the work: C forgets its start in 1 / (c_1 + c_μ)
//! generations, 86,000 at n = 960 and λ = 20, and σ in 1 / c_σ, 122; until then σ mostly falls with the young path, whatever
//! the rewards say. Three things differ from the tutorial, because rewards of language models tie, fail and are noisy: tied
//! members share weights, members may come in antithetic pairs, and the paths are scaled so that under random fitness σ does
//! not drift in either case (see [`neutral_mueff`]).
//!
//! The loop is written for any [`Covariance`]: here it is [`Full`], and `sep_cma_es.rs` has one that is a diagonal.

use super::algorithm::{Algorithm, Search, mean_rate};
use super::shaping::share_weights;
use super::spread::Spread;
use crate::error::{Error, Result};
use crate::linalg::{Axes, Outer, Symmetric, all_finite, axpy, norm, squared_norm};
use crate::search::Fitness;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::fmt::Debug;

// -------------------------------------------------------------------------------------------------------- settings

/// What CMA-ES alone has as settings.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CmaEsConfig {
    /// Whether the worse half of the members pushes the covariance matrix away (negative weights). Default false.
    pub active: bool,
    /// c_m, the learning rate of the mean, above 0: how far it goes towards the weighted mean of the better half, or beyond
    /// it. The paths see the whole way, so σ and C do not notice. Default [`super::algorithm::default_mean_rate`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub learning_rate: Option<f64>,
}

// ------------------------------------------------------------------------------------------------ fixed parameters

/// The largest n of full CMA-ES. Its matrices take 12 n² bytes, a checkpoint, of which three are kept, 24 n², and the
/// text passes through memory twice: at this n 0.8 GB, 1.6 GB and more than 4 GB for each rank.
const LARGEST_N: usize = 8192;

/// What follows from n, λ and `active` once and for all (the tutorial's table 1).
#[derive(Clone, Debug, PartialEq)]
pub struct Parameters {
    /// n, the dimension.
    pub n: usize,
    /// w_i, best rank first, `[λ]`: the positive ones sum to 1; the rest are 0, or negative in the active update.
    pub weights: Vec<f64>,
    /// How many members the weighted mean of the better half is worth.
    pub mueff: f64,
    /// c_σ, how much of the path of σ one generation replaces.
    pub cs: f64,
    /// d_σ, the damping of σ: a path of twice its random length multiplies σ by exp(c_σ/d_σ).
    pub damps: f64,
    /// c_c, how much of the path of C one generation replaces.
    pub cc: f64,
    /// c_1, learning rate of C from its path (rank one).
    pub c1: f64,
    /// c_μ, learning rate of C from the members (rank μ).
    pub cmu: f64,
    /// E‖N(0, I)‖, the length of a path under random selection.
    pub chi_n: f64,
    /// Generations from one eigendecomposition to the next: few enough that C does not change much in between, and
    /// many enough that decomposing costs no more than sampling, O(n²) a member.
    pub lazy_gap: u64,
}

impl Parameters {
    /// The defaults of the tutorial. c_1 is lowered for λ < 6, as pycma does it.
    pub fn new(n: usize, population: usize, active: bool) -> Self {
        Self::with_speed(n, population, active, 1.0)
    }

    /// The same with both learning rates of C times `speed`: what has fewer numbers to learn may learn them faster.
    pub fn with_speed(n: usize, population: usize, active: bool, speed: f64) -> Self {
        let (dim, lambda) = (n as f64, population as f64);
        let raw: Vec<f64> = (1..=population)
            .map(|i| ((lambda + 1.0) / 2.0).ln() - (i as f64).ln())
            .collect(); // (49)
        let (better, worse) = raw.split_at(population / 2);
        let mass = |w: &[f64]| w.iter().sum::<f64>().powi(2) / squared_norm(w);
        let (mueff, mueff_minus) = (mass(better), mass(worse));

        // (55) as pycma 4.4 has it. The tutorial has n + μ_eff + 5, which took 2 to 3 % more evaluations in 10-D here,
        // and damps less when λ is large against n (its factor before the root is 1).
        let cs = (mueff + 2.0) / (dim + mueff + 3.0);
        let crowd = (3.0 * (1.0 - 0.5_f64.powf(dim / 10.0))).max(1.0) * ((mueff - 1.0) / (dim + 1.0)).sqrt();
        let damps = 1.0 + 2.0 * (crowd - 1.0).max(0.0) + cs;
        let cc = (4.0 + mueff / dim) / (dim + 4.0 + 2.0 * mueff / dim); // (56)
        let c1 = speed * (lambda / 6.0).min(1.0) * 2.0 / ((dim + 1.3).powi(2) + mueff); // (57)
        let cmu = speed * 2.0 * (0.25 + mueff + 1.0 / mueff - 2.0) / ((dim + 2.0).powi(2) + mueff); // (58)
        let cmu = cmu.min(1.0 - c1);

        let alpha = [
            1.0 + c1 / cmu,                          // (50) C does not decay
            1.0 + 2.0 * mueff_minus / (mueff + 2.0), // (51) no more than the worse half can tell
            (1.0 - c1 - cmu) / (dim * cmu),          // (52) C stays positive
        ];
        let alpha = if active {
            alpha.into_iter().fold(f64::INFINITY, f64::min)
        } else {
            0.0
        };
        let (sum, sum_minus) = (better.iter().sum::<f64>(), -worse.iter().sum::<f64>());
        let weights = raw
            .iter()
            .map(|w| if *w > 0.0 { w / sum } else { alpha * w / sum_minus })
            .collect(); // (53)

        Self {
            n,
            weights,
            mueff,
            cs,
            damps,
            cc,
            c1,
            cmu,
            chi_n: dim.sqrt() * (1.0 - 1.0 / (4.0 * dim) + 1.0 / (21.0 * dim * dim)),
            lazy_gap: (1.0 / (10.0 * dim * (c1 + cmu))).ceil().max(1.0) as u64,
        }
    }
}

// --------------------------------------------------------------------------------------------------------- numbers

/// What is learnt of the covariance matrix C = B D² Bᵀ, and how members are drawn with it.
pub trait Covariance: Clone + Debug + PartialEq + Serialize + DeserializeOwned + Send {
    /// An error where its numbers would be too many.
    fn check(_n: usize) -> Result<()> {
        Ok(())
    }

    /// What follows from n, λ and `active`.
    fn parameters(n: usize, population: usize, active: bool) -> Parameters;

    /// The unit matrix.
    fn identity(n: usize) -> Self;

    /// Whether it has n finite numbers a row, and positive axes: to be asked of what came from a file.
    fn is_valid(&self, n: usize) -> bool;

    /// y = B D z (39), distributed as N(0, C).
    fn shape(&self, z: &[f64]) -> Vec<f64>;

    /// B z: the tutorial's C^(−1/2) y, because y = B D z and C^(−1/2) = B D^(−1) Bᵀ.
    fn rotate(&self, z: &[f64]) -> Vec<f64>;

    /// C ← `decay` · C + Σ weight · v vᵀ (47), as update number `updates`, counted from 1.
    fn learn(&mut self, decay: f64, terms: &[Outer], updates: u64, lazy_gap: u64);

    /// Whether members are drawn with a C that is at most `lazy_gap` updates old; they are not when it fell apart.
    fn is_fresh(&self, updates: u64, lazy_gap: u64) -> bool;

    /// The lengths of its axes, the numbers of D.
    fn spread(&self) -> Spread;
}

/// All of C.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Full {
    /// C
    matrix: Symmetric,
    /// C = B D² Bᵀ as of update `decomposed_at`; members are drawn with it. None while it is the unit matrix.
    axes: Option<Axes>,
    decomposed_at: u64,
}

impl Covariance for Full {
    fn check(n: usize) -> Result<()> {
        if n > LARGEST_N {
            return Err(Error::config(format!(
                "strategy.kind: cma-es learns an n x n matrix, and with n = {n} a checkpoint of it takes {:.1} GB; expected \
                 n <= {LARGEST_N}; take sep-cma-es, which learns a scale for each number in linear time and memory",
                24.0 * (n as f64).powi(2) / 1e9
            )));
        }
        Ok(())
    }

    fn parameters(n: usize, population: usize, active: bool) -> Parameters {
        Parameters::new(n, population, active)
    }

    fn identity(n: usize) -> Self {
        Self {
            matrix: Symmetric::identity(n),
            axes: None,
            decomposed_at: 0,
        }
    }

    fn is_valid(&self, n: usize) -> bool {
        let fits = |axes: &Axes| axes.dim() == n && axes.is_valid();
        self.matrix.dim() == n && self.matrix.is_valid() && self.axes.as_ref().is_none_or(fits)
    }

    /// O(n) until the first decomposition, then O(n²).
    fn shape(&self, z: &[f64]) -> Vec<f64> {
        self.axes
            .as_ref()
            .map_or_else(|| z.to_vec(), |axes| axes.scale_and_rotate(z))
    }

    fn rotate(&self, z: &[f64]) -> Vec<f64> {
        self.axes.as_ref().map_or_else(|| z.to_vec(), |axes| axes.rotate(z))
    }

    fn learn(&mut self, decay: f64, terms: &[Outer], updates: u64, lazy_gap: u64) {
        self.matrix.update(decay, terms);
        if !self.is_fresh(updates, lazy_gap) {
            // A matrix that cannot be decomposed keeps its old axes, and the strategy asks to stop.
            if let Some(axes) = self.matrix.axes() {
                self.axes = Some(axes);
                self.decomposed_at = updates;
            }
        }
    }

    fn is_fresh(&self, updates: u64, lazy_gap: u64) -> bool {
        updates < self.decomposed_at + lazy_gap
    }

    fn spread(&self) -> Spread {
        self.axes.as_ref().map_or_else(
            || Spread::ball(1.0, self.matrix.dim()),
            |axes| Spread::of(axes.lengths()),
        )
    }
}

/// What CMA-ES learns beside the mean and σ.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CmaEs<C = Full> {
    /// Generations that were not flat: the clock of the paths and of the decomposition.
    updates: u64,
    /// p_σ, the path that drives σ, in coordinates in which C is the unit matrix, `[n]`.
    path_sigma: Vec<f64>,
    /// p_c, the path that shapes C, `[n]`.
    path_c: Vec<f64>,
    /// C
    covariance: C,
}

fn parameters<C: Covariance>(search: &Search<CmaEsConfig>) -> Parameters {
    C::parameters(search.dim(), search.population, search.settings.active)
}

impl<C: Covariance> Algorithm for CmaEs<C> {
    type Settings = CmaEsConfig;

    fn resolve(settings: &CmaEsConfig, n: usize, population: usize, _: f64) -> Result<CmaEsConfig> {
        C::check(n)?;
        let learning_rate = Some(mean_rate(settings.learning_rate, n, population)?);
        Ok(CmaEsConfig {
            learning_rate,
            ..settings.clone()
        })
    }

    /// By its negative weights.
    fn weighs_the_worse_half(settings: &CmaEsConfig) -> bool {
        settings.active
    }

    /// C is the unit matrix.
    fn start(search: &mut Search<CmaEsConfig>) -> Self {
        let n = search.dim();
        Self {
            updates: 0,
            path_sigma: vec![0.0; n],
            path_c: vec![0.0; n],
            covariance: C::identity(n),
        }
    }

    fn is_valid(&self, n: usize) -> bool {
        all_finite(&[&self.path_sigma, &self.path_c], n) && self.covariance.is_valid(n)
    }

    // -------------------------------------------------------------------------------------------------------- draw

    fn draw(&self, search: &Search<CmaEsConfig>, member: usize) -> Vec<f64> {
        let (draw, sign) = search.noise().draw_of(member);
        let z = search.noise().normals(draw, search.dim()); // (38)
        let y = self.covariance.shape(&z); // (39)
        let mut x = search.mean.clone();
        axpy(sign * search.sigma, &y, &mut x); // (40)
        x
    }

    // ------------------------------------------------------------------------------------------------------- learn

    fn learn(&mut self, search: &mut Search<CmaEsConfig>, fitness: &[Fitness]) -> f64 {
        let fixed = parameters::<C>(search);
        let positive: Vec<f64> = fixed.weights.iter().map(|w| w.max(0.0)).collect();
        let recombination = share_weights(&positive, fitness);
        let covariance = share_weights(&fixed.weights, fitness);
        let draws = self.redraw(search, &recombination, &covariance);
        let mueff = neutral_mueff(&recombination, search.antithetic);
        let Parameters {
            n,
            cs,
            damps,
            cc,
            c1,
            cmu,
            chi_n,
            lazy_gap,
            ..
        } = fixed;

        // The weighted mean of the steps, as they were drawn and as they were shaped.
        let (mut z_w, mut y_w) = (vec![0.0; n], vec![0.0; n]);
        for draw in &draws {
            axpy(draw.recombination, &draw.z, &mut z_w);
            axpy(draw.recombination, &draw.y, &mut y_w); // (41)
        }
        let step = search.settings.learning_rate.unwrap_or(1.0) * search.sigma;
        axpy(step, &y_w, &mut search.mean); // (42)
        let step_norm = step * norm(&y_w);

        // Step size.
        let isotropic = self.covariance.rotate(&z_w);
        cumulate(&mut self.path_sigma, cs, (cs * (2.0 - cs) * mueff).sqrt(), &isotropic); // (43)
        let length = norm(&self.path_sigma);
        search.sigma *= (cs / damps * (length / chi_n - 1.0)).min(1.0).exp(); // (44)

        // Covariance. While σ grows fast the path of C stands still, or C would grow on top of it.
        let steady = length / (1.0 - (1.0 - cs).powi(2 * (self.updates as i32 + 1))).sqrt();
        let h_sigma = steady < (1.4 + 2.0 / (n as f64 + 1.0)) * chi_n;
        let scale = if h_sigma { (cc * (2.0 - cc) * mueff).sqrt() } else { 0.0 };
        cumulate(&mut self.path_c, cc, scale, &y_w); // (45)
        let lost = if h_sigma { 0.0 } else { c1 * cc * (2.0 - cc) };
        let mut terms = vec![Outer {
            weight: c1,
            vector: &self.path_c,
        }];
        for draw in &draws {
            terms.push(Outer {
                weight: cmu * draw.covariance,
                vector: &draw.y,
            });
        }
        let decay = 1.0 + lost - c1 - cmu * covariance.iter().sum::<f64>();
        self.updates += 1;
        self.covariance.learn(decay, &terms, self.updates, lazy_gap); // (47)
        step_norm
    }

    fn spread(&self, search: &Search<CmaEsConfig>) -> Option<Spread> {
        Some(self.covariance.spread().times(search.sigma))
    }

    fn limit(&self, search: &Search<CmaEsConfig>) -> Option<String> {
        let spread = self.covariance.spread().times(search.sigma);
        spread.stop(search.first_sigma).or_else(|| {
            let gap = parameters::<C>(search).lazy_gap;
            (!self.covariance.is_fresh(self.updates, gap))
                .then(|| "the covariance matrix has no decomposition any more".to_string())
        })
    }
}

/// One draw of noise as it comes back from evaluation.
struct Draw {
    /// z ∼ N(0, I)
    z: Vec<f64>,
    /// y = B D z ∼ N(0, C)
    y: Vec<f64>,
    /// Its weight in the mean; for a pair the difference of the two.
    recombination: f64,
    /// Its weight in C; for a pair the sum, because y and −y have the same outer product.
    covariance: f64,
}

impl<C: Covariance> CmaEs<C> {
    /// The draws that have a weight, made again from their addresses.
    fn redraw(&self, search: &Search<CmaEsConfig>, recombination: &[f64], covariance: &[f64]) -> Vec<Draw> {
        let (noise, n) = (search.noise(), search.dim());
        let mut weights = vec![[0.0; 3]; noise.draws(recombination.len())];
        for member in 0..recombination.len() {
            let (draw, sign) = noise.draw_of(member);
            let [mean, plus, minus] = &mut weights[draw];
            *mean += sign * recombination[member];
            *plus += covariance[member].max(0.0);
            *minus += covariance[member].min(0.0);
        }
        let used = weights
            .iter()
            .enumerate()
            .filter(|(_, weights)| weights.iter().any(|w| *w != 0.0));
        used.map(|(draw, [recombination, plus, minus])| {
            let z = noise.normals(draw, n);
            Draw {
                recombination: *recombination,
                // A long step with a negative weight could make C indefinite; (46) takes its length out, which is
                // ‖C^(−1/2) y‖ = ‖z‖.
                covariance: plus + minus * n as f64 / squared_norm(&z),
                y: self.covariance.shape(&z),
                z,
            }
        })
        .collect()
    }
}

/// How many members' worth of averaging is in Σ w_i y_i when fitness is random: the factor that makes a step's expected
/// squared length n, so that paths, and with them σ, stay put when there is nothing to learn.
///
/// Without ties or pairs it is the tutorial's μ_eff = 1 / Σ w². Shared weights are flatter, hence the sum is over this
/// generation's weights. In pairs a draw counts with the difference of two weights, whose expected square over all
/// orders of the members is what is left after the pair's products: E Σ (w − w')² = Σ w² − λ E[w w'],
/// where E[w w'] = ((Σ w)² − Σ w²) / (λ (λ − 1)) for two members picked at random. Only the expectation is used:
/// the actual sum is small when both of a pair do well, which is how σ learns that it is too large.
pub fn neutral_mueff(weights: &[f64], antithetic: bool) -> f64 {
    let (squares, lambda) = (squared_norm(weights), weights.len() as f64);
    if !antithetic {
        return 1.0 / squares;
    }
    let products = weights.iter().sum::<f64>().powi(2) - squares;
    1.0 / (squares - products / (lambda - 1.0))
}

/// p ← (1 − `rate`) p + `scale` · `step`: an evolution path.
pub(super) fn cumulate(path: &mut [f64], rate: f64, scale: f64, step: &[f64]) {
    for (p, step) in path.iter_mut().zip(step) {
        *p = (1.0 - rate) * *p + scale * step;
    }
}

// ----------------------------------------------------------------------------------------------------------- tests

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::Seed;
    use crate::strategy::{AskTell, Strategy};
    use nalgebra::{DMatrix, DVector, SymmetricEigen};

    fn strategy(n: usize, population: usize, active: bool, antithetic: bool) -> AskTell<CmaEs> {
        let (settings, x0) = (
            CmaEsConfig {
                active,
                learning_rate: None,
            },
            vec![0.25; n],
        );
        AskTell::new(
            "cma-es",
            Search::new(settings, &x0, 0.5, population, antithetic, Seed::new(11)),
        )
    }

    fn fitness(values: &[f64]) -> Vec<Fitness> {
        values.iter().copied().map(Fitness::new).collect()
    }

    #[test]
    fn the_weights_are_those_of_the_tutorial() {
        let plain = Parameters::new(10, 7, false);
        assert_eq!(plain.weights.iter().filter(|w| **w > 0.0).count(), 3);
        assert!((plain.weights.iter().sum::<f64>() - 1.0).abs() < 1e-15);
        // With all weights of the active update, C neither grows nor decays under random selection: c1 + cmu Σ w = 0.
        let active = Parameters::new(10, 10, true);
        assert!((active.c1 + active.cmu * active.weights.iter().sum::<f64>()).abs() < 1e-15);
        assert!(active.weights[5..].iter().all(|w| *w < 0.0));
    }

    #[test]
    fn the_first_members_are_the_noise_itself() {
        let cma = strategy(5, 6, false, false);
        let z = Seed::new(11).named("noise").fold(0).fold(4).normals(5);
        let expected: Vec<f64> = z.iter().map(|z| 0.25 + 0.5 * z).collect();
        assert_eq!(cma.ask(4), expected);
    }

    #[test]
    fn antithetic_members_are_mirrored_at_the_mean() {
        let mut cma = strategy(5, 6, false, true);
        for generation in 0..5 {
            for pair in 0..3 {
                let (plus, minus) = (cma.ask(2 * pair), cma.ask(2 * pair + 1));
                for ((plus, minus), mean) in plus.iter().zip(&minus).zip(cma.mean()) {
                    assert!(
                        (plus + minus - 2.0 * mean).abs() < 1e-14,
                        "generation {generation} pair {pair}"
                    );
                }
            }
            cma.tell(&fitness(&[3.0, 5.0, 4.0, 1.0, 0.0, 2.0]));
        }
    }

    #[test]
    fn the_mean_moves_to_the_weighted_mean_of_the_better_half() {
        for (active, antithetic) in [(false, false), (true, false), (false, true), (true, true)] {
            let mut cma = strategy(6, 6, active, antithetic);
            for _ in 0..4 {
                let members: Vec<_> = (0..6).map(|member| cma.ask(member)).collect();
                let w = parameters::<Full>(&cma.search).weights;
                // Member 5 is best, then 2 and 3 tie; 0 failed although it stands among them.
                let weights = [0.0, 0.0, (w[1] + w[2]) / 2.0, (w[1] + w[2]) / 2.0, 0.0, w[0]];
                let mut expected = cma.mean().to_vec();
                for (member, weight) in members.iter().zip(weights) {
                    let step: Vec<f64> = member.iter().zip(cma.mean()).map(|(x, m)| x - m).collect();
                    axpy(weight, &step, &mut expected);
                }
                let before = cma.mean().to_vec();
                let step = cma.tell(&fitness(&[f64::NAN, 0.0, 0.5, 0.5, 0.25, 1.0]));
                for (found, expected) in cma.mean().iter().zip(&expected) {
                    assert!(
                        (found - expected).abs() < 1e-14,
                        "active {active} antithetic {antithetic}"
                    );
                }
                let moved: Vec<f64> = cma.mean().iter().zip(&before).map(|(new, old)| new - old).collect();
                assert!((step.step_norm - norm(&moved)).abs() < 1e-14);
                assert_eq!((step.failed, step.flat, step.stop), (1, false, None));
            }
        }
    }

    #[test]
    fn a_flat_generation_changes_nothing_but_its_number() {
        let mut cma = strategy(4, 6, true, true);
        cma.tell(&fitness(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]));
        let before = cma.clone();
        for values in [[1.0; 6], [f64::NAN; 6], [f64::NAN, 2.0, 2.0, f64::NAN, 2.0, 2.0]] {
            let step = cma.tell(&fitness(&values));
            assert!(step.flat && step.step_norm == 0.0, "{values:?}");
        }
        assert_eq!(cma.own, before.own);
        let expected = Search {
            generation: 4,
            flat: 3,
            ..before.search
        };
        assert_eq!(cma.search, expected);
    }

    #[test]
    fn twenty_flat_generations_ask_to_stop() {
        let mut cma = strategy(4, 6, false, false);
        let stops: Vec<bool> = (0..20).map(|_| cma.tell(&fitness(&[1.0; 6])).stop.is_some()).collect();
        assert_eq!(stops.iter().filter(|stop| **stop).count(), 1);
        assert!(stops[19]);
        assert_eq!(cma.tell(&fitness(&[1.0, 0.0, 0.0, 0.0, 0.0, 0.0])).stop, None);
    }

    #[test]
    fn numerical_limits_ask_to_stop() {
        let told = |change: fn(&mut AskTell<CmaEs>)| {
            let mut cma = strategy(3, 4, false, false);
            change(&mut cma);
            cma.tell(&fitness(&[1.0; 4])).stop.expect("a limit is passed")
        };
        assert!(told(|cma| cma.search.sigma = f64::INFINITY).contains("out of control"));
        assert!(told(|cma| cma.search.sigma = 1e-13).contains("converged"));
        assert!(told(|cma| cma.search.sigma = 1e4).contains("diverges"));
        let narrow = |cma: &mut AskTell<CmaEs>| {
            cma.own.covariance.matrix.update(
                1.0,
                &[Outer {
                    weight: -1.0 + 1e-15,
                    vector: &[1.0, 0.0, 0.0],
                }],
            );
            cma.own.covariance.axes = cma.own.covariance.matrix.axes();
        };
        assert!(told(narrow).contains("condition"));
    }

    #[test]
    fn the_neutral_mass_is_the_mean_over_all_orders() {
        let weights = [0.5, 0.3, 0.2, 0.0];
        assert!((neutral_mueff(&weights, false) - 1.0 / 0.38).abs() < 1e-14);
        // The three ways to pair four members: (0 1)(2 3), (0 2)(1 3), (0 3)(1 2).
        let squares = [[0.2, 0.2], [0.3, 0.3], [0.5, 0.1]].map(|[a, b]: [f64; 2]| a * a + b * b);
        let mean = squares.iter().sum::<f64>() / 3.0;
        assert!((neutral_mueff(&weights, true) - 1.0 / mean).abs() < 1e-14);
    }

    #[test]
    fn the_axes_wait_for_the_lazy_gap() {
        let mut cma = strategy(200, 10, false, false);
        let gap = parameters::<Full>(&cma.search).lazy_gap;
        assert!(gap >= 3, "gap {gap}");
        for update in 1..=gap {
            assert!(cma.own.covariance.axes.is_none(), "before update {update}");
            cma.tell(&fitness(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0]));
        }
        assert_eq!(cma.own.covariance.decomposed_at, gap);
        assert!(cma.own.covariance.axes.is_some());
    }

    /// All of a step in the tutorial's own words, with dense matrices: also where σ may not grow as fast as its path says
    /// (44), and while the path of C stands still because σ grows fast (h_σ in 45 and 47).
    #[test]
    fn a_step_is_that_of_the_tutorial() {
        let (n, lambda, dim) = (4, 8, 4.0);
        for active in [false, true] {
            let mut cma = strategy(n, lambda, active, false);
            let p = parameters::<Full>(&cma.search);
            assert_eq!(p.lazy_gap, 1, "members are drawn with the C of the generation before");
            let mut c = DMatrix::<f64>::identity(n, n);
            let (mut path_sigma, mut path_c) = (DVector::<f64>::zeros(n), DVector::<f64>::zeros(n));
            let (mut stood_still, mut was_cut) = (0, 0);
            for generation in 0..25_i32 {
                if generation == 12 {
                    // Far longer than any selection makes it.
                    cma.own.path_sigma = vec![40.0; n];
                    path_sigma.fill(40.0);
                }
                let (mean, sigma) = (DVector::from_vec(cma.mean().to_vec()), cma.sigma());
                let members: Vec<Vec<f64>> = (0..lambda).map(|member| cma.ask(member)).collect();
                // Downhill first, then chance.
                let chance = Seed::new(5).fold(generation as u64).normals(lambda);
                let value = |member: usize| {
                    if generation < 8 {
                        members[member].iter().sum::<f64>()
                    } else {
                        chance[member]
                    }
                };
                let values: Vec<f64> = (0..lambda).map(value).collect();
                cma.tell(&fitness(&values));

                let mut order: Vec<usize> = (0..lambda).collect();
                order.sort_by(|a, b| values[*b].total_cmp(&values[*a]));
                let x = |rank: usize| DVector::from_vec(members[order[rank]].clone());
                let y: Vec<DVector<f64>> = (0..lambda).map(|rank| (x(rank) - &mean) / sigma).collect();
                let positive = || p.weights.iter().zip(&y).filter(|(w, _)| **w > 0.0);
                let y_w: DVector<f64> = positive().map(|(w, y)| y * *w).sum(); // (41)
                let mueff = 1.0 / positive().map(|(w, _)| w * w).sum::<f64>();
                let eigen = SymmetricEigen::new(c.clone());
                let inverse = eigen.eigenvalues.map(|length| 1.0 / length.sqrt());
                let root = &eigen.eigenvectors * DMatrix::from_diagonal(&inverse) * eigen.eigenvectors.transpose();
                path_sigma = path_sigma * (1.0 - p.cs) + &root * &y_w * (p.cs * (2.0 - p.cs) * mueff).sqrt(); // (43)
                let length = path_sigma.norm();
                let growth = p.cs / p.damps * (length / p.chi_n - 1.0);
                let steady = length / (1.0 - (1.0 - p.cs).powi(2 * (generation + 1))).sqrt();
                let h = f64::from(u8::from(steady < (1.4 + 2.0 / (dim + 1.0)) * p.chi_n));
                path_c = path_c * (1.0 - p.cc) + &y_w * (h * (p.cc * (2.0 - p.cc) * mueff).sqrt()); // (45)
                let delta = (1.0 - h) * p.cc * (2.0 - p.cc);
                let decay = 1.0 + p.c1 * delta - p.c1 - p.cmu * p.weights.iter().sum::<f64>();
                c = c * decay + &path_c * path_c.transpose() * p.c1; // (47)
                for (w, y) in p.weights.iter().zip(&y) {
                    let bounded = if *w < 0.0 {
                        w * dim / (&root * y).norm_squared()
                    } else {
                        *w
                    }; // (46)
                    c += y * y.transpose() * (p.cmu * bounded);
                }
                stood_still += usize::from(h == 0.0);
                was_cut += usize::from(growth > 1.0);

                let what = format!("active {active}, generation {generation}");
                let close = |found: f64, expected: f64| (found - expected).abs() < 1e-11 * (1.0 + expected.abs());
                assert!(close(cma.sigma(), sigma * growth.min(1.0).exp()), "{what}: sigma");
                let mean = mean + y_w * sigma; // (42)
                for i in 0..n {
                    assert!(close(cma.mean()[i], mean[i]), "{what}: mean");
                    assert!(close(cma.own.path_sigma[i], path_sigma[i]), "{what}: path of sigma");
                    assert!(close(cma.own.path_c[i], path_c[i]), "{what}: path of C");
                    (0..=i).for_each(|j| assert!(close(cma.own.covariance.matrix.get(i, j), c[(i, j)]), "{what}: C"));
                }
            }
            assert!(
                (2..24).contains(&stood_still),
                "h_sigma was 0 in {stood_still} of 25 generations"
            );
            assert!(
                (1..12).contains(&was_cut),
                "sigma was held back in {was_cut} of 25 generations"
            );
        }
    }

    #[test]
    #[should_panic(expected = "one fitness a member")]
    fn a_short_generation_is_a_bug() {
        strategy(3, 4, false, false).tell(&fitness(&[1.0]));
    }

    /// Exactly: √2 Γ((n + 1) / 2) / Γ(n / 2), of which the tutorial takes the beginning of a series.
    #[test]
    fn the_length_of_a_normal_vector_is_near_what_it_is() {
        let pi = std::f64::consts::PI;
        let exact = [
            (2.0 / pi).sqrt(),
            (pi / 2.0).sqrt(),
            (8.0 / pi).sqrt(),
            3.0 * (pi / 8.0).sqrt(),
        ];
        for (n, exact) in (1..).zip(exact) {
            let found = Parameters::new(n, 6, false).chi_n;
            assert!((found / exact - 1.0).abs() < 1e-3, "{n}: {found}, exactly {exact}");
        }
    }

    /// (57) with pycma's factor min(1, λ / 6), and (58), times the speed; together they never replace more than all of C.
    #[test]
    fn the_rates_of_few_and_of_many_members() {
        let few = Parameters::with_speed(10, 4, false, 2.0);
        assert!((few.c1 - 2.0 * (4.0 / 6.0) * 2.0 / (11.3 * 11.3 + few.mueff)).abs() < 1e-15);
        let once = Parameters::new(10, 4, false);
        assert!((once.c1 - few.c1 / 2.0).abs() < 1e-15 && (once.cmu - few.cmu / 2.0).abs() < 1e-15);
        let many = Parameters::new(1, 1000, false);
        assert!(
            (many.c1 + many.cmu - 1.0).abs() < 1e-15 && many.c1 > 0.0,
            "{} {}",
            many.c1,
            many.cmu
        );
    }

    /// h_σ in the first generation, when the path has its full length only over √(1 − (1 − c_σ)²): paths that begin short,
    /// long, and near the edge.
    #[test]
    fn the_path_of_c_stands_still_where_that_of_sigma_is_too_long() {
        let (mut still, mut moved) = (0, 0);
        for trial in 0..200 {
            let mut cma = strategy(4, 6, false, false);
            let seed = Seed::new(trial);
            cma.own.path_sigma = seed.normals(4).iter().map(|z| 2.0 * z).collect();
            let chance = seed.named("values").normals(6);
            cma.tell(&fitness(&chance));
            let Parameters { cs, chi_n, .. } = parameters::<Full>(&cma.search);
            let length = norm(&cma.own.path_sigma);
            let is_long = length / (1.0 - (1.0 - cs).powi(2)).sqrt() >= (1.4 + 2.0 / 5.0) * chi_n;
            assert_eq!(norm(&cma.own.path_c) == 0.0, is_long, "{trial}: {length}");
            *(if is_long { &mut still } else { &mut moved }) += 1;
        }
        assert!(still > 50 && moved > 50, "{still} {moved}");
    }

    #[test]
    fn axes_of_another_dimension_are_refused() {
        let state = |n: usize| {
            let mut cma = strategy(n, 6, false, false);
            while cma.own.covariance.axes.is_none() {
                cma.tell(&fitness(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]));
            }
            cma.own.covariance
        };
        let (two, three) = (state(2), state(3));
        assert!(three.is_valid(3) && !three.is_valid(2));
        let mixed = Full {
            axes: two.axes,
            ..three
        };
        assert!(!mixed.is_valid(3) && !mixed.is_valid(2));
    }
}
