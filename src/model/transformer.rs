//! The model: embedding, layers, norm, head. A batch is a list of rows, one token each, of any mix of sequences and
//! candidates; prefill and decode are the same code, because a row only needs to know where its sequence lies in the
//! cache and how far along it is. Base weights are written once, when they are loaded, and never again.

use super::config::{ModelConfig, Module};
use super::equalize::{Equalization, InputRanges, divisors, widen, widen_by};
use super::kernels::{self, KvLayer, RopeAngles, RowAddress, SidePath, View, empty, slice, slice_mut};
use super::linear::{Linear, Precision};
use super::weights::{Weights, hex};
use crate::error::Result;
use half::bf16;
use sha2::{Digest, Sha256};
use tch::{Kind, Tensor};

/// A loaded model.
#[derive(Debug)]
pub struct Transformer {
    config: ModelConfig,
    precision: Precision,
    /// `[vocab, hidden]`, f32 or bf16.
    embedding: Tensor,
    layers: Vec<Layer>,
    /// `[hidden]`.
    norm: Vec<f32>,
    head: Linear,
}

/// What one forward pass works on.
pub struct Batch<'a> {
    /// The token of each row.
    pub tokens: &'a [u32],
    /// Where each row stands in the cache.
    pub rows: &'a [RowAddress],
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

/// Keys and values of every layer, for `tokens` tokens of any sequences.
#[derive(Debug)]
pub struct KvCache {
    layers: Vec<KvLayer>,
}

impl Transformer {
    /// Loads a model. `calibration` are a few sequences of tokens that int8 takes the range of its activations from;
    /// other precisions ignore them.
    pub fn load(weights: &Weights, precision: Precision, calibration: &[Vec<u32>]) -> Result<Self> {
        let config = weights.config().clone();
        let float = if precision == Precision::F32 {
            Precision::F32
        } else {
            Precision::Bf16
        };
        let shape = [config.vocab, config.hidden];
        let name = "model.embed_tokens.weight";
        let embedding = Linear::new(float, shape, None, |rows, out| weights.rows(name, rows, out))?;
        let embedding = embedding.tensor().shallow_clone();
        weights.release();

        let tokens: Vec<u32> = calibration.concat();
        let mut rows = Vec::new();
        for sequence in calibration {
            let start = rows.len();
            rows.extend((0..sequence.len()).map(|position| RowAddress { start, position }));
        }
        let angles = RopeAngles::new(&config.inverse_frequencies, rows.iter().map(|row| row.position));
        let mut x = embed(&embedding, &tokens);

        let mut layers = Vec::with_capacity(config.layers);
        for index in 0..config.layers {
            let raw = LayerWeights::read(weights, index)?;
            let mut layer = Layer::new(&config, precision, &raw, None)?;
            if precision == Precision::Int8 && !tokens.is_empty() {
                let mut cache = KvLayer::new::<bf16>(&config, rows.len());
                let mut pass = LayerPass::new(&config, &rows, &angles);
                let mut ranges = InputRanges::default();
                pass.ranges = Some(&mut ranges);
                let _ = layer.forward(x.copy(), &mut cache, &mut pass)?;
                let equalization = Equalization::new(&config, &ranges, &raw.column_ranges(&config));
                layer = Layer::new(&config, precision, &raw, Some(equalization))?;
                x = layer.forward(x, &mut cache, &mut LayerPass::new(&config, &rows, &angles))?;
            }
            layers.push(layer);
            weights.release();
        }

        let mut norm = weights.read("model.norm.weight")?;
        let head = if config.tied && precision != Precision::Int8 {
            Linear::tied(&embedding)
        } else {
            let name = if config.tied {
                "model.embed_tokens.weight"
            } else {
                "lm_head.weight"
            };
            let mut scale = vec![1.0; config.hidden];
            if precision == Precision::Int8 && !tokens.is_empty() {
                let (mut inputs, mut columns) = (Vec::new(), Vec::new());
                widen(&mut inputs, &kernels::rms_norm(&x, &norm, config.rms_eps));
                let mut row = vec![0.0; config.hidden];
                for index in 0..config.vocab {
                    weights.rows(name, index..index + 1, &mut row)?;
                    widen_by(&mut columns, &row, config.hidden);
                }
                scale = divisors(&inputs, &columns);
                divide(&mut norm, &scale);
            }
            Linear::new(precision, shape, None, |rows, out| {
                weights.rows(name, rows, out)?;
                out.chunks_exact_mut(config.hidden)
                    .for_each(|row| multiply(row, &scale));
                Ok(())
            })?
        };
        weights.release();
        Ok(Self {
            config,
            precision,
            embedding,
            layers,
            norm,
            head,
        })
    }

