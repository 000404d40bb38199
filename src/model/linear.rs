//! A matrix product in the precision of the run: y = W x + bias, W `[out, in]`, x and y in f32 by row.
//!
//! int8 is per-channel weights times per-row dynamic activations: both sides are rounded to 8 bits with one scale a
//! row, the product of integers is exact, and one multiplication brings it back. That makes it the fastest product
//! that libtorch has on a CPU and the only one whose result does not depend on how a batch is put together.

use super::kernels::{self, empty, slice_mut};
use crate::error::{Error, Result};
use half::bf16;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::ops::Range;
use tch::{Kind, Tensor};

/// What the matrix products of the base model are computed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// Single precision: the reference.
    F32,
    /// bf16 weights and activations.
    Bf16,
    /// int8 weights and activations, equalised (see [`super::equalize`]).
    Int8,
}

impl std::str::FromStr for Precision {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "f32" => Ok(Self::F32),
            "bf16" => Ok(Self::Bf16),
            "int8" => Ok(Self::Int8),
            other => Err(Error::config(format!(
                "precision is `{other}`; expected f32, bf16 or int8"
            ))),
        }
    }
}

/// One weight matrix, ready for products.
#[derive(Debug)]
pub struct Linear {
    weight: Weight,
    bias: Option<Vec<f32>>,
    /// Whether int8 activations carry a second term (see [`Linear::with_fine_activations`]).
    fine: bool,
}

#[derive(Debug)]
enum Weight {
    /// `[out, in]`, f32 or bf16.
    Float(Tensor),
    /// `[out, in]` in int8, with one scale a row.
    Int8 { weight: Tensor, scales: Vec<f32> },
}

/// Rows that are converted at a time, so that a large matrix is never held twice.
const ROWS_AT_ONCE: usize = 1024;

impl Linear {
    /// Builds a matrix of `shape` `[out, in]`, whose rows `fill` writes in f32 when asked.
    pub fn new(
        precision: Precision,
        shape: [usize; 2],
        bias: Option<Vec<f32>>,
        mut fill: impl FnMut(Range<usize>, &mut [f32]) -> Result<()>,
    ) -> Result<Self> {
        let [outputs, inputs] = shape;
        let weight = match precision {
            Precision::F32 => {
                let mut weight = empty::<f32>(&shape);
                fill(0..outputs, slice_mut(&mut weight))?;
                Weight::Float(weight)
            }
            Precision::Bf16 => {
                let mut weight = empty::<bf16>(&shape);
                let data = slice_mut::<bf16>(&mut weight);
                by_chunks(outputs, inputs, fill, |rows, numbers| {
                    let out = &mut data[rows.start * inputs..rows.end * inputs];
                    out.par_iter_mut()
                        .zip(numbers)
                        .for_each(|(out, x)| *out = bf16::from_f32(*x));
                })?;
                Weight::Float(weight)
            }
            Precision::Int8 => {
                let (mut weight, mut scales) = (empty::<i8>(&shape), vec![0.0; outputs]);
                let data = slice_mut::<i8>(&mut weight);
                by_chunks(outputs, inputs, fill, |rows, numbers| {
                    let out = data[rows.start * inputs..rows.end * inputs].par_chunks_exact_mut(inputs);
                    let work = out.zip(numbers.par_chunks_exact(inputs)).zip(&mut scales[rows]);
                    work.for_each(|((out, x), scale)| *scale = kernels::quantize_row(x, out));
                })?;
                Weight::Int8 { weight, scales }
            }
        };
        Ok(Self {
            weight,
            bias,
            fine: false,
        })
    }

    /// A float matrix that shares the memory of `weight` `[out, in]`: a tied head.
    pub fn tied(weight: &Tensor) -> Self {
        Self {
            weight: Weight::Float(weight.shallow_clone()),
            bias: None,
            fine: false,
        }
    }

    /// In int8, lets the activations be the sum of two int8 rows, the second of what the first leaves over: sixteen bits,
    /// still in exact products, at the price of a second one. For inputs that no norm has tamed.
    pub fn with_fine_activations(mut self) -> Self {
        self.fine = true;
        self
    }

