//! What a kind of space answers for itself ([`Kind`]), and what it is made of.

use super::Space;
use crate::adapter::peft::PeftAdapter;
use crate::engine::Sampling;
use crate::error::{Error, Result};
use crate::model::{Module, Weights};
use std::path::{Path, PathBuf};

/// One kind of space, with its settings.
pub trait Kind {
    /// What a leaderboard calls it.
    fn label(&self) -> String;

    /// Whether its settings can be, as far as that is known before anything is read.
    fn check(&self, _beside: &Beside) -> Result<()> {
        Ok(())
    }

    /// Whether it starts from the supervised LoRA that `model.adapter` names.
    fn needs_adapter(&self) -> bool {
        false
    }

    /// PEFT directories that its own settings name.
    fn adapters(&self) -> &[PathBuf] {
        &[]
    }

    /// The space on a model.
    fn open(&self, on: &Materials) -> Result<Space>;
}

/// What of a config a kind may have to agree with.
pub struct Beside {
    /// `[generation]`.
    pub sampling: Sampling,
    /// Whether candidates are judged by probabilities, and write nothing.
    pub asks_likelihood: bool,
}

/// What a space is made of.
pub struct Materials<'a> {
    /// The base model.
    pub weights: &'a Weights,
    /// `model.adapter`.
    pub adapter: Option<&'a Path>,
    /// `[generation]`.
    pub sampling: Sampling,
    /// Whether bases that take long to compute may be zeros, because nobody will apply them.
    pub only_shapes: bool,
    /// Where bases are kept that take long to compute.
    pub cache: &'a Path,
    /// Hears what takes long.
    pub say: &'a (dyn Fn(&str) + Sync),
}

impl Materials<'_> {
    /// The supervised LoRA that `model.adapter` names.
    pub fn adapter(&self) -> Result<PeftAdapter> {
        let directory = self.adapter.ok_or_else(|| {
            Error::config("the space needs a supervised LoRA: set model.adapter to its PEFT directory")
        })?;
        self.peft(directory)
    }

    /// The LoRA of a PEFT directory.
    pub fn peft(&self, directory: &Path) -> Result<PeftAdapter> {
        PeftAdapter::read(directory, self.weights.config())
    }
}

/// Matrices of every layer that are searched where a config names none.
pub fn default_modules() -> Vec<String> {
    ["q_proj", "k_proj", "v_proj", "o_proj"].map(String::from).to_vec()
}

/// Modules by their names in `target_modules`.
pub fn parse_modules(names: &[String]) -> Result<Vec<Module>> {
    let mut modules = Vec::new();
    for name in names {
        let known = Module::ALL.map(Module::name);
        let module = Module::parse(name).ok_or_else(|| {
            Error::config(format!(
                "space.modules holds `{name}`; expected some of {}",
                known.join(", ")
            ))
        })?;
        if !modules.contains(&module) {
            modules.push(module);
        }
    }
    if modules.is_empty() {
        return Err(Error::config(
            "space.modules is empty; expected one module or more, such as q_proj",
        ));
    }
    modules.sort();
    Ok(modules)
}
