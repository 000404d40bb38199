//! The model as the engine sees it. A batch is a list of rows, one token each, of any mix of sequences and candidates;
//! prefill and decode are the same code, because a row only needs to know its sequence's blocks in the cache and how far
//! along it is. Base weights are written once, when they are loaded, and never again.
//!
//! On a CPU the passes are those of `fused.rs`; their plain twin in tensor operations, `plain.rs`, serves GPUs
//! and is what they are tested against.

use super::batch::Batch;
use super::config::ModelConfig;
use super::fused::{Fused, FusedWorkspace};
use super::kernels::BLOCK;
use super::options::{Device, LoadOptions, Products};
use super::plain::{Plain, PlainWorkspace};
use super::weights::Weights;
use crate::error::Result;

/// A loaded model.
#[derive(Debug)]
pub struct Transformer {
    config: ModelConfig,
    options: LoadOptions,
    passes: Passes,
}

#[derive(Debug)]
enum Passes {
    Fused(Fused),
    Plain(Plain),
}

/// What forward passes write to: keys and values of every layer, and the activations of the batch at hand.
#[derive(Debug)]
pub struct Workspace(Buffers);

#[derive(Debug)]
enum Buffers {
    Fused(Box<FusedWorkspace>),
    Plain(PlainWorkspace),
}

impl Transformer {
    /// Loads a model.
    pub fn load(weights: &Weights, options: LoadOptions) -> Result<Self> {
        let options = LoadOptions {
            device: options.device.of_rank(0),
            ..options
        };
        options.check()?;
        let passes = match options.device {
            Device::Cpu => Passes::Fused(Fused::load(weights, options)?),
            Device::Cuda(_) | Device::CudaOfRank => Passes::Plain(Plain::load(weights, options, Products::Library)?),
        };
        Ok(Self::new(weights, options, passes))
    }

    /// Loads the plain twin: the same model in tensor operations, on any device. Slow on a CPU, where it is a reference.
    pub fn load_plain(weights: &Weights, options: LoadOptions, products: Products) -> Result<Self> {
        options.check()?;
        Ok(Self::new(
            weights,
            options,
            Passes::Plain(Plain::load(weights, options, products)?),
        ))
    }

    fn new(weights: &Weights, options: LoadOptions, passes: Passes) -> Self {
        let config = weights.config().clone();
        Self {
            config,
            options,
            passes,
        }
    }

    /// The model's sizes.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// A workspace whose cache has room for `blocks` blocks of [`BLOCK`] tokens.
    pub fn new_workspace(&self, blocks: usize) -> Workspace {
        Workspace(match &self.passes {
            Passes::Fused(fused) => Buffers::Fused(Box::new(fused.new_workspace(blocks))),
            Passes::Plain(plain) => Buffers::Plain(plain.new_workspace(blocks)),
        })
    }

    /// Bytes that one block takes in the cache.
    pub fn block_bytes(&self) -> usize {
        let head = self.options.kv_cache.bytes(self.config.head_dim);
        BLOCK * self.config.layers * self.config.kv_heads * 2 * head
    }

    /// Bytes of all weights in memory, a tied head counted once.
    pub fn weight_bytes(&self) -> usize {
        match &self.passes {
            Passes::Fused(fused) => fused.weight_bytes(),
            Passes::Plain(plain) => plain.weight_bytes(),
        }
    }

    /// SHA-256 over every base weight as it lies in memory: the same before and after a run (promise 1).
    pub fn digest(&self) -> String {
        match &self.passes {
            Passes::Fused(fused) => fused.digest(),
            Passes::Plain(plain) => plain.digest(),
        }
    }

    /// Reads the batch's rows, writes their keys and values to the cache, and leaves the residual stream after the last
    /// layer in the workspace.
    pub fn forward(&self, batch: &Batch, work: &mut Workspace) -> Result<()> {
        match (&self.passes, &mut work.0) {
            (Passes::Fused(fused), Buffers::Fused(work)) => fused.forward(batch, work),
            (Passes::Plain(plain), Buffers::Plain(work)) => plain.forward(batch, work),
            _ => unreachable!("{ANOTHERS}"),
        }
    }

    /// The next token's logits after chosen rows of the last [`Transformer::forward`], `[rows, vocab]`.
    pub fn logits<'a>(&self, work: &'a mut Workspace, rows: &[usize]) -> Result<&'a mut [f32]> {
        match (&self.passes, &mut work.0) {
            (Passes::Fused(fused), Buffers::Fused(work)) => fused.logits(work, rows),
            (Passes::Plain(plain), Buffers::Plain(work)) => plain.logits(work, rows),
            _ => unreachable!("{ANOTHERS}"),
        }
    }

    /// The likeliest next token after chosen rows, without their logits ever lying in memory where the head is packed.
    pub fn likeliest(&self, work: &mut Workspace, rows: &[usize]) -> Result<Vec<u32>> {
        match (&self.passes, &mut work.0) {
            (Passes::Fused(fused), Buffers::Fused(work)) => fused.likeliest(work, rows),
            (Passes::Plain(plain), Buffers::Plain(work)) => plain.likeliest(work, rows),
            _ => unreachable!("{ANOTHERS}"),
        }
    }

    /// What the score head of a classifier says after chosen rows, one number each.
    pub fn scores(&self, work: &Workspace, rows: &[usize]) -> Result<Vec<f32>> {
        match (&self.passes, &work.0) {
            (Passes::Fused(fused), Buffers::Fused(work)) => Ok(fused.scores(work, rows)),
            (Passes::Plain(plain), Buffers::Plain(work)) => plain.scores(work, rows),
            _ => unreachable!("{ANOTHERS}"),
        }
    }
}

const ANOTHERS: &str = "a workspace is used with the model that made it";
