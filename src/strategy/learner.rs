//! What one algorithm adds to the rules that hold for all of them. The rules stand here, once: members are made of noise with
//! an address, a flat generation changes nothing but its number, and twenty of these in a row ask to stop.

use super::noise::Noise;
use super::shaping::is_flat;
use super::spread::Spread;
use super::{Step, Strategy};
use crate::linalg::norm;
use crate::search::Fitness;
use crate::seed::Seed;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One algorithm: how it draws members, and what it learns from their fitness.
pub trait Learner: Send {
    /// The name by which a config selects it.
    fn kind(&self) -> &'static str;

    /// λ
    fn lambda(&self) -> usize;

    /// Where the search stands.
    fn clock(&self) -> &Clock;

    /// The same, to be moved on.
    fn clock_mut(&mut self) -> &mut Clock;

    /// Whether members 2i and 2i + 1 are mirrored at the mean.
    fn antithetic(&self) -> bool;

    /// m, `[n]`.
    fn center(&self) -> &Vec<f64>;

    /// The same, to be put elsewhere.
    fn center_mut(&mut self) -> &mut Vec<f64>;

    /// σ, the overall step size.
    fn scale(&self) -> f64;

    /// The axes of the search distribution, σ included, where they are known.
    fn spread(&self) -> Option<Spread>;

    /// Member `member` < λ of the coming generation, `[n]`.
    fn draw(&self, member: usize) -> Vec<f64>;

    /// One generation's learning, from the fitness of λ members that do not all tie; returns the length of the mean's move.
    fn learn(&mut self, fitness: &[Fitness]) -> f64;

    /// Why to stop, by the numbers that were learnt.
    fn limit(&self) -> Option<String>;

    /// Config and state as JSON; see [`Strategy::state`].
    fn to_json(&self) -> Value;

    /// The noise of the coming generation.
    fn noise(&self) -> Noise {
        let Clock { seed, generation, .. } = *self.clock();
        Noise::new(seed, generation, self.antithetic())
    }
}

/// Where a search stands, and the seed, because a checkpoint must be enough to go on.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Clock {
    /// The strategy's node in the tree of streams.
    pub seed: Seed,
    /// Generations told.
    pub generation: u64,
    /// Flat generations in a row, up to now.
    pub flat: u64,
}

impl Clock {
    /// Before the first generation.
    pub fn new(seed: Seed) -> Self {
        Self {
            seed,
            generation: 0,
            flat: 0,
        }
    }

    /// Why to stop, when generations in a row brought no information. A search cannot find its way out of that by itself:
    /// members that are all alike (σ too small) and members that are all broken (σ too large) look the same from here.
    fn limit(self) -> Option<String> {
        const FLAT_GENERATIONS: u64 = 20;
        (self.flat >= FLAT_GENERATIONS).then(|| {
            format!(
                "all members had the same fitness in each of the last {} generations; if the mean scores higher than \
                 they do, sigma is too large, if it scores the same, sigma is too small or the reward is blind",
                self.flat
            )
        })
    }
}

impl<L: Learner> Strategy for L {
    fn name(&self) -> &'static str {
        self.kind()
    }

    fn population(&self) -> usize {
        self.lambda()
    }

    fn generation(&self) -> u64 {
        self.clock().generation
    }

    fn ask(&self, member: usize) -> Vec<f64> {
        let population = self.lambda();
        assert!(member < population, "member {member} of a population of {population}");
        self.draw(member)
    }

    fn tell(&mut self, fitness: &[Fitness]) -> Step {
        assert_eq!(fitness.len(), self.lambda(), "one fitness a member");
        // A flat generation leaves σ alone too. Hansen's tutorial (B.4) would raise it, but members that are all broken,
        // because σ is too large already, are as flat as members that are all alike.
        let flat = is_flat(fitness);
        let step_norm = if flat { 0.0 } else { self.learn(fitness) };
        let clock = self.clock_mut();
        clock.flat = if flat { clock.flat + 1 } else { 0 };
        clock.generation += 1;
        Step {
            sigma: self.scale(),
            step_norm,
            mean_norm: norm(self.center()),
            spread: self.spread(),
            failed: fitness.iter().filter(|f| f.is_failed()).count(),
            flat,
            stop: self.limit().or_else(|| self.clock().limit()),
        }
    }

    fn mean(&self) -> &[f64] {
        self.center()
    }

    fn set_mean(&mut self, mean: Vec<f64>) {
        *self.center_mut() = mean;
    }

    fn sigma(&self) -> f64 {
        self.scale()
    }

    fn state(&self) -> Value {
        self.to_json()
    }
}
