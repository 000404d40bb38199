//! Random search, the baseline that any strategy must beat: each generation is drawn from N(x0, σ0² I), wherever the
//! search has got to, and the best member so far, the incumbent, is kept. Fitness is noisy and each generation has its
//! own questions, so a fitness that was lucky once must not stay on the throne: the incumbent is member 0 of every generation,
//! and is replaced only by a member that beats it in that generation, on the same questions. Repeated comparisons still
//! favour the lucky, as λ − 1 challengers try each time; the validation split is what tells. The first incumbent is x0.

use super::noise::Noise;
use super::shaping::is_flat;
use super::spread::Spread;
use super::{Algorithm, Step, Strategy, check, damaged, defaults, flat_stop, resolve_population, saved};
use crate::error::Result;
use crate::linalg::{all_finite, axpy, norm};
use crate::search::Fitness;
use crate::seed::Seed;
use serde::{Deserialize, Serialize};

// ---------------------------------------------------------------------------------------------------------- config

/// Settings of random search.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RandomSearchConfig {
    /// λ, candidates a generation, the incumbent among them; at least 2. Default 4 + ⌊3 ln n⌋.
    pub population: Option<usize>,
    /// σ0, the standard deviation of each number of a candidate, above 0. Default 0.1.
    pub sigma: Option<f64>,
}

impl RandomSearchConfig {
    /// The same settings with every default filled in; an error when one is out of range.
    pub fn resolve(&self, n: usize) -> Result<Self> {
        let sigma = self.sigma.unwrap_or(defaults(n).sigma);
        Ok(Self {
            population: Some(resolve_population(self.population, false, n)?),
            sigma: Some(check("sigma", sigma, sigma > 0.0, "a number above 0")?),
        })
    }
}

// ----------------------------------------------------------------------------------------------------------- state

/// Random search, somewhere on its way.
#[derive(Clone, Debug)]
pub struct RandomSearch {
    config: RandomSearchConfig,
    state: State,
}

/// What evolves, and the seed and the start, because a checkpoint must be enough to go on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct State {
    seed: Seed,
    /// Generations told.
    generation: u64,
    /// Flat generations in a row, up to now.
    flat: u64,
    /// x0, around which members are drawn, `[n]`.
    start: Vec<f64>,
    /// The incumbent, `[n]`.
    mean: Vec<f64>,
}

impl RandomSearch {
    /// The start. `config` is resolved.
    pub(super) fn new(config: RandomSearchConfig, x0: &[f64], seed: Seed) -> Self {
        let state = State {
            seed,
            generation: 0,
            flat: 0,
            start: x0.to_vec(),
            mean: x0.to_vec(),
        };
        Self { config, state }
    }

    /// Where a checkpoint left off. `config` is resolved.
    pub(super) fn restore(config: RandomSearchConfig, n: usize, state: State) -> Result<Self> {
        let valid = all_finite(&[&state.start, &state.mean], n);
        if valid {
            Ok(Self { config, state })
        } else {
            Err(damaged(n))
        }
    }
}

// ------------------------------------------------------------------------------------------------------------- ask

impl Strategy for RandomSearch {
    fn name(&self) -> &'static str {
        "random-search"
    }

    fn population(&self) -> usize {
        self.config.population.expect("a resolved config has a population")
    }

    fn generation(&self) -> u64 {
        self.state.generation
    }

    fn ask(&self, member: usize) -> Vec<f64> {
        assert!(
            member < self.population(),
            "member {member} of a population of {}",
            self.population()
        );
        if member == 0 {
            return self.state.mean.clone();
        }
        let noise = Noise::new(self.state.seed, self.state.generation, false);
        let mut x = self.state.start.clone();
        axpy(self.sigma(), &noise.normals(member, x.len()), &mut x);
        x
    }

    /// The incumbent.
    fn mean(&self) -> &[f64] {
        &self.state.mean
    }

    fn set_mean(&mut self, mean: Vec<f64>) {
        self.state.mean = mean;
    }

    fn sigma(&self) -> f64 {
        self.config.sigma.expect("a resolved config has a sigma")
    }

    fn state(&self) -> serde_json::Value {
        saved(
            Algorithm::RandomSearch(self.config.clone()),
            self.state.mean.len(),
            &self.state,
        )
    }

    // -------------------------------------------------------------------------------------------------------- tell

    fn tell(&mut self, fitness: &[Fitness]) -> Step {
        assert_eq!(fitness.len(), self.population(), "one fitness a member");
        let flat = is_flat(fitness);
        let mut step_norm = 0.0;
        if let Some(member) = successor(fitness) {
            let next = self.ask(member);
            let moved: Vec<f64> = next.iter().zip(&self.state.mean).map(|(new, old)| new - old).collect();
            step_norm = norm(&moved);
            self.state.mean = next;
        }
        self.state.flat = if flat { self.state.flat + 1 } else { 0 };
        self.state.generation += 1;
        Step {
            sigma: self.sigma(),
            step_norm,
            mean_norm: norm(&self.state.mean),
            spread: Some(Spread::ball(self.sigma(), self.state.mean.len())),
            failed: fitness.iter().filter(|f| f.is_failed()).count(),
            flat,
            stop: flat_stop(self.state.flat),
        }
    }
}

