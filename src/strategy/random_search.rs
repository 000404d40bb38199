//! Random search, the baseline that any strategy must beat: each generation is drawn from N(x0, σ0² I), wherever the
//! search has got to, and the best member so far, the incumbent, is kept. Fitness is noisy and each generation has its
//! own questions, so a fitness that was lucky once must not stay on the throne: the incumbent is member 0 of every generation,
//! and is replaced only by a member that beats it in that generation, on the same questions. Repeated comparisons still
//! favour the lucky, as λ − 1 challengers try each time; the validation split is what tells. The first incumbent is x0.

use super::learner::{Clock, Learner};
use super::spread::Spread;
use super::{Algorithm, check, damaged, defaults, resolve_population, saved};
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

/// What evolves, and where it began.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct State {
    clock: Clock,
    /// x0, around which members are drawn, `[n]`.
    start: Vec<f64>,
    /// The incumbent, `[n]`.
    mean: Vec<f64>,
}

impl RandomSearch {
    /// The start. `config` is resolved.
    pub(super) fn new(config: RandomSearchConfig, x0: &[f64], seed: Seed) -> Self {
        let state = State {
            clock: Clock::new(seed),
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

impl Learner for RandomSearch {
    fn kind(&self) -> &'static str {
        "random-search"
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
        false
    }

    /// The incumbent.
    fn center(&self) -> &Vec<f64> {
        &self.state.mean
    }

    fn center_mut(&mut self) -> &mut Vec<f64> {
        &mut self.state.mean
    }

    fn scale(&self) -> f64 {
        self.config.sigma.expect("a resolved config has a sigma")
    }

    fn to_json(&self) -> serde_json::Value {
        saved(
            Algorithm::RandomSearch(self.config.clone()),
            self.state.mean.len(),
            &self.state,
        )
    }

    fn draw(&self, member: usize) -> Vec<f64> {
        if member == 0 {
            return self.state.mean.clone();
        }
        let mut x = self.state.start.clone();
        axpy(self.scale(), &self.noise().normals(member, x.len()), &mut x);
        x
    }

    // -------------------------------------------------------------------------------------------------------- tell

    fn learn(&mut self, fitness: &[Fitness]) -> f64 {
        let Some(member) = successor(fitness) else { return 0.0 };
        let next = self.draw(member);
        let moved: Vec<f64> = next.iter().zip(&self.state.mean).map(|(new, old)| new - old).collect();
        self.state.mean = next;
        norm(&moved)
    }

    fn spread(&self) -> Option<Spread> {
        Some(Spread::ball(self.scale(), self.state.mean.len()))
    }

    fn limit(&self) -> Option<String> {
        None
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
    use crate::strategy::Strategy;

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
                clock: Clock {
                    generation: 4,
                    flat: 3,
                    ..before.clock
                },
                ..before
            }
        );
    }
}
