//! What comes out of a product, finished piece by piece while it is still in registers or in the nearest cache: bias, the
//! second half of the side paths, and the sum with what was there before.

use super::adapter::Side;
use super::for_row_numbers;
use super::input::Input;
use super::packed::{PackedWeight, products};
use super::panel::{PANEL, Piece, Sink};
use super::simd::{exp, simd, tanh};
use super::view::Shared;
use rayon::prelude::*;

/// What happens to W x on its way out.
#[derive(Clone, Copy)]
pub struct Finish<'a> {
    /// Added to every row, `[out]`.
    pub bias: Option<&'a [f32]>,
    /// The candidates' side paths on this product, whose first half [`Input::fill`] has run.
    pub side: Option<&'a Side<'a>>,
    /// Whether the result is added to what is there, instead of taking its place.
    pub add: bool,
}

/// out = or += W x + bias + side paths. `out` `[rows, out]`.
pub fn packed_product(weight: &PackedWeight, input: &Input, finish: Finish, out: &mut [f32]) {
    let width = weight.shape()[0];
    let out = Shared::new(out);
    weight.product(
        input.quantized(),
        &FinishedRows {
            input,
            finish,
            out,
            width,
        },
    );
}

/// Rows `[rows, width]` that take the pieces of a product.
struct FinishedRows<'a> {
    input: &'a Input,
    finish: Finish<'a>,
    out: Shared<'a, f32>,
    width: usize,
}

impl Sink for FinishedRows<'_> {
    #[inline(always)]
    fn take(&self, Piece { first, .. }: Piece, row: usize, values: &mut [f32]) {
        let at = row * self.width + first;
        // SAFETY: a piece of a row comes to exactly one worker, and this is where it belongs.
        let out = unsafe { self.out.part(at..at + values.len()) };
        finish_piece(&self.finish, self.input.middle(row), first, first, values, out);
    }
}

/// What the gate of a feed-forward block goes through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// x · sigmoid(x).
    Silu,
    /// x · Φ(x), Φ by its tanh approximation.
    GeluTanh,
}

/// An activation as a type, so that each has loops of its own.
trait Gate: Copy + Sync {
    fn of(self, x: f32) -> f32;
}

#[derive(Clone, Copy)]
struct Silu;

impl Gate for Silu {
    #[inline(always)]
    fn of(self, x: f32) -> f32 {
        x / (1.0 + exp(-x))
    }
}

#[derive(Clone, Copy)]
struct GeluTanh;

impl Gate for GeluTanh {
    #[inline(always)]
    fn of(self, x: f32) -> f32 {
        // √(2 / π).
        let inner = 0.797_884_6 * (x + 0.044_715 * x * x * x);
        0.5 * x * (1.0 + tanh(inner))
    }
}

/// The middle of a gated block (SwiGLU's, arXiv 2002.05202): out = activation(gate's product) · up's product. `out` `[rows,
/// intermediate]`. The side paths are gate's, and then up's as if its outputs followed gate's.
pub fn packed_gated_product(
    weights: [&PackedWeight; 2],
    input: &Input,
    finish: [Finish; 2],
    activation: Activation,
    out: &mut [f32],
) {
    match activation {
        Activation::Silu => packed_gate(Silu, weights, input, finish, out),
        Activation::GeluTanh => packed_gate(GeluTanh, weights, input, finish, out),
    }
}

fn packed_gate(gate: impl Gate, weights: [&PackedWeight; 2], input: &Input, finish: [Finish; 2], out: &mut [f32]) {
    let width = weights[0].shape()[0];
    let out = Shared::new(out);
    products(
        &weights,
        input.quantized(),
        &GatedRows {
            gate,
            input,
            finish,
            out,
            width,
        },
    );
}

/// Rows `[rows, width]` that take a piece of gate, and then the same piece of up.
struct GatedRows<'a, G> {
    gate: G,
    input: &'a Input,
    finish: [Finish<'a>; 2],
    out: Shared<'a, f32>,
    width: usize,
}

impl<G: Gate> Sink for GatedRows<'_, G> {
    #[inline(always)]
    fn take(&self, Piece { matrix, first, .. }: Piece, row: usize, values: &mut [f32]) {
        let at = row * self.width + first;
        // SAFETY: a piece of a row comes to exactly one worker, and this is where it belongs.
        let out = unsafe { self.out.part(at..at + values.len()) };
        let column = first + matrix * self.width;
        let middle = self.input.middle(row);
        if matrix == 0 {
            finish_piece(&self.finish[0], middle, first, column, values, out);
            return;
        }
        let mut up = [0.0; PANEL];
        let up = &mut up[..values.len()];
        finish_piece(&self.finish[1], middle, first, column, values, up);
        if let (Ok(out), Ok(up)) = (
            <&mut [f32; PANEL]>::try_from(&mut *out),
            <&[f32; PANEL]>::try_from(&*up),
        ) {
            for (out, up) in out.iter_mut().zip(up) {
                *out = self.gate.of(*out) * up;
            }
            return;
        }
        for (out, up) in out.iter_mut().zip(up) {
            *out = self.gate.of(*out) * *up;
        }
    }
}

