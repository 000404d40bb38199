//! Means and how sure one may be of them, once. What is shown beside a score is a 95 % interval; what files keep beside it is the
//! standard error too, in columns that end in `_se`.

use statrs::distribution::{Binomial, ContinuousCDF, DiscreteCDF, StudentsT};
use std::fmt;

/// The 97.5 % point of the normal distribution: half the width of a 95 % interval in standard errors.
const NORMAL: f64 = 1.959963984540054;

/// The mean; NaN of none.
pub fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// The sample standard deviation; 0 of fewer than two.
pub fn standard_deviation(values: &[f64]) -> f64 {
    if values.len() < 2 {
        return 0.0;
    }
    let mean = mean(values);
    (values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (values.len() - 1) as f64).sqrt()
}

/// The standard error of the mean; 0 of fewer than two.
pub fn standard_error(values: &[f64]) -> f64 {
    standard_deviation(values) / (values.len().max(1) as f64).sqrt()
}

/// The 97.5 % point of Student's t.
pub fn student_95(freedom: usize) -> f64 {
    let t = StudentsT::new(0.0, 1.0, freedom.max(1) as f64).expect("a positive number of degrees of freedom");
    t.inverse_cdf(0.975)
}

/// A number and its 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// The number.
    pub value: f64,
    /// The lower end.
    pub low: f64,
    /// The upper end.
    pub high: f64,
}

impl fmt::Display for Estimate {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Self { value, low, high } = self;
        let digits = f.precision().unwrap_or(3);
        write!(f, "{value:.digits$} [{low:.digits$}, {high:.digits$}]")
    }
}

impl Estimate {
    /// The mean of one candidate's rewards. Rewards of 0 and 1 have Wilson's interval, which does not shrink to nothing where none or all
    /// of them are 1; others have Student's.
    pub fn of_mean(rewards: &[f64]) -> Self {
        let value = mean(rewards);
        let (low, high) = if is_binary(rewards) {
            wilson(value, rewards.len())
        } else {
            let half = student_95(rewards.len().saturating_sub(1)) * standard_error(rewards);
            (value - half, value + half)
        };
        Self { value, low, high }
    }

    /// The mean difference `after − before`, question by question. Where both are 0 and 1 the interval is Newcombe's for paired proportions
    /// (R. G. Newcombe, *Improved confidence intervals for the difference between binomial proportions based on paired data*, Statistics
    /// in Medicine 17, 1998, method 10), which is made of both Wilson intervals; otherwise it is Student's.
    pub fn of_gain(after: &[f64], before: &[f64]) -> Self {
        let differences = differences(after, before);
        let value = mean(&differences);
        let (low, high) = if is_binary(after) && is_binary(before) {
            newcombe(after, before)
        } else {
            let half = student_95(differences.len().saturating_sub(1)) * standard_error(&differences);
            (value - half, value + half)
        };
        Self { value, low, high }
    }
}

impl Estimate {
    /// The mean difference of pairs of runs, `a − b`, and Student's interval over pairs; none of fewer than two pairs. Scores of runs are
    /// no 0 and 1 even where one is, so there is no other interval here.
    pub fn of_pairs(a: &[f64], b: &[f64]) -> Option<Self> {
        let differences = differences(a, b);
        if differences.len() < 2 {
            return None;
        }
        let value = mean(&differences);
        let half = student_95(differences.len() - 1) * standard_error(&differences);
        Some(Self {
            value,
            low: value - half,
            high: value + half,
        })
    }
}

/// Mean and standard error of the differences `after − before`, question by question.
pub fn paired_gain(after: &[f64], before: &[f64]) -> (f64, f64) {
    let differences = differences(after, before);
    (mean(&differences), standard_error(&differences))
}

fn differences(after: &[f64], before: &[f64]) -> Vec<f64> {
    after.iter().zip(before).map(|(a, b)| a - b).collect()
}

fn is_binary(values: &[f64]) -> bool {
    !values.is_empty() && values.iter().all(|&x| x == 0.0 || x == 1.0)
}

/// E. B. Wilson, *Probable inference, the law of succession, and statistical inference*, JASA 22, 1927, without continuity correction.
fn wilson(share: f64, count: usize) -> (f64, f64) {
    let (n, z2) = (count as f64, NORMAL * NORMAL);
    let centre = share + z2 / (2.0 * n);
    let half = NORMAL * (share * (1.0 - share) / n + z2 / (4.0 * n * n)).sqrt();
    let of = |end: f64| (end / (1.0 + z2 / n)).clamp(0.0, 1.0);
    (of(centre - half), of(centre + half))
}

