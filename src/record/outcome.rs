//! How a run ended, and `result.json`: the run's row of the leaderboard. Column names are an interface.

use crate::config::RunConfig;
use crate::error::Error;
use crate::terminal::now;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

/// How a run ended: the column `status`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// All generations are done.
    #[default]
    Finished,
    /// It ended before that by itself: the strategy had nothing more to gain, or the mean had collapsed.
    Stopped,
    /// It was asked to end, or its time was up. The same command goes on.
    Interrupted,
    /// It could not be done.
    Failed,
}

impl Outcome {
    /// Whether the run has come to its end and has a test score.
    pub fn is_over(self) -> bool {
        matches!(self, Self::Finished | Self::Stopped)
    }

    /// Its name in the column.
    pub fn name(self) -> &'static str {
        match self {
            Self::Finished => "finished",
            Self::Stopped => "stopped",
            Self::Interrupted => "interrupted",
            Self::Failed => "failed",
        }
    }
}

/// How a run ended, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ending {
    /// How.
    pub outcome: Outcome,
    /// In words; empty where the outcome says it all.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

impl Ending {
    /// With a reason.
    pub fn new(outcome: Outcome, reason: impl Into<String>) -> Self {
        Self {
            outcome,
            reason: reason.into(),
        }
    }
}

impl From<Outcome> for Ending {
    fn from(outcome: Outcome) -> Self {
        Self::new(outcome, "")
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self.reason.as_str() {
            "" => f.write_str(self.outcome.name()),
            reason => write!(f, "{}: {reason}", self.outcome.name()),
        }
    }
}

/// What is known of one run when it has ended.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// The run's name.
    pub name: String,
    /// How it ended.
    pub status: Outcome,
    /// Why, where it stopped or failed.
    #[serde(default)]
    pub reason: String,
    /// Test score of the exported mean.
    pub test: Option<f64>,
    /// Its standard error over the test examples.
    pub test_se: Option<f64>,
    /// The lower end of its 95 % interval.
    #[serde(default)]
    pub test_low: Option<f64>,
    /// The upper end.
    #[serde(default)]
    pub test_high: Option<f64>,
    /// Test score of the start (θ = 0), on the same examples.
    pub start_test: Option<f64>,
    /// Its standard error.
    pub start_test_se: Option<f64>,
    /// The lower end of its 95 % interval.
    #[serde(default)]
    pub start_test_low: Option<f64>,
    /// The upper end.
    #[serde(default)]
    pub start_test_high: Option<f64>,
    /// `test − start_test`.
    pub gain: Option<f64>,
    /// Standard error of the paired difference.
    pub gain_se: Option<f64>,
    /// The lower end of its 95 % interval.
    #[serde(default)]
    pub gain_low: Option<f64>,
    /// The upper end.
    #[serde(default)]
    pub gain_high: Option<f64>,
    /// Examples of the test split.
    pub test_examples: usize,
    /// Validation score of the start; none where a run was asked to end before it was known.
    pub start_validation: Option<f64>,
    /// Validation score of the exported mean, by which it was chosen.
    pub best_validation: Option<f64>,
    /// The generation of the exported mean.
    pub best_generation: u64,
    /// Generations done.
    pub generations: u64,
    /// Base model.
    pub model: String,
    /// SHA-256 of its weights.
    pub model_sha256: String,
    /// Precision of its products.
    pub precision: String,
    /// Task.
    pub task: String,
    /// Space.
    pub space: String,
    /// Dimension of the search.
    pub n: usize,
    /// Strategy.
    pub strategy: String,
    /// Candidates a generation.
    pub population: usize,
    /// Prompts a generation.
    pub prompts: usize,
    /// Seed.
    pub seed: u64,
    /// Rollouts that judged candidates, and those that were spent on deciding what to search and how far.
    pub rollouts: usize,
    /// Tokens read and written, by all evaluations: of candidates, of the mean, and before the first generation.
    pub num_tokens: usize,
    /// Seconds from start to end.
    pub wall_s: f64,
    /// SHA-256 of the resolved config.
    pub config_sha256: String,
    /// Version of essa.
    pub essa: String,
    /// End, UTC.
    pub finished: String,
    /// The run's directory.
    pub directory: String,
    /// What was watched beside the task at the end, on test prompts, by column: `kl` and `kl_se`, `mean_length`, `off_task/<name>`; and of the start
    /// the same with `start_` before it. In a leaderboard they are columns like the others.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub drift: BTreeMap<String, f64>,
}

impl Row {
    /// How the run ended, and why.
    pub fn ending(&self) -> Ending {
        Ending::new(self.status, self.reason.clone())
    }

    /// The row of a run that could not be done.
    pub fn failed(config: &RunConfig, directory: &Path, error: &Error) -> Self {
        Self {
            name: config.name.clone(),
            status: Outcome::Failed,
            reason: error.to_string(),
            seed: config.seed,
            prompts: config.run.prompts,
            config_sha256: config.digest(),
            essa: env!("CARGO_PKG_VERSION").into(),
            finished: now(),
            directory: directory.display().to_string(),
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_that_was_interrupted_or_failed_is_not_over() {
        let over = [
            Outcome::Finished,
            Outcome::Stopped,
            Outcome::Interrupted,
            Outcome::Failed,
        ]
        .map(Outcome::is_over);
        assert_eq!(over, [true, true, false, false]);
    }

    #[test]
    fn the_row_of_a_run_that_could_not_be_done_says_why() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("c.toml");
        std::fs::write(
            &path,
            "name = 'study'\nseed = 7\n[model]\npath = 'm'\n[run]\nprompts = 5\n",
        )
        .expect("a file");
        let config = RunConfig::load(&path, &[]).expect("a config");
        let row = Row::failed(&config, folder.path(), &Error::config("the model is not there"));
        assert_eq!(
            (row.name.as_str(), row.ending().to_string().as_str()),
            ("study", "failed: the model is not there")
        );
        assert_eq!((row.seed, row.prompts, row.config_sha256.len()), (7, 5, 64));
        assert_eq!(row.config_sha256, config.digest());
        assert_eq!(
            (row.essa.as_str(), row.directory),
            (env!("CARGO_PKG_VERSION"), folder.path().display().to_string())
        );
        assert!(
            row.finished.starts_with("20") && row.finished.ends_with('Z'),
            "{}",
            row.finished
        );
        assert_eq!((row.test, row.generations), (None, 0));
    }
}
