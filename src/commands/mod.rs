//! One file a command: its flags, and the function that `main` calls with them, which a test can call as well.

pub mod align;
pub mod evaluate;
pub mod export;
pub mod generate;
pub mod judge;
pub mod leaderboard;
pub mod score;
pub mod sweep;
pub mod warm_start;

use crate::adapter::AdapterBank;
use crate::adapter::peft::PeftAdapter;
use crate::engine::Limits;
use crate::error::Result;
use crate::language_model::LanguageModel;
use crate::model::{Device, LoadOptions, Precision, Weights};
use crate::space::Space;
use crate::threads::{self, Node};
use clap::Args;
use std::path::PathBuf;

/// Flags of the commands that work on prompts.
#[derive(Args, Clone, Debug)]
pub struct ModelArguments {
    /// A .gguf file or a Hugging Face folder.
    #[arg(long, value_name = "PATH")]
    pub model: PathBuf,
    /// A PEFT LoRA directory.
    #[arg(long, value_name = "DIR")]
    pub adapter: Option<PathBuf>,
    /// f32, bf16, int8 or int4.
    #[arg(long, default_value = "int8")]
    pub precision: Precision,
    /// cpu, or cuda:N.
    #[arg(long, default_value = "cpu")]
    pub device: Device,
    /// GiB that the key-value cache may take.
    #[arg(long, default_value_t = 2.0)]
    pub cache_gib: f64,
    /// Threads; 0 takes what the launcher or the machine gives.
    #[arg(long, default_value_t = 0)]
    pub threads: usize,
}

impl ModelArguments {
    /// Opens the model, and the adapter as a bank of one candidate. A classifier is refused.
    fn open(&self) -> Result<(LanguageModel, Option<AdapterBank>)> {
        let weights = Weights::open(&self.model)?;
        weights.expect_language_head()?;
        self.load(weights)
    }

    /// The same of an open model, or classifier.
    fn load(&self, weights: Weights) -> Result<(LanguageModel, Option<AdapterBank>)> {
        threads::set(self.threads, Node::ALONE);
        let options = LoadOptions {
            device: self.device,
            ..self.precision.into()
        };
        let opened = LanguageModel::load(weights, options, Limits::of_cache(self.cache_gib))?;
        let bank = match &self.adapter {
            Some(directory) => {
                let space = Space::frozen(&PeftAdapter::read(directory, opened.weights.config())?);
                let mut bank = space.bank(opened.engine.model());
                space.fill(&mut bank, &[Vec::new()]);
                Some(bank)
            }
            None => None,
        };
        Ok((opened, bank))
    }
}
