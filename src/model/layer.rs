//! The weights of a decoder layer, of the embedding and of the head, as they are read from a file.

use super::config::{Head, ModelConfig, Module};
use super::kernels::{Int4Group, PackedWeight};
use super::linear::{Linear, Precision, RowSource};
use super::options::LoadOptions;
use super::weights::{QK_NORMS, Weights};
use crate::error::Result;
use std::ops::Range;

/// The products of a layer, each of modules that read one input.
const PRODUCTS: [&[Module]; 5] = [
    &[Module::Q, Module::K, Module::V],
    &[Module::O],
    &[Module::Gate],
    &[Module::Up],
    &[Module::Down],
];

/// One decoder layer.
#[derive(Debug)]
pub(super) struct Layer {
    pub norms: LayerNorms<Vec<f32>>,
    /// q, k and v in one product.
    pub qkv: Linear,
    pub o: Linear,
    pub gate: Linear,
    pub up: Linear,
    pub down: Linear,
}

/// The weights of a layer's norms, where its family has them.
#[derive(Debug)]
pub(super) struct LayerNorms<T> {
    /// On what attention reads.
    pub before_attention: Option<T>,
    /// On queries and on keys.
    pub qk: Option<[T; 2]>,
    /// On what attention gives.
    pub after_attention: Option<T>,
    /// On what the feed-forward block reads.
    pub before_mlp: Option<T>,
    /// On what it gives.
    pub after_mlp: Option<T>,
}

impl LayerNorms<Vec<f32>> {
    fn load(weights: &Weights, layer: usize) -> Result<Self> {
        let config = weights.config();
        let norm = |name: &str| weights.norm(&format!("model.layers.{layer}.{name}"));
        let named = config.family.norms;
        Ok(Self {
            before_attention: named.before_attention.map(norm).transpose()?,
            qk: match config.qk_norm_widths() {
                None => None,
                Some(_) => Some([norm(QK_NORMS[0])?, norm(QK_NORMS[1])?]),
            },
            after_attention: named.after_attention.map(norm).transpose()?,
            before_mlp: named.before_mlp.map(norm).transpose()?,
            after_mlp: named.after_mlp.map(norm).transpose()?,
        })
    }
}

impl<T> LayerNorms<T> {
    /// All that there are, in the order in which they are applied.
    pub fn all(&self) -> impl Iterator<Item = &T> {
        let before = self.before_attention.iter().chain(self.qk.iter().flatten());
        before
            .chain(&self.after_attention)
            .chain(&self.before_mlp)
            .chain(&self.after_mlp)
    }

    /// The same norms as something else.
    pub fn map<U>(&self, of: impl Fn(&T) -> U) -> LayerNorms<U> {
        LayerNorms {
            before_attention: self.before_attention.as_ref().map(&of),
            qk: self.qk.as_ref().map(|[q, k]| [of(q), of(k)]),
            after_attention: self.after_attention.as_ref().map(&of),
            before_mlp: self.before_mlp.as_ref().map(&of),
            after_mlp: self.after_mlp.as_ref().map(&of),
        }
    }
}

impl Layer {
    pub fn load(weights: &Weights, index: usize, options: LoadOptions) -> Result<Self> {
        let config = weights.config();
        let linear = |modules: &[Module]| {
            let inputs = config.module_shape(modules[0])[1];
            let outputs: usize = modules.iter().map(|&module| config.module_shape(module)[0]).sum();
            let bias: Option<Vec<Vec<f32>>> = modules
                .iter()
                .filter(|&&module| weights.has_bias(module))
                .map(|module| Some(weights.read(&format!("{}.bias", module.path(index)))))
                .map(Option::transpose)
                .collect::<Result<_>>()?;
            let bias = bias.filter(|parts| !parts.is_empty()).map(|parts| parts.concat());
            let mut rows = Stacked {
                weights,
                int4_group: shared_int4_group(weights, index, modules),
                matrices: modules
                    .iter()
                    .map(|&module| (format!("{}.weight", module.path(index)), config.module_shape(module)[0]))
                    .collect(),
            };
            Linear::new(
                options.precision,
                options.group_size,
                [outputs, inputs],
                bias,
                &mut rows,
            )
        };
        Ok(Self {
            norms: LayerNorms::load(weights, index)?,
            qkv: linear(PRODUCTS[0])?,
            o: linear(PRODUCTS[1])?,
            gate: linear(PRODUCTS[2])?,
            up: linear(PRODUCTS[3])?,
            down: linear(PRODUCTS[4])?,
        })
    }
}

/// Loads the embedding; there is none where the head's weights serve.
pub(super) fn embedding(weights: &Weights, options: LoadOptions) -> Result<Option<Linear>> {
    let precision = embedding_precision(options.precision);
    let own = !weights.config().tied;
    let shape = [weights.config().vocab, weights.config().hidden];
    own.then(|| matrix(weights, "model.embed_tokens.weight", shape, precision, options))
        .transpose()
}