fn newcombe(after: &[f64], before: &[f64]) -> (f64, f64) {
    let count = |a: f64, b: f64| after.iter().zip(before).filter(|(x, y)| (**x, **y) == (a, b)).count() as f64;
    let [both, gained, lost, neither] = [count(1.0, 1.0), count(1.0, 0.0), count(0.0, 1.0), count(0.0, 0.0)];
    let n = after.len();
    let (p1, p2) = (mean(after), mean(before));
    let ((l1, u1), (l2, u2)) = (wilson(p1, n), wilson(p2, n));
    // φ, the correlation of the two, towards 0 by the continuity correction where it is positive.
    let product = (both + gained) * (lost + neither) * (both + lost) * (gained + neither);
    let cross = both * neither - gained * lost;
    let corrected = if cross > 0.0 {
        (cross - n as f64 / 2.0).max(0.0)
    } else {
        cross
    };
    let phi = if product > 0.0 { corrected / product.sqrt() } else { 0.0 };
    let half = |a: f64, b: f64| (a * a - 2.0 * phi * a * b + b * b).max(0.0).sqrt();
    let difference = p1 - p2;
    (difference - half(p1 - l1, u2 - p2), difference + half(u1 - p1, p2 - l2))
}

/// The two-sided p-value of McNemar's exact test of rewards that are 0 and 1: how likely a fair coin shares the questions on which the two
/// differ out as unevenly, or more (Q. McNemar, *Note on the sampling error of the difference between correlated proportions*,
/// Psychometrika 12, 1947). None where a reward is something else; 1 where they differ on no question.
pub fn mcnemar(after: &[f64], before: &[f64]) -> Option<f64> {
    if !is_binary(after) || !is_binary(before) {
        return None;
    }
    let differences = differences(after, before);
    let gained = differences.iter().filter(|own| **own > 0.0).count() as u64;
    let lost = differences.iter().filter(|own| **own < 0.0).count() as u64;
    let coin = Binomial::new(0.5, gained + lost).expect("a fair coin");
    Some((2.0 * coin.cdf(gained.min(lost))).min(1.0))
}

/// Signs are tried out one by one up to so many differences.
const EXACT_SIGNS: usize = 14;

/// Flips that are drawn where there are too many to try out.
const DRAWN_FLIPS: usize = 10_000;

/// The two-sided p-value of a paired permutation test: how many of the ways to swap `after` and `before` within questions give a mean
/// difference as large as theirs, or larger. All ways are tried out where the questions on which they differ are at most 14; beyond
/// that 10,000 are drawn from `coin`, and what was seen counts as one of them.
pub fn sign_flip(after: &[f64], before: &[f64], coin: &mut dyn FnMut() -> bool) -> f64 {
    let differences: Vec<f64> = differences(after, before)
        .into_iter()
        .filter(|own| *own != 0.0)
        .collect();
    let size = differences.iter().map(|own| own.abs()).sum::<f64>();
    // Sums of the same numbers in another order may differ in their last bits.
    let seen = differences.iter().sum::<f64>().abs() - 1e-12 * size;
    let n = differences.len();
    let sum = |sign: &mut dyn FnMut(usize) -> bool| -> f64 {
        let signed = differences.iter().enumerate();
        signed
            .map(|(at, own)| if sign(at) { *own } else { -own })
            .sum::<f64>()
            .abs()
    };
    if n <= EXACT_SIGNS {
        let ways = 1_usize << n;
        let as_large = (0..ways)
            .filter(|way| sum(&mut |at| way >> at & 1 == 1) >= seen)
            .count();
        return as_large as f64 / ways as f64;
    }
    let as_large = (0..DRAWN_FLIPS).filter(|_| sum(&mut |_| coin()) >= seen).count();
    (as_large + 1) as f64 / (DRAWN_FLIPS + 1) as f64
}

