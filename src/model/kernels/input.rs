//! What goes into a product, made in one pass over each row: the row itself, in f32 or in int8 groups as the weights
//! want it, and what the candidates' side paths read from it while it is at hand.

use super::adapter::{Side, middle};
use super::for_row_numbers;
use super::quantized::QuantizedRows;
use super::rows::quantize_row;
use super::view::Shared;

/// Activations on their way into a product; the buffers are used again and again.
#[derive(Debug, Default)]
pub struct Input {
    rows: usize,
    width: usize,
    form: Form,
    /// `[rows, width]`, where the weights are floats.
    floats: Vec<f32>,
    /// Where the weights are packed.
    quantized: QuantizedRows,
    /// b ⊙ M (a ⊙ V x) of every side path, `[rows, sum of ranks]`.
    middles: Vec<f32>,
    /// Sum of the side paths' ranks.
    rank: usize,
}

/// How a product wants its activations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Form {
    /// f32.
    #[default]
    Float,
    /// int8, one scale for each so many numbers of a row.
    Int8 {
        /// How many.
        group: usize,
    },
}

impl Input {
    /// Fills every row with what `produce(row, buffer)` writes, converts it to `form`, and runs the first half of the
    /// side paths on it.
    pub fn fill(
        &mut self,
        [rows, width]: [usize; 2],
        form: Form,
        side: Option<&Side>,
        produce: impl Fn(usize, &mut [f32]) + Sync,
    ) {
        (self.rows, self.width, self.form) = (rows, width, form);
        self.rank = side.map_or(0, |side| side.rank());
        self.middles.resize(rows * self.rank, 0.0);
        match form {
            Form::Float => self.floats.resize(rows * width, 0.0),
            Form::Int8 { group } => self.quantized.resize(rows, width, group),
        }
        let (rank, steps, groups) = (self.rank, width.div_ceil(4), self.quantized.scales.len() / rows.max(1));
        let floats = Shared::new(&mut self.floats);
        let middles = Shared::new(&mut self.middles);
        let numbers = Shared::new(&mut self.quantized.numbers);
        let scales = Shared::new(&mut self.quantized.scales);
        let corrections = Shared::new(&mut self.quantized.corrections);
        let totals = Shared::new(&mut self.quantized.totals);
        for_row_numbers(rows, Vec::new, |buffer: &mut Vec<f32>, row| {
            let produced: &mut [f32] = match form {
                // SAFETY: here and below: every row is given to one task, and the parts are that row's.
                Form::Float => unsafe { floats.part(row * width..(row + 1) * width) },
                Form::Int8 { .. } => {
                    buffer.resize(width, 0.0);
                    buffer
                }
            };
            produce(row, produced);
            if let Form::Int8 { group } = form {
                let (at, of) = (row * steps..(row + 1) * steps, row * groups..(row + 1) * groups);
                // SAFETY: as above.
                let (numbers, scales, corrections, totals) = unsafe {
                    (
                        numbers.part(at),
                        scales.part(of.clone()),
                        corrections.part(of.clone()),
                        totals.part(of),
                    )
                };
                quantize_row(produced, group, numbers, scales, corrections, totals);
            }
            if let Some(side) = side {
                // SAFETY: as above.
                middle(side, row, produced, unsafe {
                    middles.part(row * rank..(row + 1) * rank)
                });
            }
        });
    }

    /// `[rows, width]`.
    pub fn shape(&self) -> [usize; 2] {
        [self.rows, self.width]
    }

    /// The rows in f32, if that is their form.
    pub fn floats(&self) -> &[f32] {
        assert_eq!(self.form, Form::Float, "activations made for a product of floats");
        &self.floats
    }

    /// The rows in int8, if that is their form.
    pub fn quantized(&self) -> &QuantizedRows {
        assert_ne!(self.form, Form::Float, "activations made for a packed product");
        &self.quantized
    }

    /// What the side paths carry for a row, `[sum of ranks]`.
    #[inline(always)]
    pub fn middle(&self, row: usize) -> &[f32] {
        &self.middles[row * self.rank..][..self.rank]
    }
}
