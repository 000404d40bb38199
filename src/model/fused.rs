//! The model on a CPU, through the kernels: each layer is four products, and nothing else passes over memory.

use super::batch::Batch;
use super::config::{ModelConfig, Module};
use super::kernels::{self, Input, KvLayer, QkNorm, RopeAngles, Side, Turn, attend_row};
use super::layer::{Layer, embedding, head};
use super::linear::Linear;
use super::options::LoadOptions;
use super::rotary::Positions;
use super::weights::Weights;
use crate::digest::hex;
use crate::error::Result;
use rayon::prelude::*;
use sha2::{Digest, Sha256};

/// A model whose passes run through the kernels.
#[derive(Debug)]
pub struct Fused {
    config: ModelConfig,
    options: LoadOptions,
    /// `[vocab, hidden]`; none where the head's weights serve.
    embedding: Option<Linear>,
    layers: Vec<Layer>,
    /// `[hidden]`.
    norm: Vec<f32>,
    head: Linear,
}

/// What forward passes write to: keys and values of every layer, and the activations of the batch at hand, whose
/// buffers are used again and again.
#[derive(Debug)]
pub struct FusedWorkspace {
    layers: Vec<KvLayer>,
    /// The residual stream, `[rows, hidden]`.
    x: Vec<f32>,
    /// `[rows, (heads + 2·kv_heads)·head_dim]`.
    qkv: Vec<f32>,
    /// `[rows, intermediate]`.
    gated: Vec<f32>,
    /// What a block gives before it joins the residual stream, `[rows, hidden]`, where it does not join it at once.
    branch: Vec<f32>,
    /// What a product reads.
    input: Input,
    logits: Vec<f32>,
}

impl Fused {
    /// Loads a model.
    pub fn load(weights: &Weights, options: LoadOptions) -> Result<Self> {
        let config = weights.config().clone();
        let embedding = embedding(weights, options)?;
        let mut layers = Vec::with_capacity(config.layers);
        for index in 0..config.layers {
            layers.push(Layer::load(weights, index, options)?);
            weights.release();
        }
        Ok(Self {
            embedding,
            layers,
            norm: weights.norm("model.norm")?,
            head: head(weights, options)?,
            config,
            options,
        })
    }

    /// A workspace whose cache has room for `blocks` blocks of [`BLOCK`] tokens.
    pub fn new_workspace(&self, blocks: usize) -> FusedWorkspace {
        let layer = |_| {
            KvLayer::new(
                self.options.kv_cache,
                blocks,
                self.config.kv_heads,
                self.config.head_dim,
            )
        };
        FusedWorkspace {
            layers: (0..self.config.layers).map(layer).collect(),
            x: Vec::new(),
            qkv: Vec::new(),
            gated: Vec::new(),
            branch: Vec::new(),
            input: Input::default(),
            logits: Vec::new(),
        }
    }

    /// Bytes of all weights in memory, a tied head counted once.
    pub fn weight_bytes(&self) -> usize {
        let matrices: usize = self.matrices().map(Linear::bytes).sum();
        let norms: usize = self.norms().map(Vec::len).sum();
        matrices + 4 * norms
    }

    fn matrices(&self) -> impl Iterator<Item = &Linear> {
        let products = self
            .layers
            .iter()
            .flat_map(|layer| [&layer.qkv, &layer.o, &layer.gate, &layer.up, &layer.down]);
        products.chain([&self.head]).chain(&self.embedding)
    }

    fn norms(&self) -> impl Iterator<Item = &Vec<f32>> {
        let of_layers = self.layers.iter().flat_map(|layer| layer.norms.all());
        of_layers.chain([&self.norm])
    }