    /// The model's sizes.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// The precision of its products.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// A cache with room for `tokens` tokens: f32 beside f32 weights, bf16 otherwise.
    pub fn new_cache(&self, tokens: usize) -> KvCache {
        let layer = |_| match self.precision {
            Precision::F32 => KvLayer::new::<f32>(&self.config, tokens),
            _ => KvLayer::new::<bf16>(&self.config, tokens),
        };
        KvCache {
            layers: (0..self.config.layers).map(layer).collect(),
        }
    }

    /// Bytes that one token takes in the cache.
    pub fn cache_bytes_per_token(&self) -> usize {
        let size = if self.precision == Precision::F32 { 4 } else { 2 };
        self.config.layers * 2 * self.config.kv_width() * size
    }

    /// Bytes of all weights in memory, a tied head counted once.
    pub fn weight_bytes(&self) -> usize {
        let tied = self.head.tensor().data_ptr() == self.embedding.data_ptr();
        let embedding = self.embedding.numel() * self.embedding.kind().elt_size_in_bytes();
        let layers: usize = self.layers.iter().map(Layer::bytes).sum();
        embedding + layers + if tied { 0 } else { self.head.bytes() }
    }

    /// SHA-256 over every base weight as it lies in memory: the same before and after a run (promise 1).
    pub fn digest(&self) -> String {
        let mut hash = Sha256::new();
        let products = self
            .layers
            .iter()
            .flat_map(|layer| [&layer.qkv, &layer.o, &layer.gate_up, &layer.down]);
        let tensors = products
            .chain([&self.head])
            .map(Linear::tensor)
            .chain([&self.embedding]);
        for tensor in tensors {
            match tensor.kind() {
                Kind::Float => slice::<f32>(tensor).iter().for_each(|x| hash.update(x.to_le_bytes())),
                Kind::BFloat16 => slice::<bf16>(tensor).iter().for_each(|x| hash.update(x.to_le_bytes())),
                _ => slice::<i8>(tensor).chunks(4096).for_each(|chunk| {
                    hash.update(chunk.iter().map(|&x| x as u8).collect::<Vec<u8>>());
                }),
            }
        }
        hex(&hash.finalize())
    }

    /// Reads the batch's rows, writes their keys and values to the cache, and returns the residual stream after the
    /// last layer, `[rows, hidden]`.
    pub fn forward(&self, batch: &Batch, cache: &mut KvCache) -> Result<Tensor> {
        let positions = batch.rows.iter().map(|row| row.position);
        let angles = RopeAngles::new(&self.config.inverse_frequencies, positions);
        let mut pass = LayerPass::new(&self.config, batch.rows, &angles);
        let mut x = embed(&self.embedding, batch.tokens);
        for (index, (layer, cache)) in self.layers.iter().zip(&mut cache.layers).enumerate() {
            pass.adapter = batch.adapter.map(|adapter| (adapter, &adapter.paths[index]));
            x = layer.forward(x, cache, &mut pass)?;
        }
        Ok(x)
    }

