//! The plain twin of the fused passes: the same arithmetic in tensor operations, on any device that libtorch knows. It
//! serves GPUs, where int8 and int4 are the library's products, and supervised learning, because gradients flow through it. On a CPU it is
//! what the kernels are tested against, and for that it also takes the weights of int8 and int4 models in f32 and rounds activations as they do.

use super::batch::Batch;
use super::config::{ModelConfig, Module};
use super::kernels::{BLOCK, Core, Form, KvKind, SidePath};
use super::layer::{Layer, embedding, head};
use super::library::LibraryWeight;
use super::linear::Linear;
use super::options::{Device, LoadOptions, Products};
use super::weights::Weights;
use crate::digest::hex;
use crate::error::Result;
use sha2::{Digest, Sha256};
use tch::{Kind, Tensor};

/// A model whose passes are tensor operations.
#[derive(Debug)]
pub struct Plain {
    config: ModelConfig,
    device: tch::Device,
    kv_kind: Kind,
    /// None where the head's weights serve.
    embedding: Option<PlainLinear>,
    layers: Vec<PlainLayer>,
    norm: Tensor,
    head: PlainLinear,
}

#[derive(Debug)]
struct PlainLayer {
    input_norm: Tensor,
    qkv: PlainLinear,
    o: PlainLinear,
    post_attention_norm: Tensor,
    gate: PlainLinear,
    up: PlainLinear,
    down: PlainLinear,
}

#[derive(Debug)]
struct PlainLinear {
    weight: PlainWeight,
    bias: Option<Tensor>,
}

#[derive(Debug)]
enum PlainWeight {
    /// `[out, in]`, f32 or bf16, and how the fused product wants its activations.
    Dense(Tensor, Form),
    Quantized(LibraryWeight),
}

/// What an adapter adds: layer, module, the module's input and its output to the output with the adapter.
pub type SideOf<'a> = &'a dyn Fn(usize, Module, &Tensor, Tensor) -> Result<Tensor>;

/// What forward passes write to.
#[derive(Debug)]
pub struct PlainWorkspace {
    /// Keys and values of every layer, `[tokens, kv_heads, head_dim]`.
    layers: Vec<[Tensor; 2]>,
    /// The residual stream, `[rows, hidden]`.
    x: Tensor,
    logits: Vec<f32>,
}

/// Rows that attend at a time, because each gets its own copy of its context.
const ATTENDING_ROWS: usize = 32;

impl PlainLinear {
    fn new(linear: &Linear, device: tch::Device, products: Products) -> Result<Self> {
        let quantized = match (linear.packed(), products) {
            (Some(packed), Products::Library) => LibraryWeight::new(packed, device)?,
            _ => None,
        };
        let weight = match (quantized, products) {
            (Some(weight), _) => PlainWeight::Quantized(weight),
            (None, Products::Reference) => PlainWeight::Dense(linear.dense().f_to_device(device)?, linear.form()),
            (None, Products::Library) => {
                let dense = linear.dense();
                // A quantized matrix whose sizes the library does not take is held in bf16.
                let kind = linear.packed().map_or(dense.kind(), |_| Kind::BFloat16);
                PlainWeight::Dense(dense.f_to_kind(kind)?.f_to_device(device)?, Form::Float)
            }
        };
        Ok(Self {
            weight,
            bias: linear.bias().map(|bias| Tensor::from_slice(bias).to_device(device)),
        })
    }

    /// `x` `[rows, in]`, f32.
    fn product(&self, x: &Tensor) -> Result<Tensor> {
        let y = match &self.weight {
            PlainWeight::Quantized(weight) => weight.product(x)?,
            PlainWeight::Dense(weight, form) => {
                let x = match form {
                    Form::Float => x.shallow_clone(),
                    Form::Int8 { group } => rounded(x, *group as i64)?,
                };
                x.f_to_kind(weight.kind())?
                    .f_linear::<&Tensor>(weight, None)?
                    .f_to_kind(Kind::Float)?
            }
        };
        Ok(match &self.bias {
            Some(bias) => y.f_add(bias)?,
            None => y,
        })
    }

    fn rows(&self, rows: &Tensor) -> Result<Tensor> {
        match &self.weight {
            PlainWeight::Quantized(weight) => weight.rows(rows),
            PlainWeight::Dense(weight, _) => Ok(weight.f_index_select(0, rows)?.f_to_kind(Kind::Float)?),
        }
    }

    fn tensors(&self) -> Vec<&Tensor> {
        match &self.weight {
            PlainWeight::Quantized(weight) => weight.tensors(),
            PlainWeight::Dense(weight, _) => vec![weight],
        }
    }
}

