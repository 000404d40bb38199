//! Singular value decompositions in f64 with a fixed sign, so that a basis does not depend on a library's mood. The
//! arithmetic is libtorch's (LAPACK).

use crate::error::Result;
use crate::seed::Seed;
use tch::{Kind, Tensor};

/// W ≈ U diag(s) Vᵀ, s in descending order.
pub struct Svd {
    /// `[out, k]`.
    pub u: Tensor,
    /// `[k]`.
    pub s: Vec<f64>,
    /// Vᵀ, `[k, in]`.
    pub vt: Tensor,
}

/// The whole decomposition of a matrix `[rows, columns]`.
pub fn svd(matrix: &[f32], rows: usize, columns: usize) -> Result<Svd> {
    let matrix = Tensor::f_from_slice(matrix)?
        .f_view([rows as i64, columns as i64])?
        .f_to_kind(Kind::Double)?;
    decompose(&matrix)
}

fn decompose(matrix: &Tensor) -> Result<Svd> {
    // `linalg_svd` wants the name of a CUDA solver through these bindings; the older `svd` calls the same LAPACK.
    let (u, s, v) = matrix.f_svd(true, true)?;
    let vt = v.f_transpose(0, 1)?;
    // A pair of singular vectors may change sign together: the largest entry of each left one shall be positive.
    let largest = u.f_abs()?.f_argmax(0, true)?;
    let sign = u.f_gather(0, &largest, false)?.f_sign()?; // [1, k]
    Ok(Svd {
        u: u.f_mul(&sign)?,
        vt: vt.f_mul(&sign.f_reshape([-1, 1])?)?,
        s: Vec::<f64>::try_from(&s).expect("a vector of f64"),
    })
}

/// The `k` largest components by a randomized range finder with power iterations (Halko, Martinsson and Tropp,
/// arXiv 0909.4061, algorithms 4.4 and 5.1): for matrices of which the whole decomposition would take minutes.
pub fn truncated_svd(matrix: &[f32], rows: usize, columns: usize, k: usize, seed: Seed) -> Result<Svd> {
    const OVERSAMPLING: usize = 16;
    const POWER_ITERATIONS: usize = 6;
    let matrix = Tensor::f_from_slice(matrix)?
        .f_view([rows as i64, columns as i64])?
        .f_to_kind(Kind::Double)?;
    let width = (k + OVERSAMPLING).min(rows).min(columns);
    let test = Tensor::f_from_slice(&seed.normals(columns * width))?.f_view([columns as i64, width as i64])?;
    let orthonormal = |x: Tensor| Tensor::f_linalg_qr(&x, "reduced").map(|(q, _)| q);
    let transposed = matrix.f_transpose(0, 1)?;
    let mut range = orthonormal(matrix.f_matmul(&test)?)?; // [rows, width]
    for _ in 0..POWER_ITERATIONS {
        range = orthonormal(matrix.f_matmul(&orthonormal(transposed.f_matmul(&range)?)?)?)?;
    }
    let small = decompose(&range.f_transpose(0, 1)?.f_matmul(&matrix)?)?;
    let keep = k.min(width);
    Ok(Svd {
        u: range.f_matmul(&small.u)?.f_narrow(1, 0, keep as i64)?,
        vt: small.vt.f_narrow(0, 0, keep as i64)?,
        s: small.s[..keep].to_vec(),
    })
}

/// A tensor's numbers by row, in f32.
pub fn numbers(tensor: &Tensor) -> Vec<f32> {
    let flat = tensor.contiguous().view([-1]).to_kind(Kind::Float);
    Vec::<f32>::try_from(&flat).expect("a vector of f32")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn random(rows: usize, columns: usize) -> Vec<f32> {
        Seed::new(9).normals(rows * columns).iter().map(|&z| z as f32).collect()
    }

    #[test]
    fn the_parts_multiply_to_the_matrix() {
        for (rows, columns) in [(7, 11), (11, 7), (4, 4)] {
            let matrix = random(rows, columns);
            let svd = svd(&matrix, rows, columns).expect("a decomposition");
            let back = svd.u.matmul(&Tensor::from_slice(&svd.s).diag(0)).matmul(&svd.vt);
            let difference = numbers(&back)
                .iter()
                .zip(&matrix)
                .map(|(a, b)| (a - b).abs())
                .fold(0.0, f32::max);
            assert!(difference < 1e-6, "{rows} × {columns}: {difference}");
            assert!(svd.s.is_sorted_by(|a, b| a >= b));
        }
    }

    /// On a spectrum that falls slowly, as those of language models do.
    #[test]
    fn the_truncated_one_finds_the_same_components() {
        let (rows, columns, k) = (120, 90, 4);
        let matrix = random(rows, columns);
        let whole = svd(&matrix, rows, columns).expect("a decomposition");
        let part = truncated_svd(&matrix, rows, columns, k, Seed::new(1)).expect("a decomposition");
        for index in 0..k {
            assert!(
                (part.s[index] / whole.s[index] - 1.0).abs() < 1e-3,
                "{index}: {} {}",
                part.s[index],
                whole.s[index]
            );
        }
    }
}
