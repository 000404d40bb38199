//! The config of a warm start: one TOML file. Keys are those of peft (`[lora]`) and of the trainers of transformers and TRL
//! (`[training]`).

use super::table::{one_line, read_table, with_nearest};
use crate::digest::sha256;
use crate::error::{Error, Result};
use crate::model::{LoadOptions, Module, Precision};
use crate::task::TaskConfig;
use crate::task::demonstrations::{DataConfig, Demonstrations};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Everything that decides a warm start.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WarmStartConfig {
    /// The root of all random numbers.
    #[serde(default = "super::default_seed")]
    pub seed: u64,
    /// The base model.
    #[serde(default)]
    pub model: BaseSection,
    /// Which rows are learned from.
    #[serde(default)]
    pub data: DataConfig,
    /// The task whose train rows are learned from, where `data.train` names no file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<TaskConfig>,
    /// The adapter's form.
    #[serde(default)]
    pub lora: LoraSection,
    /// How it is learned.
    #[serde(default)]
    pub training: TrainingSection,
}

/// A warm start that a run asks for, and where it works.
#[derive(Clone, Debug, PartialEq)]
pub struct WarmStartBefore {
    /// What is learned.
    pub config: WarmStartConfig,
    /// Where; the adapter is in it when it is done.
    pub directory: PathBuf,
}

impl WarmStartBefore {
    /// Whether the adapter is there.
    pub fn is_done(&self) -> bool {
        self.directory.join(WarmStartConfig::ADAPTER).exists()
    }
}

/// `[model]` of a warm start.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BaseSection {
    /// A `.gguf` file or a Hugging Face folder.
    pub path: PathBuf,
    /// Precision of the frozen weights: f32 or bf16.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub precision: Option<Precision>,
    /// A PEFT LoRA directory to begin with, instead of a new adapter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adapter: Option<PathBuf>,
    /// Threads; 0 takes what the machine or the launcher gives.
    pub threads: usize,
}

/// `[lora]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LoraSection {
    /// Rank.
    pub r: usize,
    /// ΔW = lora_alpha / r · B A.
    pub lora_alpha: f64,
    /// Which matrices get one.
    pub target_modules: Vec<String>,
}

impl Default for LoraSection {
    fn default() -> Self {
        Self {
            r: 8,
            lora_alpha: 16.0,
            target_modules: ["q_proj", "k_proj", "v_proj", "o_proj"].map(String::from).into(),
        }
    }
}

/// `[training]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainingSection {
    /// Of AdamW, at its highest.
    pub learning_rate: f64,
    /// Passes over the rows.
    pub num_train_epochs: f64,
    /// Steps, instead of passes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_steps: Option<u64>,
    /// Rows that are read at once.
    pub batch_size: usize,
    /// Such batches a step.
    pub gradient_accumulation_steps: usize,
    /// Steps in which the learning rate rises from 0.
    pub warmup_steps: u64,
    /// Decoupled weight decay of AdamW.
    pub weight_decay: f64,
    /// Longer gradients are scaled to this norm.
    pub max_grad_norm: f64,
    /// Steps between two looks at the held-out loss; 0 looks at the beginning and the end.
    pub eval_steps: u64,
    /// Ends when the held-out loss has not fallen in so many looks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub early_stopping_patience: Option<u64>,
    /// Rows with more tokens are left out.
    pub max_length: usize,
}

impl Default for TrainingSection {
    fn default() -> Self {
        Self {
            learning_rate: 2e-4,
            num_train_epochs: 1.0,
            max_steps: None,
            batch_size: 8,
            gradient_accumulation_steps: 1,
            warmup_steps: 0,
            weight_decay: 0.0,
            max_grad_norm: 1.0,
            eval_steps: 0,
            early_stopping_patience: None,
            max_length: 1024,
        }
    }
}

impl WarmStartConfig {
    /// The adapter's name in the directory of a warm start.
    pub const ADAPTER: &str = "adapter";

    /// Reads a file, applies `key=value` overrides and checks every value.
    pub fn load(path: &Path, overrides: &[String]) -> Result<Self> {
        Self::from_table(read_table(path, overrides)?, path)
    }

