//! What an adapter of a warm start says of itself, in `warm_start.json` beside its weights: above all which prompts it was trained on, so that whoever
//! searches from it, or scores it, can keep away from them.

use crate::error::{Error, Result};
use crate::files::{read_text, write_atomically};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Of a warm start that is through.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Learned {
    /// Of its config.
    pub config_sha256: String,
    /// After which the adapter was kept.
    pub steps: u64,
    /// Mean over held-out completion tokens, nats, before the first step.
    pub validation_loss_before: f64,
    /// The same for the adapter.
    pub validation_loss: f64,
    /// What it was trained on, by the keys of its prompts (`task::splits::prompt_key`), sorted.
    pub prompts: Vec<String>,
}

const FILE: &str = "warm_start.json";

impl Learned {
    /// Of the adapter in `directory`; none where it is not whole, or not one of ours.
    pub fn read(directory: &Path) -> Result<Option<Self>> {
        let path = directory.join(FILE);
        if !path.exists() || !directory.join("adapter_config.json").exists() {
            return Ok(None);
        }
        let read = serde_json::from_str(&read_text(&path)?);
        read.map(Some).map_err(|error| {
            Error::file(
                &path,
                format!("is not what a warm start writes ({error}); remove it, or train the adapter again"),
            )
        })
    }

    /// Beside the adapter's weights.
    pub fn write(&self, directory: &Path) -> Result<()> {
        std::fs::create_dir_all(directory).map_err(Error::io(directory))?;
        let text = serde_json::to_string(self).expect("JSON of numbers and text");
        write_atomically(&directory.join(FILE), text.as_bytes())
    }
}
