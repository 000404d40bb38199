//! Dense linear algebra in f64 on the CPU, as much of it as the strategies need: a symmetric matrix that learns from
//! outer products, its principal axes, and the sums and products of vectors. Every rank computes the same step from the
//! same fitness, so every loop here is plain Rust with a fixed order of additions and no threads. The eigendecomposition
//! is faer's, built without threads (38 times as fast as nalgebra's at n = 2,048, where that took 76 s). faer picks its
//! kernels by the processor, so full CMA-ES has the same bits in every process of one build on one kind of processor;
//! ranks that differ are found by the digest of their states.

use faer::{Mat, Side};
use serde::{Deserialize, Serialize};

/// A symmetric matrix `[n, n]`, of which the lower triangle is kept, row by row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Symmetric {
    n: usize,
    #[serde(with = "exact")]
    lower: Vec<f64>,
}

/// A term `weight · v vᵀ` of a symmetric matrix.
#[derive(Clone, Copy, Debug)]
pub struct Outer<'a> {
    /// Its coefficient, negative to take away.
    pub weight: f64,
    /// `[n]`
    pub vector: &'a [f64],
}

/// The principal axes of a symmetric positive matrix C = B diag(d)² Bᵀ.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Axes {
    /// d, the lengths of the axes: square roots of the eigenvalues, shortest first.
    #[serde(with = "exact")]
    lengths: Vec<f64>,
    /// B, one unit vector after another in the order of the lengths, `[n · n]`.
    #[serde(with = "exact")]
    basis: Vec<f64>,
}

impl Symmetric {
    /// The unit matrix.
    pub fn identity(n: usize) -> Self {
        let mut lower = vec![0.0; n * (n + 1) / 2];
        let mut diagonal = 0;
        for row in 0..n {
            lower[diagonal] = 1.0;
            diagonal += row + 2;
        }
        Self { n, lower }
    }

    /// n, the number of rows and of columns.
    pub fn dim(&self) -> usize {
        self.n
    }

    /// Whether the numbers fill the triangle and are all finite: to be asked of what came from a file.
    pub fn is_valid(&self) -> bool {
        self.lower.len() == self.n * (self.n + 1) / 2 && self.lower.iter().all(|x| x.is_finite())
    }

    /// The element at `row` and `column`.
    pub fn get(&self, row: usize, column: usize) -> f64 {
        let (row, column) = (row.max(column), row.min(column));
        self.lower[row * (row + 1) / 2 + column]
    }

    /// C ← `decay` · C + Σ weight · v vᵀ. One pass over the triangle for all terms together, because a row fits the
    /// first cache and the triangle does not.
    pub fn update(&mut self, decay: f64, terms: &[Outer]) {
        let mut rest = self.lower.as_mut_slice();
        for i in 0..self.n {
            let (row, below) = rest.split_at_mut(i + 1);
            for x in row.iter_mut() {
                *x *= decay;
            }
            for term in terms {
                axpy(term.weight * term.vector[i], &term.vector[..=i], row);
            }
            rest = below;
        }
    }

    /// The principal axes; `None` when the numbers are not finite or the iteration does not converge. An eigenvalue
    /// that rounding has pushed below the precision of the largest is lifted to it, so every length is positive.
    pub fn axes(&self) -> Option<Axes> {
        if !self.is_valid() {
            return None;
        }
        // The upper triangle is never read.
        let full = Mat::from_fn(self.n, self.n, |i, j| if i >= j { self.get(i, j) } else { 0.0 });
        let eigen = full.self_adjoint_eigen(Side::Lower).ok()?;
        let values = eigen.S().column_vector();
        let largest = values.iter().copied().fold(0.0, f64::max);
        let smallest = largest * f64::EPSILON;
        let axes = Axes {
            lengths: values.iter().map(|value| value.max(smallest).sqrt()).collect(),
            basis: eigen.U().col_iter().flat_map(|axis| axis.iter().copied()).collect(),
        };
        (largest > 0.0 && axes.is_valid()).then_some(axes)
    }
}

impl Axes {
    /// n, the dimension.
    pub fn dim(&self) -> usize {
        self.lengths.len()
    }

    /// Whether the numbers fill the matrix, are all finite, and the lengths are positive: to be asked of what came from
    /// a file.
    pub fn is_valid(&self) -> bool {
        self.basis.len() == self.dim() * self.dim()
            && self.basis.iter().all(|x| x.is_finite())
            && self.lengths.iter().all(|d| d.is_finite() && *d > 0.0)
    }