    /// SHA-256 over every base weight as it lies in memory, norms and biases included: the same before and after a run
    /// (promise 1).
    pub fn digest(&self) -> String {
        let mut hash = Sha256::new();
        let mut buffer = Vec::new();
        let mut take = |bytes: &[u8]| {
            buffer.extend_from_slice(bytes);
            if buffer.len() > 1 << 16 {
                hash.update(&buffer);
                buffer.clear();
            }
        };
        self.matrices().for_each(|matrix| matrix.visit_bytes(&mut take));
        self.norms().flatten().for_each(|x| take(&x.to_le_bytes()));
        hash.update(&buffer);
        hex(&hash.finalize())
    }

    /// Reads the batch's rows, writes their keys and values to the cache, and leaves the residual stream after the last
    /// layer in the workspace.
    pub fn forward(&self, batch: &Batch, work: &mut FusedWorkspace) -> Result<()> {
        let hidden = self.config.hidden;
        work.x.resize(batch.tokens.len() * hidden, 0.0);
        let embedding = self.embedding.as_ref().unwrap_or(&self.head);
        for (x, &token) in work.x.chunks_exact_mut(hidden).zip(batch.tokens) {
            embedding.row(token as usize, x);
        }
        let scale = self.config.scales.embedding;
        if scale != 1.0 {
            work.x.iter_mut().for_each(|x| *x *= scale);
        }
        let angles = |positions: &Positions| {
            RopeAngles::new(
                &positions.inverse_frequencies,
                positions.amplitude,
                positions.interleaved,
                batch.rows.iter().map(|row| row.position),
            )
        };
        let angles: Vec<RopeAngles> = self.config.rotary.iter().map(angles).collect();
        // On a thread of the pool: from outside, each of a layer's eight passes would have to wake somebody and be woken.
        rayon::scope(|_| {
            let mut layers = self.layers.iter().enumerate();
            layers.try_for_each(|(index, layer)| layer.forward(&self.config, index, batch, &angles, work))
        })
    }

    /// The next token's logits after chosen rows of the last [`Fused::forward`], `[rows, vocab]`.
    pub fn logits<'a>(&self, work: &'a mut FusedWorkspace, rows: &[usize]) -> Result<&'a mut [f32]> {
        self.fill_head(work, rows);
        work.logits.resize(rows.len() * self.config.head_shape()[0], 0.0);
        self.head.product(&work.input, None, false, &mut work.logits)?;
        let (scale, cap) = (self.config.scales.logits, self.config.caps.logits);
        if scale != 1.0 || cap.is_some() {
            work.logits.par_chunks_mut(self.config.head_shape()[0]).for_each(|row| {
                row.iter_mut().for_each(|x| *x *= scale);
                if let Some(cap) = cap {
                    kernels::soft_cap(row, cap);
                }
            });
        }
        Ok(&mut work.logits)
    }

    /// The likeliest next token after chosen rows, without their logits ever lying in memory where the head is packed. Scale and cap
    /// of the logits keep their order.
    pub fn likeliest(&self, work: &mut FusedWorkspace, rows: &[usize]) -> Result<Vec<u32>> {
        self.fill_head(work, rows);
        self.head.argmax(&work.input)
    }

    /// As [`super::Transformer::scores`]. Each row by itself and in a fixed order: a library's product of one output
    /// adds otherwise for other numbers of rows, and a score may not depend on its neighbours.
    pub fn scores(&self, work: &FusedWorkspace, rows: &[usize]) -> Vec<f32> {
        let hidden = self.config.hidden;
        let mut weight = vec![0.0; hidden];
        self.head.row(0, &mut weight);
        let score = |&row: &usize| {
            let mut x = vec![0.0; hidden];
            kernels::rms_norm_row(
                &work.x[row * hidden..][..hidden],
                &self.norm,
                self.config.rms_eps,
                &mut x,
            );
            let products = x.iter().zip(&weight).map(|(x, w)| f64::from(*x) * f64::from(*w));
            products.sum::<f64>() as f32
        };
        rows.par_iter().map(score).collect()
    }

    fn fill_head(&self, work: &mut FusedWorkspace, rows: &[usize]) {
        let (hidden, eps, x, norm) = (self.config.hidden, self.config.rms_eps, &work.x, &self.norm);
        work.input
            .fill([rows.len(), hidden], self.head.form(), None, |row, out| {
                kernels::rms_norm_row(&x[rows[row] * hidden..][..hidden], norm, eps, out);
            });
    }
}

