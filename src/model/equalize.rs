//! int8 needs equalisation: a few channels of a language model's activations are far larger than the rest, and with
//! one scale a row they leave the others too few of the 256 steps (5 % of perplexity on SmolLM2-135M). SmoothQuant
//! (Xiao et al., arXiv 2211.10438) divides each input channel by s and multiplies the weights' column by it,
//! s = max|X|^α / max|W|^(1−α) (equation 4). Every such division is folded into what comes before the product: the norm's weight
//! for q, k, v, gate and up, the rows of v for o, the rows of up for down. The ranges max|X| are taken from a few
//! prompts that run through the not yet equalised int8 layers, whose arithmetic is exact, so that the result is
//! the same for any number of threads.

use super::config::ModelConfig;
use super::kernels::slice;
use tch::Tensor;

/// α of SmoothQuant: how much of the difficulty moves into the weights. On SmolLM2-135M 0.5 was better than 0.4 and 0.6
/// (experiments/LOG.md, 2026-11-23).
const ALPHA: f32 = 0.5;

/// The divisors of one layer's activations, one a channel.
#[derive(Clone, Debug, PartialEq)]
pub struct Equalization {
    /// Of the input of q, k and v, `[hidden]`.
    pub qkv_in: Vec<f32>,
    /// Of v's output, `[kv_width]`: o's input is divided by the same, head by head.
    pub v_out: Vec<f32>,
    /// Of the input of gate and up, `[hidden]`.
    pub gate_up_in: Vec<f32>,
    /// Of up's output, and so of down's input, `[intermediate]`.
    pub up_out: Vec<f32>,
}

impl Equalization {
    /// Divisors from the ranges of the inputs and of the weights' columns.
    pub fn new(config: &ModelConfig, inputs: &InputRanges, columns: &InputRanges) -> Self {
        // o reads each value head once for every query head of its group, so they share a divisor.
        let by_group = |ranges: &[f32]| {
            let mut shared = vec![0.0_f32; config.kv_width()];
            for (index, range) in ranges.iter().enumerate() {
                let channel = value_channel(config, index);
                shared[channel] = shared[channel].max(*range);
            }
            shared
        };
        Self {
            qkv_in: divisors(&inputs.qkv, &columns.qkv),
            v_out: divisors(&by_group(&inputs.o), &by_group(&columns.o)),
            gate_up_in: divisors(&inputs.gate_up, &columns.gate_up),
            up_out: divisors(&inputs.down, &columns.down),
        }
    }

    /// Of o's input, `[q_width]`.
    pub fn o_in(&self, config: &ModelConfig) -> Vec<f32> {
        (0..config.q_width())
            .map(|index| self.v_out[value_channel(config, index)])
            .collect()
    }
}

/// Which channel of v feeds this channel of o's input.
fn value_channel(config: &ModelConfig, index: usize) -> usize {
    let (head, inside) = (index / config.head_dim, index % config.head_dim);
    head / (config.heads / config.kv_heads) * config.head_dim + inside
}

/// s = max|X|^α / max|W|^(1−α); 1 where a channel carries nothing.
pub fn divisors(inputs: &[f32], columns: &[f32]) -> Vec<f32> {
    let one = |(x, w): (&f32, &f32)| {
        let s = x.powf(ALPHA) / w.powf(1.0 - ALPHA);
        if s.is_normal() { s } else { 1.0 }
    };
    inputs.iter().zip(columns).map(one).collect()
}

/// Largest magnitude of each channel of the inputs of a layer's four products.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct InputRanges {
    /// Input of q, k and v.
    pub qkv: Vec<f32>,
    /// Input of o.
    pub o: Vec<f32>,
    /// Input of gate and up.
    pub gate_up: Vec<f32>,
    /// Input of down.
    pub down: Vec<f32>,
}

/// Widens `ranges` by the rows of `x` `[rows, width]`.
pub fn widen(ranges: &mut Vec<f32>, x: &Tensor) {
    widen_by(ranges, slice::<f32>(x), x.size()[1] as usize);
}

/// Widens `ranges` by rows of `width` numbers.
pub fn widen_by(ranges: &mut Vec<f32>, numbers: &[f32], width: usize) {
    ranges.resize(width, 0.0);
    for row in numbers.chunks_exact(width) {
        for (range, x) in ranges.iter_mut().zip(row) {
            *range = range.max(x.abs());
        }
    }
}
