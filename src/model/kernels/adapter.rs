//! The adapter's side path, in which the rows of one batch may belong to different candidates:
//! y += U (b ⊙ M (a ⊙ V x)). V, M and U are the same for every candidate; `a` and `b` are a few numbers each, read
//! from the row's own line of the bank. The first half, b ⊙ M (a ⊙ V x), runs where x is made; the second where W x
//! comes out.

use super::panel::PANEL;
use super::simd::{dot, simd};

/// One frozen basis on one weight matrix, as the kernels read it.
#[derive(Clone, Debug, PartialEq)]
pub struct SidePath {
    /// r, the basis' rank.
    pub rank: usize,
    /// V, `[r, in]`.
    pub v: Vec<f32>,
    /// M, `[r, r]`.
    pub core: Core,
    /// Uᵀ, `[r, out]`, the adapter's scale within.
    pub ut: Vec<f32>,
    /// Where `a` stands in a line of the bank.
    pub a_start: usize,
    /// Where `b` stands; none where it is one.
    pub b_start: Option<usize>,
}

/// What stands between the two bases of a side path, `[r, r]`.
#[derive(Clone, Debug, PartialEq)]
pub enum Core {
    /// The unit matrix.
    Identity,
    /// The same for every candidate.
    Frozen(Vec<f32>),
    /// Each candidate's own, row by row from here on in a line of the bank.
    Searched {
        /// Where.
        start: usize,
    },
}

impl Core {
    /// The matrix of the candidate with these numbers in the bank; none where it is the unit matrix.
    pub fn of<'a>(&'a self, line: &'a [f32], rank: usize) -> Option<&'a [f32]> {
        match self {
            Self::Identity => None,
            Self::Frozen(core) => Some(core),
            Self::Searched { start } => Some(&line[*start..][..rank * rank]),
        }
    }
}

/// The side paths on one product, which may serve several modules (q, k and v in one), for the rows of one batch.
pub struct Side<'a> {
    /// Each with the column at which its module's outputs begin.
    pub paths: Vec<(&'a SidePath, usize)>,
    /// The candidates' factors, `[candidates, line]`.
    pub bank: &'a [f32],
    /// Numbers a candidate.
    pub line: usize,
    /// The candidate of each row.
    pub candidates: &'a [usize],
}

impl Side<'_> {
    /// Sum of the paths' ranks.
    pub fn rank(&self) -> usize {
        self.paths.iter().map(|(path, _)| path.rank).sum()
    }

    /// Adds U · middle to a whole panel of outputs that begins at `first`, the same sums in the same order as
    /// [`Side::add`].
    #[inline(always)]
    pub(super) fn add_to_panel(&self, middle: &[f32], first: usize, values: &mut [f32; PANEL]) {
        let mut start = 0;
        for (path, column) in &self.paths {
            let h = &middle[start..start + path.rank];
            start += path.rank;
            let outputs = path.ut.len() / path.rank.max(1);
            if first >= *column && first + PANEL <= column + outputs {
                let mut sums = *values;
                for (h, u) in h.iter().zip(path.ut[first - column..].chunks(outputs)) {
                    let u: &[f32; PANEL] = u.first_chunk().expect("a panel within the outputs");
                    for (y, u) in sums.iter_mut().zip(u) {
                        *y = h.mul_add(*u, *y);
                    }
                }
                *values = sums;
            } else {
                add(path, *column, h, first, values);
            }
        }
    }

    /// Adds U · middle to the outputs that begin at `first`.
    #[inline(always)]
    pub(super) fn add(&self, middle: &[f32], first: usize, values: &mut [f32]) {
        let mut start = 0;
        for (path, column) in &self.paths {
            add(path, *column, &middle[start..start + path.rank], first, values);
            start += path.rank;
        }
    }
}

/// One path's share, where its outputs and the piece overlap.
#[inline(always)]
fn add(path: &SidePath, column: usize, h: &[f32], first: usize, values: &mut [f32]) {
    let outputs = path.ut.len() / path.rank.max(1);
    let (from, to) = (first.max(column), (first + values.len()).min(column + outputs));
    if from >= to {
        return;
    }
    let values = &mut values[from - first..to - first];
    for (h, u) in h.iter().zip(path.ut.chunks_exact(outputs)) {
        for (y, u) in values.iter_mut().zip(&u[from - column..to - column]) {
            *y = h.mul_add(*u, *y);
        }
    }
}

