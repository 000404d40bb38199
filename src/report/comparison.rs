//! Whether the arms of a study can be told apart. Runs that agree in some columns or keys are an arm; a run of one arm and one of
//! another that agree in the pairing columns, such as the seed, are a pair, and what they have in common (prompts, test examples, luck
//! of the draw) cancels in their difference. Of each two arms the mean difference has a 95 % interval, Student's over pairs.

use super::leaderboard::{aligned, value_of};
use crate::error::{Error, Result};
use crate::record::Row;
use crate::statistics::{Estimate, mean};
use serde::Serialize;
use std::collections::BTreeMap;

/// Two arms, the one with the higher mean first.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// The arm with the higher mean.
    pub higher: String,
    /// The other.
    pub lower: String,
    /// How many pairs of runs they have, each with a test score.
    pub pairs: usize,
    /// Mean difference of the test scores of pairs; none without pairs.
    pub difference: Option<f64>,
    /// The lower end of its 95 % interval; none of fewer than two pairs.
    pub low: Option<f64>,
    /// The upper end.
    pub high: Option<f64>,
    /// Whether the interval leaves 0 out; unknown without one.
    pub told_apart: Option<bool>,
}

/// Runs of one arm.
struct Arm<'a> {
    name: String,
    /// By what they are paired by.
    runs: BTreeMap<String, &'a Row>,
}

impl Arm<'_> {
    fn scores(&self) -> Vec<f64> {
        self.runs.values().filter_map(|row| row.test).collect()
    }
}

/// Compares all arms, best first: `columns` say which runs are an arm, `pair` which are a pair. Both are columns of the leaderboard or
/// keys of the runs' configs.
///
/// An error where an arm has two runs of one pair, because nothing says which of them to take, and where there is only one arm.
pub fn compare(rows: &[Row], columns: &[String], pair: &[String]) -> Result<Vec<Comparison>> {
    let joined = |row: &Row, flag: &str, columns: &[String]| -> Result<String> {
        let values = columns.iter().map(|column| value_of(row, flag, column));
        Ok(values.collect::<Result<Vec<_>>>()?.join(", "))
    };
    let mut arms: BTreeMap<String, Arm> = BTreeMap::new();
    for row in rows {
        let (name, key) = (joined(row, "--compare", columns)?, joined(row, "--pair", pair)?);
        let arm = arms.entry(name.clone()).or_insert_with(|| Arm {
            name,
            runs: BTreeMap::new(),
        });
        if let Some(other) = arm.runs.insert(key.clone(), row) {
            return Err(Error::config(format!(
                "--pair {}: the runs {} and {} are both {} with {key}; name in --compare or --pair what else they differ in",
                pair.join(","),
                other.name,
                row.name,
                arm.name
            )));
        }
    }
    let mut arms: Vec<Arm> = arms.into_values().collect();
    if let [only] = arms.as_slice() {
        return Err(Error::config(format!(
            "--compare {}: all runs are {}, expected two arms at least",
            columns.join(","),
            only.name
        )));
    }
    // Arms without a score come last.
    let score = |arm: &Arm| {
        Some(arm.scores())
            .filter(|scores| !scores.is_empty())
            .map_or(f64::NEG_INFINITY, |s| mean(&s))
    };
    arms.sort_by(|a, b| score(b).total_cmp(&score(a)));
    let each_two = arms
        .iter()
        .enumerate()
        .flat_map(|(at, a)| arms[at + 1..].iter().map(move |b| (a, b)));
    Ok(each_two.map(|(a, b)| compared(a, b)).collect())
}

fn compared(a: &Arm, b: &Arm) -> Comparison {
    let both = a
        .runs
        .iter()
        .filter_map(|(key, row)| row.test.zip(b.runs.get(key)?.test));
    let (higher, lower): (Vec<f64>, Vec<f64>) = both.unzip();
    let estimate = Estimate::of_pairs(&higher, &lower);
    let differences: Vec<f64> = higher.iter().zip(&lower).map(|(a, b)| a - b).collect();
    Comparison {
        higher: a.name.clone(),
        lower: b.name.clone(),
        pairs: higher.len(),
        difference: (!higher.is_empty()).then(|| mean(&differences)),
        low: estimate.map(|estimate| estimate.low),
        high: estimate.map(|estimate| estimate.high),
        told_apart: estimate.map(|Estimate { low, high, .. }| low > 0.0 || high < 0.0),
    }
}

/// Comparisons as CSV.
pub fn to_csv(comparisons: &[Comparison]) -> String {
    let mut writer = csv::Writer::from_writer(Vec::new());
    comparisons
        .iter()
        .for_each(|comparison| writer.serialize(comparison).expect("a flat row in memory"));
    String::from_utf8(writer.into_inner().expect("a writer to memory")).expect("CSV of text")
}

