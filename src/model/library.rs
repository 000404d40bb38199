//! Quantized weights as libtorch's own products want them, on any device: what a GPU computes with. int8 is the integer
//! product (`_int_mm`) of per-channel weights with activations that are rounded to 8 bits, one scale for each slice of a
//! row. int4 is the weight-only product (`_weight_int4pack_mm`): weights in groups, activations in bf16.
//!
//! The numbers are those of the packed weight that a CPU computes with, so a model is quantized in one place and a GGUF's
//! 4-bit blocks come through as they are, but for their scales, which this product wants in bf16.

use super::kernels::PackedWeight;
use crate::error::Result;
use rayon::prelude::*;
use tch::{Device, Kind, Tensor};

/// A weight matrix `[out, in]` for the library's quantized products.
#[derive(Debug)]
pub enum LibraryWeight {
    /// w = scale · q.
    Int8 {
        /// `[out, slice]` each; together they are the inputs.
        slices: Vec<Tensor>,
        /// `[out]`, f32.
        scales: Tensor,
    },
    /// w = scale · (q − 8) + zero.
    Int4 {
        /// In the order of the device.
        packed: Tensor,
        /// `[groups, out, 2]`, bf16.
        scales_and_zeros: Tensor,
        /// Inputs that share a scale.
        group: usize,
    },
}

/// Activations that share a scale in int8. Narrower slices are more exact and more products: 256 cost SmolLM2-135M 3.6 % of
/// perplexity, where groups of 64 cost the CPU's product 1 %. What a GPU would like best was not measured.
const SLICE: usize = 256;

/// The integer product of a GPU takes no fewer rows than 17, and whole eights of outputs and inputs.
const FEWEST_ROWS: i64 = 24;

impl LibraryWeight {
    /// The same matrix on `device`; none if its sizes are not what the library takes.
    pub fn new(weight: &PackedWeight, device: Device) -> Result<Option<Self>> {
        let [outputs, inputs] = weight.shape();
        let mut numbers = vec![0_i16; outputs * inputs];
        numbers
            .par_chunks_exact_mut(inputs)
            .enumerate()
            .for_each(|(output, q)| weight.numbers(output, q));
        let numbers = Tensor::from_slice(&numbers).f_view([outputs as i64, inputs as i64])?;
        let scales: Vec<[f32; 2]> = (0..outputs).flat_map(|output| weight.scales(output)).collect();
        if !weight.is_int4() {
            if !outputs.is_multiple_of(8) || !inputs.is_multiple_of(8) {
                return Ok(None);
            }
            let scales: Vec<f32> = scales.iter().map(|[scale, _]| *scale).collect();
            let slices: std::result::Result<_, _> = numbers
                .f_to_kind(Kind::Int8)?
                .f_split(SLICE as i64, 1)?
                .iter()
                .map(|slice| slice.f_contiguous()?.f_to_device(device))
                .collect();
            return Ok(Some(Self::Int8 {
                slices: slices?,
                scales: Tensor::from_slice(&scales).f_to_device(device)?,
            }));
        }
        let group = weight.group();
        // Tiles of 16 inputs that lie together in a GPU's order.
        let tiles = [8, 4, 2].into_iter().find(|tiles| inputs.is_multiple_of(16 * tiles));
        let (Some(tiles), true) = (tiles, inputs.is_multiple_of(group) && outputs.is_multiple_of(16)) else {
            return Ok(None);
        };
        let packed = if device == Device::Cpu {
            numbers
                .f_to_kind(Kind::Int)?
                .f_internal_convert_weight_to_int4pack_for_cpu(tiles as i64)?
        } else {
            // Two weights a byte, the first of them high.
            let pairs = numbers.f_view([outputs as i64, -1, 2])?;
            let bytes = pairs
                .f_select(2, 0)?
                .f_mul_scalar(16)?
                .f_add(&pairs.f_select(2, 1)?)?
                .f_to_kind(Kind::Uint8)?;
            bytes
                .f_to_device(device)?
                .f_internal_convert_weight_to_int4pack(tiles as i64)?
        };
        let scales: Vec<f32> = scales
            .iter()
            .flat_map(|[scale, min]| [*scale, min + 8.0 * scale])
            .collect();
        let scales_and_zeros = Tensor::from_slice(&scales)
            .f_view([outputs as i64, -1, 2])?
            .f_transpose(0, 1)?
            .f_to_kind(Kind::BFloat16)?
            .f_contiguous()?
            .f_to_device(device)?;
        Ok(Some(Self::Int4 {
            packed,
            scales_and_zeros,
            group,
        }))
    }