simd! {
    /// b ⊙ M (a ⊙ V x) of every path for one row. `x` `[in]`, `out` `[sum of ranks]`.
    pub fn middle(side: &Side, row: usize, x: &[f32], out: &mut [f32]) {
        let scales = &side.bank[side.candidates[row] * side.line..][..side.line];
        let mut out = out;
        for (path, _) in &side.paths {
            let h;
            (h, out) = out.split_at_mut(path.rank);
            for ((h, v), a) in h.iter_mut().zip(path.v.chunks_exact(x.len())).zip(&scales[path.a_start..]) {
                *h = dot(v, x) * a;
            }
            if let Some(core) = path.core.of(scales, path.rank) {
                let from = h.to_vec();
                for (mixed, core) in h.iter_mut().zip(core.chunks_exact(path.rank)) {
                    *mixed = dot(core, &from);
                }
            }
            if let Some(b_start) = path.b_start {
                for (h, b) in h.iter_mut().zip(&scales[b_start..]) {
                    *h *= b;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::kernels::{Finish, Form, Input, float_product};
    use crate::seed::Seed;
    use tch::Tensor;

    /// Against the same sum of products in libtorch, rows of two candidates mixed, two paths on one product.
    #[test]
    fn a_mixed_batch_is_what_the_matrices_say() {
        let (rows, inputs, outputs, rank, line) = (5, 19, 23, 3, 12);
        let random =
            |seed: u64, n: usize| -> Vec<f32> { Seed::new(seed).normals(n).iter().map(|&z| z as f32).collect() };
        let tensor = |values: &[f32], shape: [usize; 2]| Tensor::from_slice(values).view(shape.map(|n| n as i64));
        let path = |seed: u64, a_start: usize, core: Core| SidePath {
            rank,
            v: random(seed, rank * inputs),
            core,
            ut: random(seed + 2, rank * outputs),
            a_start,
            b_start: Some(5),
        };
        let frozen = Core::Frozen(random(2, rank * rank));
        let (first, second) = (path(1, 1, frozen), path(7, 8, Core::Searched { start: 2 }));
        let (x, bank, candidates) = (random(4, rows * inputs), random(5, 2 * line), [0, 1, 1, 0, 1]);
        let width = 2 + 2 * outputs;
        let side = Side {
            paths: vec![(&first, 2), (&second, 2 + outputs)],
            bank: &bank,
            line,
            candidates: &candidates,
        };
        let mut input = Input::default();
        input.fill([rows, inputs], Form::Float, Some(&side), |row, out| {
            out.copy_from_slice(&x[row * inputs..][..inputs]);
        });
        let finish = Finish {
            bias: None,
            side: Some(&side),
            add: true,
        };
        let mut y = vec![1.0; rows * width];
        float_product(&vec![0.0; rows * width], &input, finish, &mut y);
        let x = tensor(&x, [rows, inputs]);
        for (row, candidate) in candidates.into_iter().enumerate() {
            let scales = &bank[candidate * line..][..line];
            let diagonal = |start: usize| Tensor::from_slice(&scales[start..start + rank]).diag(0);
            for (path, column) in &side.paths {
                let core = tensor(path.core.of(scales, rank).expect("set above"), [rank, rank]);
                let delta = tensor(&path.ut, [rank, outputs])
                    .tr()
                    .matmul(&diagonal(5))
                    .matmul(&core);
                let delta = delta
                    .matmul(&diagonal(path.a_start))
                    .matmul(&tensor(&path.v, [rank, inputs]));
                let expected = delta.mv(&x.get(row as i64)) + 1.0;
                let found = Tensor::from_slice(&y[row * width + column..][..outputs]);
                assert!((found - expected).abs().max().double_value(&[]) < 1e-4);
            }
            assert_eq!(y[row * width], 1.0, "columns before the module's are left alone");
        }
    }
}