/// int8 by groups of a row, and back: scale = max|x| / 127.
pub(super) fn rounded(x: &Tensor, group: i64) -> Result<Tensor> {
    let (rows, width) = x.size2()?;
    let padded = x
        .f_constant_pad_nd([0, (group - width % group) % group])?
        .f_view([rows, -1, group])?;
    let largest = padded.f_abs()?.f_amax([-1], true)?;
    // In this order, to the bit: a number on the edge between two steps is to fall on the kernels' side.
    let inverse = Tensor::from(127.0_f32).to_device(x.device()).f_div(&largest)?;
    let inverse = inverse.f_nan_to_num(0.0, 0.0, 0.0)?;
    let rounded = padded
        .f_mul(&inverse)?
        .f_round()?
        .f_mul(&largest.f_div_scalar(127.0)?)?;
    Ok(rounded.f_view([rows, -1])?.f_narrow(1, 0, width)?)
}

/// RMSNorm (arXiv 1910.07467): x · w / √(mean(x²) + ε).
fn rms_norm(x: &Tensor, weight: &Tensor, eps: f32) -> Result<Tensor> {
    let mean = x.f_square()?.f_mean_dim([-1].as_slice(), true, Kind::Float)?;
    Ok(x.f_mul(&mean.f_add_scalar(f64::from(eps))?.f_rsqrt()?)?.f_mul(weight)?)
}

impl Plain {
    /// Loads a model, a layer at a time through the host's memory.
    pub fn load(weights: &Weights, options: LoadOptions, products: Products) -> Result<Self> {
        let config = weights.config().clone();
        let device = match options.device {
            Device::Cpu => tch::Device::Cpu,
            Device::Cuda(number) => tch::Device::Cuda(number),
            Device::CudaOfRank => tch::Device::Cuda(0),
        };
        let linear = |linear: &Linear| PlainLinear::new(linear, device, products);
        let vector = |numbers: &[f32]| Tensor::from_slice(numbers).to_device(device);
        let mut layers = Vec::with_capacity(config.layers);
        for index in 0..config.layers {
            let layer = Layer::load(weights, index, options)?;
            layers.push(PlainLayer {
                input_norm: vector(&layer.input_norm),
                qkv: linear(&layer.qkv)?,
                o: linear(&layer.o)?,
                post_attention_norm: vector(&layer.post_attention_norm),
                gate: linear(&layer.gate)?,
                up: linear(&layer.up)?,
                down: linear(&layer.down)?,
            });
            weights.release();
        }
        let (embedding, head) = (embedding(weights, options)?, head(weights, options)?);
        Ok(Self {
            embedding: embedding.as_ref().map(linear).transpose()?,
            layers,
            norm: vector(&weights.read("model.norm.weight")?),
            head: linear(&head)?,
            kv_kind: if options.kv_cache == KvKind::F32 {
                Kind::Float
            } else {
                Kind::BFloat16
            },
            config,
            device,
        })
    }

    fn matrices(&self) -> impl Iterator<Item = &PlainLinear> {
        let layers = self
            .layers
            .iter()
            .flat_map(|layer| [&layer.qkv, &layer.o, &layer.gate, &layer.up, &layer.down]);
        layers.chain([&self.head]).chain(&self.embedding)
    }

    /// What is no matrix: biases and norms.
    fn vectors(&self) -> impl Iterator<Item = &Tensor> {
        let biases = self.matrices().filter_map(|matrix| matrix.bias.as_ref());
        let norms = self
            .layers
            .iter()
            .flat_map(|layer| [&layer.input_norm, &layer.post_attention_norm]);
        biases.chain(norms).chain([&self.norm])
    }

    /// Bytes of all weight matrices.
    pub fn weight_bytes(&self) -> usize {
        self.matrices()
            .flat_map(PlainLinear::tensors)
            .map(|tensor| tensor.numel() * tensor.kind().elt_size_in_bytes())
            .sum()
    }

    /// SHA-256 over every base weight as it lies in memory, norms and biases included.
    pub fn digest(&self) -> String {
        let bytes = |tensor: &Tensor| -> Result<Vec<u8>> {
            let bytes = tensor
                .f_to_device(tch::Device::Cpu)?
                .f_contiguous()?
                .f_view([-1])?
                .f_view_dtype(Kind::Uint8)?;
            Ok(Vec::<u8>::try_from(&bytes)?)
        };
        let mut hash = Sha256::new();
        for tensor in self.matrices().flat_map(PlainLinear::tensors).chain(self.vectors()) {
            hash.update(bytes(tensor).expect("weights that can be read"));
        }
        hex(&hash.finalize())
    }

