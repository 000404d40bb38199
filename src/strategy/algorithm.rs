//! What every search has, and what one algorithm adds to it. A [`Search`] is the state that all algorithms share: mean, σ,
//! population, and where the noise comes from. An [`Algorithm`] draws members with it and learns from their fitness; it
//! keeps only the numbers that are its own, such as a covariance matrix. [`AskTell`] holds one of each and is a
//! [`Strategy`]: the rules that hold for every algorithm stand here, once. Members are made of noise with an address, a
//! flat generation changes nothing but its number, and twenty of these in a row ask to stop.

use super::noise::Noise;
use super::shaping::is_flat;
use super::spread::Spread;
use super::{Step, Strategy, check, damaged, defaults, part};
use crate::error::Result;
use crate::linalg::{all_finite, norm};
use crate::search::Fitness;
use crate::seed::Seed;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// One algorithm: how it draws members, and what it learns from their fitness. The value holds the numbers that it learns
/// beside the mean and σ; it is saved whole in a checkpoint, so what follows from the settings is not part of it.
pub trait Algorithm: Serialize + DeserializeOwned + Send {
    /// The settings that this algorithm alone has, beside those of [`super::StrategyConfig`]; [`NoSettings`] if there are none.
    type Settings: Clone + Serialize + Send;

    /// Whether members can be drawn in pairs, mirrored at the mean. They then are by default, and `antithetic` is a setting.
    const PAIRS: bool = true;

    /// The settings with every default filled in that depends on n, λ or σ0; an error when one is out of range.
    fn resolve(settings: &Self::Settings, _n: usize, _population: usize, _sigma: f64) -> Result<Self::Settings> {
        Ok(settings.clone())
    }

    /// Whether it matters how members of the worse half rank among themselves. Where they are all alike to the algorithm, a
    /// race may drop them before they are known exactly ([`crate::farm::racing`]).
    fn weighs_the_worse_half(settings: &Self::Settings) -> bool;

    /// Its own numbers at the start of a search. Where these are scales of their own, it sets `search.sigma` to the step size
    /// that they come to together.
    fn start(search: &mut Search<Self::Settings>) -> Self;

    /// Whether its numbers can be those of a search in n dimensions: to be asked of what came from a file.
    fn is_valid(&self, _n: usize) -> bool {
        true
    }

    /// Member `member` < λ of the coming generation, `[n]`: a function of the state and the number alone.
    fn draw(&self, search: &Search<Self::Settings>, member: usize) -> Vec<f64>;

    /// Moves the mean, σ and its own numbers by one generation, from the fitness of λ members that do not all tie. Returns
    /// the length of the mean's move.
    fn learn(&mut self, search: &mut Search<Self::Settings>, fitness: &[Fitness]) -> f64;

    /// The axes of the search distribution, σ included, where they are known. Without a shape of its own it is a ball.
    fn spread(&self, search: &Search<Self::Settings>) -> Option<Spread> {
        Some(search.ball())
    }

    /// Why to stop, by the numbers that were learnt: the axes reach the limits of [`Spread::stop`].
    fn limit(&self, search: &Search<Self::Settings>) -> Option<String> {
        let spread = self.spread(search).unwrap_or(search.ball());
        spread.stop(search.first_sigma)
    }
}

/// Of an algorithm that has no settings of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoSettings {}

/// Of an algorithm whose only setting is how far its mean goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MeanSettings {
    /// c_m, or η_μ, above 0: the mean goes to m + c_m (m' − m), where m' is the weighted mean of the better members. Default
    /// [`default_mean_rate`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub learning_rate: Option<f64>,
}

impl MeanSettings {
    /// Checked, and its default filled in.
    pub fn resolved(self, n: usize, population: usize) -> Result<Self> {
        let learning_rate = Some(mean_rate(self.learning_rate, n, population)?);
        Ok(Self { learning_rate })
    }

    /// c_m
    pub(super) fn rate(self) -> f64 {
        self.learning_rate.unwrap_or(1.0)
    }
}

/// The learning rate of the mean, checked, or its default ([`default_mean_rate`]).
pub(super) fn mean_rate(given: Option<f64>, n: usize, population: usize) -> Result<f64> {
    let rate = given.unwrap_or(default_mean_rate(n, population));
    check("learning_rate", rate, rate > 0.0, "a number above 0")
}

/// c_m = 1 + (λ/λ_0 − 1)(1 − λ/n), from 1 to 3, where λ_0 is the default population: all the way to the weighted mean (Hansen's tutorial) up to λ_0
/// candidates, and further with more of them as long as they are few against n. The weighted mean of λ ≪ n noise vectors has a cosine of about
/// √(λ/n) to the direction that would be best, and a length that falls as 1/√λ; the step that pays is as long as the cosine is large, so c_m goes
/// with λ. With c_m = 1 more candidates make a step better and shorter, and a search of few generations does not arrive: n = 960, λ = 80, eight
/// generations, twelve seeds of c_m = 3 and five of 1 and 2 (experiments/LOG.md, 2026-11-28). Beyond 3 nothing is measured.
pub fn default_mean_rate(n: usize, population: usize) -> f64 {
    let (lambda, usual) = (population as f64, defaults(n).population as f64);
    let room = (1.0 - lambda / n as f64).max(0.0);
    (1.0 + (lambda / usual - 1.0) * room).clamp(1.0, 3.0)
}

