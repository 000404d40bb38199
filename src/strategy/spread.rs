//! How far a search distribution reaches: its longest and its shortest axis, and along how many axes it reaches at all.

use serde::{Deserialize, Serialize};

/// The one σ that many come to together.
pub fn geometric_mean(sigmas: &[f64]) -> f64 {
    let logarithms: f64 = sigmas.iter().map(|sigma| sigma.ln()).sum();
    (logarithms / sigmas.len() as f64).exp()
}

/// Lengths of the axes of a Gaussian, in brief.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spread {
    /// The largest standard deviation along any direction.
    pub longest: f64,
    /// The smallest.
    pub shortest: f64,
    /// exp(− Σ p ln p) with p the axes' shares of the total variance: n for a ball, 1 for a needle (O. Roy, M. Vetterli,
    /// *The effective rank*, EUSIPCO 2007).
    pub effective_rank: f64,
}

impl Spread {
    /// Of a Gaussian whose axes have these lengths.
    pub fn of(lengths: &[f64]) -> Self {
        let longest = lengths.iter().copied().fold(0.0, f64::max);
        // Squares of lengths relative to the longest neither overflow nor all vanish.
        let variances = || lengths.iter().map(|length| (length / longest).powi(2));
        let total: f64 = variances().sum();
        let entropy: f64 = variances()
            .map(|variance| variance / total)
            .filter(|share| *share > 0.0)
            .map(|share| -share * share.ln())
            .sum();
        Self {
            longest,
            shortest: lengths.iter().copied().fold(f64::INFINITY, f64::min),
            effective_rank: entropy.exp(),
        }
    }

    /// Of a Gaussian that reaches as far in all of its n dimensions.
    pub fn ball(radius: f64, n: usize) -> Self {
        Self {
            longest: radius,
            shortest: radius,
            effective_rank: n as f64,
        }
    }

    /// The same with all lengths times `factor`.
    pub fn times(self, factor: f64) -> Self {
        Self {
            longest: factor * self.longest,
            shortest: factor * self.shortest,
            ..self
        }
    }

    /// Longest axis over shortest.
    pub fn axis_ratio(self) -> f64 {
        self.longest / self.shortest
    }

    /// Whether its numbers are: to be asked of what came from a file.
    pub fn is_valid(self) -> bool {
        [self.longest, self.shortest, self.effective_rank]
            .iter()
            .all(|x| x.is_finite())
    }

    /// Why a search with these axes asks to stop, `first` being σ0: the numerical limits of Hansen's tutorial, section
    /// B.3. Its limits on differences of fitness are left out, because rewards come in steps.
    pub fn stop(self, first: f64) -> Option<String> {
        let Self { longest, shortest, .. } = self;
        let condition = self.axis_ratio().powi(2);
        if !(longest.is_finite() && shortest.is_finite()) {
            Some(format!(
                "the longest axis of the search is {longest}: it is out of control"
            ))
        } else if longest < 1e-12 * first {
            Some(format!(
                "the longest axis of the search is {longest:.1e}, less than 1e-12 of the first sigma: it has converged"
            ))
        } else if longest > 1e4 * first {
            Some(format!(
                "the longest axis of the search is {longest:.1e}, more than 1e4 of the first sigma: it diverges"
            ))
        } else if condition.is_nan() || condition > 1e14 {
            Some(format!(
                "the covariance matrix has condition {condition:.1e}, more than 1e14: its axes are rounding errors"
            ))
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn effective_rank_counts_the_axes_that_matter() {
        assert!((Spread::of(&[2.0; 7]).effective_rank - 7.0).abs() < 1e-12);
        assert_eq!(Spread::of(&[3.0, 0.0, 0.0]).effective_rank, 1.0);
        // Variances 4 and 1: shares 0.8 and 0.2.
        let two = Spread::of(&[1e-200, 2e-200]);
        assert!((two.effective_rank - (-(0.8 * 0.8_f64.ln() + 0.2 * 0.2_f64.ln())).exp()).abs() < 1e-12);
        assert_eq!(two.axis_ratio(), 2.0);
        assert_eq!(Spread::ball(0.5, 3).times(4.0), Spread::ball(2.0, 3));
    }

    #[test]
    fn numerical_limits_ask_to_stop() {
        let told = |lengths: &[f64]| Spread::of(lengths).stop(0.1).expect("a limit is passed");
        assert!(told(&[f64::INFINITY, 1.0]).contains("out of control"));
        assert!(told(&[1e-14, 1e-14]).contains("converged"));
        assert!(told(&[1e4, 1.0]).contains("diverges"));
        assert!(told(&[1.0, 1e-8]).contains("condition"));
        assert_eq!(Spread::of(&[1.0, 1e-6]).stop(0.1), None);
    }

    /// 1e-12 and 1e4 of the first σ and a condition of 1e14 are within the limits.
    #[test]
    fn a_limit_that_is_only_reached_is_not_passed() {
        let ball = |radius: f64, first: f64| Spread::ball(radius, 2).stop(first);
        assert_eq!(
            (ball(1e-12, 1.0), ball(1e-13, 0.01), ball(1e4, 1.0)),
            (None, None, None)
        );
        assert!(ball(0.9e-14, 0.01).is_some() && ball(1.1e4, 1.0).is_some());
        let needle = |shortest: f64| Spread {
            longest: 1e7,
            shortest,
            effective_rank: 1.0,
        };
        assert_eq!(needle(1.0).stop(1e7), None);
        assert!(needle(1.0_f64.next_down()).stop(1e7).is_some() && needle(f64::NAN).stop(1e7).is_some());
    }

    #[test]
    fn what_a_file_says_must_be_numbers() {
        let good = Spread::ball(1.0, 2);
        assert!(good.is_valid());
        for wrong in [
            Spread {
                longest: f64::INFINITY,
                ..good
            },
            Spread {
                shortest: f64::NAN,
                ..good
            },
            Spread {
                effective_rank: f64::NAN,
                ..good
            },
        ] {
            assert!(!wrong.is_valid(), "{wrong:?}");
        }
    }
}
