//! Who evaluates what. Every rank asks the strategy for its own members only, judges them in one batch, and sends
//! numbers; afterwards every rank has the evaluations of all members in order.

use crate::error::{Error, Result};
use crate::objective::{Objective, Questions, Rollout};
use crate::ranks::Ranks;
use crate::search::{Candidate, Evaluation};
use crate::strategy::Strategy;

/// Evaluates one generation. `rollouts` receives this rank's texts, their `candidate` being the member. None when any
/// rank was told to stop.
pub fn evaluate(
    ranks: &Ranks,
    strategy: &dyn Strategy,
    objective: &mut dyn Objective,
    questions: &Questions,
    rollouts: &mut Vec<Rollout>,
    go_on: &mut dyn FnMut() -> bool,
) -> Result<Option<Vec<Evaluation>>> {
    let own: Vec<Candidate> = (ranks.rank()..strategy.population())
        .step_by(ranks.size())
        .map(|member| Candidate {
            member,
            theta: strategy.ask(member),
        })
        .collect();
    let thetas: Vec<Vec<f64>> = own.iter().map(|candidate| candidate.theta.clone()).collect();
    let first = rollouts.len();
    let evaluated = ranks.agree(objective.evaluate(&thetas, questions, rollouts, go_on))?;
    for rollout in &mut rollouts[first..] {
        rollout.candidate = own[rollout.candidate].member;
    }
    let bytes = serde_json::to_vec(&evaluated).expect("JSON of numbers");
    let mut all: Vec<Option<Evaluation>> = vec![None; strategy.population()];
    for (rank, bytes) in ranks.all_gather(&bytes).iter().enumerate() {
        let theirs: Option<Vec<Evaluation>> = serde_json::from_slice(bytes).map_err(|e| {
            Error::mismatch(format!(
                "rank {rank} sent evaluations that cannot be read: {e}; do all ranks run the same essa?"
            ))
        })?;
        let Some(theirs) = theirs else { return Ok(None) };
        for (member, evaluation) in (rank..strategy.population()).step_by(ranks.size()).zip(theirs) {
            all[member] = Some(evaluation);
        }
    }
    let complete: Option<Vec<Evaluation>> = all.into_iter().collect();
    complete.map(Some).ok_or_else(|| {
        Error::mismatch("a rank sent fewer evaluations than it has members; do all ranks run the same essa?")
    })
}
