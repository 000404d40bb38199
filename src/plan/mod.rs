//! What is decided before the first generation, as a value: [`Plan`]. Each decision has its reason, and what was measured for it is
//! counted. In this order: which slots of the space a budget goes to ([`budget`]), which strategy and with how many candidates (by the
//! dimension that this leaves), σ0 ([`calibration`]), and where the search begins. A run that goes on decides nothing again.

pub mod budget;
pub mod calibration;
pub mod forecast;
pub mod probing;
mod range;
pub mod sweep;

use crate::adapter::Learned;
use crate::config::RunConfig;
use crate::digest::sha256;
use crate::error::{Error, Result};
use crate::farm::ranks::Ranks;
use crate::judge::reward_model;
use crate::objective::{Alignment, Objective};
use crate::record::RunDirectory;
use crate::search::{Slot, start};
use crate::seed::Seed;
use crate::statistics::mean;
use crate::strategy::{Kind, learnt_of_a_full_matrix};
use budget::Sensitivity;
use probing::{Probing, Spent};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// All that a run needs to know before its first generation.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The config with everything decided and every default written out: what `config.toml` holds.
    pub config: RunConfig,
    /// θ of the start, `[n]`: where the search begins, and what the result is held against.
    pub start: Vec<f64>,
    /// How it was decided: what `plan.json` holds.
    pub decided: Decided,
}

/// Decisions and their cost.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Decided {
    /// In the order in which they were made.
    pub decisions: Vec<Decision>,
    /// What measuring for them cost.
    pub spent: Spent,
    /// The files that the run reads, as they were when it began.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inputs: Vec<Input>,
}

/// A file that a run reads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// Where it was.
    pub path: String,
    /// SHA-256 of its bytes, in hexadecimal; of a model in several files, of these together.
    pub sha256: String,
}

/// The model, the adapters, the data and the reward models of a config, with their sums.
fn inputs(config: &RunConfig, model_sha256: &str) -> Result<Vec<Input>> {
    let input = |path: &Path, sha256: String| Input {
        path: path.display().to_string(),
        sha256,
    };
    let mut inputs = vec![input(&config.model.path, model_sha256.into())];
    let adapters = config.adapters().map(|folder| folder.join("adapter_model.safetensors"));
    for path in adapters.chain(config.task.files()) {
        let bytes = std::fs::read(&path).map_err(Error::io(&path))?;
        inputs.push(input(&path, sha256(bytes)));
    }
    for path in config.reward_models() {
        inputs.push(input(&path, reward_model::digest(&path)?));
    }
    Ok(inputs)
}

/// One key that the config had left open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Decision {
    /// Of the config.
    pub key: String,
    /// What it is now.
    pub value: String,
    /// Why.
    pub reason: String,
}

impl Plan {
    /// What a config comes to on `n` numbers where nothing has to be measured.
    pub fn of(mut config: RunConfig, n: usize) -> Result<Self> {
        let mut decided = Decided::default();
        resolve_strategy(&mut config, n, &mut decided)?;
        Ok(Self {
            config,
            start: start(n),
            decided,
        })
    }