    /// A workspace whose cache has room for `blocks` blocks.
    pub fn new_workspace(&self, blocks: usize) -> PlainWorkspace {
        let shape = [blocks * BLOCK, self.config.kv_heads, self.config.head_dim].map(|size| size as i64);
        let empty = || Tensor::zeros(shape, (self.kv_kind, self.device));
        PlainWorkspace {
            layers: (0..self.config.layers).map(|_| [empty(), empty()]).collect(),
            x: Tensor::new(),
            logits: Vec::new(),
        }
    }

    fn indices(&self, indices: impl Iterator<Item = usize>) -> Tensor {
        let indices: Vec<i64> = indices.map(|index| index as i64).collect();
        Tensor::from_slice(&indices).to_device(self.device)
    }

    /// As [`super::Transformer::forward`].
    pub fn forward(&self, batch: &Batch, work: &mut PlainWorkspace) -> Result<()> {
        let slots = self.indices(batch.rows.iter().map(|row| slot(row.blocks, row.position)));
        let caches = &mut work.layers;
        let mut attend = |layer: usize, [q, k, v]: [Tensor; 3]| {
            let cache = &mut caches[layer];
            for (cache, new) in cache.iter_mut().zip([k, v]) {
                let _ = cache.f_index_copy_(0, &slots, &new.f_to_kind(self.kv_kind)?)?;
            }
            self.attend(&q, cache, batch)
        };
        let side =
            |layer: usize, module: Module, x: &Tensor, y: Tensor| self.add_side_paths(batch, layer, module, x, y);
        let positions = batch.rows.iter().map(|row| row.position);
        work.x = self.layers(batch.tokens, positions, &mut attend, &side)?;
        Ok(())
    }

    /// The residual stream after the last layer, `[rows, hidden]`, of tokens at their positions. `attend` gets a layer's q, k and v, `[rows,
    /// heads, head_dim]` each, and returns what each row reads, `[rows, heads · head_dim]`. `side` gets a module's input and
    /// output and returns the output with what an adapter adds.
    fn layers(
        &self,
        tokens: &[u32],
        positions: impl Iterator<Item = usize>,
        attend: &mut dyn FnMut(usize, [Tensor; 3]) -> Result<Tensor>,
        side: SideOf,
    ) -> Result<Tensor> {
        let config = &self.config;
        let ids = self.indices(tokens.iter().map(|&token| token as usize));
        let mut x = self.embedding.as_ref().unwrap_or(&self.head).rows(&ids)?;
        let angles: Vec<f32> = positions
            .flat_map(|position| config.inverse_frequencies.iter().map(move |f| position as f32 * f))
            .collect();
        let angles = Tensor::from_slice(&angles)
            .to_device(self.device)
            .f_view([tokens.len() as i64, 1, -1])?;
        let turn = [angles.f_cos()?, angles.f_sin()?];
        for (index, layer) in self.layers.iter().enumerate() {
            let (q_width, kv_width) = (config.q_width() as i64, config.kv_width() as i64);
            let h = rms_norm(&x, &layer.input_norm, config.rms_eps)?;
            let qkv = layer.qkv.product(&h)?;
            let head_dim = config.head_dim as i64;
            let heads = |module: Module, start: i64, width: i64| -> Result<Tensor> {
                let part = side(index, module, &h, qkv.f_narrow(1, start, width)?)?;
                Ok(part.f_contiguous()?.f_view([-1, width / head_dim, head_dim])?)
            };
            let q = rotate(&heads(Module::Q, 0, q_width)?, &turn)?;
            let k = rotate(&heads(Module::K, q_width, kv_width)?, &turn)?;
            let v = heads(Module::V, q_width + kv_width, kv_width)?;
            let attended = attend(index, [q, k, v])?;
            x = x.f_add(&side(index, Module::O, &attended, layer.o.product(&attended)?)?)?;
            let h = rms_norm(&x, &layer.post_attention_norm, config.rms_eps)?;
            let gate = side(index, Module::Gate, &h, layer.gate.product(&h)?)?;
            let up = side(index, Module::Up, &h, layer.up.product(&h)?)?;
            let h = gate.f_silu()?.f_mul(&up)?;
            x = x.f_add(&side(index, Module::Down, &h, layer.down.product(&h)?)?)?;
        }
        Ok(x)
    }

