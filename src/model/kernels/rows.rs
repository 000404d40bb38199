//! Everything that happens to one row on its own: normalisation, quantization, the gated activation, rotary positions,
//! the log-probability of a token, and what a token is drawn by.

use super::for_row_numbers;
use super::simd::{LANES, dot, exp, map_sum, max, simd, tanh};
use super::view::Shared;

simd! {
    /// RMSNorm (arXiv 1910.07467): x · w / √(mean(x²) + ε). All `[width]`.
    pub fn rms_norm_row(x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) {
        let scale = 1.0 / (dot(x, x) / x.len() as f32 + eps).sqrt();
        for ((out, x), weight) in out.iter_mut().zip(x).zip(weight) {
            *out = x * scale * weight;
        }
    }
}

/// 1.5 · 2²³: a number below 2²² added to it stands, rounded to the nearest (ties to even), in its lowest bits.
const ROUNDER: f32 = 12_582_912.0;

/// The number rounded to int8; it lies within ±127.
#[inline(always)]
fn round(x: f32) -> i8 {
    (x + ROUNDER).to_bits() as i8
}

/// The largest magnitude.
#[inline(always)]
fn largest(x: &[f32]) -> f32 {
    let mut lanes = [0.0_f32; 16];
    let (wide, rest) = x.as_chunks::<16>();
    for x in wide {
        for lane in 0..16 {
            let magnitude = x[lane].abs();
            lanes[lane] = if magnitude > lanes[lane] {
                magnitude
            } else {
                lanes[lane]
            };
        }
    }
    rest.iter()
        .map(|x| x.abs())
        .chain(lanes)
        .fold(0.0, |a: f32, b| if b > a { b } else { a })
}

simd! {
    /// Symmetric int8 by groups of a row: x ≈ q · scale, scale = max|x| / 127, and 0 for a group of zeros. `x` `[width]`,
    /// `numbers` `[⌈width / 4⌉]`, the others `[groups]`; see [`super::QuantizedRows`] for what they are.
    pub fn quantize_row(
        x: &[f32],
        group: usize,
        numbers: &mut [[i8; 4]],
        scales: &mut [f32],
        corrections: &mut [i32],
        totals: &mut [f32],
    ) {
        if let Some(last) = numbers.last_mut() {
            *last = [0; 4];
        }
        let flat = numbers.as_flattened_mut();
        for (index, (x, q)) in x.chunks(group).zip(flat.chunks_mut(group)).enumerate() {
            let largest = largest(x);
            let inverse = if largest > 0.0 { 127.0 / largest } else { 0.0 };
            let mut sum = 0;
            for (q, x) in q.iter_mut().zip(x) {
                let rounded = round(x * inverse);
                *q = rounded;
                sum += i32::from(rounded);
            }
            scales[index] = largest / 127.0;
            corrections[index] = -128 * sum;
            totals[index] = largest / 127.0 * sum as f32;
        }
    }
}

simd! {
    /// Symmetric int8 with one scale for a whole row of weights. Returns the scale.
    pub fn quantize_weights(w: &[f32], q: &mut [i8]) -> f32 {
        let largest = largest(w);
        let inverse = if largest > 0.0 { 127.0 / largest } else { 0.0 };
        for (q, w) in q.iter_mut().zip(w) {
            *q = round(w * inverse);
        }
        largest / 127.0
    }
}

/// cos and sin of the angles of rotary positions (arXiv 2104.09864) for the rows of one batch, `[rows, turned / 2]`
/// each: made once a batch and used by every layer of one kind.
#[derive(Clone, Debug)]
pub struct RopeAngles {
    half: usize,
    interleaved: bool,
    cos: Vec<f32>,
    sin: Vec<f32>,
}

impl RopeAngles {
    /// Angles are position · inverse frequency in f32, as in the reference implementations; cos and sin are multiplied by
    /// `amplitude`. Dimension i of the turned ones pairs with i + turned / 2, as Hugging Face lays them out, or, where they are
    /// `interleaved`, 2i with 2i + 1.
    pub fn new(
        inverse_frequencies: &[f32],
        amplitude: f32,
        interleaved: bool,
        positions: impl Iterator<Item = usize>,
    ) -> Self {
        let angles = positions.flat_map(|p| inverse_frequencies.iter().map(move |f| f64::from(p as f32 * f)));
        let (cos, sin) = angles
            .map(|angle| (angle.cos() as f32 * amplitude, angle.sin() as f32 * amplitude))
            .unzip();
        Self {
            half: inverse_frequencies.len(),
            interleaved,
            cos,
            sin,
        }
    }

    /// Turns heads by a row's angles: of each head the first `2 · half` numbers, and not those behind. `heads` `[heads · head_dim]`.
    pub(super) fn rotate(&self, row: usize, heads: &mut [f32], head_dim: usize) {
        let at = row * self.half..(row + 1) * self.half;
        let (cos, sin) = (&self.cos[at.clone()], &self.sin[at]);
        match self.interleaved {
            false => rotate_row(heads, head_dim, cos, sin),
            true => rotate_pairs(heads, head_dim, cos, sin),
        }
    }
}