impl Layer {
    /// x + attention, + feed-forward.
    fn forward(
        &self,
        config: &ModelConfig,
        index: usize,
        batch: &Batch,
        angles: &[RopeAngles],
        work: &mut FusedWorkspace,
    ) -> Result<()> {
        let FusedWorkspace {
            layers,
            x,
            qkv,
            gated,
            branch,
            input,
            ..
        } = work;
        let (rows, hidden, inner) = (batch.rows.len(), config.hidden, config.intermediate);
        let (norms, eps) = (&self.norms, config.rms_eps);
        let (q_width, kv_width) = (config.q_width(), config.kv_width());
        let side = |modules: &[(Module, usize)]| batch.adapter.and_then(|adapter| adapter.side(index, modules));
        let read = |x: &[f32], norm: &Option<Vec<f32>>, row: usize, out: &mut [f32]| {
            let x = &x[row * hidden..][..hidden];
            match norm {
                Some(norm) => kernels::rms_norm_row(x, norm, eps, out),
                None => out.copy_from_slice(x),
            }
        };
        // A block's last product adds to the residual stream as it goes, where nothing stands between them.
        let residual = config.scales.residual;
        let mut join =
            |product: &Linear, input: &Input, side: Option<&Side>, norm: &Option<Vec<f32>>, x: &mut [f32]| {
                if norm.is_none() && residual == 1.0 {
                    return product.product(input, side, true, x);
                }
                branch.resize(rows * hidden, 0.0);
                product.product(input, side, false, branch)?;
                let norm = norm.as_deref().map(|norm| (norm, eps));
                kernels::add_branch(x, branch, hidden, norm, residual);
                Ok(())
            };

        let of_qkv = side(&[(Module::Q, 0), (Module::K, q_width), (Module::V, q_width + kv_width)]);
        input.fill([rows, hidden], self.qkv.form(), of_qkv.as_ref(), |row, out| {
            read(x, &norms.before_attention, row, out);
        });
        let qkv_width = q_width + 2 * kv_width;
        qkv.resize(rows * qkv_width, 0.0);
        self.qkv.product(input, of_qkv.as_ref(), false, qkv)?;
        let turn = Turn {
            norm: norms.qk.as_ref().map(|[q, k]| QkNorm { q, k, eps }),
            angles: config.attention[index].rotary.map(|kind| &angles[kind]),
        };
        kernels::rotate_and_store(qkv, &mut layers[index], batch.rows, turn);

        let (of_o, attention) = (side(&[(Module::O, 0)]), config.layer_attention(index));
        input.fill([rows, q_width], self.o.form(), of_o.as_ref(), |row, out| {
            let query = &qkv[row * qkv_width..][..q_width];
            attend_row(query, &layers[index], batch.rows[row], attention, out);
        });
        join(&self.o, input, of_o.as_ref(), &norms.after_attention, x)?;

        let of_gate_up = side(&[(Module::Gate, 0), (Module::Up, inner)]);
        input.fill([rows, hidden], self.gate.form(), of_gate_up.as_ref(), |row, out| {
            read(x, &norms.before_mlp, row, out);
        });
        gated.resize(rows * inner, 0.0);
        self.gate
            .gated_product(&self.up, config.activation, input, of_gate_up.as_ref(), gated)?;

        let of_down = side(&[(Module::Down, 0)]);
        input.fill([rows, inner], self.down.form(), of_down.as_ref(), |row, out| {
            out.copy_from_slice(&gated[row * inner..][..inner]);
        });
        join(&self.down, input, of_down.as_ref(), &norms.after_mlp, x)
    }
}
