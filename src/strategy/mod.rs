//! Evolution strategies: one algorithm a file, each with the same sections (citation, config, state, `ask`, `tell`,
//! tests) and the equation numbers of its source beside the lines. A strategy never learns how members are
//! evaluated: no tensors, no text, no ranks. Larger fitness is better.

use crate::search::Fitness;

/// Ask and tell. The state is a value: it serialises whole, and `ask` does not change it.
pub trait Strategy: Send {
    /// The name by which a config selects it.
    fn name(&self) -> &'static str;

    /// λ, the number of candidates of a generation.
    fn population(&self) -> usize;

    /// Generations told so far.
    fn generation(&self) -> u64;

    /// The search vector of member `member` of the coming generation, `[n]`: a pure function of the state and the
    /// number, so each rank makes only its own and the order of asking does not matter.
    fn ask(&self, member: usize) -> Vec<f64>;

    /// Takes the fitness of all members of the generation, in order of member, and moves on.
    ///
    /// # Panics
    /// When `fitness.len() != population()`: a bug of the caller.
    fn tell(&mut self, fitness: &[Fitness]) -> Step;

    /// The mean of the search distribution, `[n]`: what is validated, tested and exported.
    fn mean(&self) -> &[f64];

    /// σ, the overall step size.
    fn sigma(&self) -> f64;

    /// The whole state as JSON, floats exact: what a checkpoint keeps.
    fn state(&self) -> serde_json::Value;
}

/// What one `tell` did, for the metrics row.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// σ after the step.
    pub sigma: f64,
    /// Euclidean length of the mean's move.
    pub step_norm: f64,
    /// Euclidean length of the mean after the step.
    pub mean_norm: f64,
    /// Members without a fitness.
    pub failed: usize,
    /// Why the strategy wants to stop, if it does.
    pub stop: Option<String>,
}