    /// Natural logarithms of the probabilities of each sequence's tokens from `starts` on, all in one tensor, `[tokens from the starts on]`,
    /// through which gradients flow to whatever `side` adds. A start is at least 1. Nothing is padded: each sequence attends to itself alone, and the
    /// head is applied only where a token is asked for.
    pub fn log_probabilities(&self, sequences: &[&[u32]], starts: &[usize], side: SideOf) -> Result<Tensor> {
        let lengths: Vec<i64> = sequences.iter().map(|sequence| sequence.len() as i64).collect();
        let mut attend = |_: usize, [q, k, v]: [Tensor; 3]| -> Result<Tensor> {
            let mut attended = Vec::with_capacity(lengths.len());
            let mut first = 0;
            for &length in &lengths {
                let [q, k, v] = [&q, &k, &v].map(|x| x.narrow(0, first, length).transpose(0, 1).unsqueeze(0));
                let repeats = q.size()[1] / k.size()[1];
                let [k, v] = [k, v].map(|x| x.repeat_interleave_self_int(repeats, 1, None::<i64>));
                let read = Tensor::f_scaled_dot_product_attention(&q, &k, &v, None::<Tensor>, 0.0, true, None, false)?;
                attended.push(read.f_squeeze_dim(0)?.f_transpose(0, 1)?.f_reshape([length, -1])?);
                first += length;
            }
            Ok(Tensor::f_cat(&attended, 0)?)
        };
        let tokens = sequences.concat();
        let positions = sequences.iter().flat_map(|sequence| 0..sequence.len());
        let x = self.layers(&tokens, positions, &mut attend, side)?;
        let (mut rows, mut targets, mut first) = (Vec::new(), Vec::new(), 0);
        for (sequence, &start) in sequences.iter().zip(starts) {
            rows.extend(first + start - 1..first + sequence.len() - 1);
            targets.extend(sequence[start..].iter().map(|&token| token as usize));
            first += sequence.len();
        }
        let x = x.f_index_select(0, &self.indices(rows.into_iter()))?;
        let logits = self.head.product(&rms_norm(&x, &self.norm, self.config.rms_eps)?)?;
        let targets = self.indices(targets.into_iter()).f_unsqueeze(1)?;
        let logarithms = logits.f_log_softmax(-1, Kind::Float)?.f_gather(1, &targets, false)?;
        Ok(logarithms.f_squeeze_dim(1)?)
    }

    /// softmax(q kᵀ / √head_dim) v, each row over its own context, padded to the longest of a few rows. `q` `[rows, heads,
    /// head_dim]`; returns `[rows, heads · head_dim]`.
    fn attend(&self, q: &Tensor, cache: &[Tensor; 2], batch: &Batch) -> Result<Tensor> {
        let (kv_heads, head_dim) = (self.config.kv_heads as i64, self.config.head_dim as i64);
        let mut parts = Vec::new();
        for (index, rows) in batch.rows.chunks(ATTENDING_ROWS).enumerate() {
            let (count, context) = (
                rows.len() as i64,
                rows.iter().map(|row| row.position + 1).max().unwrap_or(0),
            );
            let slots = self.indices(
                rows.iter()
                    .flat_map(|row| (0..context).map(|position| slot(row.blocks, position.min(row.position)))),
            );
            let gather = |cache: &Tensor| -> Result<Tensor> {
                let gathered = cache.f_index_select(0, &slots)?.f_to_kind(Kind::Float)?;
                Ok(gathered.f_view([count, context as i64, kv_heads, head_dim])?)
            };
            let [k, v] = [gather(&cache[0])?, gather(&cache[1])?];
            let q = q
                .f_narrow(0, (index * ATTENDING_ROWS) as i64, count)?
                .f_view([count, kv_heads, -1, head_dim])?;
            let scores = q
                .f_matmul(&k.f_permute([0, 2, 3, 1])?)?
                .f_div_scalar((head_dim as f64).sqrt())?;
            let last = self
                .indices(rows.iter().map(|row| row.position))
                .f_view([count, 1, 1, 1])?;
            let beyond = Tensor::arange(context as i64, (Kind::Int64, self.device)).f_gt_tensor(&last)?;
            let weights = scores
                .f_masked_fill(&beyond, f64::NEG_INFINITY)?
                .f_softmax(-1, Kind::Float)?;
            parts.push(weights.f_matmul(&v.f_permute([0, 2, 1, 3])?)?.f_reshape([count, -1])?);
        }
        Ok(Tensor::f_cat(&parts, 0)?)
    }