/// The state that every search has, whatever its algorithm, with the settings `S` of the algorithm beside it.
#[derive(Clone, Debug, PartialEq)]
pub struct Search<S = NoSettings> {
    /// What the algorithm alone has as settings.
    pub settings: S,
    /// λ, candidates a generation.
    pub population: usize,
    /// Whether members 2i and 2i + 1 are mirrored at the mean.
    pub antithetic: bool,
    /// σ0, the first σ.
    pub first_sigma: f64,
    /// The strategy's node in the tree of streams.
    pub seed: Seed,
    /// Generations told.
    pub generation: u64,
    /// Flat generations in a row, up to now.
    pub flat: u64,
    /// m, the mean of the search distribution, `[n]`.
    pub mean: Vec<f64>,
    /// σ, the overall step size.
    pub sigma: f64,
}

impl<S> Search<S> {
    /// Before the first generation: λ = `population` members a generation around `x0`, `[n]`, with noise from below `seed`.
    pub fn new(settings: S, x0: &[f64], sigma: f64, population: usize, antithetic: bool, seed: Seed) -> Self {
        Self {
            settings,
            population,
            antithetic,
            first_sigma: sigma,
            seed,
            generation: 0,
            flat: 0,
            mean: x0.to_vec(),
            sigma,
        }
    }

    /// n, the dimension.
    pub fn dim(&self) -> usize {
        self.mean.len()
    }

    /// The noise of the coming generation.
    pub fn noise(&self) -> Noise {
        Noise::new(self.seed, self.generation, self.antithetic)
    }

    /// The axes of N(m, σ² I).
    pub fn ball(&self) -> Spread {
        Spread::ball(self.sigma, self.dim())
    }

    /// Why to stop, when generations in a row brought no information. A search cannot find its way out of that by itself:
    /// members that are all alike (σ too small) and members that are all broken (σ too large) look the same from here.
    fn limit(&self) -> Option<String> {
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

/// A search by one algorithm, somewhere on its way.
#[derive(Clone, Debug)]
pub struct AskTell<A: Algorithm> {
    name: &'static str,
    pub(super) search: Search<A::Settings>,
    /// The algorithm, with the numbers that are its own.
    pub(super) own: A,
}

/// The settings as the `[strategy]` table has them.
#[derive(Serialize)]
struct Table<'a, S> {
    kind: &'static str,
    population: usize,
    sigma: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    antithetic: Option<bool>,
    #[serde(flatten)]
    settings: &'a S,
}

/// What evolves, in a checkpoint.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Saved<A> {
    seed: Seed,
    generation: u64,
    flat: u64,
    mean: Vec<f64>,
    sigma: f64,
    own: A,
}

impl<A: Algorithm> AskTell<A> {
    /// The start of a search by the algorithm of that name.
    pub fn new(name: &'static str, mut search: Search<A::Settings>) -> Self {
        let own = A::start(&mut search);
        Self { name, search, own }
    }

    /// A search as it was when [`Strategy::state`] was taken. The settings are those of `search`, and everything that evolves
    /// is replaced.
    pub fn restore(name: &'static str, search: Search<A::Settings>, state: &Value) -> Result<Self> {
        let n: usize = part(state, "n")?;
        let saved: Saved<A> = part(state, "state")?;
        if !(all_finite(&[&saved.mean], n) && saved.sigma.is_finite() && saved.own.is_valid(n)) {
            return Err(damaged(n));
        }
        let search = Search {
            seed: saved.seed,
            generation: saved.generation,
            flat: saved.flat,
            mean: saved.mean,
            sigma: saved.sigma,
            ..search
        };
        let own = saved.own;
        Ok(Self { name, search, own })
    }
}

impl<A: Algorithm> Strategy for AskTell<A> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn population(&self) -> usize {
        self.search.population
    }

    fn generation(&self) -> u64 {
        self.search.generation
    }

    fn ask(&self, member: usize) -> Vec<f64> {
        let population = self.search.population;
        assert!(member < population, "member {member} of a population of {population}");
        self.own.draw(&self.search, member)
    }

    fn tell(&mut self, fitness: &[Fitness]) -> Step {
        let Self { search, own, .. } = self;
        assert_eq!(fitness.len(), search.population, "one fitness a member");
        // A flat generation leaves σ alone too. Hansen's tutorial (B.4) would raise it, but members that are all broken,
        // because σ is too large already, are as flat as members that are all alike.
        let flat = is_flat(fitness);
        let step_norm = if flat { 0.0 } else { own.learn(search, fitness) };
        search.flat = if flat { search.flat + 1 } else { 0 };
        search.generation += 1;
        Step {
            sigma: search.sigma,
            step_norm,
            mean_norm: norm(&search.mean),
            spread: own.spread(search),
            failed: fitness.iter().filter(|f| f.is_failed()).count(),
            flat,
            stop: own.limit(search).or_else(|| search.limit()),
        }
    }

    fn mean(&self) -> &[f64] {
        &self.search.mean
    }

    fn set_mean(&mut self, mean: Vec<f64>) {
        self.search.mean = mean;
    }

    fn sigma(&self) -> f64 {
        self.search.sigma
    }

    fn state(&self) -> Value {
        let Self { name, search, own } = self;
        let config = Table {
            kind: name,
            population: search.population,
            sigma: search.first_sigma,
            antithetic: A::PAIRS.then_some(search.antithetic),
            settings: &search.settings,
        };
        json!({
            "config": config,
            "n": search.dim(),
            "state": {
                "seed": search.seed,
                "generation": search.generation,
                "flat": search.flat,
                "mean": search.mean,
                "sigma": search.sigma,
                "own": own,
            },
        })
    }
}
