//! Decisions that have to be measured: which slots are searched and in which units ([`Deciding::shape_space`]), and σ0 ([`Deciding::calibrate`]). All ranks
//! evaluate, the root alone writes tables, and what it cost is counted.

use super::decided::Decided;
use super::probing::{Probing, Spent};
use super::units::{Cost, Kept, Measured};
use super::{budget, calibration, units};
use crate::config::RunConfig;
use crate::digest::sha256;
use crate::error::{Error, Result};
use crate::farm::ranks::Ranks;
use crate::objective::{Alignment, Objective};
use crate::record::RunDirectory;
use crate::search::Slot;
use crate::seed::Seed;
use crate::space::config::Units;
use crate::statistics::mean;
use crate::strategy::defaults;
use serde::Serialize;

/// What decisions are made with that have to be measured.
pub struct Deciding<'a> {
    /// Who evaluates.
    pub ranks: &'a Ranks,
    /// What is probed; its space is the one that was decided, afterwards.
    pub objective: &'a mut Alignment,
    /// Where tables go.
    pub directory: &'a RunDirectory,
    /// Hears what was found.
    pub say: &'a (dyn Fn(&str) + Sync),
    /// Whether to go on; asked now and then.
    pub go_on: &'a mut dyn FnMut() -> bool,
    /// What it has cost so far.
    pub spent: Spent,
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
    pub fn shape_space(&mut self, config: &mut RunConfig, decided: &mut Decided) -> Result<bool> {
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
        let those = |is: bool| -> Vec<Cost> {
            let some = costs.iter().zip(&chosen).filter(|(_, chosen)| **chosen == is);
            some.map(|(cost, _)| cost.clone()).collect()
        };
        let own = those(true);
        if budget.is_some() {
            let per_number = |costs: &[Cost]| mean(&costs.iter().map(|cost| cost.kl_per_number).collect::<Vec<_>>());
            let reason = format!(
                "a number of theirs costs {:.2e} nats a response at a step of 1, and one of the others {:.2e} (sensitivity.csv)",
                per_number(&own),
                per_number(&those(false))
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
            let named = |gains: &[f64]| {
                let slots = own.iter().map(|cost| cost.slot.clone());
                Some(slots.zip(gains.iter().copied()).collect())
            };
            config.space.gains = named(&gains);
            self.search(config)?;
            let Some((sigma, _)) = self.calibrate(1.0)? else {
                return Ok(false);
            };
            gains.iter_mut().for_each(|gain| *gain *= sigma);
            config.space.gains = named(&gains);
            let low = gains.iter().copied().fold(f64::INFINITY, f64::min);
            let high = gains.iter().copied().fold(0.0, f64::max);
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
    pub fn calibrate(&mut self, guess: f64) -> Result<Option<(f64, Vec<calibration::Probe>)>> {
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