    /// W x. `x` `[rows, in]`, f32; returns `[rows, out]`, f32.
    pub fn product(&self, x: &Tensor) -> Result<Tensor> {
        match self {
            Self::Int8 { slices, scales } => {
                let rows = x.size()[0];
                let padded = rows.max(FEWEST_ROWS);
                let x = x.f_constant_pad_nd([0, 0, 0, padded - rows])?;
                let mut sum: Option<Tensor> = None;
                for (x, weight) in x.f_split(SLICE as i64, 1)?.iter().zip(slices) {
                    let scale = x.f_abs()?.f_amax([-1], true)?.f_div_scalar(127.0)?;
                    // 0 / 0 where a slice is all zeros.
                    let q = x.f_div(&scale)?.f_round()?.f_nan_to_num(0.0, 0.0, 0.0)?;
                    let y = q
                        .f_to_kind(Kind::Int8)?
                        .f_contiguous()?
                        .f_internal_int_mm(&weight.f_tr()?)?;
                    let y = y.f_to_kind(Kind::Float)?.f_mul(&scale)?;
                    sum = Some(match sum {
                        Some(sum) => sum.f_add(&y)?,
                        None => y,
                    });
                }
                let sum = sum.expect("a matrix has inputs");
                Ok(sum.f_narrow(0, 0, rows)?.f_mul(scales)?)
            }
            Self::Int4 {
                packed,
                scales_and_zeros,
                group,
            } => {
                let x = x.f_to_kind(Kind::BFloat16)?.f_contiguous()?;
                let y = if packed.device() == Device::Cpu {
                    x.f_internal_weight_int4pack_mm_for_cpu(packed, *group as i64, scales_and_zeros)?
                } else {
                    x.f_internal_weight_int4pack_mm(packed, *group as i64, scales_and_zeros)?
                };
                Ok(y.f_to_kind(Kind::Float)?)
            }
        }
    }

    /// Some rows of W, f32: what an embedding that shares the head's weights is looked up in.
    pub fn rows(&self, rows: &Tensor) -> Result<Tensor> {
        let Self::Int8 { slices, scales } = self else {
            unreachable!("neither the head nor the embedding is ever int4")
        };
        let picked: std::result::Result<Vec<Tensor>, _> =
            slices.iter().map(|slice| slice.f_index_select(0, rows)).collect();
        let scales = scales.f_index_select(0, rows)?.f_unsqueeze(1)?;
        Ok(Tensor::f_cat(&picked?, 1)?.f_to_kind(Kind::Float)?.f_mul(&scales)?)
    }

    /// Everything that is held.
    pub fn tensors(&self) -> Vec<&Tensor> {
        match self {
            Self::Int8 { slices, scales } => slices.iter().chain([scales]).collect(),
            Self::Int4 {
                packed,
                scales_and_zeros,
                ..
            } => vec![packed, scales_and_zeros],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::linear::{Linear, Precision};
    use super::super::plain::rounded;
    use super::*;
    use crate::seed::Seed;

    fn random(seed: u64, rows: usize, columns: usize) -> Tensor {
        let numbers: Vec<f32> = Seed::new(seed)
            .normals(rows * columns)
            .iter()
            .map(|&z| z as f32)
            .collect();
        Tensor::from_slice(&numbers).view([rows as i64, -1])
    }

    /// Against the dense product, in double precision, of the weights that the CPU's product means and the activations as
    /// they are rounded. In int4 what is left is bf16: of the scales, and of the sum.
    #[test]
    fn the_librarys_products_are_those_of_the_packed_weights() {
        let (outputs, inputs) = (192, 576);
        let w = random(1, outputs, inputs);
        for (precision, group, tolerance) in [
            (Precision::Int8, 64, 1e-5),
            (Precision::Int4, 32, 0.01),
            (Precision::Int4, 64, 0.01),
        ] {
            let mut fill = |rows: std::ops::Range<usize>, out: &mut [f32]| {
                let part = w.narrow(0, rows.start as i64, rows.len() as i64).contiguous();
                part.view([-1]).copy_data(out, rows.len() * inputs);
                Ok(())
            };
            let linear = Linear::new(precision, group, [outputs, inputs], None, &mut fill).expect("a matrix");
            let packed = linear.packed().expect("a quantized matrix");
            let library = LibraryWeight::new(packed, Device::Cpu)
                .expect("weights")
                .expect("sizes that fit");
            for rows in [1, 5, 40] {
                let mut x = random(2, rows, inputs);
                let _ = x.narrow(1, 256, 256).zero_();
                let found = library.product(&x).expect("a product");
                let read = match precision {
                    Precision::Int8 => rounded(&x, SLICE as i64).expect("rounded activations"),
                    _ => x.to_kind(Kind::BFloat16),
                };
                let expected = read
                    .to_kind(Kind::Double)
                    .matmul(&linear.dense().to_kind(Kind::Double).tr());
                let error = (found - &expected).abs().max().double_value(&[]) / expected.abs().max().double_value(&[]);
                assert!(error < tolerance, "{precision:?} {group}, {rows} rows: {error}");
                x = x.neg();
                assert!(
                    library
                        .product(&x)
                        .expect("a product")
                        .isfinite()
                        .all()
                        .int64_value(&[])
                        == 1
                );
            }
            if precision == Precision::Int8 {
                let picked = library.rows(&Tensor::from_slice(&[7_i64, 3])).expect("rows");
                let expected = linear.dense().index_select(0, &Tensor::from_slice(&[7_i64, 3]));
                assert!(picked.allclose(&expected, 1e-6, 1e-7, false));
            }
        }
    }

    #[test]
    fn sizes_that_the_library_does_not_take_are_left_to_others() {
        for (weight, device) in [
            (PackedWeight::int8([12, 20], 64), Device::Cpu),
            (PackedWeight::int4([64, 40], 32), Device::Cpu),
        ] {
            assert!(LibraryWeight::new(&weight, device).expect("an answer").is_none());
        }
    }
}
