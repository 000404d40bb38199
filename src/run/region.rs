//! A trust region in nats ([`crate::strategy::StrategyConfig::max_kl`]): after each generation the mean's divergence from the start is measured, and a
//! mean beyond the bound goes back towards where it came from, to the furthest of ten points on the way that is within. What a length in θ means
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

/// Parts of the move that are tried where all of it is too much, in sixty-fourths: by eighths, and for a step that is far too long by halves.
const PARTS: [u8; 11] = [56, 48, 40, 32, 24, 16, 8, 4, 2, 1, 0];

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
        let share = |part: u8| f64::from(part) / 64.0;
        let on_the_way = |part: u8| -> Vec<f64> {
            let share = share(part);
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
        let Some(parts) = self.evaluate(Some(PARTS.map(on_the_way).into()), &questions)? else {
            return Ok(None);
        };
        let mut found = PARTS.into_iter().zip(parts.evaluations.iter().map(nats));
        // None may be within, where a restart began elsewhere or other last bits held the mean before: it stays where it was.
        let mut within = found.clone().filter(|(_, kl)| kl.is_some_and(|kl| kl <= most));
        let (part, kl) = within.next().or(found.next_back()).expect("parts");
        let mean = on_the_way(part);
        step.step_norm *= share(part);
        step.mean_norm = norm(&mean);
        self.strategy.set_mean(mean);
        Ok(Some(kl))
    }
}