    /// y = W x + bias. `x` `[rows, in]` f32, returns `[rows, out]` f32.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        match &self.weight {
            Weight::Int8 { weight, scales } => {
                let (quantized, row_scales) = kernels::quantize(x);
                let product = quantized.f_internal_int_mm(&weight.f_tr()?)?;
                let y = kernels::dequantize(&product, &row_scales, scales, self.bias.as_deref());
                if !self.fine {
                    return Ok(y);
                }
                let (rest, row_scales) = kernels::quantize(&kernels::remainder(x, &quantized, &row_scales));
                let product = rest.f_internal_int_mm(&weight.f_tr()?)?;
                Ok(y.f_add(&kernels::dequantize(&product, &row_scales, scales, None))?)
            }
            Weight::Float(weight) => {
                let bias = self.bias.as_ref().map(|bias| Tensor::from_slice(bias));
                if weight.kind() == Kind::Float {
                    return Ok(x.f_linear(weight, bias.as_ref())?);
                }
                let product = x
                    .f_to_kind(Kind::BFloat16)?
                    .f_linear::<Tensor>(weight, None)?
                    .f_to_kind(Kind::Float)?;
                Ok(match bias {
                    Some(bias) => product.f_add(&bias)?,
                    None => product,
                })
            }
        }
    }

    /// Bytes of the weights and their scales.
    pub fn bytes(&self) -> usize {
        let weight = match &self.weight {
            Weight::Float(weight) => weight.numel() * weight.kind().elt_size_in_bytes(),
            Weight::Int8 { weight, scales } => weight.numel() + 4 * scales.len(),
        };
        weight + self.bias.as_ref().map_or(0, |bias| 4 * bias.len())
    }

    /// The stored weights, for digests.
    pub fn tensor(&self) -> &Tensor {
        match &self.weight {
            Weight::Float(weight) | Weight::Int8 { weight, .. } => weight,
        }
    }
}

/// Fills a buffer with some rows at a time and hands it on.
fn by_chunks(
    outputs: usize,
    inputs: usize,
    mut fill: impl FnMut(Range<usize>, &mut [f32]) -> Result<()>,
    mut take: impl FnMut(Range<usize>, &[f32]),
) -> Result<()> {
    let mut buffer = vec![0.0; ROWS_AT_ONCE.min(outputs) * inputs];
    let mut start = 0;
    while start < outputs {
        let rows = start..(start + ROWS_AT_ONCE).min(outputs);
        let buffer = &mut buffer[..rows.len() * inputs];
        fill(rows.clone(), buffer)?;
        start = rows.end;
        take(rows, buffer);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::kernels::slice;
    use crate::seed::Seed;
    use tch::Device;

    /// libtorch's product of int8 matrices must be exact where it is largest: on processors without VNNI instructions some
    /// libraries let 16-bit sums saturate.
    #[test]
    fn the_integer_product_is_exact_at_its_extremes() {
        for rows in [1, 2, 17, 128] {
            let (inputs, outputs) = (576, 40);
            let a = Tensor::full([rows, inputs], 127, (Kind::Int8, Device::Cpu));
            let b = Tensor::full([outputs, inputs], -127, (Kind::Int8, Device::Cpu));
            let product = a.f_internal_int_mm(&b.tr()).expect("a product");
            assert!(
                slice::<i32>(&product).iter().all(|&x| x == -127 * 127 * inputs as i32),
                "{rows} rows"
            );
        }
    }

    #[test]
    fn every_precision_is_the_product_up_to_its_rounding() {
        let (rows, inputs, outputs) = (5, 70, 33);
        let normals = Seed::new(1).normals(rows * inputs + outputs * inputs + outputs);
        let numbers: Vec<f32> = normals.iter().map(|&z| z as f32).collect();
        let (x, rest) = numbers.split_at(rows * inputs);
        let (w, bias) = rest.split_at(outputs * inputs);
        let tensor = |values: &[f32], rows: usize| Tensor::from_slice(values).view([rows as i64, -1]);
        let expected = tensor(x, rows).matmul(&tensor(w, outputs).tr()) + Tensor::from_slice(bias);
        for (precision, tolerance) in [(Precision::F32, 1e-4), (Precision::Bf16, 0.2), (Precision::Int8, 0.4)] {
            let fill = |rows: Range<usize>, out: &mut [f32]| {
                out.copy_from_slice(&w[rows.start * inputs..rows.end * inputs]);
                Ok(())
            };
            let linear = Linear::new(precision, [outputs, inputs], Some(bias.to_vec()), fill).expect("a matrix");
            let found = linear.forward(&tensor(x, rows)).expect("a product");
            let difference = (found - &expected).abs().max().double_value(&[]);
            assert!(difference < tolerance, "{precision:?}: {difference}");
        }
    }
}
