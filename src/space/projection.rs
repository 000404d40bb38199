//! A random subspace of a search space: not θ is searched but z, with θ = P z.

use crate::search::Layout;
use crate::seed::Seed;

/// θ = P z, P `[n, d]` with entries from N(0, 1/d), so that a step of z moves each number of θ as a step of the same σ would
/// (intrinsic dimension, arXiv 1804.08838; TinyLoRA's random mixing).
#[derive(Clone, Debug)]
pub struct Projection {
    layout: Layout,
    /// P, row by row.
    rows: Vec<f32>,
}

impl Projection {
    /// From `dim` numbers to `n`.
    pub fn new(n: usize, dim: usize, seed: Seed) -> Self {
        let scale = 1.0 / (dim as f64).sqrt();
        let row = |at: usize| seed.fold(at as u64).normals(dim);
        let rows = (0..n).flat_map(|at| row(at).into_iter().map(|z| (z * scale) as f32));
        Self {
            layout: Layout::new([("subspace".to_string(), dim)]),
            rows: rows.collect(),
        }
    }

    /// The slot of z.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// P z, `[n]`.
    pub fn times(&self, z: &[f64]) -> Vec<f64> {
        let dot = |row: &[f32]| row.iter().zip(z).map(|(p, z)| f64::from(*p) * z).sum();
        self.rows.chunks_exact(z.len()).map(dot).collect()
    }
}