    /// y + U (b ⊙ M (a ⊙ V x)) for every path on the module.
    fn add_side_paths(&self, batch: &Batch, layer: usize, module: Module, x: &Tensor, y: Tensor) -> Result<Tensor> {
        let mut y = y.f_contiguous()?;
        let Some(adapter) = batch.adapter else { return Ok(y) };
        let matrix = |numbers: &[f32], rows: usize| {
            Tensor::from_slice(numbers)
                .view([rows as i64, -1])
                .to_device(self.device)
        };
        for path in &adapter.paths[layer][module.index()] {
            let SidePath {
                rank,
                v,
                core,
                ut,
                a_start,
                b_start,
            } = path;
            let factors = |start: usize| {
                let of_row = |&candidate: &usize| &adapter.bank[candidate * adapter.line + start..][..*rank];
                let numbers: Vec<f32> = adapter.candidates.iter().flat_map(of_row).copied().collect();
                matrix(&numbers, adapter.candidates.len())
            };
            let mut h = x
                .f_linear::<&Tensor>(&matrix(v, *rank), None)?
                .f_mul(&factors(*a_start))?;
            match core {
                Core::Identity => {}
                Core::Frozen(core) => h = h.f_linear::<&Tensor>(&matrix(core, *rank), None)?,
                Core::Searched { start } => {
                    // Each row's own matrix.
                    let of_row = |&candidate: &usize| &adapter.bank[candidate * adapter.line + start..][..rank * rank];
                    let numbers: Vec<f32> = adapter.candidates.iter().flat_map(of_row).copied().collect();
                    let size = *rank as i64;
                    let cores = matrix(&numbers, adapter.candidates.len()).f_view([-1, size, size])?;
                    h = cores.f_matmul(&h.f_unsqueeze(2)?)?.f_squeeze_dim(2)?;
                }
            }
            if let Some(b_start) = b_start {
                h = h.f_mul(&factors(*b_start))?;
            }
            y = y.f_add(&h.f_matmul(&matrix(ut, *rank))?)?;
        }
        Ok(y)
    }

    /// As [`super::Transformer::logits`].
    pub fn logits<'a>(&self, work: &'a mut PlainWorkspace, rows: &[usize]) -> Result<&'a mut [f32]> {
        work.logits = numbers(&self.head_product(work, rows)?)?;
        Ok(&mut work.logits)
    }

    /// As [`super::Transformer::likeliest`].
    pub fn likeliest(&self, work: &mut PlainWorkspace, rows: &[usize]) -> Result<Vec<u32>> {
        let largest = self.head_product(work, rows)?.f_argmax(-1, false)?;
        Ok(Vec::<i64>::try_from(&largest)?
            .into_iter()
            .map(|token| token as u32)
            .collect())
    }

    /// As [`super::Transformer::scores`].
    pub fn scores(&self, work: &PlainWorkspace, rows: &[usize]) -> Result<Vec<f32>> {
        numbers(&self.head_product(work, rows)?)
    }

    fn head_product(&self, work: &PlainWorkspace, rows: &[usize]) -> Result<Tensor> {
        let x = work.x.f_index_select(0, &self.indices(rows.iter().copied()))?;
        self.head.product(&rms_norm(&x, &self.norm, self.config.rms_eps)?)
    }
}

/// Where a token of a sequence lies in the cache.
fn slot(blocks: &[u32], position: usize) -> usize {
    blocks[position / BLOCK] as usize * BLOCK + position % BLOCK
}

/// Turns heads by rotary angles (arXiv 2104.09864); dimension i pairs with i + head_dim/2. `x` `[rows, heads, head_dim]`.
fn rotate(x: &Tensor, [cos, sin]: &[Tensor; 2]) -> Result<Tensor> {
    let half = x.size()[2] / 2;
    let (low, high) = (x.f_narrow(2, 0, half)?, x.f_narrow(2, half, half)?);
    let turned = [
        low.f_mul(cos)?.f_sub(&high.f_mul(sin)?)?,
        high.f_mul(cos)?.f_add(&low.f_mul(sin)?)?,
    ];
    Ok(Tensor::f_cat(&turned, 2)?)
}

/// A tensor's numbers in f32, row by row.
pub fn numbers(tensor: &Tensor) -> Result<Vec<f32>> {
    let flat = tensor
        .f_detach()?
        .f_to_device(tch::Device::Cpu)?
        .f_to_kind(Kind::Float)?
        .f_contiguous()?
        .f_view([-1])?;
    Ok(Vec::<f32>::try_from(&flat)?)
}
