//! Evolution strategies: one algorithm a file, each with the same sections (citation, settings, numbers, `draw`, `learn`,
//! tests) and the equation numbers of its source beside the lines. A strategy never learns how members are
//! evaluated: no tensors, no text, no ranks. Larger fitness is better.
//!
//! Three rules hold for every strategy. Tied members count the same. A failed member counts nothing: the mean moves
//! neither towards it nor away from it. A flat generation, in which all judged members tie, changes nothing but the
//! generation's number: the mean, σ, covariance and momentum stay, because no information came in.
//!
//! What all of them share stands in `algorithm.rs`: the state, and `ask` and `tell` around it. A new algorithm is a file
//! with its [`Algorithm`], and a line in the table below that gives it its name in a config. `examples/own_strategy.rs` has
//! one that stands outside of this crate.

pub mod algorithm;
pub mod cem;
pub mod cma_es;
pub mod functions;
pub mod guarded;
pub mod lm_ma_es;
pub mod noise;
pub mod open_es;
pub mod random_search;
pub mod selection;
pub mod sep_cma_es;
pub mod shaping;
pub mod snes;
pub mod spread;
pub mod xnes;

use crate::error::{Error, Result};
use crate::search::Fitness;
use crate::seed::Seed;
pub use algorithm::{Algorithm, AskTell, MeanSettings, NoSettings, Search};
use cma_es::CmaEsConfig;
use guarded::Guarded;
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use spread::Spread;

/// Ask and tell. The state is a value: it serialises whole, and `ask` does not change it.
pub trait Strategy: Send {
    /// The name by which a config selects it.
    fn name(&self) -> &'static str;

    /// λ, the number of candidates of a generation.
    fn population(&self) -> usize;

    /// Generations told so far.
    fn generation(&self) -> u64;

    /// The search vector of member `member` of the coming generation, `[n]`: a pure function of the state and the
    /// number, so each rank makes only its own and the order of asking does not matter.
    ///
    /// # Panics
    /// When `member >= population()`: a bug of the caller.
    fn ask(&self, member: usize) -> Vec<f64>;

    /// Takes the fitness of all members of the generation, in order of member, and moves on.
    ///
    /// # Panics
    /// When `fitness.len() != population()`: a bug of the caller.
    fn tell(&mut self, fitness: &[Fitness]) -> Step;

    /// The mean of the search distribution, `[n]`: what is validated, tested and exported.
    fn mean(&self) -> &[f64];

    /// Puts the mean elsewhere, such as back into a trust region. `mean` is `[n]`.
    fn set_mean(&mut self, mean: Vec<f64>);

    /// σ, the overall step size.
    fn sigma(&self) -> f64;

    /// The whole state as JSON, with the resolved config that it belongs to: what a checkpoint keeps and
    /// [`StrategyConfig::restore`] takes.
    fn state(&self) -> Value;
}

/// What one `tell` did, for the metrics row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// σ after the step.
    pub sigma: f64,
    /// Euclidean length of the mean's move.
    pub step_norm: f64,
    /// Euclidean length of the mean after the step.
    pub mean_norm: f64,
    /// The axes of the search distribution, σ included; none where they are not known.
    pub spread: Option<Spread>,
    /// Members without a fitness.
    pub failed: usize,
    /// Whether all judged members tied, so that nothing moved.
    pub flat: bool,
    /// Why the strategy wants to stop, if it does. It goes on to work if it is told more.
    pub stop: Option<String>,
}

/// The algorithm, and its settings, in the user's words: the `[strategy]` table of a run's config.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StrategyConfig {
    /// `kind`, and the settings that only this kind has.
    #[serde(flatten, deserialize_with = "kind_among_shared_settings")]
    pub kind: Kind,
    /// λ, candidates a generation; at least 2, even with `antithetic`. Default 4 + ⌊3 ln n⌋, rounded up to even.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub population: Option<usize>,
    /// σ0, the standard deviation of each number of the first candidates, above 0. Default 0.1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sigma: Option<f64>,
    /// Whether members 2i and 2i + 1 are mirrored at the mean. Default true, where the algorithm can: what the two have in
    /// common, such as a loss that any step brings, cancels in the step of the mean, which helps where differences are small
    /// against the noise. None of the papers but OpenAI's has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub antithetic: Option<bool>,
    /// The longest move of the mean in one generation, as `step_norm` measures it; none where it is left alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_step: Option<f64>,
    /// The furthest that the mean may be from the start, in nats a response: a longer move is cut short. The run measures it; the strategies know
    /// nothing of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_kl: Option<f64>,
    /// How often a strategy that asks to stop begins again, with twice the population each time. Default 0.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub restarts: u32,
}

fn is_zero(count: &u32) -> bool {
    *count == 0
}

/// An unknown key is refused by the settings of its kind, which do not know of the keys that all kinds share.
fn kind_among_shared_settings<'de, D: Deserializer<'de>>(table: D) -> std::result::Result<Kind, D::Error> {
    Kind::deserialize(table).map_err(|error| match error.to_string() {
        text if text.starts_with("unknown field") => D::Error::custom(format!(
            "{}; all kinds have `population`, `sigma`, `antithetic`, `max_step`, `max_kl`, `restarts`",
            text.trim_end()
        )),
        _ => error,
    })
}

