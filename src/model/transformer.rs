//! The model as the engine sees it. A batch is a list of rows, one token each, of any mix of sequences and candidates;
//! prefill and decode are the same code, because a row only needs to know its sequence's blocks in the cache and how far
//! along it is. Base weights are written once, when they are loaded, and never again.
//!
//! On a CPU the passes are those of `fused.rs`; their plain twin in tensor operations, `plain.rs`, serves GPUs
//! and is what they are tested against.

use super::config::ModelConfig;
use super::fused::{Fused, FusedWorkspace};
use super::kernels::{BLOCK, KvKind, RowAddress, SidePath};
use super::linear::Precision;
use super::plain::{Plain, PlainWorkspace};
use super::weights::Weights;
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

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

/// How a model is held in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoadOptions {
    /// What matrix products are computed in.
    pub precision: Precision,
    /// int4: how many weights share a scale, where the file has not decided that already.
    pub group_size: usize,
    /// What keys and values are kept in.
    pub kv_cache: KvKind,
    /// Where it runs.
    pub device: Device,
}

impl From<Precision> for LoadOptions {
    /// The usual ones beside this precision: an f32 cache in f32, bf16 otherwise.
    fn from(precision: Precision) -> Self {
        Self {
            precision,
            group_size: 64,
            kv_cache: if precision == Precision::F32 {
                KvKind::F32
            } else {
                KvKind::Bf16
            },
            device: Device::Cpu,
        }
    }
}

/// What one forward pass works on.
pub struct Batch<'a> {
    /// The token of each row.
    pub tokens: &'a [u32],
    /// Where each row stands in the cache.
    pub rows: &'a [RowAddress<'a>],
    /// The candidates' adapters, if any.
    pub adapter: Option<AdapterRows<'a>>,
}

/// The adapters of a batch's rows.
#[derive(Clone, Copy)]
pub struct AdapterRows<'a> {
    /// The frozen bases, by layer and module.
    pub paths: &'a SidePaths,
    /// The candidates' scales, `[candidates, line]`.
    pub bank: &'a [f32],
    /// Numbers a candidate.
    pub line: usize,
    /// The candidate of each row.
    pub candidates: &'a [usize],
}

/// The side paths on each module of each layer.
pub type SidePaths = Vec<[Vec<SidePath>; 7]>;

/// What forward passes write to: keys and values of every layer, and the activations of the batch at hand.
#[derive(Debug)]
pub struct Workspace(Buffers);

#[derive(Debug)]
enum Buffers {
    Fused(Box<FusedWorkspace>),
    Plain(PlainWorkspace),
}

/// Where a model runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Device {
    /// The processor.
    #[default]
    Cpu,
    /// The GPU with this number.
    Cuda(usize),
    /// A GPU for each rank of a machine, in turn; the first where there are no ranks.
    CudaOfRank,
}

impl Device {
    /// The device of the `rank`th process on its machine.
    pub fn of_rank(self, rank: usize) -> Self {
        match self {
            Self::CudaOfRank => Self::Cuda(rank % (tch::Cuda::device_count().max(1) as usize)),
            other => other,
        }
    }
}

impl FromStr for Device {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let number = match text {
            "cpu" => return Ok(Self::Cpu),
            "cuda" => return Ok(Self::CudaOfRank),
            other => other.strip_prefix("cuda:").and_then(|number| number.parse().ok()),
        };
        let wrong = || {
            Error::config(format!(
                "device is `{text}`; expected cpu, cuda:N with the number of a GPU, or cuda for one GPU a rank"
            ))
        };
        number.map(Self::Cuda).ok_or_else(wrong)
    }
}

impl TryFrom<String> for Device {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<Device> for String {
    fn from(device: Device) -> Self {
        device.to_string()
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(number) => write!(f, "cuda:{number}"),
            Self::CudaOfRank => f.write_str("cuda"),
        }
    }
}

/// What the plain twin computes int8 and int4 with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Products {
    /// The kernels' arithmetic in f32, step by step: what they are tested against.
    Reference,
    /// libtorch's quantized products: what a GPU computes with.
    Library,
}

impl LoadOptions {
    /// Refuses what does not go together, and a GPU that is not there.
    fn check(&self) -> Result<()> {
        let Device::Cuda(number) = self.device else {
            return Ok(());
        };
        let found = tch::Cuda::device_count();
        if !tch::Cuda::is_available() || found <= number as i64 {
            return Err(Error::config(format!(
                "device is `{}`, but libtorch finds {found} GPUs here; use device `cpu`, or build against a libtorch with CUDA on a machine that has the GPU",
                self.device
            )));
        }
        if self.kv_cache == KvKind::Int8 {
            return Err(Error::config(format!(
                "device is `{}`, where the cache cannot be int8 yet; use kv_cache `bf16`",
                self.device
            )));
        }
        Ok(())
    }
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

    /// The precision of its products.
    pub fn precision(&self) -> Precision {
        self.options.precision
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
}

const ANOTHERS: &str = "a workspace is used with the model that made it";
