//! `[drift]`: what a run watches beside its task, and how far the mean may go.

use crate::error::{Error, Result};
use crate::task::TaskConfig;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// `[drift]`
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DriftSection {
    /// Texts of the reference on which the divergence is measured at each look; 0 measures none.
    pub texts: usize,
    /// The reference.
    pub reference: ReferenceConfig,
    /// The most nats a response that the mean may be away from the reference.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_kl: Option<f64>,
    /// What a nat a response takes from a candidate's reward.
    pub penalty: f64,
    /// How many times as long as the start's the mean's responses may be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_length: Option<f64>,
    /// How far the mean's score on each of the tasks below may fall below the start's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_fall: Option<f64>,
    /// Tasks that are only looked at, by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub tasks: BTreeMap<String, TaskConfig>,
}

/// The model that the mean is compared with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "OneOrMany", into = "OneOrMany")]
pub enum ReferenceConfig {
    /// Where the search begins.
    #[default]
    Start,
    /// The base model without an adapter.
    Base,
    /// The average of several PEFT LoRAs.
    Average(Vec<PathBuf>),
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<PathBuf>),
}

impl TryFrom<OneOrMany> for ReferenceConfig {
    type Error = String;

    fn try_from(value: OneOrMany) -> std::result::Result<Self, String> {
        match value {
            OneOrMany::One(word) if word == "start" => Ok(Self::Start),
            OneOrMany::One(word) if word == "base" => Ok(Self::Base),
            OneOrMany::Many(adapters) if !adapters.is_empty() => Ok(Self::Average(adapters)),
            OneOrMany::Many(_) => Err("drift.reference is [], expected PEFT LoRA directories".into()),
            OneOrMany::One(word) => Err(format!(
                "drift.reference is \"{word}\", expected \"start\", \"base\", or a list of PEFT LoRA directories"
            )),
        }
    }
}

impl From<ReferenceConfig> for OneOrMany {
    fn from(value: ReferenceConfig) -> Self {
        match value {
            ReferenceConfig::Start => Self::One("start".into()),
            ReferenceConfig::Base => Self::One("base".into()),
            ReferenceConfig::Average(adapters) => Self::Many(adapters),
        }
    }
}

impl DriftSection {
    /// Whether anything is looked at.
    pub fn watches(&self) -> bool {
        self.texts > 0 || !self.tasks.is_empty() || self.max_length.is_some()
    }

    /// PEFT directories of the reference.
    pub fn adapters(&self) -> &[PathBuf] {
        match &self.reference {
            ReferenceConfig::Average(adapters) => adapters,
            _ => &[],
        }
    }

    /// What can be said before anything is read.
    pub(super) fn check(&self) -> Result<()> {
        let number = |key: &str, value: Option<f64>, least: f64| match value {
            Some(value) if !(value > least && value.is_finite()) => Err(Error::config(format!(
                "drift.{key} is {value}, expected a number above {least}"
            ))),
            _ => Ok(()),
        };
        number("max_kl", self.max_kl, 0.0)?;
        number("max_length", self.max_length, 1.0)?;
        if self.max_fall.is_some_and(|fall| !(fall >= 0.0 && fall.is_finite())) {
            let fall = self.max_fall.unwrap_or_default();
            return Err(Error::config(format!("drift.max_fall is {fall}, expected 0 or more")));
        }
        if !(self.penalty >= 0.0 && self.penalty.is_finite()) {
            return Err(Error::config(format!(
                "drift.penalty is {}, expected 0 or more",
                self.penalty
            )));
        }
        if self.texts == 0 && (self.max_kl.is_some() || self.penalty > 0.0) {
            let key = if self.penalty > 0.0 { "penalty" } else { "max_kl" };
            return Err(Error::config(format!(
                "drift.{key} is set, and drift.texts is 0, so that no divergence is measured; give it texts, such as 32"
            )));
        }
        if self.max_fall.is_some() && self.tasks.is_empty() {
            return Err(Error::config(
                "drift.max_fall is set, and there is no task under drift.tasks that could fall; add one, or leave it out",
            ));
        }
        let forbidden =
            |name: &&String| name.is_empty() || name.contains(|c: char| c.is_control() || c == ',' || c == '"');
        match self.tasks.keys().find(forbidden) {
            Some(name) => Err(Error::config(format!(
                "drift.tasks has a task called {name:?}; it names a column, so it may not be empty or hold a comma, a quote or a line break"
            ))),
            None => Ok(()),
        }
    }
}