    /// Decides, by measuring where the config asks for it; tables of that go into `directory`. `from` is where the run is that goes on, or is
    /// forked: the config has its decisions, and nothing is measured again. None when the run was asked to end.
    pub fn decide(
        ranks: &Ranks,
        mut config: RunConfig,
        from: Option<&RunDirectory>,
        objective: &mut Alignment,
        directory: &RunDirectory,
        say: &(dyn Fn(&str) + Sync),
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<Option<Self>> {
        let earlier: Option<Decided> = ranks.root_says(|| match from {
            Some(from) => from.plan(),
            None => Ok(None),
        })?;
        let mut decided = Decided::default();
        if let Some(budget) = config.space.budget.filter(|_| config.space.only.is_none()) {
            let slots: Vec<Slot> = objective.space().adapter_slots().cloned().collect();
            let mut probing = Probing {
                ranks,
                objective,
                go_on,
                spent: decided.spent,
            };
            let Some(found) = choose_slots(&config, budget, &slots, &mut probing)? else {
                return Ok(None);
            };
            decided.spent = probing.spent;
            let chosen: Vec<&Sensitivity> = found.iter().filter(|slot| slot.chosen).collect();
            let reason = shares_of_texts(&found);
            say(&format!(
                "sensitivity: {} of {} slots chosen, {} numbers; {reason}",
                chosen.len(),
                found.len(),
                chosen.iter().map(|slot| slot.numbers).sum::<usize>(),
            ));
            decided.note(
                "space.only",
                format!("{} of {} slots", chosen.len(), found.len()),
                reason,
            );
            config.space.only = Some(chosen.into_iter().map(|slot| slot.slot.clone()).collect());
            ranks.root_says(|| directory.write_table("sensitivity", &found))?;
            let space = ranks.agree(config.open_space(&objective.opened().weights, say))?;
            objective.search(space)?;
        }
        let n = objective.layout().dim();
        let kind = ranks.agree(resolve_strategy(&mut config, n, &mut decided))?;
        kind.iter().for_each(|reason| say(reason));
        if config.run.calibrate_sigma && from.is_none() {
            let guess = config.strategy.sigma.expect("a resolved strategy has a sigma");
            let seed = Seed::new(config.seed).named("calibration");
            let mut probing = Probing {
                ranks,
                objective,
                go_on,
                spent: decided.spent,
            };
            let questions = probing.questions(seed, config.run.prompts);
            let found = calibration::calibrate(&mut probing, &start(n), &questions, guess, seed.named("noise"))?;
            let Some((sigma, probes)) = found else { return Ok(None) };
            decided.spent = probing.spent;
            for probe in &probes {
                say(&format!(
                    "calibration: σ {:<9.4} {:>3.0} % of texts changed, reward {:.3}",
                    probe.sigma,
                    100.0 * probe.changed,
                    probe.reward
                ));
            }
            say(&format!("calibration: σ0 = {sigma:.4}"));
            decided.note("strategy.sigma", format!("{sigma:.4}"), calibration::REASON);
            ranks.root_says(|| directory.write_table("calibration", &probes))?;
            config.strategy.sigma = Some(sigma);
            config.strategy = ranks.agree(config.strategy.resolve(n))?;
        }
        if let Some(adapter) = config.model.adapter_path()
            && let Some(learned) = ranks.agree(Learned::read(adapter))?
        {
            let reason = format!(
                "supervised learning of {} steps brought its held-out loss from {:.4} to {:.4} nats a token",
                learned.steps, learned.validation_loss_before, learned.validation_loss
            );
            decided.note("model.adapter", adapter.display(), reason);
        }
        if earlier.is_none() {
            let model = ranks.agree(objective.labels())?.model_sha256;
            decided.inputs = ranks.root_says(|| inputs(&config, &model))?;
        }
        Ok(Some(Self {
            config,
            start: start(n),
            decided: earlier.unwrap_or(decided),
        }))
    }
}

impl Decided {
    fn note(&mut self, key: &str, value: impl ToString, reason: impl Into<String>) {
        self.decisions.push(Decision {
            key: key.into(),
            value: value.to_string(),
            reason: reason.into(),
        });
    }
}

/// Fills in what the strategy leaves to n and to the length of the run, and notes it. Returns what to say of a strategy that was
/// chosen by them.
fn resolve_strategy(config: &mut RunConfig, n: usize, decided: &mut Decided) -> Result<Option<String>> {
    let asked = config.strategy.clone();
    let generations = config.run.generations;
    config.strategy = asked.chosen(n, generations).resolve(n)?;
    let mut said = None;
    if let (Kind::Auto(settings), Some(population)) = (&asked.kind, config.strategy.population) {
        let chosen = config.strategy.kind.name();
        let learnt = learnt_of_a_full_matrix(n, population, settings.active, generations);
        let reason = format!(
            "with n = {n} and {population} candidates {generations} generations would learn {learnt:.2} of a full covariance \
             matrix (generations · (c_1 + c_μ), enough is 1)"
        );
        said = Some(format!("strategy: {chosen}, because {reason}"));
        decided.note("strategy.kind", chosen, reason);
    }
    if let (None, Some(population)) = (asked.population, config.strategy.population) {
        let reason = format!("4 + ⌊3 ln n⌋ with n = {n}, rounded up where candidates come in pairs");
        decided.note("strategy.population", population, reason);
    }
    if let (None, Some(sigma), false) = (asked.sigma, config.strategy.sigma, config.run.calibrate_sigma) {
        decided.note("strategy.sigma", sigma, "the default");
    }
    Ok(said)
}

/// Spends `space.budget`. None when the run was asked to end.
fn choose_slots(
    config: &RunConfig,
    budget: usize,
    slots: &[Slot],
    probing: &mut Probing,
) -> Result<Option<Vec<Sensitivity>>> {
    let n = probing.objective.layout().dim();
    let least = slots.iter().map(|slot| slot.len).min().unwrap_or(0);
    let strategy = probing.ranks.agree(if budget < least {
        Err(Error::config(format!(
            "space.budget is {budget}, and the smallest slot has {least} numbers; raise it to at least that"
        )))
    } else {
        config.strategy.resolve(n)
    })?;
    let sigma = strategy.sigma.expect("a resolved strategy has a sigma");
    let seed = Seed::new(config.seed).named("sensitivity");
    let questions = probing.questions(seed, budget::QUESTIONS);
    budget::probe(
        probing,
        &start(n),
        slots,
        &questions,
        (sigma, budget),
        seed.named("noise"),
    )
}

fn shares_of_texts(found: &[Sensitivity]) -> String {
    let share = |chosen: bool| {
        let changed = found
            .iter()
            .filter(|slot| slot.chosen == chosen)
            .map(|slot| slot.changed);
        100.0 * mean(&changed.collect::<Vec<_>>())
    };
    format!(
        "moved alone, they change {:.0} % of the texts and the others {:.0} %",
        share(true),
        share(false)
    )
}
