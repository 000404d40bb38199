//! The adapter's side path, in which the rows of one batch may belong to different candidates:
//! y += U (b ⊙ M (a ⊙ V x)). V, M and U are the same for every candidate; `a` and `b` are a few numbers each, read
//! from the row's own line of the bank.

use super::simd::{dot, simd};
use super::{for_rows, slice, slice_mut};
use tch::Tensor;

/// One frozen basis on one weight matrix, as the kernels read it.
#[derive(Clone, Debug, PartialEq)]
pub struct SidePath {
    /// r, the basis' rank.
    pub rank: usize,
    /// V, `[r, in]`.
    pub v: Vec<f32>,
    /// M, `[r, r]`; none where it is the identity.
    pub core: Option<Vec<f32>>,
    /// Uᵀ, `[r, out]`, the adapter's scale within.
    pub ut: Vec<f32>,
    /// Where `a` stands in a line of the bank.
    pub a_start: usize,
    /// Where `b` stands; none where it is one.
    pub b_start: Option<usize>,
}

/// Adds the side path of every row to the columns of `y` that begin at `column`. `x` `[rows, in]`, `y` `[rows, width]`,
/// `bank` `[candidates, line]`, `candidates` the line of each row.
pub fn add_side_path(
    path: &SidePath,
    x: &Tensor,
    y: &mut Tensor,
    column: usize,
    bank: &[f32],
    line: usize,
    candidates: &[usize],
) {
    let (rank, inputs, width) = (path.rank, x.size()[1] as usize, y.size()[1] as usize);
    let outputs = path.ut.len() / rank.max(1);
    let x = slice::<f32>(x);
    for_rows(slice_mut(y), width, |first, rows| {
        let mut middle = vec![0.0; 2 * rank];
        for (index, y) in rows.chunks_exact_mut(width).enumerate() {
            let scales = &bank[candidates[first + index] * line..][..line];
            let x = &x[(first + index) * inputs..][..inputs];
            add_row(path, x, &mut y[column..column + outputs], scales, &mut middle);
        }
    });
}

simd! {
    fn add_row(path: &SidePath, x: &[f32], y: &mut [f32], scales: &[f32], middle: &mut [f32]) {
        let (h, mixed) = middle.split_at_mut(path.rank);
        for ((h, v), a) in h.iter_mut().zip(path.v.chunks_exact(x.len())).zip(&scales[path.a_start..]) {
            *h = dot(v, x) * a;
        }
        let h = match &path.core {
            None => h,
            Some(core) => {
                for (mixed, core) in mixed.iter_mut().zip(core.chunks_exact(path.rank)) {
                    *mixed = dot(core, h);
                }
                mixed
            }
        };
        if let Some(b_start) = path.b_start {
            for (h, b) in h.iter_mut().zip(&scales[b_start..]) {
                *h *= b;
            }
        }
        for (h, u) in h.iter().zip(path.ut.chunks_exact(y.len())) {
            for (y, u) in y.iter_mut().zip(u) {
                *y = h.mul_add(*u, *y);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::Seed;

    /// Against the same sum of products in libtorch, rows of two candidates mixed.
    #[test]
    fn a_mixed_batch_is_what_the_matrices_say() {
        let (rows, inputs, outputs, rank, line) = (5, 19, 23, 3, 8);
        let random =
            |seed: u64, n: usize| -> Vec<f32> { Seed::new(seed).normals(n).iter().map(|&z| z as f32).collect() };
        let tensor = |values: &[f32], shape: [usize; 2]| Tensor::from_slice(values).view(shape.map(|n| n as i64));
        let path = SidePath {
            rank,
            v: random(1, rank * inputs),
            core: Some(random(2, rank * rank)),
            ut: random(3, rank * outputs),
            a_start: 1,
            b_start: Some(5),
        };
        let (x, bank, candidates) = (random(4, rows * inputs), random(5, 2 * line), [0, 1, 1, 0, 1]);
        let x = tensor(&x, [rows, inputs]);
        let mut y = Tensor::ones([rows as i64, outputs as i64 + 2], (tch::Kind::Float, tch::Device::Cpu));
        add_side_path(&path, &x, &mut y, 2, &bank, line, &candidates);
        for (row, candidate) in candidates.into_iter().enumerate() {
            let scales = &bank[candidate * line..][..line];
            let diagonal = |start: usize| Tensor::from_slice(&scales[start..start + rank]).diag(0);
            let core = tensor(path.core.as_ref().expect("set above"), [rank, rank]);
            let delta = tensor(&path.ut, [rank, outputs])
                .tr()
                .matmul(&diagonal(5))
                .matmul(&core);
            let delta = delta.matmul(&diagonal(1)).matmul(&tensor(&path.v, [rank, inputs]));
            let expected = delta.mv(&x.get(row as i64)) + 1.0;
            let difference = (y.get(row as i64).narrow(0, 2, outputs as i64) - expected).abs().max();
            assert!(difference.double_value(&[]) < 1e-4);
            assert_eq!(
                y.double_value(&[row as i64, 0]),
                1.0,
                "columns before the module's are left alone"
            );
        }
    }
}
