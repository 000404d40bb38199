//! A strategy under guard, in what means the same for all of them. A trust region: the mean moves by no more than
//! `max_step` a generation, in the direction in which the strategy would have moved it. Restarts: where the strategy asks
//! to stop, it begins again from the start with twice the population (IPOP: A. Auger, N. Hansen, *A Restart CMA Evolution
//! Strategy With Increasing Population Size*, CEC 2005), and with another σ0, because generations that are all flat have no
//! other cause that a restart could change. The strategies themselves know of neither.

use super::{Step, Strategy, StrategyConfig, damaged};
use crate::error::Result;
use crate::linalg::{all_finite, norm};
use crate::search::Fitness;
use crate::seed::Seed;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// A strategy and its guard.
pub struct Guarded {
    config: StrategyConfig,
    state: State,
    inner: Box<dyn Strategy>,
}

/// What the guard remembers; the strategy's own state stands beside it in a checkpoint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    seed: Seed,
    /// Where every restart begins, `[n]`.
    start: Vec<f64>,
    /// Restarts up to now.
    restarts: u32,
    /// Generations told before the last of them.
    before: u64,
}

/// In a checkpoint.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Saved {
    guard: State,
    inner: Value,
}

impl Guarded {
    /// The start. `config` is resolved.
    pub(super) fn new(config: StrategyConfig, x0: &[f64], seed: Seed) -> Result<Self> {
        let state = State {
            seed,
            start: x0.to_vec(),
            restarts: 0,
            before: 0,
        };
        let inner = inner(&config, &state)?;
        Ok(Self { config, state, inner })
    }

    /// Where a checkpoint left off. `config` is resolved.
    pub(super) fn restore(config: StrategyConfig, n: usize, saved: Saved) -> Result<Self> {
        let Saved { guard: state, inner } = saved;
        if !all_finite(&[&state.start], n) || state.restarts > config.restarts {
            return Err(damaged(n));
        }
        let inner = unguarded(&config, state.restarts).restore(&inner)?;
        Ok(Self { config, state, inner })
    }
}

/// The config of the strategy itself after so many restarts. What its other settings made of σ0 stays as it was.
fn unguarded(config: &StrategyConfig, restarts: u32) -> StrategyConfig {
    StrategyConfig {
        population: config.population.map(|population| population << restarts),
        sigma: config.sigma.map(|sigma| sigma * wider(restarts)),
        max_step: None,
        restarts: 0,
        ..config.clone()
    }
}

/// σ0 of a restart in units of the first: too large and too small look the same from where the strategy stopped, so it is
/// 2, ½, 4, ¼ and so on.
fn wider(restarts: u32) -> f64 {
    let doubled = 2.0_f64.powi(restarts.div_ceil(2) as i32);
    if restarts % 2 == 1 { doubled } else { 1.0 / doubled }
}

/// The strategy at the beginning of a restart. Its noise is the run's until the first.
fn inner(config: &StrategyConfig, state: &State) -> Result<Box<dyn Strategy>> {
    let seed = match state.restarts {
        0 => state.seed,
        k => state.seed.named("restart").fold(k.into()),
    };
    unguarded(config, state.restarts).build(state.start.len(), &state.start, seed)
}

impl Strategy for Guarded {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn population(&self) -> usize {
        self.inner.population()
    }

    fn generation(&self) -> u64 {
        self.state.before + self.inner.generation()
    }

    fn ask(&self, member: usize) -> Vec<f64> {
        self.inner.ask(member)
    }

    fn mean(&self) -> &[f64] {
        self.inner.mean()
    }

    fn set_mean(&mut self, mean: Vec<f64>) {
        self.inner.set_mean(mean);
    }

    fn sigma(&self) -> f64 {
        self.inner.sigma()
    }

    fn state(&self) -> Value {
        json!({
            "config": self.config,
            "n": self.state.start.len(),
            "state": { "guard": self.state, "inner": self.inner.state() },
        })
    }