/// Half the width of the 95 % interval of a mean over runs that differ in their seed and were scored on the same test examples. It has two parts,
/// added as variances: what changes with the seed (Student's t over `scores`), and what changes with the test examples, which the
/// seeds have in common, so that more seeds do not make it smaller (`errors`, the standard errors of the scores). None of fewer than two runs.
pub fn pooled_half_width(scores: &[f64], errors: &[f64]) -> Option<f64> {
    if scores.len() < 2 {
        return None;
    }
    let seeds = student_95(scores.len() - 1) * standard_error(scores);
    let squares: Vec<f64> = errors.iter().map(|error| error * error).collect();
    let examples = if squares.is_empty() {
        0.0
    } else {
        NORMAL * mean(&squares).sqrt()
    };
    Some(seeds.hypot(examples))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::Seed;
    use std::collections::BTreeMap;

    fn binary(ones: usize, count: usize) -> Vec<f64> {
        (0..count).map(|at| f64::from(u8::from(at < ones))).collect()
    }

    fn close(found: (f64, f64), expected: (f64, f64)) {
        let is_close = (found.0 - expected.0).abs() < 1e-9 && (found.1 - expected.1).abs() < 1e-9;
        assert!(is_close, "{found:?}, expected {expected:?}");
    }

    /// Question by question: what all questions have in common is no error of the gain.
    #[test]
    fn a_gain_is_paired() {
        let (gain, error) = paired_gain(&[4.0, 1.0, 8.0, 3.0], &[3.0, 1.0, 7.0, 1.0]);
        // Differences 1, 0, 1, 2: mean 1, variance 2 / 3.
        assert_eq!(gain, 1.0);
        assert!((error - (2.0 / 3.0 / 4.0_f64).sqrt()).abs() < 1e-15);
        let (loss, _) = paired_gain(&[0.0, 0.0], &[1.0, 0.5]);
        assert_eq!(loss, -0.75, "the first argument is the later one");
    }

    #[test]
    fn a_standard_error_is_that_of_the_mean() {
        let values = [1.0, 2.0, 4.0, 5.0];
        assert_eq!(mean(&values), 3.0);
        assert!((standard_deviation(&values) - (10.0_f64 / 3.0).sqrt()).abs() < 1e-15);
        assert!((standard_error(&values) - (10.0_f64 / 12.0).sqrt()).abs() < 1e-15);
        assert_eq!((standard_error(&[3.0]), standard_error(&[])), (0.0, 0.0));
    }

    /// From scipy and statsmodels, by tests/golden/make_statistics.py.
    fn reference(key: &str) -> Vec<Vec<f64>> {
        let text = include_str!("../tests/golden/fixtures/statistics.json");
        let mut reference: BTreeMap<String, Vec<Vec<f64>>> = serde_json::from_str(text).expect("the fixture");
        reference.remove(key).expect("a key of the fixture")
    }

    /// Rows of gained, lost, p; and of p, after, before.
    #[test]
    fn paired_tests_are_those_of_statsmodels_and_scipy() {
        for row in reference("mcnemar") {
            let (gained, lost) = (row[0] as usize, row[1] as usize);
            let after = [vec![1.0; gained], vec![0.0; lost], vec![1.0; 7]].concat();
            let before = [vec![0.0; gained], vec![1.0; lost], vec![1.0; 7]].concat();
            let found = mcnemar(&after, &before).expect("rewards of 0 and 1");
            assert!(
                (found - row[2]).abs() < 1e-9,
                "{gained} and {lost}: {found}, expected {}",
                row[2]
            );
        }
        assert_eq!(mcnemar(&[0.5], &[1.0]), None);
        for (at, row) in reference("sign_flip").into_iter().enumerate() {
            let (after, before) = row[1..].split_at(row.len() / 2);
            let mut draw = 0;
            let mut coin = || {
                draw += 1;
                Seed::new(3).fold(draw).uniform() < 0.5
            };
            let found = sign_flip(after, before, &mut coin);
            // What is drawn 10,000 times is off by less than four standard errors.
            let off = if after.len() > EXACT_SIGNS { 0.02 } else { 1e-12 };
            assert!((found - row[0]).abs() < off, "{at}: {found}, expected {}", row[0]);
        }
    }

    #[test]
    fn quantiles_are_students() {
        for row in reference("student_95") {
            let found = student_95(row[0] as usize);
            assert!((found - row[1]).abs() < 1e-7, "{}: {found}", row[0]);
        }
    }

    #[test]
    fn scores_of_0_and_1_have_wilsons_interval() {
        for row in reference("wilson") {
            let estimate = Estimate::of_mean(&binary(row[0] as usize, row[1] as usize));
            close((estimate.low, estimate.high), (row[2], row[3]));
        }
        let none = Estimate::of_mean(&binary(0, 128));
        assert_eq!(none.to_string(), "0.000 [0.000, 0.029]");
    }

    #[test]
    fn other_scores_have_students_interval() {
        let estimate = Estimate::of_mean(&[0.0, 0.5, 1.0]);
        let half = 4.302_652_73 * (0.25_f64 / 3.0).sqrt();
        assert!(
            (estimate.high - 0.5 - half).abs() < 1e-6 && (0.5 - estimate.low - half).abs() < 1e-6,
            "{estimate}"
        );
        let gain = Estimate::of_gain(&[0.0, 0.5, 1.0], &[0.0, 0.0, 0.0]);
        assert_eq!(gain, estimate);
    }

    /// scipy's paired t-test says the same, and of scores that all are 0 or 1 too.
    #[test]
    fn pairs_of_runs_have_students_interval() {
        for row in reference("paired") {
            let (ends, scores) = row.split_at(2);
            let (a, b) = scores.split_at(scores.len() / 2);
            let found = Estimate::of_pairs(a, b).expect("pairs");
            close((found.low, found.high), (ends[0], ends[1]));
        }
        assert_eq!(
            (Estimate::of_pairs(&[0.5], &[0.1]), Estimate::of_pairs(&[], &[])),
            (None, None)
        );
    }

    /// Where the two are unrelated (φ = 0) Newcombe's paired interval is his interval for independent proportions.
    #[test]
    fn a_gain_of_unrelated_scores_has_newcombes_interval() {
        for row in reference("newcombe") {
            // Every combination in proportion.
            let (a, b): (Vec<f64>, Vec<f64>) = (0..100)
                .map(|at| {
                    let is = |flag: bool| f64::from(u8::from(flag));
                    (
                        is(((at % 10) as f64) < row[0] / 10.0),
                        is(((at / 10) as f64) < row[1] / 10.0),
                    )
                })
                .unzip();
            let gain = Estimate::of_gain(&a, &b);
            close((gain.low, gain.high), (row[2], row[3]));
        }
        let same = Estimate::of_gain(&binary(0, 128), &binary(0, 128));
        assert!(same.low < -0.02 && same.high > 0.02, "{same}");
    }

    /// Table 6.2 of D. G. Altman and others, *Statistics with confidence*, 2000 (φ above 0, and so corrected), and one in which what was right
    /// tends to become wrong (φ below 0). The ends are what the formulas come to outside of this program.
    #[test]
    fn a_gain_of_related_scores_has_newcombes_interval() {
        for (both, gained, lost, neither, ends) in [
            (14, 5, 0, 22, (0.011_483_241_383, 0.226_492_684_351)),
            (3, 9, 7, 2, (-0.259_127_587_398, 0.423_917_579_509)),
        ] {
            let times = [both, gained, lost, neither];
            let scores = |of: [f64; 4]| -> Vec<f64> { of.iter().zip(times).flat_map(|(x, n)| vec![*x; n]).collect() };
            let gain = Estimate::of_gain(&scores([1.0, 1.0, 0.0, 0.0]), &scores([1.0, 0.0, 1.0, 0.0]));
            close((gain.low, gain.high), ends);
        }
    }

    /// 95 % of the intervals hold the truth; related scores, of which a few questions tell the two apart.
    #[test]
    fn a_gain_of_related_scores_is_covered() {
        let (trials, n) = (2000, 60);
        let covered = (0..trials).filter(|&trial: &u64| {
            let (mut after, mut before) = (Vec::new(), Vec::new());
            for question in 0..n {
                let u = Seed::new(11).fold(trial).fold(question).uniform();
                // Both right 0.5, gained 0.15, lost 0.05, neither 0.3.
                after.push(f64::from(u8::from(u < 0.65)));
                before.push(f64::from(u8::from(!(0.5..0.65).contains(&u) && u < 0.7)));
            }
            let gain = Estimate::of_gain(&after, &before);
            gain.low <= 0.1 && 0.1 <= gain.high
        });
        let share = covered.count() as f64 / trials as f64;
        assert!((0.935..0.975).contains(&share), "{share}");
    }

    /// 400 studies of 3 seeds on one test set each: seeds differ by 0.03, and what the test set does to all three by 0.04. By the seeds
    /// alone the interval would hold the truth in far fewer.
    #[test]
    fn a_pool_covers_what_its_test_set_does_to_all_seeds() {
        let normal = |study: u64, at: u64| Seed::new(5).fold(study).fold(at).normals(1)[0];
        let share = |errors: &[f64]| {
            let holds = (0..400).filter(|&study| {
                let shared = 0.04 * normal(study, 9);
                let scores: Vec<f64> = (0..3).map(|seed| shared + 0.03 * normal(study, seed)).collect();
                mean(&scores).abs() <= pooled_half_width(&scores, errors).expect("three runs")
            });
            holds.count() as f64 / 400.0
        };
        assert!(share(&[0.04; 3]) > 0.95, "{}", share(&[0.04; 3]));
        assert!(share(&[]) < 0.9, "{}", share(&[]));
        assert_eq!(pooled_half_width(&[0.5], &[0.1]), None);
        // t(1) · 0.1
        let of_two = pooled_half_width(&[0.5, 0.7], &[]).expect("two runs are enough");
        assert!((of_two - 1.270_620_474).abs() < 1e-6, "{of_two}");
    }
}
