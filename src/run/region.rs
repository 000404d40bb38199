//! A trust region in nats ([`crate::strategy::StrategyConfig::max_kl`]): after each generation the mean's divergence from the start is measured, and a
//! mean beyond the bound goes back towards where it came from, to the furthest of seven points on the way that is within. What a length in θ means
//! differs from space to space and from slot to slot; a nat is the same everywhere, and a strategy knows of neither.

use super::Run;
use super::watch::nats;
use crate::error::Result;
use crate::linalg::norm;
use crate::objective::{Asks, Questions};
use crate::seed::Seed;
use crate::strategy::Step;
use crate::task::Split;

/// Texts of the start that the mean is scored on, always the same, so that what they say of two means can be compared.
const TEXTS: usize = 32;

/// Parts of the move that are tried where all of it is too much: eighths.
const PARTS: usize = 8;

impl Run<'_> {
    /// Holds the mean within `strategy.max_kl`. `before` is where it was before this `step`. Returns its divergence in nats a response, none where no
    /// bound is set; nothing at all where the run was asked to end.
    pub(super) fn hold_mean(&mut self, before: &[f64], step: &mut Step) -> Result<Option<Option<f64>>> {
        let Some(most) = self.plan.config.strategy.max_kl else {
            return Ok(Some(None));
        };
        let mut indices: Vec<usize> = (0..self.objective.examples(Split::Train)).collect();
        Seed::new(0).named("trust region").shuffle(&mut indices);
        indices.truncate(TEXTS);
        let questions = Questions {
            asks: Asks::DriftFromStart,
            ..Questions::new(Split::Train, indices, Seed::new(0))
        };
        let moved = self.strategy.mean().to_vec();
        let on_the_way = |part: usize| -> Vec<f64> {
            let share = part as f64 / PARTS as f64;
            before
                .iter()
                .zip(&moved)
                .map(|(old, new)| old + share * (new - old))
                .collect()
        };
        let Some(whole) = self.evaluate(Some(vec![moved.clone()]), &questions)? else {
            return Ok(None);
        };
        if self.strategy.generation() == 1 {
            self.count_reference(&whole.evaluations[0]);
        }
        let kl = nats(&whole.evaluations[0]);
        if let Some(kl) = kl.filter(|kl| *kl <= most) {
            return Ok(Some(Some(kl)));
        }
        let ways = (0..PARTS).map(on_the_way).collect();
        let Some(parts) = self.evaluate(Some(ways), &questions)? else {
            return Ok(None);
        };
        let found: Vec<Option<f64>> = parts.evaluations.iter().map(nats).collect();
        let within = |part: &usize| found[*part].is_some_and(|kl| kl <= most);
        // None may be: the mean before was held by other last bits, or a restart began elsewhere. It stays where it was.
        let part = (0..PARTS).rev().find(within).unwrap_or(0);
        let mean = on_the_way(part);
        step.step_norm *= part as f64 / PARTS as f64;
        step.mean_norm = norm(&mean);
        self.strategy.set_mean(mean);
        Ok(Some(found[part]))
    }
}
