//! Dense linear algebra in f64 on the CPU, as much of it as the strategies need: a symmetric matrix that learns from
//! outer products, its principal axes, a matrix that learns from exponentials, and the sums and products of vectors.
//! Every rank computes the same step from the same fitness, so every loop here is plain Rust with a fixed order of
//! additions: no threads, no choice of kernel by the processor, the same bits in every process of one build. The
//! eigendecomposition of a matrix of up to 512 rows is nalgebra's, which keeps to the same rule; that of a larger
//! one is faer's without threads, 38 times as fast at n = 2,048 (2 s instead of 76 s). faer picks its kernels by the
//! processor: there the bits are the same on one kind of processor, and ranks that differ are found by the digest of
//! their states.

use faer::{Mat, Side};
use nalgebra::{DMatrix, SymmetricEigen};
use serde::{Deserialize, Serialize};

/// Rows up to which nalgebra decomposes a matrix: there it takes 0.4 s at most.
const SMALL: usize = 512;

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
    /// d, the lengths of the axes: square roots of the eigenvalues, in no particular order.
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
        let (values, basis) = self.eigen()?;
        let largest = values.iter().copied().fold(0.0, f64::max);
        let smallest = largest * f64::EPSILON;
        let lengths = values.iter().map(|value| value.max(smallest).sqrt()).collect();
        let axes = Axes { lengths, basis };
        (largest > 0.0 && axes.is_valid()).then_some(axes)
    }

    /// Eigenvalues, `[n]`, and unit eigenvectors, one after another in the same order, `[n · n]`.
    fn eigen(&self) -> Option<(Vec<f64>, Vec<f64>)> {
        if !self.is_valid() {
            return None;
        }
        // The upper triangle is never read.
        let lower = |i, j| if i >= j { self.get(i, j) } else { 0.0 };
        if self.n > SMALL {
            let eigen = Mat::from_fn(self.n, self.n, lower)
                .self_adjoint_eigen(Side::Lower)
                .ok()?;
            return Some((
                eigen.S().column_vector().iter().copied().collect(),
                eigen.U().col_iter().flat_map(|axis| axis.iter().copied()).collect(),
            ));
        }
        let full = DMatrix::from_fn(self.n, self.n, lower);
        // One sweep or two for each eigenvalue is what a decomposition takes; a bound keeps it from turning forever.
        let eigen = SymmetricEigen::try_new(full, f64::EPSILON, 100 * self.n.max(10))?;
        Some((
            eigen.eigenvalues.as_slice().to_vec(),
            eigen.eigenvectors.as_slice().to_vec(),
        ))
    }
}

/// A square matrix that learns by products with exponentials, so that it never becomes singular: B of xNES.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Matrix {
    n: usize,
    /// One column after another, `[n · n]`.
    #[serde(with = "exact")]
    columns: Vec<f64>,
}

impl Matrix {
    /// The unit matrix.
    pub fn identity(n: usize) -> Self {
        let mut columns = vec![0.0; n * n];
        columns.iter_mut().step_by(n + 1).for_each(|x| *x = 1.0);
        Self { n, columns }
    }

    /// n, the number of rows and of columns.
    pub fn dim(&self) -> usize {
        self.n
    }

    /// Whether the numbers fill the square and are all finite: to be asked of what came from a file.
    pub fn is_valid(&self) -> bool {
        Some(self.columns.len()) == self.n.checked_mul(self.n) && self.columns.iter().all(|x| x.is_finite())
    }

    /// B x.
    pub fn times(&self, x: &[f64]) -> Vec<f64> {
        let mut sum = vec![0.0; self.n];
        for (x, column) in x.iter().zip(self.columns.chunks_exact(self.n)) {
            axpy(*x, column, &mut sum);
        }
        sum
    }