macro_rules! table_of_algorithms {
    ($($(#[$doc:meta])+ $name:literal => $variant:ident($algorithm:ty),)+) => {
        /// The names by which a config selects one, instead of `auto`.
        pub const KINDS: [&str; [$($name),+].len()] = [$($name),+];

        /// Which algorithm, with the settings that it alone has.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(tag = "kind")]
        pub enum Kind {
            /// Full CMA-ES, or the separable one where a full matrix would not be learnt in time; see [`StrategyConfig::chosen`].
            #[serde(rename = "auto")]
            Auto(CmaEsConfig),
            $(
                $(#[$doc])+
                #[serde(rename = $name)]
                $variant(<$algorithm as Algorithm>::Settings),
            )+
        }

        impl Kind {
            /// The name by which a config selects it.
            pub fn name(&self) -> &'static str {
                match self {
                    Self::Auto(_) => "auto",
                    $(Self::$variant(_) => $name,)+
                }
            }

            fn weighs_the_worse_half(&self) -> bool {
                match self {
                    Self::Auto(settings) => Self::CmaEs(settings.clone()).weighs_the_worse_half(),
                    $(Self::$variant(settings) => <$algorithm>::weighs_the_worse_half(settings),)+
                }
            }
        }

        impl StrategyConfig {
            /// All but the guard's settings resolved.
            fn resolve_algorithm(&self, n: usize) -> Result<Self> {
                match self.kind.choice(n) {
                    Kind::Auto(_) => unreachable!("the choice was made"),
                    $(Kind::$variant(own) => self.resolve_as::<$algorithm>($name, &own, n, Kind::$variant),)+
                }
            }

            /// The strategy at its start, or as it was `saved`, without a guard. `self` is resolved.
            fn open(&self, x0: &[f64], seed: Seed, saved: Option<&Value>) -> Result<Box<dyn Strategy>> {
                match &self.kind {
                    Kind::Auto(_) => unreachable!("a resolved config has chosen"),
                    $(Kind::$variant(own) => self.open_as::<$algorithm>($name, own, x0, seed, saved),)+
                }
            }
        }
    };
}

// One line an algorithm: what a config calls it, and the type that it is.
table_of_algorithms! {
    /// Full CMA-ES: learns a covariance matrix and controls its step size.
    "cma-es" => CmaEs(cma_es::CmaEs),
    /// CMA-ES that learns a scale for each number: linear in n.
    "sep-cma-es" => SepCmaEs(sep_cma_es::SepCmaEs),
    /// LM-MA-ES: learns a few directions, for n in the tens of thousands.
    "lm-ma-es" => LmMaEs(lm_ma_es::LmMaEs),
    /// OpenAI's evolution strategy: a gradient estimate under a fixed σ.
    "open-es" => OpenEs(open_es::OpenEs),
    /// Exponential natural evolution strategy: follows the natural gradient of a full Gaussian.
    "xnes" => Xnes(xnes::Xnes),
    /// Separable natural evolution strategy: the same for a Gaussian with a σ for each number.
    "snes" => Snes(snes::Snes),
    /// Cross-entropy method: fits a Gaussian with a σ for each number to the best members.
    "cem" => Cem(cem::Cem),
    /// Random search: draws around the start, and keeps what beats the incumbent.
    "random-search" => RandomSearch(random_search::RandomSearch),
}

impl Default for Kind {
    fn default() -> Self {
        Self::Auto(CmaEsConfig::default())
    }
}

impl Kind {
    /// What `auto` is for n numbers where nobody says how long the search will be.
    fn choice(&self, n: usize) -> Self {
        self.chosen(n <= LARGEST_FULL)
    }

    fn chosen(&self, full: bool) -> Self {
        match self {
            Self::Auto(settings) if full => Self::CmaEs(settings.clone()),
            Self::Auto(settings) => Self::SepCmaEs(settings.clone()),
            chosen => chosen.clone(),
        }
    }

    /// `auto` as it was chosen where a run began with `begun`; any other kind as it is.
    pub fn as_begun(&self, begun: &Self) -> Self {
        match begun {
            Self::CmaEs(_) => self.chosen(true),
            Self::SepCmaEs(_) => self.chosen(false),
            _ => self.clone(),
        }
    }
}

/// How much of a full covariance matrix is learnt in a search of so many generations: generations · (c_1 + c_μ), which is 1 where
/// the matrix has forgotten all but 1/e of its start.
pub fn learnt_of_a_full_matrix(n: usize, population: usize, active: bool, generations: u64) -> f64 {
    let rates = cma_es::Parameters::new(n, population.min(LARGEST_POPULATION), active);
    generations as f64 * (rates.c1 + rates.cmu)
}

impl StrategyConfig {
    /// With `auto` chosen for a search of so many generations: a full covariance matrix where it learns one
    /// ([`learnt_of_a_full_matrix`] is at least 1) and can afford it, and otherwise a diagonal, which is learnt n / 3 times as
    /// fast.
    pub fn chosen(&self, n: usize, generations: u64) -> Self {
        let Kind::Auto(settings) = &self.kind else {
            return self.clone();
        };
        let population = self.population.unwrap_or(defaults(n).population);
        let learnt = learnt_of_a_full_matrix(n, population, settings.active, generations);
        Self {
            kind: self.kind.chosen(learnt >= 1.0 && n <= LARGEST_FULL),
            ..self.clone()
        }
    }

    /// Checks every range and fills in every default that depends on n: the copy to be written into the run.
    pub fn resolve(&self, n: usize) -> Result<Self> {
        if n == 0 {
            return Err(Error::config(
                "strategy: the search space is empty (n = 0): the adapter selects no number to search",
            ));
        }
        let resolved = self.resolve_algorithm(n)?;
        if let Some(longest) = self.max_step {
            check("max_step", longest, longest > 0.0, "a number above 0")?;
        }
        if let Some(most) = self.max_kl {
            check("max_kl", most, most > 0.0, "a number above 0")?;
        }
        let population = resolved.population.expect("a resolved config has a population");
        if self.restarts > (LARGEST_POPULATION / population).ilog2() {
            return Err(Error::config(format!(
                "strategy.restarts: is {}, and the population of {population} doubles each time; expected at most {}, \
                 with which it reaches {LARGEST_POPULATION}",
                self.restarts,
                (LARGEST_POPULATION / population).ilog2()
            )));
        }
        Ok(resolved)
    }

    /// Whether it matters to the algorithm how members of the worse half rank among themselves; see
    /// [`Algorithm::weighs_the_worse_half`].
    pub fn weighs_the_worse_half(&self) -> bool {
        self.kind.weighs_the_worse_half()
    }

    /// A strategy at its start: n numbers around `x0`, with noise from below `seed`.
    pub fn build(&self, n: usize, x0: &[f64], seed: Seed) -> Result<Box<dyn Strategy>> {
        if x0.len() != n || x0.iter().any(|x| !x.is_finite()) {
            let found = x0.iter().filter(|x| x.is_finite()).count();
            return Err(Error::mismatch(format!(
                "strategy: the start has {found} finite numbers, expected n = {n}"
            )));
        }
        let resolved = self.resolve(n)?.of_strategy();
        if resolved.is_guarded() {
            Ok(Box::new(Guarded::new(resolved, x0, seed)?))
        } else {
            resolved.open(x0, seed, None)
        }
    }

    /// A strategy as it was when [`Strategy::state`] was taken; it goes on bit for bit as that one would have. The
    /// config must resolve to what the strategy was built with.
    pub fn restore(&self, state: &Value) -> Result<Box<dyn Strategy>> {
        let saved: Self = part(state, "config")?;
        let n = part(state, "n")?;
        let resolved = self.resolve(n)?.of_strategy();
        if saved != resolved {
            let text = |config: &Self| serde_json::to_string(config).expect("a config serialises");
            return Err(Error::mismatch(format!(
                "strategy state: was saved under {} and the config now says {}; a run goes on with what it began with",
                text(&saved),
                text(&resolved)
            )));
        }
        if resolved.is_guarded() {
            Ok(Box::new(Guarded::restore(resolved, n, part(state, "state")?)?))
        } else {
            // Where it stands is all in the state.
            resolved.open(&[], Seed::new(0), Some(state))
        }
    }

    /// Without what the run does and the strategy does not know of.
    fn of_strategy(self) -> Self {
        Self { max_kl: None, ..self }
    }

    fn is_guarded(&self) -> bool {
        self.max_step.is_some() || self.restarts > 0
    }

    fn resolve_as<A: Algorithm>(
        &self,
        name: &str,
        settings: &A::Settings,
        n: usize,
        kind: fn(A::Settings) -> Kind,
    ) -> Result<Self> {
        if !A::PAIRS && self.antithetic.is_some() {
            return Err(Error::config(format!(
                "strategy.antithetic: {name} does not draw its members in pairs; leave the key out"
            )));
        }
        let antithetic = A::PAIRS.then(|| self.antithetic.unwrap_or(true));
        let population = resolve_population(self.population, antithetic == Some(true), n)?;
        let sigma = self.sigma.unwrap_or(defaults(n).sigma);
        let sigma = check("sigma", sigma, sigma > 0.0, "a number above 0")?;
        Ok(Self {
            kind: kind(A::resolve(settings, n, population, sigma)?),
            population: Some(population),
            sigma: Some(sigma),
            antithetic,
            ..self.clone()
        })
    }

    fn open_as<A: Algorithm + 'static>(
        &self,
        name: &'static str,
        settings: &A::Settings,
        x0: &[f64],
        seed: Seed,
        saved: Option<&Value>,
    ) -> Result<Box<dyn Strategy>> {
        let sigma = self.sigma.expect("a resolved config has a sigma");
        let population = self.population.expect("a resolved config has a population");
        let antithetic = self.antithetic.unwrap_or(false);
        let search = Search::new(settings.clone(), x0, sigma, population, antithetic, seed);
        Ok(Box::new(match saved {
            None => AskTell::<A>::new(name, search),
            Some(state) => AskTell::<A>::restore(name, search, state)?,
        }))
    }
}

/// The largest n for which `auto` takes full CMA-ES: up to here its step takes a twentieth of a generation's time
/// (experiments/LOG.md).
pub const LARGEST_FULL: usize = 2048;

/// The values that stand for a missing setting, as formulas of the dimension.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Defaults {
    /// λ = 4 + ⌊3 ln n⌋ (Hansen's tutorial, eq. 48).
    pub population: usize,
    /// σ0. Offsets are relative to the singular value that they move, so 0.1 is a change by a tenth.
    pub sigma: f64,
    /// How far Adam moves a number in one generation, in units of σ. With it the first step is about as long as that of CMA-ES,
    /// and the mean gets 1.1 to 1.4 times as far in 8 to 40 generations (n = 960, λ = 20; tests/strategies.rs).
    pub adam_rate: f64,
    /// How far momentum moves for a gradient of one, in units of σ²; made for centred ranks.
    pub momentum_rate: f64,
}

