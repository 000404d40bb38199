//! What is decided before the first generation, as a value: [`Plan`]. Each decision has its reason, and what was measured for it is
//! counted. In this order: which slots of the space a budget goes to ([`budget`]) and what a step of each is ([`units`]), which strategy and with how
//! many candidates (by the dimension that this leaves), σ0 ([`calibration`]), and where the search begins. A run that goes on decides nothing again.

pub mod budget;
pub mod calibration;
mod decided;
mod deciding;
pub mod forecast;
pub mod probing;
mod range;
pub mod sweep;
pub mod units;

use crate::adapter::Learned;
use crate::config::{RunConfig, shape};
use crate::error::Result;
use crate::farm::ranks::Ranks;
use crate::objective::{Alignment, Objective};
use crate::record::RunDirectory;
use crate::search::start;
use crate::space::config::Units;
use crate::strategy::{Kind, learnt_of_a_full_matrix};
use decided::inputs;
pub use decided::{Decided, Decision, Input};
use deciding::Deciding;
use probing::Spent;

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
