//! A matrix product in the precision of the run: y = W x + bias + the candidates' side paths, W `[out, in]`, x and y
//! in f32 by row.
//!
//! int8 is per-channel weights times dynamic activations that are rounded to 8 bits in groups of a row, each with its own
//! scale. int4 has weights in groups too. Both run in our own kernel ([`kernels::PackedWeight`]), whose result does not
//! depend on how a batch is put together; f32 and bf16 are libtorch's products.

use super::kernels::{
    self, Activation, Finish, Form, Frozen, Input, Int4Group, PackedWeight, Side, borrowed, empty, slice, slice_mut,
};
use crate::error::{Error, Result};
use half::{bf16, f16};
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
    /// int8 weights, one scale an output, and int8 activations in groups.
    Int8,
    /// int4 weights in groups, and int8 activations in the same groups.
    Int4,
}

impl std::str::FromStr for Precision {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "f32" => Ok(Self::F32),
            "bf16" => Ok(Self::Bf16),
            "int8" => Ok(Self::Int8),
            "int4" => Ok(Self::Int4),
            other => Err(Error::config(format!(
                "precision is `{other}`; expected f32, bf16, int8 or int4"
            ))),
        }
    }
}

/// Activations that share a scale in int8. On SmolLM2-135M 64 and 32 lose equally little, and one scale a row far more
/// (experiments/LOG.md, 2026-11-24).
const INT8_GROUP: usize = 64;

/// One weight matrix, ready for products.
#[derive(Debug)]
pub struct Linear {
    weight: Weight,
    bias: Option<Vec<f32>>,
}

#[derive(Debug)]
enum Weight {
    /// `[out, in]`, f32 or bf16.
    Float(Frozen),
    Packed(PackedWeight),
}

/// Rows that are converted at a time, so that a large matrix is never held twice.
const ROWS_AT_ONCE: usize = 1024;

/// Where a matrix' rows come from.
pub trait RowSource {
    /// Writes some rows in f32. `out` `[rows, in]`.
    fn floats(&mut self, rows: Range<usize>, out: &mut [f32]) -> Result<()>;

    /// The group of the rows that are int4 already, in the form that [`RowSource::int4`] gives them, if all of them are.
    fn int4_group(&self) -> Option<usize> {
        None
    }

    /// One row's int4 numbers, `[in]`, and its groups.
    fn int4(&mut self, _row: usize, _q: &mut [u8], _groups: &mut [Int4Group]) -> Result<()> {
        unreachable!("only asked of a source with an int4 group")
    }
}

impl<F: FnMut(Range<usize>, &mut [f32]) -> Result<()>> RowSource for F {
    fn floats(&mut self, rows: Range<usize>, out: &mut [f32]) -> Result<()> {
        self(rows, out)
    }
}

impl Linear {
    /// Builds a matrix of `shape` `[out, in]`. `group_size` is int4's, where the rows are not int4 already.
    pub fn new(
        precision: Precision,
        group_size: usize,
        shape: [usize; 2],
        bias: Option<Vec<f32>>,
        source: &mut dyn RowSource,
    ) -> Result<Self> {
        let [outputs, inputs] = shape;
        let weight = match precision {
            Precision::F32 => {
                let mut weight = empty::<f32>(&shape);
                source.floats(0..outputs, slice_mut(&mut weight))?;
                Weight::Float(Frozen::new(weight))
            }
            Precision::Bf16 => {
                let mut weight = empty::<bf16>(&shape);
                let data = slice_mut::<bf16>(&mut weight);
                by_chunks(outputs, inputs, source, |rows, numbers| {
                    let out = &mut data[rows.start * inputs..rows.end * inputs];
                    out.par_iter_mut()
                        .zip(numbers)
                        .for_each(|(out, x)| *out = bf16::from_f32(*x));
                })?;
                Weight::Float(Frozen::new(weight))
            }
            Precision::Int8 => {
                let mut weight = PackedWeight::int8(shape, INT8_GROUP);
                by_chunks(outputs, inputs, source, |rows, numbers| {
                    let quantized: Vec<(Vec<i8>, f32)> = numbers
                        .par_chunks_exact(inputs)
                        .map(|w| {
                            let mut q = vec![0; inputs];
                            let scale = kernels::quantize_weights(w, &mut q);
                            (q, scale)
                        })
                        .collect();
                    for (row, (q, scale)) in rows.zip(quantized) {
                        weight.set_int8_row(row, &q, scale);
                    }
                })?;
                Weight::Packed(weight)
            }
            Precision::Int4 => Weight::Packed(int4(shape, group_size, source)?),
        };
        Ok(Self { weight, bias })
    }