/// Loads the head.
pub(super) fn head(weights: &Weights, options: LoadOptions) -> Result<Linear> {
    let config = weights.config();
    let precision = head_precision(config, options.precision);
    matrix(weights, config.head_name(), config.head_shape(), precision, options)
}

/// Rows of the embedding are only looked up: nothing is gained by making them smaller than bf16.
fn embedding_precision(precision: Precision) -> Precision {
    match precision {
        Precision::F32 => Precision::F32,
        _ => Precision::Bf16,
    }
}

/// In four bits the head of a small model costs a tenth of its perplexity (experiments/LOG.md, 2026-11-24). The single row of a score head
/// is not worth any rounding.
fn head_precision(config: &ModelConfig, precision: Precision) -> Precision {
    match (config.head, precision) {
        (Head::Score { .. }, _) => Precision::F32,
        (Head::Language, Precision::Int4) => Precision::Int8,
        (Head::Language, other) => other,
    }
}

/// Bytes that the weights will take in memory on a CPU, known before they are loaded.
pub fn weight_bytes(weights: &Weights, options: LoadOptions) -> usize {
    let config = weights.config();
    let matrix = |[rows, columns]: [usize; 2], precision: Precision, group: usize| match precision {
        Precision::F32 => 4 * rows * columns,
        Precision::Bf16 => 2 * rows * columns,
        Precision::Int8 => PackedWeight::bytes_of([rows, columns], None),
        Precision::Int4 => PackedWeight::bytes_of([rows, columns], Some(group)),
    };
    let of_layer = |layer: usize| -> usize {
        let products = PRODUCTS.iter().map(|modules| {
            let rows: usize = modules.iter().map(|&module| config.module_shape(module)[0]).sum();
            let biased = modules.iter().filter(|&&module| weights.has_bias(module));
            let biases: usize = biased.map(|&module| config.module_shape(module)[0]).sum();
            let group = shared_int4_group(weights, layer, modules).unwrap_or(options.group_size);
            matrix([rows, config.module_shape(modules[0])[1]], options.precision, group) + 4 * biases
        });
        products.sum()
    };
    let vocabulary = [config.vocab, config.hidden];
    let head = matrix(
        config.head_shape(),
        head_precision(config, options.precision),
        options.group_size,
    );
    let embedding = matrix(vocabulary, embedding_precision(options.precision), options.group_size);
    let norms = 4 * (config.layers * config.norm_numbers() + config.hidden);
    (0..config.layers).map(of_layer).sum::<usize>() + head + if config.tied { 0 } else { embedding } + norms
}

fn matrix(
    weights: &Weights,
    name: &str,
    shape: [usize; 2],
    precision: Precision,
    options: LoadOptions,
) -> Result<Linear> {
    let mut rows = |rows: Range<usize>, out: &mut [f32]| weights.rows(name, rows, out);
    let matrix = Linear::new(precision, options.group_size, shape, None, &mut rows);
    weights.release();
    matrix
}

/// The rows of several matrices of a file, one matrix after the other.
struct Stacked<'a> {
    weights: &'a Weights,
    int4_group: Option<usize>,
    /// Names and heights.
    matrices: Vec<(String, usize)>,
}

/// The group of the 4-bit blocks that a file has for these modules, if it is the same for all that read one input: gate and
/// up are two matrices, but their activations are quantized once.
fn shared_int4_group(weights: &Weights, layer: usize, modules: &[Module]) -> Option<usize> {
    let modules = match modules {
        [Module::Gate | Module::Up] => &[Module::Gate, Module::Up],
        other => other,
    };
    let group = |module: &Module| weights.int4_group(&format!("{}.weight", module.path(layer)));
    let mut groups = modules.iter().map(group);
    let first = groups.next()??;
    groups.all(|group| group == Some(first)).then_some(first)
}

impl RowSource for Stacked<'_> {
    fn floats(&mut self, rows: Range<usize>, out: &mut [f32]) -> Result<()> {
        let inputs = out.len() / rows.len().max(1);
        let (mut first, mut out) = (0, out);
        for (name, height) in &self.matrices {
            let here = rows.start.max(first)..rows.end.min(first + height);
            if !here.is_empty() {
                let part;
                (part, out) = out.split_at_mut(here.len() * inputs);
                self.weights.rows(name, here.start - first..here.end - first, part)?;
            }
            first += height;
        }
        Ok(())
    }

    fn int4_group(&self) -> Option<usize> {
        self.int4_group
    }

    fn int4(&mut self, row: usize, q: &mut [u8], groups: &mut [Int4Group]) -> Result<()> {
        let mut row = row;
        for (name, height) in &self.matrices {
            if row < *height {
                return self.weights.int4_row(name, row, q, groups);
            }
            row -= height;
        }
        unreachable!("a row of one of the matrices")
    }
}