    /// The next token's logits for chosen rows of [`Transformer::forward`]'s result, `[rows, vocab]`.
    pub fn logits(&self, x: &Tensor, rows: &[usize]) -> Result<Tensor> {
        let rows: Vec<i64> = rows.iter().map(|&row| row as i64).collect();
        let chosen = x.f_index_select(0, &Tensor::from_slice(&rows))?;
        self.head
            .forward(&kernels::rms_norm(&chosen, &self.norm, self.config.rms_eps))
    }

    /// Makes an adapter's basis fit this model's weights, which int8's equalisation has rescaled by channel.
    pub fn fit_side_path(&self, layer: usize, module: Module, mut path: SidePath) -> SidePath {
        let Some(equalization) = &self.layers[layer].equalization else {
            return path;
        };
        let o_in;
        let (inputs, outputs) = match module {
            Module::Q | Module::K => (&equalization.qkv_in, None),
            Module::V => (&equalization.qkv_in, Some(&equalization.v_out)),
            Module::O => {
                o_in = equalization.o_in(&self.config);
                (&o_in, None)
            }
            Module::Gate => (&equalization.gate_up_in, None),
            Module::Up => (&equalization.gate_up_in, Some(&equalization.up_out)),
            Module::Down => (&equalization.up_out, None),
        };
        path.v
            .chunks_exact_mut(inputs.len())
            .for_each(|row| multiply(row, inputs));
        if let Some(outputs) = outputs {
            path.ut
                .chunks_exact_mut(outputs.len())
                .for_each(|row| divide(row, outputs));
        }
        path
    }
}

impl KvLayer {
    fn new<T: View>(config: &ModelConfig, tokens: usize) -> Self {
        Self {
            keys: empty::<T>(&[tokens, config.kv_width()]),
            values: empty::<T>(&[tokens, config.kv_width()]),
        }
    }
}

/// One decoder layer.
#[derive(Debug)]
struct Layer {
    input_norm: Vec<f32>,
    /// q, k and v in one product.
    qkv: Linear,
    o: Linear,
    post_attention_norm: Vec<f32>,
    /// gate and up in one product.
    gate_up: Linear,
    down: Linear,
    equalization: Option<Equalization>,
}

/// What all layers of one forward pass share.
struct LayerPass<'a> {
    config: &'a ModelConfig,
    rows: &'a [RowAddress],
    angles: &'a RopeAngles,
    adapter: Option<(AdapterRows<'a>, &'a [Vec<SidePath>; 7])>,
    /// Where calibration notes the range of each product's input.
    ranges: Option<&'a mut InputRanges>,
}

impl<'a> LayerPass<'a> {
    fn new(config: &'a ModelConfig, rows: &'a [RowAddress], angles: &'a RopeAngles) -> Self {
        Self {
            config,
            rows,
            angles,
            adapter: None,
            ranges: None,
        }
    }

    /// Adds the candidates' side paths on `module`, whose outputs begin at `column` of `y`.
    fn add_side_paths(&self, module: Module, x: &Tensor, y: &mut Tensor, column: usize) {
        let Some((adapter, paths)) = self.adapter else { return };
        for path in &paths[module.index()] {
            kernels::add_side_path(path, x, y, column, adapter.bank, adapter.line, adapter.candidates);
        }
    }

    fn note(&mut self, input: fn(&mut InputRanges) -> &mut Vec<f32>, x: &Tensor) {
        if let Some(ranges) = &mut self.ranges {
            widen(input(ranges), x);
        }
    }
}

