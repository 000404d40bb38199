//! The plain twin of the fused passes: the same arithmetic in tensor operations, on any device that libtorch knows. It
//! serves GPUs, where int8 and int4 are the library's products, and supervised learning, because gradients flow through it. On a CPU it is
//! what the kernels are tested against, and for that it also takes the weights of int8 and int4 models in f32 and rounds activations as they do.

use super::batch::Batch;
use super::config::{Head, ModelConfig, Module};
use super::family::Scale;
use super::kernels::{Activation, Attention, BLOCK, Core, Form, KvKind, SidePath};
use super::layer::{Layer, LayerNorms, embedding, head};
use super::library::LibraryWeight;
use super::linear::Linear;
use super::options::{Device, LoadOptions, Products};
use super::rotary::Positions;
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
    norms: LayerNorms<Tensor>,
    qkv: PlainLinear,
    o: PlainLinear,
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
                norms: layer.norms.map(|norm| vector(norm)),
                qkv: linear(&layer.qkv)?,
                o: linear(&layer.o)?,
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
            norm: vector(&weights.norm("model.norm")?),
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
        let norms = self.layers.iter().flat_map(|layer| layer.norms.all());
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
            self.attend(layer, &q, cache, batch)
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
        if config.scales.embedding != 1.0 {
            x = x.f_mul_scalar(f64::from(config.scales.embedding))?;
        }
        let positions: Vec<usize> = positions.collect();
        let turns: Vec<Turns> = config
            .rotary
            .iter()
            .map(|rotary| Turns::new(rotary, &positions, self.device))
            .collect::<Result<_>>()?;
        for (index, layer) in self.layers.iter().enumerate() {
            let norms = &layer.norms;
            let (q_width, kv_width) = (config.q_width() as i64, config.kv_width() as i64);
            let h = self.normed(&x, norms.before_attention.as_ref())?;
            let qkv = layer.qkv.product(&h)?;
            let head_dim = config.head_dim as i64;
            let heads = |module: Module, start: i64, width: i64, norm: Option<&Tensor>| -> Result<Tensor> {
                let mut part = side(index, module, &h, qkv.f_narrow(1, start, width)?)?.f_contiguous()?;
                if let Some(norm) = norm {
                    let by = norm.size()[0];
                    part = rms_norm(&part.f_view([-1, width / by, by])?, norm, config.rms_eps)?;
                }
                Ok(part.f_view([-1, width / head_dim, head_dim])?)
            };
            let (q_norm, k_norm) = (norms.qk.as_ref().map(|[q, _]| q), norms.qk.as_ref().map(|[_, k]| k));
            let mut q = heads(Module::Q, 0, q_width, q_norm)?;
            let mut k = heads(Module::K, q_width, kv_width, k_norm)?;
            if let Some(kind) = config.attention[index].rotary {
                (q, k) = (turns[kind].rotate(&q)?, turns[kind].rotate(&k)?);
            }
            let v = heads(Module::V, q_width + kv_width, kv_width, None)?;
            let attended = attend(index, [q, k, v])?;
            let branch = side(index, Module::O, &attended, layer.o.product(&attended)?)?;
            x = self.joined(&x, branch, norms.after_attention.as_ref())?;
            let h = self.normed(&x, norms.before_mlp.as_ref())?;
            let gate = side(index, Module::Gate, &h, layer.gate.product(&h)?)?;
            let up = side(index, Module::Up, &h, layer.up.product(&h)?)?;
            let gate = match config.activation {
                Activation::Silu => gate.f_silu()?,
                Activation::GeluTanh => gate.f_gelu("tanh")?,
            };
            let h = gate.f_mul(&up)?;
            let branch = side(index, Module::Down, &h, layer.down.product(&h)?)?;
            x = self.joined(&x, branch, norms.after_mlp.as_ref())?;
        }
        Ok(x)
    }

    fn normed(&self, x: &Tensor, norm: Option<&Tensor>) -> Result<Tensor> {
        match norm {
            Some(norm) => rms_norm(x, norm, self.config.rms_eps),
            None => Ok(x.shallow_clone()),
        }
    }

    /// The residual stream with what a block gives.
    fn joined(&self, x: &Tensor, branch: Tensor, norm: Option<&Tensor>) -> Result<Tensor> {
        let mut branch = self.normed(&branch, norm)?;
        let scale = self.config.scales.residual;
        if scale != 1.0 {
            branch = branch.f_mul_scalar(f64::from(scale))?;
        }
        Ok(x.f_add(&branch)?)
    }

    /// softmax over the last dimension of the products of queries and keys, those of what is not seen being masked.
    fn attention_weights(&self, layer: usize, products: &Tensor, unseen: &Tensor) -> Result<Tensor> {
        let Attention { scale, cap, .. } = self.config.layer_attention(layer);
        let mut scores = match self.config.family.attention_scale {
            Scale::HeadDim => products.f_div_scalar((self.config.head_dim as f64).sqrt())?,
            _ => products.f_mul_scalar(f64::from(scale))?,
        };
        if let Some(cap) = cap {
            scores = soft_capped(&scores, cap)?;
        }
        Ok(scores
            .f_masked_fill(unseen, f64::NEG_INFINITY)?
            .f_softmax(-1, Kind::Float)?)
    }

    /// What each token of one sequence reads. q, k and v `[1, heads, tokens, head_dim]`, as many key heads as heads.
    fn attend_to_itself(&self, layer: usize, [q, k, v]: [&Tensor; 3]) -> Result<Tensor> {
        let (usual, tokens) = (self.config.family.attention_scale == Scale::HeadDim, q.size()[2]);
        let Attention { cap, window, .. } = self.config.layer_attention(layer);
        let window = window.filter(|&window| (window as i64) < tokens);
        if usual && cap.is_none() && window.is_none() {
            let read = Tensor::f_scaled_dot_product_attention(q, k, v, None::<Tensor>, 0.0, true, None, false)?;
            return Ok(read);
        }
        let positions = Tensor::arange(tokens, (Kind::Int64, self.device));
        // How far a column lies behind a row.
        let behind = positions.f_unsqueeze(1)?.f_sub(&positions)?;
        let mut unseen = behind.f_lt(0)?;
        if let Some(window) = window {
            unseen = unseen.f_logical_or(&behind.f_ge(window as i64)?)?;
        }
        let weights = self.attention_weights(layer, &q.f_matmul(&k.f_transpose(2, 3)?)?, &unseen)?;
        Ok(weights.f_matmul(v)?)
    }

    /// Natural logarithms of the probabilities of each sequence's tokens from `starts` on, all in one tensor, `[tokens from the starts on]`,
    /// through which gradients flow to whatever `side` adds. A start is at least 1. Nothing is padded: each sequence attends to itself alone, and the
    /// head is applied only where a token is asked for.
    pub fn log_probabilities(&self, sequences: &[&[u32]], starts: &[usize], side: SideOf) -> Result<Tensor> {
        let lengths: Vec<i64> = sequences.iter().map(|sequence| sequence.len() as i64).collect();
        let mut attend = |layer: usize, [q, k, v]: [Tensor; 3]| -> Result<Tensor> {
            let mut attended = Vec::with_capacity(lengths.len());
            let mut first = 0;
            for &length in &lengths {
                let [q, k, v] = [&q, &k, &v].map(|x| x.narrow(0, first, length).transpose(0, 1).unsqueeze(0));
                let repeats = q.size()[1] / k.size()[1];
                let [k, v] = [k, v].map(|x| x.repeat_interleave_self_int(repeats, 1, None::<i64>));
                let read = self.attend_to_itself(layer, [&q, &k, &v])?;
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
        let logits = self.head_of(&x)?;
        let targets = self.indices(targets.into_iter()).f_unsqueeze(1)?;
        let logarithms = logits.f_log_softmax(-1, Kind::Float)?.f_gather(1, &targets, false)?;
        Ok(logarithms.f_squeeze_dim(1)?)
    }

    /// softmax(scale · q kᵀ) v, each row over its own context, padded to the longest of a few rows. `q` `[rows, heads,
    /// head_dim]`; returns `[rows, heads · head_dim]`.
    fn attend(&self, layer: usize, q: &Tensor, cache: &[Tensor; 2], batch: &Batch) -> Result<Tensor> {
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
            let products = q.f_matmul(&k.f_permute([0, 2, 3, 1])?)?;
            let last = self
                .indices(rows.iter().map(|row| row.position))
                .f_view([count, 1, 1, 1])?;
            let columns = Tensor::arange(context as i64, (Kind::Int64, self.device));
            let mut unseen = columns.f_gt_tensor(&last)?;
            if let Some(window) = self.config.attention[layer].window {
                unseen = unseen.f_logical_or(&columns.f_le_tensor(&last.f_sub_scalar(window as i64)?)?)?;
            }
            let weights = self.attention_weights(layer, &products, &unseen)?;
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
        self.head_of(&work.x.f_index_select(0, &self.indices(rows.iter().copied()))?)
    }

    /// What the head makes of the residual stream.
    fn head_of(&self, x: &Tensor) -> Result<Tensor> {
        let mut y = self.head.product(&rms_norm(x, &self.norm, self.config.rms_eps)?)?;
        if self.config.head == Head::Language {
            let (scale, cap) = (self.config.scales.logits, self.config.caps.logits);
            if scale != 1.0 {
                y = y.f_mul_scalar(f64::from(scale))?;
            }
            if let Some(cap) = cap {
                y = soft_capped(&y, cap)?;
            }
        }
        Ok(y)
    }
}

/// cap · tanh(x / cap).
fn soft_capped(x: &Tensor, cap: f32) -> Result<Tensor> {
    let cap = f64::from(cap);
    Ok(x.f_div_scalar(cap)?.f_tanh()?.f_mul_scalar(cap)?)
}

/// cos and sin of rotary angles, `[rows, 1, turned / 2]`.
struct Turns {
    cos: Tensor,
    sin: Tensor,
    interleaved: bool,
}

impl Turns {
    fn new(rotary: &Positions, positions: &[usize], device: tch::Device) -> Result<Self> {
        let of_position = |&position: &usize| rotary.inverse_frequencies.iter().map(move |f| position as f32 * f);
        let angles: Vec<f32> = positions.iter().flat_map(of_position).collect();
        let angles = Tensor::from_slice(&angles)
            .to_device(device)
            .f_view([positions.len() as i64, 1, -1])?;
        let amplitude = f64::from(rotary.amplitude);
        Ok(Self {
            cos: angles.f_cos()?.f_mul_scalar(amplitude)?,
            sin: angles.f_sin()?.f_mul_scalar(amplitude)?,
            interleaved: rotary.interleaved,
        })
    }

    /// Turns heads (arXiv 2104.09864). Of the numbers that are turned, i pairs with i + half, or 2i with 2i + 1. `x` `[rows, heads, head_dim]`.
    fn rotate(&self, x: &Tensor) -> Result<Tensor> {
        let (half, width) = (self.cos.size()[2], x.size()[2]);
        let turned = x.f_narrow(2, 0, 2 * half)?;
        let [low, high] = match self.interleaved {
            false => [turned.f_narrow(2, 0, half)?, turned.f_narrow(2, half, half)?],
            true => [turned.f_slice(2, 0, 2 * half, 2)?, turned.f_slice(2, 1, 2 * half, 2)?],
        };
        let pair = [
            low.f_mul(&self.cos)?.f_sub(&high.f_mul(&self.sin)?)?,
            high.f_mul(&self.cos)?.f_add(&low.f_mul(&self.sin)?)?,
        ];
        let turned = match self.interleaved {
            false => Tensor::f_cat(&pair, 2)?,
            true => Tensor::f_stack(&pair, -1)?.f_flatten(2, 3)?,
        };
        match width == 2 * half {
            true => Ok(turned),
            false => Ok(Tensor::f_cat(&[turned, x.f_narrow(2, 2 * half, width - 2 * half)?], 2)?),
        }
    }
}

/// Where a token of a sequence lies in the cache.
fn slot(blocks: &[u32], position: usize) -> usize {
    blocks[position / BLOCK] as usize * BLOCK + position % BLOCK
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