simd! {
    fn rotate_row(heads: &mut [f32], head_dim: usize, cos: &[f32], sin: &[f32]) {
        let half = cos.len();
        for head in heads.chunks_exact_mut(head_dim) {
            let (low, high) = head[..2 * half].split_at_mut(half);
            for i in 0..half {
                let (a, b) = (low[i], high[i]);
                low[i] = a * cos[i] - b * sin[i];
                high[i] = b * cos[i] + a * sin[i];
            }
        }
    }
}

simd! {
    fn rotate_pairs(heads: &mut [f32], head_dim: usize, cos: &[f32], sin: &[f32]) {
        for head in heads.chunks_exact_mut(head_dim) {
            let pairs = head.as_chunks_mut::<2>().0;
            for ((pair, cos), sin) in pairs.iter_mut().zip(cos).zip(sin) {
                let [a, b] = *pair;
                *pair = [a * cos - b * sin, b * cos + a * sin];
            }
        }
    }
}

simd! {
    /// Each number held within ±cap: cap · tanh(x / cap).
    pub fn soft_cap(x: &mut [f32], cap: f32) {
        for x in x {
            *x = cap * tanh(*x / cap);
        }
    }
}

/// RMSNorm of a row of queries and keys before they are turned.
#[derive(Clone, Copy, Debug)]
pub struct QkNorm<'a> {
    /// Of queries: `[head_dim]` for each head by itself, or the width of all.
    pub q: &'a [f32],
    /// Of keys.
    pub k: &'a [f32],
    /// ε.
    pub eps: f32,
}

impl QkNorm<'_> {
    /// `queries` and `keys` are whole rows.
    pub(super) fn apply(&self, queries: &mut [f32], keys: &mut [f32], scratch: &mut Vec<f32>) {
        for (vectors, weight) in [(queries, self.q), (keys, self.k)] {
            scratch.resize(weight.len(), 0.0);
            for vector in vectors.chunks_exact_mut(weight.len()) {
                rms_norm_row(vector, weight, self.eps, scratch);
                vector.copy_from_slice(scratch);
            }
        }
    }
}

/// A branch joins the residual stream: x += scale · branch, the branch normalised before where it has a norm (its weight and ε).
/// Both `[rows, width]`.
pub fn add_branch(x: &mut [f32], branch: &[f32], width: usize, norm: Option<(&[f32], f32)>, scale: f32) {
    let rows = x.len() / width;
    let x = Shared::new(x);
    for_row_numbers(
        rows,
        || vec![0.0; width],
        |scratch: &mut Vec<f32>, row| {
            let branch = &branch[row * width..][..width];
            let branch = match norm {
                None => branch,
                Some((weight, eps)) => {
                    rms_norm_row(branch, weight, eps, scratch);
                    scratch
                }
            };
            // SAFETY: every row is given to one task.
            let x = unsafe { x.part(row * width..(row + 1) * width) };
            x.iter_mut().zip(branch).for_each(|(x, y)| *x += scale * y);
        },
    );
}

simd! {
    /// ln softmax(logits) at `token`. Overwrites `logits`.
    pub fn log_probability(logits: &mut [f32], token: usize) -> f32 {
        let chosen = logits[token];
        let largest = max(logits);
        let sum = map_sum(logits, |logit| exp(logit - largest));
        chosen - largest - sum.ln()
    }
}

/// Softmax without its denominator: e^((logit − largest) / temperature).
#[derive(Clone, Copy, Debug)]
pub struct Softmax {
    /// The largest logit, whose weight is 1.
    pub largest: f32,
    /// 1 / temperature.
    pub inverse_temperature: f32,
}

impl Softmax {
    /// Whether a logit's weight is above 0: not where single precision would not do, and not for −∞ and NaN.
    #[inline(always)]
    pub fn weighs(self, logit: f32) -> bool {
        (logit - self.largest) * self.inverse_temperature > -87.0
    }

    #[inline(always)]
    fn weight(self, logit: f32) -> f32 {
        let weight = exp((logit - self.largest) * self.inverse_temperature);
        if self.weighs(logit) { weight } else { 0.0 }
    }
}

simd! {
    /// The weight of each logit. Both `[n]`.
    pub fn softmax_weights(softmax: Softmax, logits: &[f32], weights: &mut [f32]) {
        for (weight, logit) in weights.iter_mut().zip(logits) {
            *weight = softmax.weight(*logit);
        }
    }
}

simd! {
    /// The sum of the weights of each `span` logits, in f64. `sums` `[⌈n / span⌉]`.
    pub fn softmax_span_sums(softmax: Softmax, logits: &[f32], span: usize, sums: &mut [f64]) {
        for (sum, logits) in sums.iter_mut().zip(logits.chunks(span)) {
            let mut lanes = [0.0_f64; LANES];
            let (wide, rest) = logits.as_chunks::<LANES>();
            for logits in wide {
                for lane in 0..LANES {
                    lanes[lane] += f64::from(softmax.weight(logits[lane]));
                }
            }
            for (lane, logit) in rest.iter().enumerate() {
                lanes[lane] += f64::from(softmax.weight(*logit));
            }
            *sum = lanes.iter().sum();
        }
    }
}

