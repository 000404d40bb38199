//! Activations in int8 as the packed product reads them. A row is quantized in groups, each with a scale. Weights are stored shifted by 128
//! (int8) or above a minimum (int4), so a product also needs the sum of each group, by which shift and minimum are multiplied.

/// Rows of activations in int8, with one scale a group: x ≈ scale · q.
#[derive(Clone, Debug, Default)]
pub struct QuantizedRows {
    /// Numbers of a row.
    pub width: usize,
    /// Numbers that share a scale.
    pub group: usize,
    /// `[rows, ⌈width / 4⌉]`, four numbers each, the rest zero.
    pub numbers: Vec<[i8; 4]>,
    /// `[rows, groups]`.
    pub scales: Vec<f32>,
    /// −128 · Σ q of each group, `[rows, groups]`: takes back what unsigned int8 weights add.
    pub corrections: Vec<i32>,
    /// scale · Σ q of each group, `[rows, groups]`: what the weights' minima are multiplied by.
    pub totals: Vec<f32>,
}

impl QuantizedRows {
    /// Makes room for `rows` rows of `width` numbers in groups of `group`.
    pub fn resize(&mut self, rows: usize, width: usize, group: usize) {
        (self.width, self.group) = (width, group);
        self.numbers.resize(rows * self.steps(), [0; 4]);
        for floats in [&mut self.scales, &mut self.totals] {
            floats.resize(rows * width.div_ceil(group), 0.0);
        }
        self.corrections.resize(rows * width.div_ceil(group), 0);
    }

    /// Groups of a row.
    pub fn groups(&self) -> usize {
        self.width.div_ceil(self.group)
    }

    /// Fours of a row.
    pub fn steps(&self) -> usize {
        self.width.div_ceil(4)
    }

    /// How many rows.
    pub fn rows(&self) -> usize {
        self.scales.len() / self.groups().max(1)
    }
}
