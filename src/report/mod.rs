//! What readers of finished runs are shown.

pub mod leaderboard;
