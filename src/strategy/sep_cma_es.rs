//! Separable CMA-ES: R. Ros, N. Hansen, *A Simple Modification in CMA-ES Achieving Linear Time and Space Complexity*, PPSN
//! 2008. It is the CMA-ES of `cma_es.rs` with a covariance matrix of which only the diagonal is learnt, and because that
//! is n numbers and not n (n + 1) / 2, both its learning rates are (n + 2) / 3 times as large (the paper's section 3). A
//! generation takes O(n) a member. It is the better choice wherever n is large or the population small: a scale for each
//! number is learnt in n / 3 times fewer generations, and only what two numbers must do together is lost. Settings,
//! `draw` and `learn` are those of `cma_es.rs`; what follows is the matrix.

use super::cma_es::{CmaEs, Covariance, Parameters};
use super::spread::Spread;
use crate::linalg::{Outer, all_finite, exact};
use serde::{Deserialize, Serialize};

/// Separable CMA-ES.
pub type SepCmaEs = CmaEs<Diagonal>;

// ------------------------------------------------------------------------------------------------ fixed parameters

/// What follows from n, λ and `active`: CMA-ES with learning rates of C that fit a diagonal.
pub fn parameters(n: usize, population: usize, active: bool) -> Parameters {
    Parameters::with_speed(n, population, active, (n as f64 + 2.0) / 3.0)
}

// --------------------------------------------------------------------------------------------------------- numbers

/// The diagonal of C.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Diagonal {
    /// Variances of the numbers, in units of σ², `[n]`.
    #[serde(with = "exact")]
    variances: Vec<f64>,
}

impl Covariance for Diagonal {
    fn parameters(n: usize, population: usize, active: bool) -> Parameters {
        parameters(n, population, active)
    }

    fn identity(n: usize) -> Self {
        Self {
            variances: vec![1.0; n],
        }
    }

    fn is_valid(&self, n: usize) -> bool {
        all_finite(&[&self.variances], n) && self.is_positive()
    }

    // -------------------------------------------------------------------------------------------------------- draw

    fn shape(&self, z: &[f64]) -> Vec<f64> {
        z.iter().zip(&self.variances).map(|(z, v)| v.sqrt() * z).collect()
    }

    /// B is the unit matrix.
    fn rotate(&self, z: &[f64]) -> Vec<f64> {
        z.to_vec()
    }

    // ------------------------------------------------------------------------------------------------------- learn

    fn learn(&mut self, decay: f64, terms: &[Outer], _: u64, _: u64) {
        for variance in &mut self.variances {
            *variance *= decay;
        }
        for term in terms {
            for (variance, v) in self.variances.iter_mut().zip(term.vector) {
                *variance += term.weight * v * v;
            }
        }
    }

    /// There is nothing to decompose, but negative weights and rounding could leave a variance that is none.
    fn is_fresh(&self, _: u64, _: u64) -> bool {
        self.is_positive()
    }

    fn spread(&self) -> Spread {
        let lengths: Vec<f64> = self.variances.iter().map(|variance| variance.sqrt()).collect();
        Spread::of(&lengths)
    }
}

impl Diagonal {
    fn is_positive(&self) -> bool {
        self.variances.iter().all(|variance| *variance > 0.0)
    }
}

// ----------------------------------------------------------------------------------------------------------- tests

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linalg::Symmetric;
    use crate::seed::Seed;

    #[test]
    fn the_diagonal_learns_what_the_diagonal_of_the_matrix_learns() {
        let (mut diagonal, mut matrix) = (Diagonal::identity(5), Symmetric::identity(5));
        for update in 0..3 {
            let vectors: Vec<_> = (0..4).map(|k| Seed::new(update).fold(k).normals(5)).collect();
            let weights = [0.2, 0.1, 0.05, -0.01];
            let terms: Vec<_> = weights
                .iter()
                .zip(&vectors)
                .map(|(weight, vector)| Outer {
                    weight: *weight,
                    vector,
                })
                .collect();
            diagonal.learn(0.7, &terms, update + 1, 1);
            matrix.update(0.7, &terms);
        }
        for (i, variance) in diagonal.variances.iter().enumerate() {
            assert!((variance - matrix.get(i, i)).abs() < 1e-14, "number {i}");
        }
    }

    #[test]
    fn members_have_the_variances() {
        let diagonal = Diagonal {
            variances: vec![4.0, 0.25],
        };
        assert_eq!(diagonal.shape(&[1.0, -2.0]), [2.0, -1.0]);
        assert_eq!(diagonal.rotate(&[1.0, -2.0]), [1.0, -2.0]);
        assert_eq!((diagonal.spread().longest, diagonal.spread().shortest), (2.0, 0.5));
        assert!(diagonal.is_valid(2) && !diagonal.is_valid(3));
    }

    /// However bad luck with negative weights is, a variance stays positive.
    #[test]
    fn negative_weights_leave_the_variances_positive() {
        for (n, population) in [(1, 4), (2, 6), (10, 10), (40, 60), (480, 22)] {
            let fixed = parameters(n, population, true);
            let (plus, minus): (Vec<f64>, Vec<f64>) = fixed.weights.iter().partition(|w| **w > 0.0);
            // All of the worse half's noise lies along one number, where the better half has none.
            let lost = fixed.cmu * minus.iter().sum::<f64>() * n as f64;
            let decay = 1.0 - fixed.c1 - fixed.cmu * (plus.iter().sum::<f64>() + minus.iter().sum::<f64>());
            assert!(
                decay + lost >= -1e-12,
                "n {n} population {population}: {}",
                decay + lost
            );
        }
    }

    #[test]
    fn what_is_no_variance_is_damage() {
        for wrong in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            let diagonal = Diagonal {
                variances: vec![1.0, wrong],
            };
            assert!(!diagonal.is_valid(2), "{wrong}");
        }
    }

    /// (n + 2) / 3 times faster than the matrix, as Ros and Hansen have it.
    #[test]
    fn a_diagonal_is_learnt_faster_than_a_matrix() {
        for (n, speed) in [(1, 1.0), (10, 4.0), (40, 14.0)] {
            let (diagonal, full) = (parameters(n, 10, false), Parameters::new(n, 10, false));
            assert!((diagonal.c1 - speed * full.c1).abs() < 1e-15, "{n}");
            assert!(
                (diagonal.cmu - (speed * full.cmu).min(1.0 - diagonal.c1)).abs() < 1e-15,
                "{n}"
            );
        }
    }

    #[test]
    fn a_variance_that_is_none_is_no_longer_fresh() {
        let of = |variances: [f64; 2]| Diagonal {
            variances: variances.to_vec(),
        };
        assert!(of([1.0, 1e-300]).is_fresh(5, 1));
        for wrong in [0.0, -1e-9, f64::NAN] {
            assert!(!of([1.0, wrong]).is_fresh(5, 1), "{wrong}");
        }
    }
}