/// All defaults that strategies share.
pub fn defaults(n: usize) -> Defaults {
    Defaults {
        population: 4 + (3.0 * (n as f64).ln()).floor() as usize,
        sigma: 0.1,
        adam_rate: 0.4,
        momentum_rate: 4.0,
    }
}

/// The largest λ: every member is at least one text, so more would not end.
const LARGEST_POPULATION: usize = 1 << 20;

/// λ, given or default, checked: at least two, and even where members come in pairs (a default is rounded up).
fn resolve_population(population: Option<usize>, antithetic: bool, n: usize) -> Result<usize> {
    let default = defaults(n).population;
    let found = population.unwrap_or(if antithetic {
        default.next_multiple_of(2)
    } else {
        default
    });
    if found < 2 {
        return Err(Error::config(format!(
            "strategy.population: is {found}, expected at least 2 (default here {default})"
        )));
    }
    if found > LARGEST_POPULATION {
        return Err(Error::config(format!(
            "strategy.population: is {found}, expected at most {LARGEST_POPULATION}"
        )));
    }
    if antithetic && found % 2 == 1 {
        return Err(Error::config(format!(
            "strategy.population: is {found}, expected an even number, because antithetic = true makes members in pairs"
        )));
    }
    Ok(found)
}

/// A setting that must be a number inside an interval, both ends as text for the message.
fn check(key: &str, value: f64, inside: bool, expected: &str) -> Result<f64> {
    if value.is_finite() && inside {
        Ok(value)
    } else {
        Err(Error::config(format!(
            "strategy.{key}: is {value}, expected {expected}"
        )))
    }
}