    /// How the product wants its activations.
    pub fn form(&self) -> Form {
        match &self.weight {
            Weight::Float(_) => Form::Float,
            Weight::Packed(weight) => Form::Int8 { group: weight.group() },
        }
    }

    /// `[out, in]`.
    pub fn shape(&self) -> [usize; 2] {
        match &self.weight {
            Weight::Float(weight) => [weight.size()[0] as usize, weight.size()[1] as usize],
            Weight::Packed(weight) => weight.shape(),
        }
    }

    /// out = W x + bias + side paths, or, to `add`, out += the same. `input` in this matrix' [`Linear::form`], `out`
    /// `[rows, out]`.
    pub fn product(&self, input: &Input, side: Option<&Side>, add: bool, out: &mut [f32]) -> Result<()> {
        let finish = self.finish(side, add);
        match &self.weight {
            Weight::Packed(weight) => kernels::packed_product(weight, input, finish, out),
            Weight::Float(weight) => {
                let product = float_product(weight, input)?;
                kernels::float_product(slice(&product), input, finish, out);
            }
        }
        Ok(())
    }

    /// The middle of a gated block: out = activation(W x) · (V x) with this matrix as W and `up` as V, each with its bias and its side paths,
    /// up's as if its outputs followed this matrix'. `out` `[rows, out]`.
    pub fn gated_product(
        &self,
        up: &Self,
        activation: Activation,
        input: &Input,
        side: Option<&Side>,
        out: &mut [f32],
    ) -> Result<()> {
        let finish = [self.finish(side, false), up.finish(side, false)];
        match (&self.weight, &up.weight) {
            (Weight::Packed(gate), Weight::Packed(up)) => {
                kernels::packed_gated_product([gate, up], input, finish, activation, out);
            }
            (Weight::Float(gate), Weight::Float(up)) => {
                let (gate, up) = (float_product(gate, input)?, float_product(up, input)?);
                kernels::float_gated_product(slice(&gate), slice(&up), input, finish, activation, out);
            }
            _ => unreachable!("both are made in one precision"),
        }
        Ok(())
    }

    fn finish<'a>(&'a self, side: Option<&'a Side>, add: bool) -> Finish<'a> {
        let bias = self.bias.as_deref();
        Finish { bias, side, add }
    }

    /// The index of each row's largest output, the first of equals.
    pub fn argmax(&self, input: &Input) -> Result<Vec<u32>> {
        match &self.weight {
            Weight::Packed(weight) if self.bias.is_none() => Ok(kernels::packed_argmax(weight, input)),
            _ => {
                let mut out = vec![0.0; input.shape()[0] * self.shape()[0]];
                self.product(input, None, false, &mut out)?;
                Ok(out.par_chunks_exact(self.shape()[0]).map(kernels::argmax).collect())
            }
        }
    }

    /// One row of W in f32. `out` `[in]`.
    pub fn row(&self, row: usize, out: &mut [f32]) {
        let at = row * out.len()..(row + 1) * out.len();
        match &self.weight {
            Weight::Packed(weight) => weight.row(row, out),
            Weight::Float(weight) if weight.kind() == Kind::Float => out.copy_from_slice(&slice::<f32>(weight)[at]),
            Weight::Float(weight) => {
                let row = &slice::<bf16>(weight)[at];
                out.iter_mut().zip(row).for_each(|(out, w)| *out = w.to_f32());
            }
        }
    }