impl Layer {
    fn new(
        config: &ModelConfig,
        precision: Precision,
        raw: &LayerWeights,
        equalization: Option<Equalization>,
    ) -> Result<Self> {
        let ones = |width: usize| vec![1.0; width];
        let (qkv_in, v_out, o_in, gate_up_in, up_out) = match &equalization {
            Some(e) => (
                e.qkv_in.clone(),
                e.v_out.clone(),
                e.o_in(config),
                e.gate_up_in.clone(),
                e.up_out.clone(),
            ),
            None => {
                let (hidden, inner) = (config.hidden, config.intermediate);
                (
                    ones(hidden),
                    ones(config.kv_width()),
                    ones(config.q_width()),
                    ones(hidden),
                    ones(inner),
                )
            }
        };
        // Builds the rows of some modules as one matrix: columns times what the input is divided by, rows divided by
        // what the output is to be divided by.
        let linear = |parts: &[(Module, &[f32])], inputs: &[f32]| {
            let row_divisors: Vec<f32> = parts
                .iter()
                .flat_map(|(_, divisors)| divisors.iter().copied())
                .collect();
            let matrices: Vec<&[f32]> = parts
                .iter()
                .map(|(module, _)| raw.matrices[module.index()].as_slice())
                .collect();
            let bias: Option<Vec<f32>> = parts
                .iter()
                .map(|(module, _)| raw.biases[module.index()].clone())
                .collect::<Option<Vec<_>>>()
                .map(|biases| biases.concat());
            let bias = bias.map(|bias| bias.iter().zip(&row_divisors).map(|(b, d)| b / d).collect());
            let width = inputs.len();
            Linear::new(precision, [row_divisors.len(), width], bias, |rows, out| {
                for (row, out) in rows.zip(out.chunks_exact_mut(width)) {
                    let mut inside = row;
                    let matrix = matrices.iter().find(|matrix| {
                        let here = inside < matrix.len() / width;
                        inside -= if here { 0 } else { matrix.len() / width };
                        here
                    });
                    let from = &matrix.expect("a row of one of the matrices")[inside * width..][..width];
                    for ((out, x), scale) in out.iter_mut().zip(from).zip(inputs) {
                        *out = x * scale / row_divisors[row];
                    }
                }
                Ok(())
            })
        };
        let (q, kv) = (ones(config.q_width()), ones(config.kv_width()));
        let (hidden, gate) = (ones(config.hidden), ones(config.intermediate));
        let mut layer = Self {
            input_norm: raw.input_norm.clone(),
            qkv: linear(&[(Module::Q, &q), (Module::K, &kv), (Module::V, &v_out)], &qkv_in)?,
            o: linear(&[(Module::O, &hidden)], &o_in)?.with_fine_activations(),
            post_attention_norm: raw.post_attention_norm.clone(),
            gate_up: linear(&[(Module::Gate, &gate), (Module::Up, &up_out)], &gate_up_in)?,
            down: linear(&[(Module::Down, &hidden)], &up_out)?.with_fine_activations(),
            equalization,
        };
        divide(&mut layer.input_norm, &qkv_in);
        divide(&mut layer.post_attention_norm, &gate_up_in);
        Ok(layer)
    }

    /// x + attention, + feed-forward. `x` `[rows, hidden]`.
    fn forward(&self, mut x: Tensor, cache: &mut KvLayer, pass: &mut LayerPass) -> Result<Tensor> {
        let config = pass.config;
        let h = kernels::rms_norm(&x, &self.input_norm, config.rms_eps);
        pass.note(|ranges| &mut ranges.qkv, &h);
        let mut qkv = self.qkv.forward(&h)?; // [rows, (heads + 2·kv_heads)·head_dim]
        let (k_column, v_column) = (config.q_width(), config.q_width() + config.kv_width());
        for (module, column) in [(Module::Q, 0), (Module::K, k_column), (Module::V, v_column)] {
            pass.add_side_paths(module, &h, &mut qkv, column);
        }
        kernels::rope(&mut qkv, config.heads + config.kv_heads, pass.angles);
        kernels::store(&qkv, cache, pass.rows);
        let attended = kernels::attend(&qkv, cache, pass.rows, config.head_dim); // [rows, heads·head_dim]
        pass.note(|ranges| &mut ranges.o, &attended);
        let mut out = self.o.forward(&attended)?;
        pass.add_side_paths(Module::O, &attended, &mut out, 0);
        let _ = x.f_add_(&out)?;

        let h = kernels::rms_norm(&x, &self.post_attention_norm, config.rms_eps);
        pass.note(|ranges| &mut ranges.gate_up, &h);
        let mut gate_up = self.gate_up.forward(&h)?; // [rows, 2·intermediate]
        for (module, column) in [(Module::Gate, 0), (Module::Up, config.intermediate)] {
            pass.add_side_paths(module, &h, &mut gate_up, column);
        }
        let h = kernels::silu_mul(&gate_up);
        pass.note(|ranges| &mut ranges.down, &h);
        let mut out = self.down.forward(&h)?;
        pass.add_side_paths(Module::Down, &h, &mut out, 0);
        let _ = x.f_add_(&out)?;
        Ok(x)
    }

