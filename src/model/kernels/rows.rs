//! Everything that happens to one row on its own: normalisation, int8 quantization and its way back, the gated
//! activation, rotary positions, and the log-probability of a token.

use super::simd::{dot, exp, map_sum, max, simd};
use super::{empty, for_rows, slice, slice_mut};
use tch::Tensor;

/// RMSNorm (arXiv 1910.07467): x · w / √(mean(x²) + ε). `x` `[rows, width]`, `weight` `[width]`.
pub fn rms_norm(x: &Tensor, weight: &[f32], eps: f32) -> Tensor {
    let width = weight.len();
    let mut out = empty::<f32>(&[x.size()[0] as usize, width]);
    let x = slice::<f32>(x);
    for_rows(slice_mut(&mut out), width, |first, rows| {
        for (index, out) in rows.chunks_exact_mut(width).enumerate() {
            rms_norm_row(&x[(first + index) * width..][..width], weight, eps, out);
        }
    });
    out
}

simd! {
    fn rms_norm_row(x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) {
        let scale = 1.0 / (dot(x, x) / x.len() as f32 + eps).sqrt();
        for ((out, x), weight) in out.iter_mut().zip(x).zip(weight) {
            *out = x * scale * weight;
        }
    }
}

/// Symmetric int8 by row: `x ≈ q · scale`, scale = max|x| / 127. `x` `[rows, width]`; returns q and one scale a row.
pub fn quantize(x: &Tensor) -> (Tensor, Vec<f32>) {
    let (rows, width) = (x.size()[0] as usize, x.size()[1] as usize);
    let mut quantized = empty::<i8>(&[rows, width]);
    let mut scales = vec![0.0; rows];
    let x = slice::<f32>(x);
    let chunk = rows.div_ceil(4 * rayon::current_num_threads()).max(1);
    use rayon::prelude::*;
    slice_mut::<i8>(&mut quantized)
        .par_chunks_mut(chunk * width)
        .zip(scales.par_chunks_mut(chunk))
        .enumerate()
        .for_each(|(index, (quantized, scales))| {
            for (row, (quantized, scale)) in quantized.chunks_exact_mut(width).zip(scales).enumerate() {
                *scale = quantize_row(&x[(index * chunk + row) * width..][..width], quantized);
            }
        });
    (quantized, scales)
}

simd! {
    /// Quantizes one row into `out` and returns its scale; a row of zeros has scale 0.
    pub fn quantize_row(x: &[f32], out: &mut [i8]) -> f32 {
        let mut lanes = [0.0_f32; 16];
        let (wide, rest) = x.as_chunks::<16>();
        for x in wide {
            for lane in 0..16 {
                let magnitude = x[lane].abs();
                lanes[lane] = if magnitude > lanes[lane] { magnitude } else { lanes[lane] };
            }
        }
        let largest = rest.iter().map(|x| x.abs()).chain(lanes).fold(0.0, |a: f32, b| if b > a { b } else { a });
        let inverse = if largest > 0.0 { 127.0 / largest } else { 0.0 };
        for (out, x) in out.iter_mut().zip(x) {
            *out = (x * inverse).round_ties_even() as i8;
        }
        largest / 127.0
    }
}

/// What [`quantize`] leaves over: x − q · scale. `x` and `quantized` `[rows, width]`.
pub fn remainder(x: &Tensor, quantized: &Tensor, scales: &[f32]) -> Tensor {
    let width = x.size()[1] as usize;
    let mut out = empty::<f32>(&[scales.len(), width]);
    let (x, quantized) = (slice::<f32>(x), slice::<i8>(quantized));
    for_rows(slice_mut(&mut out), width, |first, rows| {
        for (index, out) in rows.chunks_exact_mut(width).enumerate() {
            let row = first + index;
            remainder_row(
                &x[row * width..][..width],
                &quantized[row * width..][..width],
                scales[row],
                out,
            );
        }
    });
    out
}

