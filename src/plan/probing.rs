//! Evaluations before the first generation, on all ranks. They decide what is searched and how far, and belong to no generation, so the
//! journal does not keep them; what they cost is counted.

use crate::error::Result;
use crate::farm::population::{self, Evaluated, Work};
use crate::farm::ranks::Ranks;
use crate::objective::{Objective, Questions};
use crate::seed::Seed;
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
    /// Evaluates some search vectors, with texts on the root. None when the run was asked to end.
    pub fn evaluate(
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

    /// The first `count` questions of the training split in the order of this seed. Texts are asked for, and not degrees.
    pub fn questions(&self, seed: Seed, count: usize) -> Questions {
        let mut indices: Vec<usize> = (0..self.objective.examples(Split::Train)).collect();
        seed.named("prompts").shuffle(&mut indices);
        indices.truncate(count);
        Questions::new(Split::Train, indices, seed.named("texts"))
    }
}