/// The best of those that beat member 0, if any does. Only one point can be kept, so of tied challengers it is the first;
/// they are draws from the same Gaussian, so this prefers none. Where member 0 failed there is no comparison to be won.
fn successor(fitness: &[Fitness]) -> Option<usize> {
    let incumbent = *fitness.first().filter(|f| !f.is_failed())?;
    let beats = |member: &usize| fitness[*member].value() > incumbent.value();
    // Among equals `min_by` takes the first, and 0 and −0 are equal.
    (1..fitness.len()).filter(beats).min_by(|a, b| {
        let values = [fitness[*b].value(), fitness[*a].value()];
        values[0].partial_cmp(&values[1]).expect("a fitness is a number")
    })
}

// ----------------------------------------------------------------------------------------------------------- tests

#[cfg(test)]
mod tests {
    use super::*;

    const X: f64 = f64::NAN; // not judged

    fn strategy() -> RandomSearch {
        let config = RandomSearchConfig {
            population: Some(4),
            sigma: Some(0.5),
        };
        RandomSearch::new(config, &[1.0, -2.0, 0.5], Seed::new(9))
    }

    fn fitness(values: [f64; 4]) -> [Fitness; 4] {
        values.map(Fitness::new)
    }

    #[test]
    fn the_incumbent_falls_to_the_best_that_beats_it() {
        for (values, expected) in [
            ([1.0, 0.0, 3.0, 2.0], Some(2)),
            ([1.0, 0.0, 1.0, 1.0], None),
            ([1.0, 2.0, 3.0, 3.0], Some(2)),
            ([-1.0, -0.0, 0.0, -2.0], Some(1)),
            ([1.0, X, X, 2.0], Some(3)),
            ([X, 1.0, 3.0, 2.0], None),
            ([X; 4], None),
        ] {
            assert_eq!(successor(&fitness(values)), expected, "{values:?}");
        }
    }

    #[test]
    fn the_incumbent_is_asked_again_and_the_others_stay_around_the_start() {
        let mut search = strategy();
        assert_eq!(search.ask(0), [1.0, -2.0, 0.5]);
        let best = search.ask(2);
        let step = search.tell(&fitness([0.0, 0.0, 7.0, 1.0]));
        assert_eq!((search.mean(), &search.ask(0)), (&best[..], &best));
        assert!(step.step_norm > 0.0 && !step.flat);
        let z = Seed::new(9).named("noise").fold(1).fold(3).normals(3);
        let expected: Vec<f64> = [1.0, -2.0, 0.5].iter().zip(z).map(|(x, z)| x + 0.5 * z).collect();
        assert_eq!(search.ask(3), expected);
        // 7 was luck: now it scores 2, and whoever scores more has its place.
        let next = search.ask(1);
        search.tell(&fitness([2.0, 3.0, 1.0, 1.0]));
        assert_eq!(search.mean(), next);
    }

    #[test]
    fn a_flat_generation_changes_nothing_but_its_number() {
        let mut search = strategy();
        search.tell(&fitness([9.0, 1.0, 5.0, 10.0]));
        let before = search.state.clone();
        for values in [[1.0; 4], [X; 4], [X, 2.0, 2.0, X]] {
            assert!(search.tell(&fitness(values)).flat);
        }
        assert_eq!(
            search.state,
            State {
                generation: 4,
                flat: 3,
                ..before
            }
        );
    }
}