    /// B ← B exp(`shift` · I + Σ weight · v vᵀ); false, and nothing is changed, when the sum has no eigenvectors.
    ///
    /// The sum differs from the shift only in the space of the k ≤ n vectors. In an orthonormal basis of that space it
    /// is a k × k matrix with eigenvalues λ_j and, back in n dimensions, eigenvectors q_j, so the exponential is
    /// e^shift (I + Σ (e^λ_j − 1) q_j q_jᵀ): O(k n²), where that of any matrix takes O(n³).
    #[must_use]
    pub fn times_exponential(&mut self, shift: f64, terms: &[Outer]) -> bool {
        let n = self.n;
        let basis = orthonormal(terms.iter().map(|term| term.vector.to_vec()));
        let coordinates: Vec<Vec<f64>> = terms
            .iter()
            .map(|term| basis.iter().map(|axis| dot(axis, term.vector)).collect())
            .collect();
        let small: Vec<Outer> = terms
            .iter()
            .zip(&coordinates)
            .map(|(term, vector)| Outer {
                weight: term.weight,
                vector,
            })
            .collect();
        let mut sum = Symmetric::identity(basis.len());
        sum.update(0.0, &small);
        let Some((values, vectors)) = sum.eigen() else {
            return false;
        };
        let directions = vectors.chunks_exact(basis.len().max(1)).map(|vector| {
            let mut q = vec![0.0; n];
            for (x, axis) in vector.iter().zip(&basis) {
                axpy(*x, axis, &mut q);
            }
            q
        });
        // All products with B come before B changes.
        let changes: Vec<_> = directions
            .zip(values)
            .map(|(q, value)| (self.times(&q), value.exp_m1(), q))
            .collect();
        let scale = shift.exp();
        for (c, column) in self.columns.chunks_exact_mut(n).enumerate() {
            for (product, growth, q) in &changes {
                axpy(growth * q[c], product, column);
            }
            column.iter_mut().for_each(|x| *x *= scale);
        }
        true
    }

    /// The principal axes of B Bᵀ, where there are any; O(n³).
    pub fn axes(&self) -> Option<Axes> {
        let terms: Vec<Outer> = self
            .columns
            .chunks_exact(self.n)
            .map(|vector| Outer { weight: 1.0, vector })
            .collect();
        let mut covariance = Symmetric::identity(self.n);
        covariance.update(0.0, &terms);
        covariance.axes()
    }
}

/// An orthonormal basis of the space of `vectors` (Gram and Schmidt, twice, which is enough): one vector for each that
/// is not made of those before it.
pub fn orthonormal(vectors: impl IntoIterator<Item = Vec<f64>>) -> Vec<Vec<f64>> {
    let mut basis: Vec<Vec<f64>> = Vec::new();
    for mut vector in vectors {
        let before = norm(&vector);
        for _ in 0..2 {
            for axis in &basis {
                let along = dot(axis, &vector);
                axpy(-along, axis, &mut vector);
            }
        }
        let length = norm(&vector);
        if length > 1e-12 * before {
            vector.iter_mut().for_each(|x| *x /= length);
            basis.push(vector);
        }
    }
    basis
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

    /// d, how long they are, `[n]`.
    pub fn lengths(&self) -> &[f64] {
        &self.lengths
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
        // Both libraries.
        for n in [1, 2, 3, 10, 37, SMALL, SMALL + 1] {
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
    fn a_product_with_an_exponential_is_the_product_of_its_series() {
        // Fewer vectors than dimensions, as many, and more, of which some then lie in the space of the others.
        for (n, k) in [(1, 3), (2, 6), (5, 2), (9, 9), (12, 7)] {
            let vectors: Vec<_> = (0..k).map(|i| Seed::new(5).fold(i).normals(n)).collect();
            let weights = Seed::new(6).normals(k as usize);
            let terms: Vec<_> = vectors
                .iter()
                .zip(weights)
                .map(|(vector, weight)| Outer {
                    weight: weight / 10.0,
                    vector,
                })
                .collect();
            let mut exponent = Symmetric::identity(n);
            exponent.update(0.25, &terms);
            let mut matrix = Matrix::identity(n);
            for _ in 0..2 {
                assert!(matrix.times_exponential(0.25, &terms));
            }
            let x = Seed::new(7).normals(n);
            // exp(2 G) x by its series.
            let (mut expected, mut power) = (x.clone(), x.clone());
            for order in 1..100 {
                let row = |i: usize| (0..n).map(|j| exponent.get(i, j) * power[j]).sum::<f64>();
                power = (0..n).map(|i| 2.0 * row(i) / f64::from(order)).collect();
                axpy(1.0, &power, &mut expected);
            }
            for (found, expected) in matrix.times(&x).iter().zip(&expected) {
                assert!(
                    (found - expected).abs() < 1e-12 * norm(&x).max(1.0) * norm(&matrix.columns),
                    "n {n} k {k}"
                );
            }
            assert!(matrix.axes().expect("positive").lengths().iter().all(|d| *d > 0.0));
        }
    }

    #[test]
    fn a_basis_leaves_out_what_it_has() {
        let basis = orthonormal([
            vec![2.0, 0.0, 0.0],
            vec![3.0, 0.0, 0.0],
            vec![1.0, 0.0, 1e-3],
            vec![0.0; 3],
        ]);
        assert_eq!(basis, [vec![1.0, 0.0, 0.0], vec![0.0, 0.0, 1.0]]);
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
        let shortest = axes.lengths.iter().copied().fold(f64::INFINITY, f64::min);
        assert!(shortest > 0.0 && shortest < 1e-7, "{shortest}");
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
