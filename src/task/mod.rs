//! A task gives examples and judges a response. It sees text only: no tensors, no tokens, no candidates.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Examples, and what a response to one is worth.
pub trait Task: Send + Sync {
    /// The name by which a config selects it.
    fn name(&self) -> &str;

    /// The examples of one split, in a fixed order. No example is in two splits.
    fn examples(&self, split: Split) -> &[Example];

    /// Judges `response`, the text that the model wrote after `example`'s prompt. Pure; anything goes in, and a
    /// response that cannot be judged is `failed` in the result, never a panic.
    fn judge(&self, example: &Example, response: &str) -> Terms;
}

/// Which examples. Nothing is ever selected on `Test`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Split {
    /// Judges candidates.
    Train,
    /// Judges the mean during a run.
    Validation,
    /// Judges the result, once.
    Test,
}

/// One example: what the model is shown, and what the judge knows beside it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Example {
    /// Names the example among all splits of the task.
    pub id: String,
    /// The conversation so far; the chat template renders it.
    pub messages: Vec<Message>,
    /// What the judge needs: the gold answer, the instruction's arguments.
    pub reference: serde_json::Value,
}

/// One turn of a conversation, in the words of chat templates.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// `system`, `user` or `assistant`.
    pub role: String,
    /// The text.
    pub content: String,
}

impl Message {
    /// A turn of the user.
    pub fn user(content: impl Into<String>) -> Self {
        Self {
            role: "user".into(),
            content: content.into(),
        }
    }

    /// The system's turn.
    pub fn system(content: impl Into<String>) -> Self {
        Self {
            role: "system".into(),
            content: content.into(),
        }
    }
}

/// The outcome of one judgement.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Terms {
    /// What the search maximises, usually in [0, 1].
    pub reward: f64,
    /// What the reward is made of, by name; logged, never optimised by itself.
    pub parts: BTreeMap<String, f64>,
    /// The judge could not come to a verdict; the reward then stands as configured (0).
    pub failed: bool,
}
