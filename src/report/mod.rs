//! What readers of finished runs and of evaluations are shown.

pub mod comparison;
pub mod evaluation;
pub mod leaderboard;
pub mod selector;
pub mod subjects;