/// Comparisons as a table to read, with what to think of many of them.
pub fn to_table(comparisons: &[Comparison]) -> String {
    let header = ["higher arm", "lower arm", "pairs", "difference [95 %]", "told apart"].map(String::from);
    let line = |comparison: &Comparison| {
        let difference = match (comparison.difference, comparison.low, comparison.high) {
            (Some(value), Some(low), Some(high)) => Estimate { value, low, high }.to_string(),
            (Some(value), ..) => format!("{value:.3}"),
            _ => "–".into(),
        };
        let told_apart = match comparison.told_apart {
            Some(true) => "yes",
            Some(false) => "no",
            None => "too few pairs",
        };
        [
            comparison.higher.clone(),
            comparison.lower.clone(),
            comparison.pairs.to_string(),
            difference,
            told_apart.into(),
        ]
    };
    let lines: Vec<_> = std::iter::once(header).chain(comparisons.iter().map(line)).collect();
    let mut table = aligned(&lines);
    if comparisons.len() > 1 {
        table.push_str(&format!(
            "\n{} comparisons, each at 95 %: of arms that do not differ one comparison in twenty is told apart by chance",
            comparisons.len()
        ));
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(strategy: &str, seed: u64, test: Option<f64>) -> Row {
        Row {
            name: format!("{strategy}-{seed}"),
            strategy: strategy.into(),
            seed,
            test,
            ..Row::default()
        }
    }

    fn by_strategy(rows: &[Row]) -> Result<Vec<Comparison>> {
        compare(rows, &["strategy".into()], &["seed".into()])
    }

    /// Pairs differ by 0.1, 0.2 and 0.3, far less than seeds do: t(2) · 0.1 / √3 = 0.2484 around 0.2 says nothing, while a fourth pair of
    /// 0.2 makes it t(3) · 0.0816 / √4 = 0.1299.
    #[test]
    fn pairs_are_what_counts() {
        let mut rows = Vec::new();
        for (seed, (a, b)) in [(0.5, 0.4), (0.2, 0.0), (0.9, 0.6)].into_iter().enumerate() {
            rows.extend([row("a", seed as u64, Some(a)), row("b", seed as u64, Some(b))]);
        }
        // Neither has a partner with a score.
        rows.extend([row("b", 7, Some(0.1)), row("b", 8, None), row("a", 8, Some(0.5))]);
        let found = by_strategy(&rows).expect("two arms");
        let [one] = found.as_slice() else { panic!("{found:?}") };
        assert_eq!(
            (one.higher.as_str(), one.lower.as_str(), one.pairs),
            ("strategy=a", "strategy=b", 3)
        );
        let is = |found: Option<f64>, expected: f64| found.is_some_and(|found| (found - expected).abs() < 1e-4);
        assert!(
            is(one.difference, 0.2) && is(one.low, 0.2 - 0.248_414) && is(one.high, 0.2 + 0.248_414),
            "{one:?}"
        );
        assert_eq!(one.told_apart, Some(false));
        rows.extend([row("a", 9, Some(0.7)), row("b", 9, Some(0.5))]);
        let found = by_strategy(&rows).expect("two arms");
        assert!(
            is(found[0].low, 0.2 - 0.129_924) && found[0].told_apart == Some(true),
            "{found:?}"
        );
        let table = to_table(&found);
        assert!(
            table.contains("4      0.200 [0.070, 0.330]  yes") && !table.contains("comparisons"),
            "{table}"
        );
        assert!(to_csv(&found).starts_with("higher,lower,pairs,difference,low,high,told_apart\n"));
    }

    #[test]
    fn every_two_arms_are_compared_the_higher_first() {
        let rows = [
            row("a", 1, Some(0.1)),
            row("b", 1, Some(0.3)),
            row("c", 1, None),
            row("d", 2, Some(0.2)),
        ];
        let found = by_strategy(&rows).expect("four arms");
        let arms: Vec<_> = found.iter().map(|c| (&c.higher[9..], &c.lower[9..], c.pairs)).collect();
        assert_eq!(
            arms,
            [
                ("b", "d", 0),
                ("b", "a", 1),
                ("b", "c", 0),
                ("d", "a", 0),
                ("d", "c", 0),
                ("a", "c", 0)
            ]
        );
        assert_eq!((found[1].difference, found[1].told_apart), (Some(0.3 - 0.1), None));
        let table = to_table(&found);
        assert!(
            table.contains("too few pairs") && table.contains("6 comparisons"),
            "{table}"
        );
    }

    #[test]
    fn what_cannot_be_paired_is_refused() {
        let rows = [row("a", 1, Some(0.1)), row("a", 1, Some(0.2)), row("b", 1, Some(0.2))];
        let error = by_strategy(&rows).expect_err("two of a pair").to_string();
        assert!(error.contains("a-1 and a-1 are both strategy=a with seed=1"), "{error}");
        let error = by_strategy(&rows[..1]).expect_err("one arm").to_string();
        assert!(error.contains("all runs are strategy=a, expected two arms"), "{error}");
        let error = compare(&rows, &["strategi".into()], &["seed".into()])
            .expect_err("no column")
            .to_string();
        assert!(error.contains("--compare strategi: there is no such column"), "{error}");
    }
}
