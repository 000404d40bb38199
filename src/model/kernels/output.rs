//! What comes out of a product, finished piece by piece while it is still in registers or in the nearest cache: bias, the
//! second half of the side paths, and the sum with what was there before.

use super::adapter::Side;
use super::for_row_numbers;
use super::input::Input;
use super::packed::{PANEL, PackedWeight, Sink};
use super::simd::simd;
use super::view::Shared;

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
    fn take(&self, _worker: usize, row: usize, first: usize, values: &mut [f32]) {
        let at = row * self.width + first;
        // SAFETY: a piece of a row comes to exactly one worker, and this is where it belongs.
        let out = unsafe { self.out.part(at..at + values.len()) };
        finish_piece(&self.finish, self.input.middle(row), first, values, out);
    }
}

/// The same for W x that somebody else computed. `product` and `out` `[rows, out]`.
pub fn float_product(product: &[f32], input: &Input, finish: Finish, out: &mut [f32]) {
    let rows = input.shape()[0];
    let width = product.len() / rows.max(1);
    let out = Shared::new(out);
    for_row_numbers(rows, Vec::new, |values: &mut Vec<f32>, row| {
        values.clear();
        values.extend_from_slice(&product[row * width..][..width]);
        // SAFETY: every row is given to one task.
        let out = unsafe { out.part(row * width..(row + 1) * width) };
        finish_row(&finish, input.middle(row), values, out);
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
    fn take(&self, worker: usize, row: usize, first: usize, values: &mut [f32]) {
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
    fn finish_row(finish: &Finish, middle: &[f32], values: &mut [f32], out: &mut [f32]) {
        finish_piece(finish, middle, 0, values, out);
    }
}

/// `values` are the outputs that begin at `first`.
#[inline(always)]
fn finish_piece(finish: &Finish, middle: &[f32], first: usize, values: &mut [f32], out: &mut [f32]) {
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
            side.add_to_panel(middle, first, values);
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
        side.add(middle, first, values);
    }
    if finish.add {
        out.iter_mut().zip(values).for_each(|(out, value)| *out += *value);
    } else {
        out.copy_from_slice(values);
    }
}
