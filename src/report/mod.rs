//! What readers of finished runs are shown.

pub mod comparison;
pub mod leaderboard;