    /// W as a tensor `[out, in]`, f32 or bf16, with packed weights as the product means them.
    pub fn dense(&self) -> Tensor {
        match &self.weight {
            // A copy: nobody else may hold a handle to write through.
            Weight::Float(weight) => weight.copy(),
            Weight::Packed(weight) => {
                let mut dense = empty::<f32>(&weight.shape());
                let rows = slice_mut::<f32>(&mut dense)
                    .par_chunks_exact_mut(weight.shape()[1])
                    .enumerate();
                rows.for_each(|(row, out)| weight.row(row, out));
                dense
            }
        }
    }

    /// The quantized weights; none in f32 and bf16.
    pub fn packed(&self) -> Option<&PackedWeight> {
        match &self.weight {
            Weight::Float(_) => None,
            Weight::Packed(weight) => Some(weight),
        }
    }

    /// `[out]`.
    pub fn bias(&self) -> Option<&[f32]> {
        self.bias.as_deref()
    }

    /// Bytes of the weights and their scales.
    pub fn bytes(&self) -> usize {
        let weight = match &self.weight {
            Weight::Float(weight) => weight.numel() * weight.kind().elt_size_in_bytes(),
            Weight::Packed(weight) => weight.bytes(),
        };
        weight + self.bias.as_ref().map_or(0, |bias| 4 * bias.len())
    }

    /// Every byte of the weights and of the bias in a fixed order, for digests.
    pub fn visit_bytes(&self, visit: &mut dyn FnMut(&[u8])) {
        match &self.weight {
            Weight::Packed(weight) => weight.visit_bytes(visit),
            Weight::Float(weight) if weight.kind() == Kind::Float => {
                slice::<f32>(weight).iter().for_each(|x| visit(&x.to_le_bytes()));
            }
            Weight::Float(weight) => slice::<bf16>(weight).iter().for_each(|x| visit(&x.to_le_bytes())),
        }
        self.bias.iter().flatten().for_each(|x| visit(&x.to_le_bytes()));
    }
}

/// W x in f32, `[rows, out]`.
fn float_product(weight: &Tensor, input: &Input) -> Result<Tensor> {
    let x = borrowed(input.floats(), input.shape()[1]);
    if weight.kind() == Kind::Float {
        return Ok(x.tensor().f_linear::<&Tensor>(weight, None)?);
    }
    let x = x.tensor().f_to_kind(Kind::BFloat16)?;
    Ok(x.f_linear::<&Tensor>(weight, None)?.f_to_kind(Kind::Float)?)
}

/// Packs int4 rows as they are, or rounds each group of f32 to 16 even steps between its ends.
fn int4(shape: [usize; 2], group_size: usize, source: &mut dyn RowSource) -> Result<PackedWeight> {
    let [outputs, inputs] = shape;
    if let Some(group) = source.int4_group() {
        let mut weight = PackedWeight::int4(shape, group);
        let (mut q, mut groups) = (vec![0; inputs], vec![Int4Group::default(); inputs.div_ceil(group)]);
        for row in 0..outputs {
            source.int4(row, &mut q, &mut groups)?;
            weight.set_int4_row(row, &q, &groups);
        }
        return Ok(weight);
    }
    let mut weight = PackedWeight::int4(shape, group_size);
    by_chunks(outputs, inputs, source, |rows, numbers| {
        let quantized: Vec<(Vec<u8>, Vec<Int4Group>)> = numbers
            .par_chunks_exact(inputs)
            .map(|w| {
                let mut q = vec![0; inputs];
                let groups = w.chunks(group_size).zip(q.chunks_mut(group_size));
                let groups = groups.map(|(w, q)| round_to_int4(w, q)).collect();
                (q, groups)
            })
            .collect();
        for (row, (q, groups)) in rows.zip(quantized) {
            weight.set_int4_row(row, &q, &groups);
        }
    })?;
    Ok(weight)
}

