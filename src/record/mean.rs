//! `mean.json`: the mean that a run keeps, from which `essa export` and `essa eval` work.

use crate::search::Fitness;
use serde::{Deserialize, Serialize};

/// A mean worth keeping.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Mean {
    /// Generations told when it was the mean.
    pub generation: u64,
    /// The search vector.
    pub theta: Vec<f64>,
    /// Its validation score.
    pub validation: Fitness,
    /// Rewards on the validation split, question by question.
    #[serde(default)]
    pub rewards: Vec<f64>,
}
