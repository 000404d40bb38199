//! A language model opened for work: its weights, an engine on token ids, and its way with text.

use crate::engine::{Engine, Limits};
use crate::error::Result;
use crate::model::{LoadOptions, Transformer, Weights};
use crate::text::{Text, no_tokenizer};
use std::path::Path;

/// A model opened for work.
#[derive(Debug)]
pub struct LanguageModel {
    /// The file it came from.
    pub weights: Weights,
    /// The model in an engine.
    pub engine: Engine,
    /// Its tokenizer and template; none when the folder holds no tokenizer.
    pub text: Option<Text>,
}

impl LanguageModel {
    /// Opens and loads the model at `path`, a `.gguf` file or a Hugging Face folder. A classifier is refused.
    pub fn open(path: &Path, options: LoadOptions, limits: Limits) -> Result<Self> {
        let weights = Weights::open(path)?;
        weights.expect_language_head()?;
        Self::load(weights, options, limits)
    }

    /// Loads an open model, or classifier.
    pub fn load(weights: Weights, options: LoadOptions, limits: Limits) -> Result<Self> {
        let text = Text::open(&weights)?;
        let model = Transformer::load(&weights, options)?;
        Ok(Self {
            weights,
            engine: Engine::new(model, limits),
            text,
        })
    }

    /// The tokenizer and template, or a sentence that says what is missing.
    pub fn text(&self) -> Result<&Text> {
        self.text.as_ref().ok_or_else(|| no_tokenizer(&self.weights))
    }
}