    /// B diag(d) z: a standard normal vector becomes one that is distributed as N(0, C).
    pub fn scale_and_rotate(&self, z: &[f64]) -> Vec<f64> {
        let scaled: Vec<f64> = z.iter().zip(&self.lengths).map(|(z, d)| z * d).collect();
        self.rotate(&scaled)
    }

    /// B z.
    pub fn rotate(&self, z: &[f64]) -> Vec<f64> {
        let n = self.dim();
        let mut sum = vec![0.0; n];
        for (z, axis) in z.iter().zip(self.basis.chunks_exact(n)) {
            axpy(*z, axis, &mut sum);
        }
        sum
    }

    /// Length of the longest axis.
    pub fn longest(&self) -> f64 {
        self.lengths.iter().copied().fold(0.0, f64::max)
    }

    /// Length of the shortest axis.
    pub fn shortest(&self) -> f64 {
        self.lengths.iter().copied().fold(f64::INFINITY, f64::min)
    }
}

/// Whether each of the vectors has n finite numbers: to be asked of what came from a file.
pub fn all_finite(vectors: &[&Vec<f64>], n: usize) -> bool {
    vectors
        .iter()
        .all(|vector| vector.len() == n && vector.iter().all(|x| x.is_finite()))
}

/// y ← y + `scale` · x.
pub fn axpy(scale: f64, x: &[f64], y: &mut [f64]) {
    debug_assert_eq!(x.len(), y.len());
    for (y, x) in y.iter_mut().zip(x) {
        *y += scale * x;
    }
}

/// Σ x · y, in eight interleaved partial sums: a fixed order that the compiler can still turn into vector instructions.
pub fn dot(x: &[f64], y: &[f64]) -> f64 {
    debug_assert_eq!(x.len(), y.len());
    let ((xs, x_rest), (ys, y_rest)) = (x.as_chunks::<8>(), y.as_chunks::<8>());
    let mut sums = [0.0; 8];
    for (x, y) in xs.iter().zip(ys) {
        for ((sum, x), y) in sums.iter_mut().zip(x).zip(y) {
            *sum += x * y;
        }
    }
    let rest: f64 = x_rest.iter().zip(y_rest).map(|(x, y)| x * y).sum();
    sums.iter().sum::<f64>() + rest
}

/// Σ x²
pub fn squared_norm(x: &[f64]) -> f64 {
    dot(x, x)
}

/// Euclidean length.
pub fn norm(x: &[f64]) -> f64 {
    squared_norm(x).sqrt()
}

/// Serde for long rows of f64: one string of 16 hexadecimal digits a number, its bits, highest digit first. Exact by
/// construction, shorter than decimals, and a [`serde_json::Value`] of it takes one allocation, not one a number.
pub mod exact {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    const DIGITS: usize = 16;

    /// Writes the string.
    pub fn serialize<S: Serializer>(numbers: &[f64], serializer: S) -> Result<S::Ok, S::Error> {
        // By hand, because `format!` takes ten times as long and a checkpoint has millions.
        let mut digits = Vec::with_capacity(numbers.len() * DIGITS);
        for x in numbers {
            let bits = x.to_bits();
            let digit = |k: usize| b"0123456789abcdef"[(bits >> (4 * (DIGITS - 1 - k)) & 15) as usize];
            digits.extend_from_slice(&std::array::from_fn::<u8, DIGITS, _>(digit));
        }
        serializer.serialize_str(str::from_utf8(&digits).expect("digits are ASCII"))
    }