    /// The warm start of a run on `model` and `task`, which it learns from where the file at `path` names no others.
    pub fn load_for(path: &Path, model: &Path, task: &TaskConfig) -> Result<Self> {
        let mut table = read_table(path, &[])?;
        let section = table
            .entry("model")
            .or_insert_with(|| toml::Value::Table(toml::Table::new()));
        if let toml::Value::Table(section) = section {
            section
                .entry("path")
                .or_insert_with(|| model.to_string_lossy().into_owned().into());
        }
        let has_data = table
            .get("data")
            .and_then(toml::Value::as_table)
            .is_some_and(|data| data.contains_key("train"));
        if !has_data && !table.contains_key("task") {
            let task = toml::Value::try_from(task).expect("a task's config is a TOML table");
            table.insert("task".into(), task);
        }
        Self::from_table(table, path)
    }

    fn from_table(mut table: toml::Table, path: &Path) -> Result<Self> {
        super::table::resolve_paths(&mut table, Path::new("."));
        super::table::name_default_kinds(&mut table);
        let config: Self = toml::Value::Table(table)
            .try_into()
            .map_err(|e: toml::de::Error| Error::file(path, with_nearest(&one_line(&e.to_string()))))?;
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<()> {
        let training = &self.training;
        if self.model.path.as_os_str().is_empty() {
            return Err(Error::config(
                "model.path is missing; expected a .gguf file or a Hugging Face folder",
            ));
        }
        if self.data.train.is_some() && self.task.is_some() {
            return Err(Error::config(
                "data.train and [task] are both set; rows are learned from one or the other",
            ));
        }
        for (key, value) in [
            ("lora.r", self.lora.r),
            ("training.batch_size", training.batch_size),
            (
                "training.gradient_accumulation_steps",
                training.gradient_accumulation_steps,
            ),
            ("training.max_length", training.max_length),
            (
                "training.max_steps",
                training.max_steps.map_or(1, |steps| steps as usize),
            ),
        ] {
            if value == 0 {
                return Err(Error::config(format!("{key} is 0, expected 1 or more")));
            }
        }
        for (key, value, least) in [
            ("lora.lora_alpha", self.lora.lora_alpha, f64::MIN_POSITIVE),
            ("training.learning_rate", training.learning_rate, f64::MIN_POSITIVE),
            (
                "training.num_train_epochs",
                training.num_train_epochs,
                f64::MIN_POSITIVE,
            ),
            ("training.max_grad_norm", training.max_grad_norm, f64::MIN_POSITIVE),
            ("training.weight_decay", training.weight_decay, 0.0),
        ] {
            if !(value.is_finite() && value >= least) {
                let expected = if least > 0.0 { "above 0" } else { "0 or more" };
                return Err(Error::config(format!("{key} is {value}, expected a number {expected}")));
            }
        }
        if training.early_stopping_patience.is_some() && training.eval_steps == 0 {
            return Err(Error::config(
                "training.early_stopping_patience counts looks at the held-out loss, and training.eval_steps is 0; set it",
            ));
        }
        if !matches!(self.precision(), Precision::F32 | Precision::Bf16) {
            return Err(Error::config(
                "model.precision of a warm start is f32 or bf16, because gradients need weights that are not rounded to integers",
            ));
        }
        self.modules().map(|_| ())
    }

    /// Of the frozen weights.
    pub fn precision(&self) -> Precision {
        self.model.precision.unwrap_or(Precision::F32)
    }

    /// How the model is to be held in memory.
    pub fn options(&self) -> LoadOptions {
        LoadOptions::from(self.precision())
    }

    /// Which matrices get an adapter.
    pub fn modules(&self) -> Result<Vec<Module>> {
        let module = |name: &String| {
            Module::parse(name).ok_or_else(|| {
                let known: Vec<&str> = Module::ALL.iter().map(|module| module.name()).collect();
                Error::config(format!(
                    "lora.target_modules has `{name}`, expected some of {}",
                    crate::rows::named(&known)
                ))
            })
        };
        let modules: Vec<Module> = self.lora.target_modules.iter().map(module).collect::<Result<_>>()?;
        match modules.len() {
            0 => Err(Error::config(
                "lora.target_modules is empty, expected names such as q_proj",
            )),
            _ => Ok(modules),
        }
    }

    /// The rows that it learns from.
    pub fn demonstrations(&self) -> Result<Demonstrations> {
        let task = match (&self.data.train, &self.task) {
            (None, Some(task)) => Some(task.open()?),
            _ => None,
        };
        self.data.open(task.as_deref())
    }

    /// The config as TOML, every default written out.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("a config is a TOML table")
    }

    /// SHA-256 of the keys that decide it.
    pub fn digest(&self) -> String {
        let mut deciding = self.clone();
        deciding.model.threads = 0;
        sha256(deciding.to_toml())
    }
}