    fn bytes(&self) -> usize {
        let norms = 4 * (self.input_norm.len() + self.post_attention_norm.len());
        norms + self.qkv.bytes() + self.o.bytes() + self.gate_up.bytes() + self.down.bytes()
    }
}

/// One layer's numbers in f32, held only while the layer is built.
struct LayerWeights {
    input_norm: Vec<f32>,
    post_attention_norm: Vec<f32>,
    /// By [`Module::index`], `[out, in]` each.
    matrices: Vec<Vec<f32>>,
    biases: Vec<Option<Vec<f32>>>,
}

impl LayerWeights {
    fn read(weights: &Weights, layer: usize) -> Result<Self> {
        let read = |name: String| weights.read(&name);
        let mut biases = Vec::new();
        for module in Module::ALL {
            let name = format!("{}.bias", module.path(layer));
            biases.push(weights.has_bias(module).then(|| read(name)).transpose()?);
        }
        Ok(Self {
            input_norm: read(format!("model.layers.{layer}.input_layernorm.weight"))?,
            post_attention_norm: read(format!("model.layers.{layer}.post_attention_layernorm.weight"))?,
            matrices: Module::ALL
                .iter()
                .map(|module| read(format!("{}.weight", module.path(layer))))
                .collect::<Result<_>>()?,
            biases,
        })
    }

    /// Largest magnitude of each column of the matrices that read one input.
    fn column_ranges(&self, config: &ModelConfig) -> InputRanges {
        let of = |modules: &[Module]| {
            let mut ranges = Vec::new();
            for module in modules {
                widen_by(
                    &mut ranges,
                    &self.matrices[module.index()],
                    config.module_shape(*module)[1],
                );
            }
            ranges
        };
        InputRanges {
            qkv: of(&[Module::Q, Module::K, Module::V]),
            o: of(&[Module::O]),
            gate_up: of(&[Module::Gate, Module::Up]),
            down: of(&[Module::Down]),
        }
    }
}

/// The embedding's rows of these tokens in f32, `[rows, hidden]`.
fn embed(embedding: &Tensor, tokens: &[u32]) -> Tensor {
    let width = embedding.size()[1] as usize;
    let mut x = empty::<f32>(&[tokens.len(), width]);
    for (x, &token) in slice_mut::<f32>(&mut x).chunks_exact_mut(width).zip(tokens) {
        let at = token as usize * width..(token as usize + 1) * width;
        match embedding.kind() {
            Kind::Float => x.copy_from_slice(&slice::<f32>(embedding)[at]),
            _ => x
                .iter_mut()
                .zip(&slice::<bf16>(embedding)[at])
                .for_each(|(x, e)| *x = e.to_f32()),
        }
    }
    x
}

fn multiply(numbers: &mut [f32], by: &[f32]) {
    numbers.iter_mut().zip(by).for_each(|(x, s)| *x *= s);
}

fn divide(numbers: &mut [f32], by: &[f32]) {
    numbers.iter_mut().zip(by).for_each(|(x, s)| *x /= s);
}