simd! {
    /// The largest of each `span` numbers; NaN is passed over. `maxima` `[⌈n / span⌉]`.
    pub fn span_maxima(values: &[f32], span: usize, maxima: &mut [f32]) {
        for (maximum, values) in maxima.iter_mut().zip(values.chunks(span)) {
            *maximum = max(values);
        }
    }
}

simd! {
    /// Index of the largest number, the first of equals; 0 where there is none but NaN.
    pub fn argmax(values: &[f32]) -> u32 {
        let largest = max(values);
        values.iter().position(|&value| value == largest).unwrap_or(0) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::Seed;
    use tch::{Kind, Tensor};

    fn random(n: usize, seed: u64) -> Vec<f32> {
        Seed::new(seed).normals(n).iter().map(|&x| x as f32).collect()
    }

    fn largest_difference(found: &[f32], expected: &Tensor) -> f64 {
        (Tensor::from_slice(found) - expected).abs().max().double_value(&[])
    }

    #[test]
    fn rms_norm_is_librarys() {
        let (x, weight) = (random(53, 1), random(53, 2));
        let t = Tensor::from_slice(&x);
        let expected = &t * (t.square().mean(Kind::Float) + 1e-5).rsqrt() * Tensor::from_slice(&weight);
        let mut out = vec![0.0; 53];
        rms_norm_row(&x, &weight, 1e-5, &mut out);
        assert!(largest_difference(&out, &expected) < 1e-6);
    }

    #[test]
    fn quantization_errs_by_half_a_step_of_its_group() {
        let (width, group) = (102, 20);
        let mut x = random(width, 3);
        x[40..60].fill(0.0);
        let groups = width.div_ceil(group);
        let (mut numbers, mut scales) = (vec![[1; 4]; width.div_ceil(4)], vec![0.0; groups]);
        let (mut corrections, mut totals) = (vec![0; groups], vec![0.0; groups]);
        quantize_row(&x, group, &mut numbers, &mut scales, &mut corrections, &mut totals);
        let q = numbers.as_flattened();
        assert_eq!(q[width..], [0; 2], "padding is zero");
        for (index, (x, q)) in x.chunks(group).zip(q[..width].chunks(group)).enumerate() {
            let largest = x.iter().fold(0.0_f32, |a, b| a.max(b.abs()));
            assert_eq!(scales[index], largest / 127.0);
            assert!(q.iter().all(|q| *q != -128));
            for (x, q) in x.iter().zip(q) {
                assert!((f32::from(*q) * scales[index] - x).abs() <= scales[index] * 0.500_01);
            }
            let sum: i32 = q.iter().map(|&q| i32::from(q)).sum();
            assert_eq!(corrections[index], -128 * sum);
            assert_eq!(totals[index], scales[index] * sum as f32);
        }
    }

    #[test]
    fn rounding_is_to_the_nearest_even() {
        for step in -1270..=1270 {
            let x = step as f32 / 10.0;
            assert_eq!(round(x), x.round_ties_even() as i8, "{x}");
        }
    }

    #[test]
    fn argmax_takes_the_first_of_the_largest() {
        assert_eq!(argmax(&[1.0, 3.0, 3.0, f32::NAN]), 1);
        assert_eq!(argmax(&[f32::NAN, 0.5]), 1);
        assert_eq!(argmax(&[f32::NAN]), 0);
        let mut many = vec![-1.0; 1000];
        many[701] = 2.0;
        assert_eq!(argmax(&many), 701);
    }

    #[test]
    fn log_probability_is_librarys() {
        let mut logits: Vec<f32> = random(1000, 5).iter().map(|x| x * 4.0).collect();
        let expected = Tensor::from_slice(&logits)
            .log_softmax(0, Kind::Float)
            .double_value(&[17]);
        let found = log_probability(&mut logits, 17);
        assert!((f64::from(found) - expected).abs() < 1e-5, "{found} {expected}");
    }

    #[test]
    fn a_rotation_keeps_lengths_and_position_zero_is_none() {
        let angles = RopeAngles::new(&[1.0, 0.1], 1.0, false, [0, 7].into_iter());
        let x = random(8, 6);
        let (mut still, mut turned) = (x.clone(), x.clone());
        angles.rotate(0, &mut still, 4);
        angles.rotate(1, &mut turned, 4);
        assert_eq!(still, x);
        assert_ne!(turned, x);
        let norm = |head: &[f32]| head.iter().map(|x| x * x).sum::<f32>().sqrt();
        for (turned, x) in turned.chunks(4).zip(x.chunks(4)) {
            assert!((norm(turned) - norm(x)).abs() < 1e-5);
        }
    }
}