    fn tell(&mut self, fitness: &[Fitness]) -> Step {
        let before = self.inner.mean().to_vec();
        let mut step = self.inner.tell(fitness);
        if let Some(longest) = self.config.max_step
            && step.step_norm > longest
        {
            let share = longest / step.step_norm;
            let mean: Vec<f64> = before
                .iter()
                .zip(self.inner.mean())
                .map(|(old, new)| old + share * (new - old))
                .collect();
            (step.step_norm, step.mean_norm) = (longest, norm(&mean));
            self.inner.set_mean(mean);
        }
        if step.stop.is_some() && self.state.restarts < self.config.restarts {
            self.state.before += self.inner.generation();
            self.state.restarts += 1;
            let again = inner(&self.config, &self.state);
            self.inner = again.expect("all populations were checked with the config");
            step.stop = None;
        }
        step
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::strategy::KINDS;

    fn build(config: Value, n: usize) -> Box<dyn Strategy> {
        let config: StrategyConfig = serde_json::from_value(config).expect("parses");
        config.build(n, &vec![1.0; n], Seed::new(3)).expect("builds")
    }

    fn judge(strategy: &dyn Strategy) -> Vec<Fitness> {
        let members = (0..strategy.population()).map(|member| strategy.ask(member));
        members.map(|x| Fitness::new(-x.iter().sum::<f64>())).collect()
    }

    #[test]
    fn the_mean_moves_as_it_would_but_no_further() {
        for kind in KINDS {
            let mut free = build(json!({ "kind": kind, "population": 12 }), 4);
            let mut bound = build(json!({ "kind": kind, "population": 12, "max_step": 1e-3 }), 4);
            let mut wide = build(json!({ "kind": kind, "population": 12, "max_step": 100.0 }), 4);
            if kind == "random-search" {
                // It moves to who wins twice.
                for strategy in [&mut free, &mut bound, &mut wide] {
                    strategy.tell(&judge(strategy.as_ref()));
                }
            }
            let (far, near) = (free.tell(&judge(free.as_ref())), bound.tell(&judge(bound.as_ref())));
            assert!(far.step_norm > 1e-3, "{kind}");
            assert_eq!((near.step_norm, near.sigma), (1e-3, far.sigma), "{kind}");
            let moved: Vec<f64> = bound.mean().iter().map(|x| x - 1.0).collect();
            assert!((norm(&moved) - 1e-3).abs() < 1e-15, "{kind}");
            for (moved, far_mean) in moved.iter().zip(free.mean()) {
                assert!(
                    (moved * far.step_norm - (far_mean - 1.0) * 1e-3).abs() < 1e-15,
                    "{kind}"
                );
            }
            // A region as wide as the step is none.
            assert_eq!(wide.tell(&judge(wide.as_ref())), far, "{kind}");
            assert_eq!(wide.mean(), free.mean(), "{kind}");
        }
    }

    #[test]
    fn a_strategy_that_stops_begins_again_with_twice_the_population() {
        let mut strategy = build(json!({ "kind": "cma-es", "population": 4, "restarts": 2 }), 3);
        let first = strategy.ask(0);
        let (mut populations, mut sigmas) = (vec![], vec![]);
        let reason = loop {
            let flat = vec![Fitness::new(1.0); strategy.population()];
            sigmas.push(strategy.sigma());
            let step = strategy.tell(&flat);
            populations.push(flat.len());
            if let Some(reason) = step.stop {
                break reason;
            }
        };
        assert!(reason.contains("same fitness"), "{reason}");
        assert_eq!(populations, [[4; 20], [8; 20], [16; 20]].concat());
        // Too small, then too large: what failed is not tried again.
        assert_eq!(sigmas, [[0.1; 20], [0.2; 20], [0.05; 20]].concat());
        assert_eq!([0, 1, 2, 3, 4, 5].map(wider), [1.0, 2.0, 0.5, 4.0, 0.25, 8.0]);
        assert_eq!(strategy.generation(), 60);
        assert_ne!(strategy.ask(0), first, "a restart has noise of its own");
    }

    #[test]
    fn what_cannot_be_is_refused_with_the_config() {
        for (config, word) in [
            (json!({ "kind": "cma-es", "max_step": 0.0 }), "strategy.max_step: is 0"),
            (
                json!({ "kind": "cma-es", "max_step": -1.0 }),
                "strategy.max_step: is -1",
            ),
            (
                json!({ "kind": "cma-es", "population": 4, "restarts": 40 }),
                "strategy.restarts: is 40",
            ),
        ] {
            let config: StrategyConfig = serde_json::from_value(config).expect("parses");
            let error = config.resolve(3).expect_err("cannot be").to_string();
            assert!(error.contains(word), "{error}");
        }
    }

    #[test]
    fn a_guarded_strategy_is_restored_with_its_guard() {
        let json = json!({ "kind": "cma-es", "population": 4, "restarts": 2, "sigma": 0.5, "max_step": 0.75 });
        let config: StrategyConfig = serde_json::from_value(json).expect("parses");
        let mut strategy = config.build(3, &[1.0; 3], Seed::new(3)).expect("builds");
        assert_eq!((strategy.name(), strategy.sigma()), ("cma-es", 0.5));
        // Two restarts, and on the way.
        for _ in 0..45 {
            strategy.tell(&vec![Fitness::new(1.0); strategy.population()]);
        }
        strategy.tell(&judge(strategy.as_ref()));
        assert_eq!((strategy.population(), strategy.generation()), (16, 46));
        let state = strategy.state();
        let mut again = config.restore(&state).expect("its own state");
        assert_eq!(
            (again.population(), again.generation(), again.sigma()),
            (16, 46, strategy.sigma())
        );
        assert_ne!(again.sigma(), 0.5);
        let judged = judge(strategy.as_ref());
        assert_eq!(again.tell(&judged), strategy.tell(&judged));
        assert_eq!((again.mean(), again.ask(7)), (strategy.mean(), strategy.ask(7)));
        again.set_mean(vec![2.0; 3]);
        assert_eq!(again.mean(), [2.0; 3]);

        for (key, damage) in [
            ("start", json!([1.0, 1.0])),
            ("start", json!([1.0, 1.0, null])),
            // More than the config allows; the population follows from it.
            ("restarts", json!(3)),
            ("seed", json!(null)),
        ] {
            let mut damaged = state.clone();
            damaged["state"]["guard"][key] = damage;
            assert!(config.restore(&damaged).is_err(), "{key}");
        }
    }
}
