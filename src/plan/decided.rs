//! What was decided before the first generation, with the reasons and the cost: what `plan.json` keeps, beside the sums of the files that the run reads.

use super::probing::Spent;
use crate::config::RunConfig;
use crate::digest::sha256;
use crate::error::{Error, Result};
use crate::judge::reward_model;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Decisions and their cost.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Decided {
    /// In the order in which they were made.
    pub decisions: Vec<Decision>,
    /// What measuring for them cost.
    pub spent: Spent,
    /// The files that the run reads, as they were when it began.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inputs: Vec<Input>,
}

/// A file that a run reads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// Where it was.
    pub path: String,
    /// SHA-256 of its bytes, in hexadecimal; of a model in several files, of these together.
    pub sha256: String,
}

/// The model, the adapters, the data and the reward models of a config, with their sums.
pub(super) fn inputs(config: &RunConfig, model_sha256: &str) -> Result<Vec<Input>> {
    let input = |path: &Path, sha256: String| Input {
        path: path.display().to_string(),
        sha256,
    };
    let mut inputs = vec![input(&config.model.path, model_sha256.into())];
    let adapters = config.adapters().map(|folder| folder.join("adapter_model.safetensors"));
    for path in adapters.chain(config.task.files()) {
        let bytes = std::fs::read(&path).map_err(Error::io(&path))?;
        inputs.push(input(&path, sha256(bytes)));
    }
    for path in config.reward_models() {
        inputs.push(input(&path, reward_model::digest(&path)?));
    }
    Ok(inputs)
}

/// One key that the config had left open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Decision {
    /// Of the config.
    pub key: String,
    /// What it is now.
    pub value: String,
    /// Why.
    pub reason: String,
}

impl Decided {
    /// Adds a decision.
    pub(super) fn note(&mut self, key: &str, value: impl ToString, reason: impl Into<String>) {
        self.decisions.push(Decision {
            key: key.into(),
            value: value.to_string(),
            reason: reason.into(),
        });
    }
}