/// The same for products that somebody else computed. `gate`, `up` and `out` `[rows, intermediate]`.
pub fn float_gated_product(
    gate: &[f32],
    up: &[f32],
    input: &Input,
    finish: [Finish; 2],
    activation: Activation,
    out: &mut [f32],
) {
    float_product_at(gate, input, finish[0], 0, out);
    let width = gate.len() / input.shape()[0].max(1);
    let mut finished = vec![0.0; up.len()];
    float_product_at(up, input, finish[1], width, &mut finished);
    out.par_chunks_mut(width)
        .zip(finished.par_chunks(width))
        .for_each(|(out, up)| match activation {
            Activation::Silu => gate_row(Silu, out, up),
            Activation::GeluTanh => gate_row(GeluTanh, out, up),
        });
}

simd! {
    fn gate_row<G: Gate>(gate: G, row: &mut [f32], up: &[f32]) {
        for (x, up) in row.iter_mut().zip(up) {
            *x = gate.of(*x) * up;
        }
    }
}

/// The same for W x that somebody else computed. `product` and `out` `[rows, out]`.
pub fn float_product(product: &[f32], input: &Input, finish: Finish, out: &mut [f32]) {
    float_product_at(product, input, finish, 0, out);
}

/// `column` is where the side paths see the first output.
fn float_product_at(product: &[f32], input: &Input, finish: Finish, column: usize, out: &mut [f32]) {
    let rows = input.shape()[0];
    let width = product.len() / rows.max(1);
    let out = Shared::new(out);
    for_row_numbers(rows, Vec::new, |values: &mut Vec<f32>, row| {
        values.clear();
        values.extend_from_slice(&product[row * width..][..width]);
        // SAFETY: every row is given to one task.
        let out = unsafe { out.part(row * width..(row + 1) * width) };
        finish_row(&finish, input.middle(row), column, values, out);
    });
}

/// The largest of each row's outputs: its index, the first of equals; NaN is never chosen.
pub fn packed_argmax(weight: &PackedWeight, input: &Input) -> Vec<u32> {
    let rows = input.shape()[0];
    let mut best = vec![(f32::NEG_INFINITY, 0_u32); weight.workers() * rows];
    let shared = Shared::new(&mut best);
    weight.product(input.quantized(), &Largest { best: shared, rows });
    // Workers hold the outputs in order, so the first of equals is the one to keep.
    let of_row = |row: usize| best.iter().skip(row).step_by(rows).copied();
    let larger = |a: (f32, u32), b: (f32, u32)| if b.0 > a.0 { b } else { a };
    (0..rows)
        .map(|row| of_row(row).fold((f32::NEG_INFINITY, 0), larger).1)
        .collect()
}

/// The largest output of each worker and row, `[workers, rows]`, with its index.
struct Largest<'a> {
    best: Shared<'a, (f32, u32)>,
    rows: usize,
}

impl Sink for Largest<'_> {
    #[inline(always)]
    fn take(&self, Piece { worker, first, .. }: Piece, row: usize, values: &mut [f32]) {
        let at = worker * self.rows + row;
        // SAFETY: every worker has its own line of `best`.
        let best = &mut unsafe { self.best.part(at..at + 1) }[0];
        let largest = super::simd::max(values);
        if largest > best.0 {
            let inside = values.iter().position(|&value| value == largest).unwrap_or(0);
            *best = (largest, (first + inside) as u32);
        }
    }
}

simd! {
    fn finish_row(finish: &Finish, middle: &[f32], column: usize, values: &mut [f32], out: &mut [f32]) {
        finish_piece(finish, middle, 0, column, values, out);
    }
}

/// `values` are the outputs that begin at `first`, which the side paths call `column`.
#[inline(always)]
fn finish_piece(finish: &Finish, middle: &[f32], first: usize, column: usize, values: &mut [f32], out: &mut [f32]) {
    // A whole panel has a length that the compiler knows, and stays in registers.
    if let (Ok(values), Ok(out)) = (
        <&mut [f32; PANEL]>::try_from(&mut *values),
        <&mut [f32; PANEL]>::try_from(&mut *out),
    ) {
        if let Some(bias) = finish.bias {
            let bias: &[f32; PANEL] = bias[first..].first_chunk().expect("as long as the outputs");
            *values = std::array::from_fn(|i| values[i] + bias[i]);
        }
        if let Some(side) = finish.side {
            side.add_to_panel(middle, column, values);
        }
        *out = if finish.add {
            std::array::from_fn(|i| out[i] + values[i])
        } else {
            *values
        };
        return;
    }
    if let Some(bias) = finish.bias {
        values
            .iter_mut()
            .zip(&bias[first..])
            .for_each(|(value, bias)| *value += bias);
    }
    if let Some(side) = finish.side {
        side.add(middle, column, values);
    }
    if finish.add {
        out.iter_mut().zip(values).for_each(|(out, value)| *out += *value);
    } else {
        out.copy_from_slice(values);
    }
}
