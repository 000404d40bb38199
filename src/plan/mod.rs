//! What is decided before the first generation, as a value: [`Plan`]. Each decision has its reason, and what was measured for it is
//! counted. In this order: which slots of the space a budget goes to ([`budget`]) and what a step of each is ([`units`]), which strategy and with how
//! many candidates (by the dimension that this leaves), σ0 ([`calibration`]), and where the search begins. A run that goes on decides nothing again.

pub mod budget;
pub mod calibration;
pub mod forecast;
pub mod probing;
mod range;
pub mod sweep;
pub mod units;

use crate::adapter::Learned;
use crate::config::{RunConfig, shape};
use crate::digest::sha256;
use crate::error::{Error, Result};
use crate::farm::ranks::Ranks;
use crate::judge::reward_model;
use crate::objective::{Alignment, Objective};
use crate::record::RunDirectory;
use crate::search::{Slot, start};
use crate::seed::Seed;
use crate::space::config::Units;
use crate::statistics::mean;
use crate::strategy::{Kind, defaults, learnt_of_a_full_matrix};
use probing::{Probing, Spent};
use serde::{Deserialize, Serialize};
use std::path::Path;
use units::{Cost, Kept, Measured};

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
        let mut deciding = Deciding {
            ranks,
            objective: &mut *objective,
            directory,
            say,
            go_on,
            spent: Spent::default(),
        };
        let chooses = config.space.budget.is_some() && config.space.only.is_none();
        let finds_units = config.space.units == Units::Kl && config.space.gains.is_none();
        if (chooses || finds_units) && !deciding.shape_space(&mut config, &mut decided)? {
            return Ok(None);
        }
        if config.space.units == Units::Kl && config.strategy.sigma.is_none() {
            config.strategy.sigma = Some(1.0);
            decided.note("strategy.sigma", 1.0, "a step of one nat a response, in these units");
        }
        let n = deciding.objective.layout().dim();
        let kind = ranks.agree(resolve_strategy(&mut config, n, &mut decided))?;
        kind.iter().for_each(|reason| say(reason));
        if config.run.calibrate_sigma && from.is_none() {
            let guess = config.strategy.sigma.expect("a resolved strategy has a sigma");
            let Some((sigma, probes)) = deciding.calibrate(guess)? else {
                return Ok(None);
            };
            decided.note("strategy.sigma", format!("{sigma:.4}"), calibration::REASON);
            ranks.root_says(|| directory.write_table("calibration", &probes))?;
            config.strategy.sigma = Some(sigma);
            config.strategy = ranks.agree(config.strategy.resolve(n))?;
        }
        decided.spent = deciding.spent;
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
    if config.run.rollouts_total.is_some() {
        let shape = format!(
            "{} × {} × {}",
            config.strategy.population.unwrap_or(0),
            config.run.prompts,
            config.run.generations
        );
        decided.note(
            "strategy.population, run.prompts, run.generations",
            shape,
            shape::REASON,
        );
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

/// What decisions are made with that have to be measured.
struct Deciding<'a> {
    ranks: &'a Ranks,
    objective: &'a mut Alignment,
    directory: &'a RunDirectory,
    say: &'a (dyn Fn(&str) + Sync),
    go_on: &'a mut dyn FnMut() -> bool,
    spent: Spent,
}

/// A row of sensitivity.csv.
#[derive(Serialize)]
struct Sensitivity<'a> {
    slot: &'a str,
    numbers: usize,
    step: f64,
    kl: f64,
    kl_per_number: f64,
    /// Whether it is searched.
    chosen: bool,
    /// By what its own gain is multiplied; 1 in raw units.
    gain: f64,
}

