//! Evaluations before the first generation, on all ranks. They decide what is searched and how far, and belong to no generation, so the
//! journal does not keep them; what they cost is counted.

use crate::error::Result;
use crate::farm::population::{self, Evaluated, Work};
use crate::farm::ranks::Ranks;
use crate::objective::{Asks, Objective, Questions};
use crate::search::{Evaluation, start};
use crate::seed::Seed;
use crate::statistics::mean;
use crate::task::Split;
use serde::{Deserialize, Serialize};

/// What was spent before the first generation. The run counts it among its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spent {
    /// Texts written.
    pub rollouts: usize,
    /// Tokens read and written.
    pub num_tokens: usize,
}

/// How a divergence is told from logarithms x = log p_start(y) − log p_θ(y) of texts y of the start. Both have it as their mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Estimator {
    /// x. What is linear in the step cancels between a step and its opposite, and what is not grows with the divergence as the divergence does: for
    /// one that is not small.
    Logarithm,
    /// e^(−x) − 1 + x, which is never below zero: Σ p_start e^(−x) is 1, whatever θ is (J. Schulman, *Approximating KL Divergence*, 2020, k_3). About
    /// x²/2, so what int8 rounds otherwise in each candidate adds little to its spread, where it is most of that of x: for a small one.
    Squared,
}

impl Estimator {
    fn of(self, logarithms: &[f64]) -> f64 {
        match self {
            Self::Logarithm => mean(logarithms),
            Self::Squared => mean(&logarithms.iter().map(|x| (-x).exp_m1() + x).collect::<Vec<_>>()),
        }
    }
}

/// The means to probe an objective.
pub struct Probing<'a> {
    /// Who evaluates.
    pub ranks: &'a Ranks,
    /// What is probed.
    pub objective: &'a mut dyn Objective,
    /// Whether to go on; asked now and then.
    pub go_on: &'a mut dyn FnMut() -> bool,
    /// What it has cost so far.
    pub spent: Spent,
}

impl Probing<'_> {
    /// Evaluates some search vectors. None when the run was asked to end.
    fn evaluate(
        &mut self,
        candidates: usize,
        theta: &dyn Fn(usize) -> Vec<f64>,
        questions: &Questions,
    ) -> Result<Option<Evaluated>> {
        let work = Work {
            candidates,
            theta,
            questions,
            digest: "",
            known: Vec::new(),
            racing: false,
        };
        let evaluated = population::evaluate(self.ranks, self.objective, work, &mut |_| Ok(()), self.go_on)?;
        if let Some(evaluated) = &evaluated {
            self.spent.rollouts += evaluated.rollouts.len();
            self.spent.num_tokens += evaluated.tokens();
        }
        Ok(evaluated)
    }

    /// How far each of some steps leads away from the start, in nats a response ([`Asks::DriftFromStart`]): the mean of θ = start + step and
    /// θ = start − step, on the same texts. None when the run was asked to end.
    ///
    /// Infinite where a probability was no finite number.
    pub fn divergences(
        &mut self,
        steps: usize,
        step: &dyn Fn(usize) -> Vec<f64>,
        questions: &Questions,
        by: Estimator,
    ) -> Result<Option<Vec<f64>>> {
        let start = start(self.objective.layout().dim());
        let theta = |candidate: usize| {
            let sign = if candidate.is_multiple_of(2) { 1.0 } else { -1.0 };
            let step = step(candidate / 2);
            start.iter().zip(step).map(|(x, s)| x + sign * s).collect()
        };
        let Some(evaluated) = self.evaluate(2 * steps, &theta, questions)? else {
            return Ok(None);
        };
        let nats = |evaluation: &Evaluation| match evaluation.failed {
            0 if !evaluation.fitness.is_failed() => by.of(&evaluation.rewards),
            _ => f64::INFINITY,
        };
        let pairs = evaluated.evaluations.chunks_exact(2);
        Ok(Some(
            pairs.map(|pair| (nats(&pair[0]) + nats(&pair[1])) / 2.0).collect(),
        ))
    }

    /// `count` questions of the training split, or all where there are fewer, to which the start writes the texts that divergences are measured
    /// on. They hang on no run's seed, so that runs that differ in it alone have the same units.
    pub fn questions(&self, count: usize) -> Questions {
        let seed = Seed::new(0).named("texts of the start");
        let mut indices: Vec<usize> = (0..self.objective.examples(Split::Train)).collect();
        seed.named("prompts").shuffle(&mut indices);
        indices.truncate(count);
        Questions {
            asks: Asks::DriftFromStart,
            ..Questions::new(Split::Train, indices, seed)
        }
    }
}
