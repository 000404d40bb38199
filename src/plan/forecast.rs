//! What a run will take, before anything of it is done: `essa align --dry-run`. Nothing is loaded but the model's header, its tokenizer
//! and the task, nothing is computed, and nothing is written.

use super::{Plan, calibration};
use crate::config::RunConfig;
use crate::engine::Finish;
use crate::error::Result;
use crate::model::{Weights, weight_bytes};
use crate::objective::alignment::open_task;
use crate::objective::exam::tokenize;
use crate::objective::{Item, Rollout};
use crate::space::config::Units;
use crate::strategy::Kind;
use crate::task::{Split, Verdict};
use crate::text::Text;
use std::fmt;

/// What a run will take.
#[derive(Clone, Debug, PartialEq)]
pub struct Forecast {
    plan: Plan,
    weights_bytes: usize,
    bytes_a_generation: usize,
    rollouts: Rollouts,
    /// Tokens of all prompts that will be read, and the most that may be written.
    prompt_tokens: usize,
    written_tokens: usize,
    /// What is still to be measured before the first generation: the key, and at most how many texts.
    probes: Vec<(&'static str, usize)>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Rollouts {
    candidates: usize,
    validation: usize,
    test: usize,
}

impl Forecast {
    /// Of a config; `is_begun` where it has the decisions of a run that goes on.
    pub fn of(config: RunConfig, is_begun: bool) -> Result<Self> {
        let task = open_task(&config)?;
        let weights = Weights::open(&config.model.path)?;
        weights.expect_language_head()?;
        let text = Text::of(&weights)?;
        let lengths = |split: Split| -> Result<Vec<usize>> {
            let ids = tokenize(
                &text,
                task.examples(split),
                config.generation.max_new_tokens,
                weights.config(),
            )?;
            Ok(ids.iter().map(Vec::len).collect())
        };
        let [train, validation, test] = [
            lengths(Split::Train)?,
            lengths(Split::Validation)?,
            lengths(Split::Test)?,
        ];
        let space = config.shape_space(&weights)?;
        let slots = space.adapter_slots().count();
        let n = space.layout().dim();
        let chooses = config.space.budget.filter(|_| config.space.only.is_none());
        let finds_units = config.space.units == Units::Kl && config.space.gains.is_none();
        let plan = Plan::of(config, chooses.map_or(n, |budget| budget.min(n)))?;

        let run = &plan.config.run;
        let population = plan.config.strategy.population.expect("a resolved strategy has one");
        let mut probes = Vec::new();
        let of_sigma = calibration::MOST_CANDIDATES * calibration::TEXTS.min(train.len());
        let of_slots = of_sigma + 2 * slots * calibration::TEXTS.min(train.len());
        if chooses.is_some() {
            probes.push(("space.only", of_slots));
        }
        if finds_units {
            probes.push(("space.gains", of_sigma + if chooses.is_some() { 0 } else { of_slots }));
        }
        if run.calibrate_sigma && !is_begun {
            probes.push(("strategy.sigma", of_sigma));
        }
        let looks = 1 + if run.validate_every == 0 {
            1
        } else {
            run.generations.div_ceil(run.validate_every) as usize
        };
        let rollouts = Rollouts {
            candidates: run.generations as usize * population * run.prompts * plan.config.samples_of_candidates(),
            validation: looks * validation.len() * plan.config.samples_of_mean(),
            test: 2 * test.len() * plan.config.samples_of_mean(),
        };
        let probed: usize = probes.iter().map(|(_, texts)| texts).sum();
        let mean_length = train.iter().sum::<usize>() as f64 / train.len() as f64;
        // A probe writes nothing: it reads what the start wrote.
        let of_probe = mean_length + plan.config.generation.max_new_tokens as f64;
        let of_train = (mean_length * rollouts.candidates as f64 + of_probe * probed as f64).round() as usize;
        let of_mean =
            plan.config.samples_of_mean() * (looks * validation.iter().sum::<usize>() + 2 * test.iter().sum::<usize>());
        // Whoever is judged by probabilities writes nothing.
        let of_candidates = if plan.config.task.asks_likelihood() {
            0
        } else {
            rollouts.candidates
        };
        let texts = of_candidates + rollouts.validation + rollouts.test;
        Ok(Self {
            weights_bytes: weight_bytes(&weights, plan.config.model.options()),
            bytes_a_generation: population * run.prompts * plan.config.samples_of_candidates() * rollout_bytes(),
            rollouts,
            prompt_tokens: of_train + of_mean,
            written_tokens: texts * plan.config.generation.max_new_tokens,
            probes,
            plan,
        })
    }
}

impl fmt::Display for Forecast {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Plan { config, start, decided } = &self.plan;
        let mut line = |name: &str, value: String| writeln!(f, "{name:<18}{value}");
        let mib = |bytes: usize| format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20));
        line("space", format!("{}, n = {}", config.space.label(), start.len()))?;
        let strategy = &config.strategy;
        line(
            "strategy",
            format!(
                "{}, {} candidates, sigma {}",
                strategy.kind.name(),
                strategy.population.unwrap_or(0),
                strategy.sigma.unwrap_or(0.0)
            ),
        )?;
        for decision in &decided.decisions {
            line(
                "",
                format!("{} = {}: {}", decision.key, decision.value, decision.reason),
            )?;
        }
        let run = &config.run;
        let most = run.prompts_max.filter(|most| *most > run.prompts);
        line(
            "generations",
            format!(
                "{} of {} prompts{}",
                run.generations,
                run.prompts,
                most.map_or(String::new(), |most| format!(
                    ", up to {most} while noise is most of the signal"
                ))
            ),
        )?;
        line(
            "weights",
            format!(
                "{} in {}, in each process",
                mib(self.weights_bytes),
                format!("{:?}", config.model.precision).to_lowercase()
            ),
        )?;
        line(
            "key-value cache",
            format!("up to {} GiB, in each process", config.model.cache_gib),
        )?;
        line(
            "strategy's state",
            format!("{}, in each process", mib(state_bytes(&strategy.kind, start.len()))),
        )?;
        line(
            "between ranks",
            format!("about {} a generation", mib(self.bytes_a_generation)),
        )?;
        let Rollouts {
            candidates,
            validation,
            test,
        } = self.rollouts;
        line(
            "rollouts",
            format!(
                "{}{candidates} of candidates, {validation} of the mean on validation, {test} at the end",
                if run.racing { "at most " } else { "" }
            ),
        )?;
        line(
            "tokens",
            format!(
                "about {} of prompts, at most {} written",
                self.prompt_tokens, self.written_tokens
            ),
        )?;
        let drift = &config.drift;
        if drift.watches() {
            let mut watched = Vec::new();
            if drift.texts > 0 {
                watched.push(format!("KL on {} texts of the reference", drift.texts));
            }
            watched.extend(drift.tasks.keys().map(|name| format!("the task {name}")));
            watched.push("length".into());
            line(
                "beside the task",
                format!(
                    "{}, at each look and at the end (not counted above)",
                    watched.join(", ")
                ),
            )?;
        }
        for (key, texts) in &self.probes {
            line(
                "to be measured",
                format!("{key}: at most {texts} texts before the first generation"),
            )?;
        }
        Ok(())
    }
}

/// What one rollout's numbers take on their way between ranks.
fn rollout_bytes() -> usize {
    let sample = Rollout {
        item: Item {
            candidate: 10,
            question: 10,
            sample: 0,
        },
        prompt_id: String::new(),
        prompt: String::new(),
        completion: String::new(),
        verdict: Verdict::new(0.123_456_789, [("probability", 0.123_456_789)]),
        prompt_tokens: 100,
        tokens: 10,
        finish_reason: Finish::Stop,
    };
    serde_json::to_vec(&sample).expect("JSON of numbers").len()
}

/// What a strategy keeps, mostly: three matrices where it learns a whole covariance, and a few vectors otherwise.
fn state_bytes(kind: &Kind, n: usize) -> usize {
    let numbers = match kind {
        Kind::CmaEs(_) | Kind::Xnes(_) => 3 * n * n,
        _ => 8 * n,
    };
    8 * numbers
}