simd! {
    fn remainder_row(x: &[f32], quantized: &[i8], scale: f32, out: &mut [f32]) {
        for ((out, x), q) in out.iter_mut().zip(x).zip(quantized) {
            *out = f32::from(*q).mul_add(-scale, *x);
        }
    }
}

/// The way back from an integer product: y = acc · row scale · column scale + bias. `acc` `[rows, width]` i32.
pub fn dequantize(acc: &Tensor, row_scales: &[f32], column_scales: &[f32], bias: Option<&[f32]>) -> Tensor {
    let width = column_scales.len();
    let mut out = empty::<f32>(&[row_scales.len(), width]);
    let acc = slice::<i32>(acc);
    for_rows(slice_mut(&mut out), width, |first, rows| {
        for (index, out) in rows.chunks_exact_mut(width).enumerate() {
            let row = first + index;
            dequantize_row(&acc[row * width..][..width], row_scales[row], column_scales, bias, out);
        }
    });
    out
}

simd! {
    fn dequantize_row(acc: &[i32], row_scale: f32, column_scales: &[f32], bias: Option<&[f32]>, out: &mut [f32]) {
        for ((out, acc), scale) in out.iter_mut().zip(acc).zip(column_scales) {
            *out = *acc as f32 * (row_scale * scale);
        }
        if let Some(bias) = bias {
            for (out, bias) in out.iter_mut().zip(bias) {
                *out += bias;
            }
        }
    }
}

/// SwiGLU's middle (arXiv 2002.05202): silu(gate) · up. `gate_up` `[rows, 2·width]`, gate first; returns `[rows, width]`.
pub fn silu_mul(gate_up: &Tensor) -> Tensor {
    let (rows, width) = (gate_up.size()[0] as usize, gate_up.size()[1] as usize / 2);
    let mut out = empty::<f32>(&[rows, width]);
    let gate_up = slice::<f32>(gate_up);
    for_rows(slice_mut(&mut out), width, |first, rows| {
        for (index, out) in rows.chunks_exact_mut(width).enumerate() {
            let (gate, up) = gate_up[(first + index) * 2 * width..][..2 * width].split_at(width);
            silu_mul_row(gate, up, out);
        }
    });
    out
}

simd! {
    fn silu_mul_row(gate: &[f32], up: &[f32], out: &mut [f32]) {
        for ((out, gate), up) in out.iter_mut().zip(gate).zip(up) {
            *out = gate / (1.0 + exp(-gate)) * up;
        }
    }
}

/// cos and sin of the angles of rotary positions (arXiv 2104.09864) for the rows of one batch, `[rows, head_dim / 2]`
/// each: made once a batch and used by every layer.
#[derive(Clone, Debug)]
pub struct RopeAngles {
    half: usize,
    cos: Vec<f32>,
    sin: Vec<f32>,
}

impl RopeAngles {
    /// Angles are position · inverse frequency in f32, as in the reference implementations.
    pub fn new(inverse_frequencies: &[f32], positions: impl Iterator<Item = usize>) -> Self {
        let angles = positions.flat_map(|p| inverse_frequencies.iter().map(move |f| f64::from(p as f32 * f)));
        let (cos, sin) = angles.map(|angle| (angle.cos() as f32, angle.sin() as f32)).unzip();
        Self {
            half: inverse_frequencies.len(),
            cos,
            sin,
        }
    }
}

/// Rotates the first `heads` heads of every row by its angles, in place; dimension i pairs with i + head_dim/2, as
/// Hugging Face lays them out. `x` `[rows, width]` with the heads first.
pub fn rope(x: &mut Tensor, heads: usize, angles: &RopeAngles) {
    let width = x.size()[1] as usize;
    let half = angles.half;
    for_rows(slice_mut(x), width, |first, rows| {
        for (index, row) in rows.chunks_exact_mut(width).enumerate() {
            let at = (first + index) * half;
            let (cos, sin) = (&angles.cos[at..at + half], &angles.sin[at..at + half]);
            rope_row(&mut row[..heads * 2 * half], cos, sin);
        }
    });
}