/// w ≈ scale · q + min, q in 0..=15, from the smallest to the largest of the group.
fn round_to_int4(w: &[f32], q: &mut [u8]) -> Int4Group {
    let (low, high) = w.iter().fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), &w| {
        (low.min(w), high.max(w))
    });
    let min = f16::from_f32(low);
    let scale = f16::from_f32((high - min.to_f32()).max(0.0) / 15.0);
    let inverse = if scale > f16::ZERO { 1.0 / scale.to_f32() } else { 0.0 };
    for (q, w) in q.iter_mut().zip(w) {
        *q = ((w - min.to_f32()) * inverse).round().clamp(0.0, 15.0) as u8;
    }
    Int4Group { scale, min }
}

/// Fills a buffer with some rows at a time and hands it on.
fn by_chunks(
    outputs: usize,
    inputs: usize,
    source: &mut dyn RowSource,
    mut take: impl FnMut(Range<usize>, &[f32]),
) -> Result<()> {
    let mut buffer = vec![0.0; ROWS_AT_ONCE.min(outputs) * inputs];
    let mut start = 0;
    while start < outputs {
        let rows = start..(start + ROWS_AT_ONCE).min(outputs);
        let buffer = &mut buffer[..rows.len() * inputs];
        source.floats(rows.clone(), buffer)?;
        start = rows.end;
        take(rows, buffer);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::Seed;

    fn random(seed: u64, n: usize) -> Vec<f32> {
        Seed::new(seed).normals(n).iter().map(|&z| z as f32).collect()
    }

    fn linear(precision: Precision, w: &[f32], inputs: usize, bias: Option<Vec<f32>>) -> Linear {
        let mut fill = |rows: Range<usize>, out: &mut [f32]| {
            out.copy_from_slice(&w[rows.start * inputs..rows.end * inputs]);
            Ok(())
        };
        Linear::new(precision, 32, [w.len() / inputs, inputs], bias, &mut fill).expect("a matrix")
    }

    fn product(linear: &Linear, x: &[f32]) -> Vec<f32> {
        let [outputs, inputs] = linear.shape();
        let mut input = Input::default();
        input.fill([x.len() / inputs, inputs], linear.form(), None, |row, out| {
            out.copy_from_slice(&x[row * inputs..][..inputs]);
        });
        let mut out = vec![0.0; x.len() / inputs * outputs];
        linear.product(&input, None, false, &mut out).expect("a product");
        let argmax = linear.argmax(&input).expect("the largest");
        for (out, argmax) in out.chunks_exact(outputs).zip(argmax) {
            if linear.bias.is_none() {
                assert_eq!(kernels::argmax(out), argmax);
            }
        }
        out
    }

    /// The activations as the product reads them.
    fn as_read(linear: &Linear, x: &[f32]) -> Vec<f32> {
        let inputs = linear.shape()[1];
        let Form::Int8 { group } = linear.form() else {
            return x.to_vec();
        };
        let mut input = Input::default();
        input.fill([x.len() / inputs, inputs], linear.form(), None, |row, out| {
            out.copy_from_slice(&x[row * inputs..][..inputs]);
        });
        let rows = input.quantized();
        let groups = rows.groups();
        (0..x.len())
            .map(|index| {
                let (row, column) = (index / inputs, index % inputs);
                let q = rows.numbers[row * rows.steps() + column / 4][column % 4];
                f32::from(q) * rows.scales[row * groups + column / group]
            })
            .collect()
    }

    /// Against libtorch's product in double precision of the weights and activations as they are stored.
    #[test]
    fn every_precision_is_the_product_of_what_it_stores() {
        for (rows, inputs, outputs) in [(5, 70, 33), (13, 128, 96), (1, 6, 1)] {
            let (x, w) = (random(1, rows * inputs), random(2, outputs * inputs));
            for bias in [None, Some(random(3, outputs))] {
                for precision in [Precision::F32, Precision::Bf16, Precision::Int8, Precision::Int4] {
                    let linear = linear(precision, &w, inputs, bias.clone());
                    let mut stored = vec![0.0; outputs * inputs];
                    stored
                        .chunks_exact_mut(inputs)
                        .enumerate()
                        .for_each(|(row, out)| linear.row(row, out));
                    let tensor = |values: &[f32], rows: usize| {
                        let values: Vec<f64> = values.iter().map(|&x| f64::from(x)).collect();
                        Tensor::from_slice(&values).view([rows as i64, -1])
                    };
                    let read = as_read(&linear, &x);
                    let mut expected = tensor(&read, rows).matmul(&tensor(&stored, outputs).tr());
                    if let Some(bias) = &bias {
                        expected += tensor(bias, 1);
                    }
                    let difference = (tensor(&product(&linear, &x), rows) - expected)
                        .abs()
                        .max()
                        .double_value(&[]);
                    let tolerance = if precision == Precision::Bf16 { 0.2 } else { 5e-5 };
                    assert!(difference < tolerance, "{precision:?}: {difference}");
                    let error = |a: &[f32], b: &[f32]| a.iter().zip(b).fold(0.0_f32, |e, (a, b)| e.max((a - b).abs()));
                    // Half a step: of 127 to the largest, of 15 from end to end.
                    let (of_x, of_w) = [(1e-9, 1e-9), (1e-9, 0.01), (0.02, 0.02), (0.02, 0.25)][precision as usize];
                    assert!(error(&read, &x) < of_x && error(&stored, &w) < of_w, "{precision:?}");
                }
            }
        }
    }

    #[test]
    fn the_gated_product_is_librarys() {
        for (rows, inputs, outputs) in [(5, 70, 33), (13, 64, 96)] {
            let (x, gate, up) = (
                random(1, rows * inputs),
                random(2, outputs * inputs),
                random(3, outputs * inputs),
            );
            for precision in [Precision::F32, Precision::Int8, Precision::Int4] {
                let gate = linear(precision, &gate, inputs, Some(random(4, outputs)));
                let up = linear(precision, &up, inputs, None);
                let tensor = |x: Vec<f32>| Tensor::from_slice(&x);
                let mut input = Input::default();
                input.fill([rows, inputs], gate.form(), None, |row, out| {
                    out.copy_from_slice(&x[row * inputs..][..inputs]);
                });
                for activation in [Activation::Silu, Activation::GeluTanh] {
                    let gates = tensor(product(&gate, &x));
                    let gates = match activation {
                        Activation::Silu => gates.silu(),
                        Activation::GeluTanh => gates.gelu("tanh"),
                    };
                    let expected = gates * tensor(product(&up, &x));
                    let mut out = vec![0.0; rows * outputs];
                    gate.gated_product(&up, activation, &input, None, &mut out)
                        .expect("a product");
                    let scale = expected.abs().max().double_value(&[]);
                    let difference = (tensor(out) - expected).abs().max().double_value(&[]);
                    assert!(
                        difference < 1e-6 * scale,
                        "{precision:?}, {activation:?}: {difference} of {scale}"
                    );
                }
            }
        }
    }

    /// Sums are exact where they are largest: nothing saturates.
    #[test]
    fn the_integer_product_is_exact_at_its_extremes() {
        for rows in [1, 2, 17, 128] {
            let (inputs, outputs) = (576, 40);
            let w = vec![-127.0; outputs * inputs];
            let linear = linear(Precision::Int8, &w, inputs, None);
            let found = product(&linear, &vec![127.0; rows * inputs]);
            assert!(
                found.iter().all(|&y| y == -127.0 * 127.0 * inputs as f32),
                "{rows} rows"
            );
        }
    }
}
