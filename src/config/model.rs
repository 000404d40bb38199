//! `[model]`: the base model, how it is held, and the supervised adapter on it.

use crate::model::{Device, KvKind, LoadOptions, Precision};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// `[model]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelSection {
    /// A `.gguf` file or a Hugging Face folder.
    pub path: PathBuf,
    /// Precision of the base model's products.
    #[serde(default = "default_precision")]
    pub precision: Precision,
    /// Where it runs.
    #[serde(default)]
    pub device: Device,
    /// int4: weights that share a scale.
    #[serde(default = "default_group_size")]
    pub group_size: usize,
    /// What keys and values are kept in; without it f32 beside f32 and bf16 otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kv_cache: Option<KvKind>,
    /// The supervised adapter: what `lora-svd` searches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adapter: Option<AdapterConfig>,
    /// GiB that the key-value cache may take.
    #[serde(default = "default_cache_gib")]
    pub cache_gib: f64,
    /// Threads of this process; 0 takes what the machine or the launcher gives.
    #[serde(default)]
    pub threads: usize,
}

/// Where a supervised adapter comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "PathOrTable", into = "PathOrTable")]
pub enum AdapterConfig {
    /// A PEFT LoRA directory.
    Path(PathBuf),
    /// The config of a warm start, which is run first.
    WarmStart(PathBuf),
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum PathOrTable {
    Path(PathBuf),
    Table(BTreeMap<String, PathBuf>),
}

impl TryFrom<PathOrTable> for AdapterConfig {
    type Error = String;

    fn try_from(value: PathOrTable) -> std::result::Result<Self, String> {
        match value {
            PathOrTable::Path(path) => Ok(Self::Path(path)),
            PathOrTable::Table(mut table) => match table.remove("warm_start") {
                Some(path) if table.is_empty() => Ok(Self::WarmStart(path)),
                _ => {
                    Err("model.adapter is a table, expected { warm_start = \"CONFIG\" } and nothing else in it".into())
                }
            },
        }
    }
}

impl From<AdapterConfig> for PathOrTable {
    fn from(value: AdapterConfig) -> Self {
        match value {
            AdapterConfig::Path(path) => Self::Path(path),
            AdapterConfig::WarmStart(path) => Self::Table(BTreeMap::from([("warm_start".to_string(), path)])),
        }
    }
}

impl AdapterConfig {
    /// The PEFT directory, or before a warm start the config that it will come from: something to name it by.
    pub fn path(&self) -> &Path {
        match self {
            Self::Path(path) | Self::WarmStart(path) => path,
        }
    }
}

impl ModelSection {
    /// The PEFT directory of the supervised adapter, if there is one.
    pub fn adapter_path(&self) -> Option<&Path> {
        self.adapter.as_ref().map(AdapterConfig::path)
    }

    /// How the model is to be held in memory.
    pub fn options(&self) -> LoadOptions {
        let usual = LoadOptions::from(self.precision);
        LoadOptions {
            group_size: self.group_size,
            kv_cache: self.kv_cache.unwrap_or(usual.kv_cache),
            device: self.device,
            ..usual
        }
    }
}

fn default_precision() -> Precision {
    Precision::Int8
}

fn default_group_size() -> usize {
    64
}

fn default_cache_gib() -> f64 {
    2.0
}