fn part<T: DeserializeOwned>(state: &Value, key: &str) -> Result<T> {
    T::deserialize(&state[key]).map_err(|error| Error::mismatch(format!("strategy state: {key}: {error}")))
}

/// What to say of a state that parses and cannot be.
fn damaged(n: usize) -> Error {
    Error::mismatch(format!(
        "strategy state: its vectors and matrices do not hold n = {n} finite numbers a row; the checkpoint is damaged"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn population_grows_with_the_logarithm_of_the_dimension() {
        let populations: Vec<_> = [1, 2, 10, 40, 480, 8192].map(|n| defaults(n).population).into();
        assert_eq!(populations, [4, 6, 10, 15, 22, 31]);
    }

    #[test]
    fn a_kind_selects_a_strategy() {
        let config: StrategyConfig = serde_json::from_str(r#"{"kind": "open-es", "population": 8}"#).expect("parses");
        let strategy = config.build(3, &[0.0; 3], Seed::new(1)).expect("builds");
        assert_eq!(
            (strategy.name(), strategy.population(), strategy.generation()),
            ("open-es", 8, 0)
        );
        assert_eq!(
            StrategyConfig::default()
                .build(3, &[0.0; 3], Seed::new(1))
                .expect("builds")
                .name(),
            "cma-es"
        );
    }

    #[test]
    fn the_mean_goes_further_where_many_candidates_are_few_against_n() {
        let rate = |n: usize, population: usize| {
            let config = configured(serde_json::json!({ "kind": "sep-cma-es", "population": population }));
            let resolved = serde_json::to_value(config.resolve(n).expect("resolves")).expect("serialises");
            resolved["learning_rate"].as_f64().expect("a number")
        };
        // Up to the default population, in few dimensions, between, and as far as was measured.
        assert_eq!(
            [rate(960, 20), rate(960, 24), rate(10, 40), rate(960, 80)],
            [1.0, 1.0, 1.0, 3.0]
        );
        assert!((rate(960, 40) - (1.0 + (40.0 / 24.0 - 1.0) * (1.0 - 40.0 / 960.0))).abs() < 1e-12);
    }

    #[test]
    fn an_unknown_key_is_refused() {
        let text = r#"{"kind": "cma-es", "populaton": 8}"#;
        let error = serde_json::from_str::<StrategyConfig>(text)
            .expect_err("misspelt")
            .to_string();
        assert!(error.contains("unknown field `populaton`"), "{error}");
        // It names all that there are: those of the kind, and those that every kind has.
        let all = StrategyConfig {
            kind: Kind::CmaEs(CmaEsConfig::default()),
            population: Some(4),
            sigma: Some(0.5),
            antithetic: Some(true),
            max_step: Some(1.0),
            max_kl: Some(1.0),
            restarts: 1,
        };
        let all = serde_json::to_value(&all).expect("serialises");
        for key in all.as_object().expect("a table").keys().filter(|key| *key != "kind") {
            assert!(error.contains(&format!("`{key}`")), "{error} lacks {key}");
        }
        let plain = r#"{"kind": "snes", "active": true}"#;
        let error = serde_json::from_str::<StrategyConfig>(plain)
            .expect_err("of another kind")
            .to_string();
        assert!(error.contains("unknown field `active`"), "{error}");
    }

    #[test]
    fn pairs_are_refused_where_there_are_none() {
        for antithetic in [true, false] {
            let config = configured(serde_json::json!({ "kind": "random-search", "antithetic": antithetic }));
            let error = config.resolve(3).expect_err("no pairs").to_string();
            assert!(error.starts_with("strategy.antithetic: random-search"), "{error}");
        }
    }

    #[test]
    fn a_resolved_config_says_everything_and_resolves_to_itself() {
        for kind in KINDS {
            let config: StrategyConfig = serde_json::from_value(serde_json::json!({ "kind": kind })).expect("parses");
            let resolved = config.resolve(480).expect("resolves");
            let json = serde_json::to_value(&resolved).expect("serialises");
            assert!(
                json.as_object()
                    .expect("a table")
                    .values()
                    .all(|value| !value.is_null()),
                "{json}"
            );
            assert_eq!(json["population"], 22);
            assert_eq!(json["sigma"], 0.1);
            assert_eq!(resolved.resolve(480).expect("resolves"), resolved);
        }
    }

    #[test]
    fn values_out_of_range_are_named() {
        let cases = [
            (
                r#"{"kind": "cma-es", "population": 1}"#,
                "strategy.population: is 1, expected at least 2",
            ),
            (
                r#"{"kind": "cma-es", "population": 7, "antithetic": true}"#,
                "population: is 7, expected an even number",
            ),
            (
                r#"{"kind": "cma-es", "sigma": 0.0}"#,
                "strategy.sigma: is 0, expected a number above 0",
            ),
            (
                r#"{"kind": "open-es", "population": 7}"#,
                "population: is 7, expected an even number",
            ),
            (
                r#"{"kind": "open-es", "sigma": -1.0}"#,
                "strategy.sigma: is -1, expected a number above 0",
            ),
            (
                r#"{"kind": "open-es", "learning_rate": 0.0}"#,
                "strategy.learning_rate: is 0, expected a number above 0",
            ),
            (
                r#"{"kind": "auto", "learning_rate": -1.0}"#,
                "strategy.learning_rate: is -1, expected a number above 0",
            ),
            (
                r#"{"kind": "open-es", "momentum": 1.0}"#,
                "strategy.momentum: is 1, expected a number in [0, 1)",
            ),
            (
                r#"{"kind": "open-es", "beta2": 1.5}"#,
                "strategy.beta2: is 1.5, expected a number in [0, 1)",
            ),
            (
                r#"{"kind": "open-es", "sigma_decay": 1.1}"#,
                "strategy.sigma_decay: is 1.1, expected a number in (0, 1]",
            ),
            (
                r#"{"kind": "open-es", "weight_decay": 1.0}"#,
                "strategy.weight_decay: is 1, expected a number in [0, 1)",
            ),
            (
                r#"{"kind": "snes", "population": 7}"#,
                "population: is 7, expected an even number",
            ),
            (
                r#"{"kind": "xnes", "sigma": 0.0}"#,
                "strategy.sigma: is 0, expected a number above 0",
            ),
            (
                r#"{"kind": "cem", "elite": 1.0}"#,
                "strategy.elite: is 1, expected a number in (0, 1)",
            ),
            (
                r#"{"kind": "cem", "smoothing": 0.0}"#,
                "strategy.smoothing: is 0, expected a number in (0, 1]",
            ),
            (
                r#"{"kind": "cem", "extra_noise": -1.0}"#,
                "strategy.extra_noise: is -1, expected 0 or a number above",
            ),
            (
                r#"{"kind": "random-search", "population": 1}"#,
                "strategy.population: is 1, expected at least 2",
            ),
        ];
        for (text, expected) in cases {
            let config: StrategyConfig = serde_json::from_str(text).expect("parses");
            let error = config.resolve(10).expect_err(text).to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
        let empty = StrategyConfig::default()
            .resolve(0)
            .expect_err("nothing to search")
            .to_string();
        assert!(empty.contains("n = 0"), "{empty}");
    }

    #[test]
    fn the_default_is_separable_where_a_full_matrix_would_learn_nothing() {
        let name = |n: usize| {
            let config = StrategyConfig::default().resolve(n).expect("resolves");
            serde_json::to_value(&config).expect("serialises")["kind"].clone()
        };
        assert_eq!(
            [name(480), name(2048), name(2049), name(8192)],
            ["cma-es", "cma-es", "sep-cma-es", "sep-cma-es"]
        );
    }

    /// Ten numbers are learnt in tens of generations, and some hundred in none that a run has; a longer search may learn more.
    #[test]
    fn auto_is_full_where_its_matrix_is_learnt_within_the_search() {
        let name = |n: usize, population: usize, generations: u64| {
            let mut config =
                configured(serde_json::json!({ "kind": "auto", "population": population, "learning_rate": 0.5 }));
            config = config.chosen(n, generations);
            let resolved = serde_json::to_value(config.resolve(n).expect("resolves")).expect("serialises");
            assert_eq!(resolved["learning_rate"], 0.5, "its settings stay");
            resolved["kind"].as_str().expect("a name").to_string()
        };
        // 1 / (c_1 + c_μ) is 86,000 generations at n = 960 and 405 at n = 64 (λ = 20).
        for (n, short, long) in [(960, 85_000, 87_000), (64, 400, 410)] {
            assert_eq!([name(n, 20, short), name(n, 20, long)], ["sep-cma-es", "cma-es"], "{n}");
        }
        assert_eq!(
            [name(10, 20, 20), name(30, 20, 20), name(30, 80, 60)],
            ["cma-es", "sep-cma-es", "cma-es"]
        );
        assert_eq!(name(LARGEST_FULL + 1, 20, u64::MAX), "sep-cma-es");
        let snes = configured(serde_json::json!({ "kind": "snes" }));
        assert_eq!(snes.chosen(10, 20), snes);
    }

    #[test]
    fn auto_goes_on_as_what_it_began_as() {
        let kind = |name: &str| configured(serde_json::json!({ "kind": name, "active": true })).kind;
        for begun in ["cma-es", "sep-cma-es"] {
            assert_eq!(kind("auto").as_begun(&kind(begun)), kind(begun));
            assert_eq!(kind("cma-es").as_begun(&kind(begun)), kind("cma-es"));
        }
        let snes = configured(serde_json::json!({ "kind": "snes" })).kind;
        assert_eq!(kind("auto").as_begun(&snes), kind("auto"));
    }

    /// The refusal names a way on, and what it names takes that n.
    #[test]
    fn full_cma_es_is_refused_where_its_matrix_is_too_large() {
        let full: StrategyConfig = serde_json::from_str(r#"{"kind": "cma-es"}"#).expect("parses");
        assert!(full.resolve(8192).is_ok());
        let error = full.resolve(20_000).expect_err("9.6 GB").to_string();
        assert!(error.contains("9.6 GB") && error.contains("take sep-cma-es"), "{error}");
        let sep: StrategyConfig = serde_json::from_str(r#"{"kind": "sep-cma-es"}"#).expect("parses");
        assert!(sep.resolve(1_000_000).is_ok());
    }

    #[test]
    fn a_start_of_the_wrong_length_is_refused() {
        let config = StrategyConfig::default();
        for x0 in [vec![0.0; 4], vec![0.0, f64::NAN, 1.0]] {
            assert!(config.build(3, &x0, Seed::new(1)).is_err(), "{x0:?}");
        }
    }

    #[test]
    fn a_state_of_another_config_is_refused() {
        let cma: StrategyConfig = serde_json::from_str(r#"{"kind": "cma-es", "population": 12}"#).expect("parses");
        let state = cma.build(3, &[0.0; 3], Seed::new(1)).expect("builds").state();
        assert!(cma.restore(&state).is_ok());
        let error = StrategyConfig::default()
            .restore(&state)
            .err()
            .expect("another population")
            .to_string();
        assert!(
            error.contains(r#""population":12"#) && error.contains(r#""population":8"#),
            "{error}"
        );
        let open: StrategyConfig = serde_json::from_str(r#"{"kind": "open-es"}"#).expect("parses");
        assert!(open.restore(&state).is_err());
        assert!(cma.restore(&serde_json::json!({})).is_err());
        for (key, damage) in [
            ("mean", serde_json::json!([0.0])),
            ("sigma", Value::Null),
            (
                "covariance",
                serde_json::json!({ "matrix": { "n": 3, "lower": "3ff0000000000000" }, "axes": null, "decomposed_at": 0 }),
            ),
            ("generation", serde_json::json!([1, 2, 3])),
        ] {
            let mut damaged = state.clone();
            let place = if key == "covariance" {
                &mut damaged["state"]["own"][key]
            } else {
                &mut damaged["state"][key]
            };
            assert_ne!(*place, Value::Null, "{key}");
            *place = damage;
            assert!(cma.restore(&damaged).is_err(), "{key}");
        }
    }

    fn configured(config: Value) -> StrategyConfig {
        serde_json::from_value(config).expect("parses")
    }

    fn told(strategy: &mut dyn Strategy, values: &[f64]) -> Step {
        strategy.tell(&values.iter().copied().map(Fitness::new).collect::<Vec<_>>())
    }

    #[test]
    fn every_strategy_says_who_it_is_and_where_it_stands() {
        let x0 = [1.0, -2.0, 0.5, 0.0];
        for (kind, antithetic) in KINDS.iter().flat_map(|kind| [(*kind, true), (*kind, false)]) {
            let mut json = serde_json::json!({ "kind": kind, "population": 8, "sigma": 0.5 });
            if kind != "random-search" {
                json["antithetic"] = antithetic.into();
            }
            let config = configured(json);
            let mut strategy = config.build(4, &x0, Seed::new(3)).expect("builds");
            assert_eq!(
                (strategy.name(), strategy.population(), strategy.generation()),
                (kind, 8, 0)
            );
            assert_eq!((strategy.mean(), strategy.sigma()), (x0.as_slice(), 0.5), "{kind}");
            let members: Vec<Vec<f64>> = (0..8).map(|member| strategy.ask(member)).collect();
            let mirrored = members.chunks_exact(2).all(|pair| {
                let centre = pair[0].iter().zip(&pair[1]).map(|(a, b)| (a + b) / 2.0);
                centre.zip(x0).all(|(centre, x)| (centre - x).abs() < 1e-12)
            });
            assert_eq!(mirrored, antithetic && kind != "random-search", "{kind}");

            let step = told(strategy.as_mut(), &[3.0, 1.0, f64::NAN, 7.0, 5.0, 0.0, 2.0, 4.0]);
            let moved: f64 = strategy
                .mean()
                .iter()
                .zip(x0)
                .map(|(new, old)| (new - old).powi(2))
                .sum();
            let length: f64 = strategy.mean().iter().map(|x| x * x).sum();
            // Random search asks the winner again first.
            let is_still = kind == "random-search";
            assert!(
                (step.step_norm - moved.sqrt()).abs() < 1e-12 && (moved == 0.0) == is_still,
                "{kind}"
            );
            assert!((step.mean_norm - length.sqrt()).abs() < 1e-12, "{kind}");
            assert_eq!((step.sigma, strategy.generation()), (strategy.sigma(), 1), "{kind}");
            assert_eq!((step.failed, step.flat, step.stop), (1, false, None), "{kind}");
            // Only LM-MA-ES does not know its axes.
            assert_eq!(step.spread.is_some(), kind != "lm-ma-es", "{kind}");

            let state = strategy.state();
            assert_eq!((&state["config"]["kind"], &state["n"]), (&kind.into(), &4.into()));
            let restored = config.restore(&state).expect("its own state");
            assert_eq!(
                (restored.ask(5), restored.sigma()),
                (strategy.ask(5), strategy.sigma()),
                "{kind}"
            );
            let mut elsewhere = restored;
            elsewhere.set_mean(vec![9.0; 4]);
            assert_eq!(elsewhere.mean(), [9.0; 4], "{kind}");
        }
    }

    /// σ as a checkpoint could hold it after a long way down or up: 1e-12 and 1e4 times σ0 are the tutorial's limits.
    #[test]
    fn a_search_that_has_converged_or_diverged_asks_to_stop() {
        for kind in KINDS
            .into_iter()
            .filter(|kind| !["open-es", "random-search"].contains(kind))
        {
            let mut json = serde_json::json!({ "kind": kind, "population": 4, "sigma": 0.5 });
            if kind == "cem" {
                // Noise that is added each time keeps it from converging.
                json["extra_noise"] = 0.0.into();
            }
            let config = configured(json);
            let at = |sigma: f64| {
                let mut state = config.build(2, &[1.0; 2], Seed::new(3)).expect("builds").state();
                state["state"]["sigma"] = sigma.into();
                if state["state"]["own"]["sigmas"].is_array() {
                    state["state"]["own"]["sigmas"] = vec![sigma; 2].into();
                }
                let mut strategy = config.restore(&state).expect("a state that can be");
                told(strategy.as_mut(), &[1.0, 2.0, 3.0, 4.0]).stop
            };
            assert_eq!((at(0.5), at(0.5e-9), at(0.5e3)), (None, None, None), "{kind}");
            let stopped = |sigma: f64, word: &str| at(sigma).is_some_and(|reason| reason.contains(word));
            assert!(
                stopped(0.5e-14, "converged") && stopped(0.5e6, "diverges"),
                "{kind}: {:?}",
                at(0.5e-14)
            );
        }
        let config = configured(serde_json::json!({ "kind": "open-es", "population": 4 }));
        let mut strategy = config.build(2, &[1e200; 2], Seed::new(3)).expect("builds");
        let reason = told(strategy.as_mut(), &[1.0, 2.0, 3.0, 4.0]).stop.unwrap_or_default();
        assert!(reason.contains("out of control"), "{reason}");
    }

    #[test]
    fn what_a_strategy_cannot_begin_with_is_refused_whatever_its_kind() {
        for kind in KINDS {
            let error = |key: &str, value: Value| {
                let mut json = serde_json::json!({ "kind": kind });
                json[key] = value;
                configured(json).resolve(10).map_err(|error| error.to_string())
            };
            for sigma in [0.0, -1.0] {
                let words = format!("strategy.sigma: is {sigma}, expected a number above 0");
                assert_eq!(error("sigma", sigma.into()), Err(words), "{kind}");
            }
            assert!(
                error("sigma", 1e-9.into()).is_ok() && error("population", 2.into()).is_ok(),
                "{kind}"
            );
            let most = 1 << 20;
            assert!(error("population", most.into()).is_ok(), "{kind}");
            let words = format!("strategy.population: is {}, expected at most {most}", most + 2);
            assert_eq!(error("population", (most + 2).into()), Err(words), "{kind}");
        }
        for (key, value, word) in [
            ("elite", 0.0, "strategy.elite: is 0, expected a number in (0, 1)"),
            (
                "smoothing",
                1.5,
                "strategy.smoothing: is 1.5, expected a number in (0, 1]",
            ),
        ] {
            let mut json = serde_json::json!({ "kind": "cem" });
            json[key] = value.into();
            assert_eq!(configured(json).resolve(10).expect_err(word).to_string(), word);
        }
        let words = "strategy.sigma_decay: is 0, expected a number in (0, 1]";
        let decay = |value: f64| configured(serde_json::json!({ "kind": "open-es", "sigma_decay": value })).resolve(10);
        assert_eq!(decay(0.0).expect_err(words).to_string(), words);
        assert!(decay(1.0).is_ok());
        let xnes = configured(serde_json::json!({ "kind": "xnes" }));
        assert!(xnes.resolve(4096).is_ok() && xnes.resolve(4097).is_err());
    }

    /// 4 · 2¹⁸ is the largest population.
    #[test]
    fn restarts_end_where_the_population_would_be_too_large() {
        let with = |restarts: u32| {
            configured(serde_json::json!({ "kind": "cma-es", "population": 4, "restarts": restarts })).resolve(3)
        };
        assert!(with(18).is_ok());
        let error = with(19).expect_err("2²¹ members").to_string();
        assert!(
            error.contains("restarts: is 19") && error.contains("expected at most 18,"),
            "{error}"
        );
    }

    #[test]
    fn a_config_keeps_what_it_says_and_says_no_more() {
        let json =
            serde_json::json!({ "max_step": 0.25, "restarts": 2, "kind": "snes", "population": 6, "sigma": 0.5 });
        let config = configured(json.clone());
        assert_eq!((config.sigma, StrategyConfig::default().sigma), (Some(0.5), None));
        assert_eq!(serde_json::to_value(&config).expect("serialises"), json);
        // What is left alone is not written.
        let plain = serde_json::to_value(configured(serde_json::json!({ "kind": "snes" }))).expect("serialises");
        assert_eq!(plain, serde_json::json!({ "kind": "snes" }));
    }

    /// By its own definition: the step is another when two of the worse half change places.
    #[test]
    fn who_weighs_the_worse_half_sees_it_change_places() {
        let configs = [
            serde_json::json!({ "kind": "auto", "active": true }),
            serde_json::json!({ "kind": "cma-es", "active": true }),
            serde_json::json!({ "kind": "cma-es", "active": false }),
            serde_json::json!({ "kind": "sep-cma-es", "active": true }),
            serde_json::json!({ "kind": "sep-cma-es", "active": false }),
            serde_json::json!({ "kind": "lm-ma-es" }),
            serde_json::json!({ "kind": "open-es" }),
            serde_json::json!({ "kind": "open-es", "shaping": "z-score" }),
            serde_json::json!({ "kind": "open-es", "shaping": "utilities" }),
            serde_json::json!({ "kind": "xnes" }),
            serde_json::json!({ "kind": "snes" }),
            serde_json::json!({ "kind": "cem", "elite": 0.25 }),
            serde_json::json!({ "kind": "cem", "elite": 0.5 }),
            serde_json::json!({ "kind": "cem", "elite": 0.75 }),
            serde_json::json!({ "kind": "random-search" }),
        ];
        for mut json in configs {
            json["population"] = 8.into();
            let config = configured(json.clone());
            let after = |values: [f64; 8]| {
                let mut strategy = config.build(3, &[1.0, -2.0, 0.5], Seed::new(3)).expect("builds");
                told(strategy.as_mut(), &values);
                strategy.state()
            };
            // The fifth and the last, which sit in different pairs.
            let changes =
                after([8.0, 4.0, 7.0, 1.0, 6.0, 3.0, 5.0, 2.0]) != after([8.0, 1.0, 7.0, 4.0, 6.0, 3.0, 5.0, 2.0]);
            assert_eq!(config.weighs_the_worse_half(), changes, "{json}");
        }
    }
}