impl Deciding<'_> {
    fn probing(&mut self) -> Probing<'_> {
        Probing {
            ranks: self.ranks,
            objective: &mut *self.objective,
            go_on: &mut *self.go_on,
            spent: self.spent,
        }
    }

    /// Searches the space of `config` from here on.
    fn search(&mut self, config: &RunConfig) -> Result<()> {
        let space = self
            .ranks
            .agree(config.open_space(&self.objective.opened().weights, self.say))?;
        self.objective.search(space)
    }

    /// Spends `space.budget` and finds the gains of `space.units`, by what moving each slot costs. Returns whether it was done, which it is not when
    /// the run was asked to end.
    fn shape_space(&mut self, config: &mut RunConfig, decided: &mut Decided) -> Result<bool> {
        if config.space.subspace.is_some() {
            // A subspace has no slots of its own.
            let mut whole = config.clone();
            whole.space.subspace = None;
            self.search(&whole)?;
        }
        let slots: Vec<Slot> = self.objective.space().adapter_slots().cloned().collect();
        let budget = config.space.budget.filter(|_| config.space.only.is_none());
        let least = slots.iter().map(|slot| slot.len).min().unwrap_or(0);
        if let Some(budget) = budget.filter(|budget| *budget < least) {
            return Err(Error::config(format!(
                "space.budget is {budget}, and the smallest slot has {least} numbers; raise it to at least that"
            )));
        }
        let Some(costs) = self.costs(config, &slots)? else {
            return Ok(false);
        };
        let chosen = budget.map_or(vec![true; slots.len()], |budget| budget::choose(&costs, budget));
        let (own, others): (Vec<_>, Vec<_>) = costs.iter().cloned().zip(&chosen).partition(|(_, chosen)| **chosen);
        let own: Vec<Cost> = own.into_iter().map(|(cost, _)| cost).collect();
        if budget.is_some() {
            let per_number = |costs: &mut dyn Iterator<Item = &Cost>| {
                mean(&costs.map(|cost| cost.kl_per_number).collect::<Vec<_>>())
            };
            let reason = format!(
                "a number of theirs costs {:.2e} nats a response at a step of 1, and one of the others {:.2e} (sensitivity.csv)",
                per_number(&mut own.iter()),
                per_number(&mut others.iter().map(|(cost, _)| cost))
            );
            let numbers: usize = own.iter().map(|cost| cost.numbers).sum();
            (self.say)(&format!(
                "budget: {} of {} slots chosen, {numbers} numbers; {reason}",
                own.len(),
                costs.len()
            ));
            decided.note("space.only", format!("{} of {} slots", own.len(), costs.len()), reason);
            config.space.only = Some(own.iter().map(|cost| cost.slot.clone()).collect());
        }
        let mut gains = vec![1.0; own.len()];
        if config.space.units == Units::Kl {
            gains = units::gains(&own);
            let mut set = |gains: &[f64]| {
                let named = own.iter().zip(gains).map(|(cost, gain)| (cost.slot.clone(), *gain));
                config.space.gains = Some(named.collect());
                config.clone()
            };
            self.search(&set(&gains))?;
            let Some((sigma, _)) = self.calibrate(1.0)? else {
                return Ok(false);
            };
            gains.iter_mut().for_each(|gain| *gain *= sigma);
            set(&gains);
            let (low, high) = (
                gains.iter().copied().fold(f64::INFINITY, f64::min),
                gains.iter().copied().fold(0.0, f64::max),
            );
            let value = format!("{low:.4} to {high:.4}");
            (self.say)(&format!(
                "units: {value} of each slot's own, so that candidates at σ = 1 are a nat a response away from the start"
            ));
            decided.note("space.gains", value, "candidates at σ = 1 are one nat a response away from the start, and each number has about the same part in it (sensitivity.csv)");
        }
        let mut of_chosen = gains.iter();
        let rows: Vec<Sensitivity> = costs
            .iter()
            .zip(&chosen)
            .map(|(cost, &chosen)| Sensitivity {
                slot: &cost.slot,
                numbers: cost.numbers,
                step: cost.step,
                kl: cost.kl,
                kl_per_number: cost.kl_per_number,
                chosen,
                gain: if chosen {
                    *of_chosen.next().expect("one each")
                } else {
                    1.0
                },
            })
            .collect();
        self.ranks
            .root_says(|| self.directory.write_table("sensitivity", &rows))?;
        self.search(config)?;
        Ok(true)
    }

    /// What moving each slot of the space costs, measured, or as an earlier run measured it.
    fn costs(&mut self, config: &RunConfig, slots: &[Slot]) -> Result<Option<Vec<Cost>>> {
        let mut hash = self.objective.start_digest()?.to_vec();
        hash.extend(self.objective.digest()?.bytes());
        let (options, space) = (config.model.options(), &config.space);
        let said = format!(
            "{} {options:?} {:?} {:?} {:?} {:?} {}",
            units::METHOD,
            space.kind,
            space.also,
            space.layers,
            space.only,
            config.generation.max_new_tokens
        );
        hash.extend(said.bytes());
        let kept = Kept::of(&sha256(hash));
        let known = self.ranks.root_says(|| Ok(kept.read(slots)))?;
        let measured = match known {
            Some(measured) => measured,
            None => {
                (self.say)(&format!("measuring what each of {} slots costs", slots.len()));
                let before = self.spent;
                let guess = defaults(1).sigma;
                let Some((sigma, _)) = self.calibrate(guess)? else {
                    return Ok(None);
                };
                let mut probing = self.probing();
                let mut questions = probing.questions(calibration::TEXTS);
                let read = (probing.spent.num_tokens - before.num_tokens) as f64;
                let texts = read / (probing.spent.rollouts - before.rollouts).max(1) as f64;
                questions.indices.truncate(units::texts(texts, questions.indices.len()));
                let seed = Seed::new(0).named("units");
                let costs = units::measure(&mut probing, slots, sigma, &questions, seed)?;
                let Spent { rollouts, num_tokens } = probing.spent;
                let Some(costs) = costs else { return Ok(None) };
                let spent = Spent {
                    rollouts: rollouts - before.rollouts,
                    num_tokens: num_tokens - before.num_tokens,
                };
                self.spent = before;
                let measured = Measured { costs, spent };
                self.ranks.root_says(|| {
                    kept.write(&measured);
                    Ok(())
                })?;
                measured
            }
        };
        self.spent.rollouts += measured.spent.rollouts;
        self.spent.num_tokens += measured.spent.num_tokens;
        Ok(Some(measured.costs))
    }

    /// σ at which candidates are a nat away from the start, with what was tried: of the model, the space and the prompts, and of no run's seed.
    fn calibrate(&mut self, guess: f64) -> Result<Option<(f64, Vec<calibration::Probe>)>> {
        let say = self.say;
        let seed = Seed::new(0).named("calibration");
        let mut probing = self.probing();
        let questions = probing.questions(calibration::TEXTS);
        let found = calibration::calibrate(&mut probing, &questions, guess, seed);
        self.spent = probing.spent;
        let found = self.ranks.agree(found)?;
        if let Some((sigma, probes)) = &found {
            for probe in probes {
                say(&format!(
                    "calibration: σ {:<10.6} {:.3} nats a response",
                    probe.sigma, probe.kl
                ));
            }
            say(&format!("calibration: 1 nat at σ = {sigma:.4}"));
        }
        Ok(found)
    }
}