simd! {
    fn rope_row(heads: &mut [f32], cos: &[f32], sin: &[f32]) {
        let half = cos.len();
        for head in heads.chunks_exact_mut(2 * half) {
            let (low, high) = head.split_at_mut(half);
            for i in 0..half {
                let (a, b) = (low[i], high[i]);
                low[i] = a * cos[i] - b * sin[i];
                high[i] = b * cos[i] + a * sin[i];
            }
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::Seed;
    use tch::Kind;

    fn random(rows: i64, width: i64, seed: u64) -> Tensor {
        let numbers: Vec<f32> = Seed::new(seed)
            .normals((rows * width) as usize)
            .iter()
            .map(|&x| x as f32)
            .collect();
        Tensor::from_slice(&numbers).view([rows, width])
    }

    fn largest_difference(a: &Tensor, b: &Tensor) -> f64 {
        (a - b).abs().max().double_value(&[])
    }

    #[test]
    fn rms_norm_is_librarys() {
        let x = random(7, 53, 1);
        let weight = random(1, 53, 2).view([53]);
        let expected = &x * (x.square().mean_dim([1_i64].as_slice(), true, Kind::Float) + 1e-5).rsqrt() * &weight;
        assert!(largest_difference(&rms_norm(&x, slice(&weight), 1e-5), &expected) < 1e-6);
    }

    #[test]
    fn quantization_errs_by_half_a_step() {
        let x = random(5, 100, 3);
        let (quantized, scales) = quantize(&x);
        let back = quantized.to_kind(Kind::Float) * Tensor::from_slice(&scales).view([5, 1]);
        let largest_scale = scales.iter().fold(0.0_f32, |a, &b| a.max(b));
        assert!(largest_difference(&back, &x) <= f64::from(largest_scale) * 0.500_01);
        assert_eq!(quantized.abs().max().int64_value(&[]), 127);
    }

    #[test]
    fn a_row_of_zeros_stays_zero() {
        let (quantized, scales) = quantize(&Tensor::zeros([1, 20], (Kind::Float, tch::Device::Cpu)));
        assert_eq!(slice::<i8>(&quantized), [0; 20]);
        assert_eq!(scales, [0.0]);
    }

    #[test]
    fn silu_mul_is_librarys() {
        let gate_up = random(3, 2 * 37, 4) * 3.0;
        let expected = gate_up.narrow(1, 0, 37).silu() * gate_up.narrow(1, 37, 37);
        assert!(largest_difference(&silu_mul(&gate_up), &expected) < 1e-5);
    }

    #[test]
    fn log_probability_is_librarys() {
        let mut logits = random(1, 1000, 5) * 4.0;
        let expected = logits.log_softmax(1, Kind::Float).double_value(&[0, 17]);
        let found = log_probability(slice_mut(&mut logits), 17);
        assert!((f64::from(found) - expected).abs() < 1e-5, "{found} {expected}");
    }

    #[test]
    fn a_rotation_keeps_lengths_and_position_zero_is_none() {
        let x = random(2, 12, 6);
        let mut rotated = x.copy();
        rope(&mut rotated, 2, &RopeAngles::new(&[1.0, 0.1], [0, 7].into_iter()));
        assert_eq!(slice::<f32>(&rotated)[..12], slice::<f32>(&x)[..12]);
        let norm = |t: &Tensor| t.get(1).narrow(0, 0, 4).norm().double_value(&[]);
        assert!((norm(&rotated) - norm(&x)).abs() < 1e-5);
        assert_eq!(
            slice::<f32>(&rotated)[20..],
            slice::<f32>(&x)[20..],
            "what follows the heads is left alone"
        );
    }
}