    /// Reads the string; an error when it is cut short or holds anything but digits.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<f64>, D::Error> {
        let digits = String::deserialize(deserializer)?;
        let (numbers, rest) = digits.as_bytes().as_chunks::<DIGITS>();
        if !rest.is_empty() {
            return Err(D::Error::custom(format!(
                "a row of exact numbers has {} digits, expected a multiple of {DIGITS}",
                digits.len()
            )));
        }
        numbers
            .iter()
            .map(|number| parse(number).map_err(D::Error::custom))
            .collect()
    }

    fn parse(digits: &[u8; DIGITS]) -> Result<f64, String> {
        let mut bits = 0_u64;
        for digit in digits {
            let value = char::from(*digit).to_digit(16);
            let value = value.ok_or_else(|| format!("{:?} is no hexadecimal digit", char::from(*digit)))?;
            bits = bits << 4 | u64::from(value);
        }
        Ok(f64::from_bits(bits))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::Seed;

    /// A random symmetric positive matrix, by the same update that a strategy uses.
    fn example(n: usize) -> Symmetric {
        let mut matrix = Symmetric::identity(n);
        let vectors: Vec<_> = (0..5).map(|k| Seed::new(1).fold(k).normals(n)).collect();
        let terms: Vec<_> = vectors.iter().map(|vector| Outer { weight: 0.1, vector }).collect();
        matrix.update(0.5, &terms);
        matrix
    }

    #[test]
    fn an_update_is_the_sum_of_outer_products() {
        let mut matrix = Symmetric::identity(3);
        let (u, v) = ([1.0, 2.0, 3.0], [0.0, 1.0, -1.0]);
        matrix.update(
            0.5,
            &[
                Outer {
                    weight: 1.0,
                    vector: &u,
                },
                Outer {
                    weight: -0.25,
                    vector: &v,
                },
            ],
        );
        let expected = [[1.5, 2.0, 3.0], [2.0, 4.25, 6.25], [3.0, 6.25, 9.25]];
        for (i, row) in expected.iter().enumerate() {
            for (j, x) in row.iter().enumerate() {
                assert_eq!(matrix.get(i, j), *x, "row {i} column {j}");
            }
        }
    }

    #[test]
    fn the_axes_rebuild_the_matrix() {
        for n in [1, 2, 3, 10, 37] {
            let (matrix, axes) = (example(n), example(n).axes().expect("positive"));
            let mut rebuilt = Symmetric::identity(n);
            let columns: Vec<_> = axes.basis.chunks_exact(n).zip(&axes.lengths).collect();
            let terms: Vec<_> = columns
                .iter()
                .map(|(b, d)| Outer {
                    weight: *d * *d,
                    vector: b,
                })
                .collect();
            rebuilt.update(0.0, &terms);
            for i in 0..n {
                for j in 0..=i {
                    assert!(
                        (rebuilt.get(i, j) - matrix.get(i, j)).abs() < 1e-13,
                        "n {n} row {i} column {j}"
                    );
                }
            }
        }
    }

    #[test]
    fn scaled_and_rotated_unit_vectors_have_the_lengths_of_the_axes() {
        let axes = example(7).axes().expect("positive");
        for (k, length) in axes.lengths.iter().enumerate() {
            let mut unit = vec![0.0; 7];
            unit[k] = 1.0;
            assert!((norm(&axes.scale_and_rotate(&unit)) - length).abs() < 1e-14);
            assert!((norm(&axes.rotate(&unit)) - 1.0).abs() < 1e-14);
        }
    }

    #[test]
    fn what_has_no_axes_says_so() {
        let mut broken = Symmetric::identity(4);
        broken.update(f64::NAN, &[]);
        assert_eq!(broken.axes(), None);
        let mut negative = Symmetric::identity(4);
        negative.update(-1.0, &[]);
        assert_eq!(negative.axes(), None);
    }

    #[test]
    fn a_lost_eigenvalue_is_lifted() {
        let mut flat = Symmetric::identity(2);
        flat.update(
            1.0,
            &[Outer {
                weight: -1.0,
                vector: &[1.0, 0.0],
            }],
        );
        let axes = flat.axes().expect("one axis is left");
        assert!(axes.shortest() > 0.0 && axes.shortest() < 1e-7, "{}", axes.shortest());
    }

    #[test]
    fn a_norm_counts_every_element() {
        for n in 0..40 {
            assert_eq!(squared_norm(&vec![2.0; n]), 4.0 * n as f64);
        }
    }

    #[test]
    fn exact_numbers_survive_text() {
        let axes = Axes {
            lengths: vec![0.1, f64::MIN_POSITIVE / 4.0, -0.0],
            basis: vec![f64::MAX, f64::NEG_INFINITY, 1.0 / 3.0],
        };
        let text = serde_json::to_string(&axes).expect("serialises");
        let back: Axes = serde_json::from_str(&text).expect("parses");
        assert_eq!(back.lengths[2].to_bits(), (-0.0_f64).to_bits());
        assert_eq!(back, axes);
        let cut = text.replace("3fb999999999999a", "3fb99999");
        assert!(serde_json::from_str::<Axes>(&cut).is_err(), "{cut}");
    }
}
