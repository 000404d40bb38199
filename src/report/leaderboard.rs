//! `leaderboard.csv`: one row a run, best test score first. A run keeps its own row in `result.json`; the table is made
//! from those, so it can always be made again, and runs that end at the same time do not lose each other's rows.

use crate::error::{Error, Result};
use crate::files::{read_text, write_atomically};
use crate::record::{Row, RunDirectory};
use crate::statistics::{Estimate, mean, pooled_half_width};
use crate::terminal::say;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Rows of all runs under these directories: each is a run, or a folder of runs. In a folder of runs a `result.json` that is
/// none of ours is passed over, and named on standard error.
pub fn collect(directories: &[PathBuf]) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for directory in directories {
        if let Some(row) = RunDirectory::at(directory).row()? {
            rows.push(row);
            continue;
        }
        let entries = std::fs::read_dir(directory).map_err(Error::io(directory))?;
        let mut inside: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        inside.sort();
        for path in inside {
            match RunDirectory::at(path).row() {
                Ok(row) => rows.extend(row),
                Err(error) => say(format_args!("essa: {error}; passed over")),
            }
        }
    }
    // Runs without a test score come last; equal scores stay in order of their names.
    rows.sort_by(|a, b| {
        let score = |row: &Row| row.test.unwrap_or(f64::NEG_INFINITY);
        score(b).total_cmp(&score(a)).then_with(|| a.name.cmp(&b.name))
    });
    Ok(rows)
}

/// Writes `leaderboard.csv` of a folder of runs. A file of that name which no essa has written is somebody's, and stays.
pub fn write(folder: &Path) -> Result<()> {
    let path = folder.join("leaderboard.csv");
    let is_ours = |text: String| text.is_empty() || text.starts_with("name,status,");
    // What is there and cannot be read as text is none of ours either.
    if path.exists() && !read_text(&path).is_ok_and(is_ours) {
        let what = "was not written by essa (its first line does not begin with name,status), so it is not replaced; give --out another folder";
        return Err(Error::file(path, what));
    }
    write_atomically(&path, to_csv(&collect(&[folder.to_path_buf()])?).as_bytes())
}

/// The rows as CSV. Columns of what only some runs watched come last.
pub fn to_csv(rows: &[Row]) -> String {
    let of_row = |row: &Row| {
        let flat = Row {
            drift: BTreeMap::new(),
            ..row.clone()
        };
        let mut writer = csv::Writer::from_writer(Vec::new());
        writer.serialize(flat).expect("a flat row in memory");
        writer.into_inner().expect("a writer to memory")
    };
    let watched: BTreeSet<&String> = rows.iter().flat_map(|row| row.drift.keys()).collect();
    let mut writer = csv::Writer::from_writer(Vec::new());
    for (at, row) in rows.iter().enumerate() {
        let bytes = of_row(row);
        let mut reader = csv::Reader::from_reader(bytes.as_slice());
        if at == 0 {
            let header = reader.headers().expect("a header").iter().map(str::to_owned);
            let header = header.chain(watched.iter().map(|name| name.to_string()));
            writer.write_record(header).expect("a row in memory");
        }
        let fixed = reader.records().next().expect("a row").expect("CSV");
        let fixed = fixed.iter().map(str::to_owned);
        let of_drift = watched
            .iter()
            .map(|name| row.drift.get(*name).map_or(String::new(), f64::to_string));
        writer.write_record(fixed.chain(of_drift)).expect("a row in memory");
    }
    String::from_utf8(writer.into_inner().expect("a writer to memory")).expect("CSV of text")
}

/// Runs that agree in some columns, with what their test scores and gains come to over seeds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Pool {
    /// What they agree in.
    pub group: String,
    /// How many of them have a test score.
    pub runs: usize,
    /// How many have none.
    pub without: usize,
    /// Mean test score.
    pub test: Option<f64>,
    /// Half the width of its 95 % interval, seeds and test examples both counted ([`pooled_half_width`]); none of fewer than two.
    pub test_ci95: Option<f64>,
    /// Mean gain over the start.
    pub gain: Option<f64>,
    /// The same for the gain.
    pub gain_ci95: Option<f64>,
    /// Mean number of rollouts that judged candidates.
    pub rollouts: f64,
    /// Mean seconds.
    pub wall_s: f64,
}

/// Pools rows by columns of the leaderboard, or by keys of the runs' configs, which have a dot in them. Best first.
pub fn pool(rows: &[Row], columns: &[String]) -> Result<Vec<Pool>> {
    let mut groups: BTreeMap<String, Vec<&Row>> = BTreeMap::new();
    for row in rows {
        let values = columns
            .iter()
            .map(|column| value_of(row, "--group-by", column))
            .collect::<Result<Vec<_>>>()?;
        groups.entry(values.join(", ")).or_default().push(row);
    }
    let mut pools: Vec<Pool> = groups.into_iter().map(|(group, rows)| pooled(group, &rows)).collect();
    let score = |pool: &Pool| pool.test.unwrap_or(f64::NEG_INFINITY);
    pools.sort_by(|a, b| score(b).total_cmp(&score(a)));
    Ok(pools)
}

fn pooled(group: String, rows: &[&Row]) -> Pool {
    let scores = |of: &dyn Fn(&Row) -> Option<f64>| -> Vec<f64> { rows.iter().filter_map(|row| of(row)).collect() };
    let (tests, gains) = (scores(&|row| row.test), scores(&|row| row.gain));
    let summary = |scores: &[f64]| (!scores.is_empty()).then(|| mean(scores));
    let test_errors = scores(&|row| row.test.and(row.test_se));
    let gain_errors = scores(&|row| row.gain.and(row.gain_se));
    Pool {
        group,
        runs: tests.len(),
        without: rows.len() - tests.len(),
        test: summary(&tests),
        test_ci95: pooled_half_width(&tests, &test_errors),
        gain: summary(&gains),
        gain_ci95: pooled_half_width(&gains, &gain_errors),
        rollouts: mean(&scores(&|row| Some(row.rollouts as f64))),
        wall_s: mean(&scores(&|row| Some(row.wall_s))),
    }
}

/// `column=value` of a row, where `flag` names a column of the leaderboard or a key of the run's config, which has a dot in it.
pub(super) fn value_of(row: &Row, flag: &str, column: &str) -> Result<String> {
    let fields = serde_json::to_value(row).expect("JSON of text and numbers");
    let plain = |value: &serde_json::Value| value.as_str().map_or_else(|| value.to_string(), String::from);
    if let Some(value) = fields.get(column) {
        return Ok(format!("{column}={}", plain(value)));
    }
    let columns = || {
        fields
            .as_object()
            .expect("a row")
            .keys()
            .cloned()
            .collect::<Vec<_>>()
            .join(", ")
    };
    if !column.contains('.') {
        return Err(Error::config(format!(
            "{flag} {column}: there is no such column; expected some of {}, or keys of the config such as strategy.sigma",
            columns()
        )));
    }
    let directory = RunDirectory::at(&row.directory);
    // A run that failed at its start has no config.
    let value = if directory.config_file().exists() {
        directory.config(&[])?.value(column)
    } else {
        None
    };
    let value = value.unwrap_or_else(|| "–".into());
    Ok(format!("{column}={value}"))
}

/// Pools as CSV.
pub fn pools_to_csv(pools: &[Pool]) -> String {
    let mut writer = csv::Writer::from_writer(Vec::new());
    pools
        .iter()
        .for_each(|pool| writer.serialize(pool).expect("a flat row in memory"));
    String::from_utf8(writer.into_inner().expect("a writer to memory")).expect("CSV of text")
}

/// Pools as a table to read.
pub fn pools_to_table(pools: &[Pool]) -> String {
    let with_interval = |value: Option<f64>, half: Option<f64>| match (value, half) {
        (Some(value), Some(half)) => format!("{value:.3} ± {half:.3}"),
        (Some(value), None) => format!("{value:.3}"),
        _ => "–".into(),
    };
    let header = ["group", "runs", "test ± 95 %", "gain ± 95 %", "rollouts", "seconds"].map(String::from);
    let line = |pool: &Pool| {
        let runs = if pool.without == 0 {
            pool.runs.to_string()
        } else {
            format!("{} of {}", pool.runs, pool.runs + pool.without)
        };
        [
            pool.group.clone(),
            runs,
            with_interval(pool.test, pool.test_ci95),
            with_interval(pool.gain, pool.gain_ci95),
            format!("{:.0}", pool.rollouts),
            format!("{:.0}", pool.wall_s),
        ]
    };
    aligned(
        &std::iter::once(header)
            .chain(pools.iter().map(line))
            .collect::<Vec<_>>(),
    )
}

/// The rows as a table to read.
pub fn to_table(rows: &[Row]) -> String {
    let score = |value: Option<f64>, low: Option<f64>, high: Option<f64>| match (value, low, high) {
        (Some(value), Some(low), Some(high)) => Estimate { value, low, high }.to_string(),
        // A row of before there were intervals.
        (Some(value), ..) => format!("{value:.3}"),
        _ => "–".into(),
    };
    let header = [
        "run",
        "test [95 %]",
        "start [95 %]",
        "gain [95 %]",
        "generations",
        "n",
        "strategy",
        "task",
        "status",
    ];
    let mut lines = vec![header.map(String::from)];
    for row in rows {
        lines.push([
            row.name.clone(),
            score(row.test, row.test_low, row.test_high),
            score(row.start_test, row.start_test_low, row.start_test_high),
            score(row.gain, row.gain_low, row.gain_high),
            row.generations.to_string(),
            row.n.to_string(),
            row.strategy.clone(),
            row.task.clone(),
            row.ending().to_string(),
        ]);
    }
    aligned(&lines)
}

/// Lines whose columns stand below each other.
pub(super) fn aligned<const COLUMNS: usize>(lines: &[[String; COLUMNS]]) -> String {
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..COLUMNS).map(width).collect();
    let pad = |(text, width): (&String, &usize)| format!("{text}{}", " ".repeat(width - text.chars().count()));
    let line = |line: &[String; COLUMNS]| {
        line.iter()
            .zip(&widths)
            .map(pad)
            .collect::<Vec<_>>()
            .join("  ")
            .trim_end()
            .to_string()
    };
    lines.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_are_pooled_to_a_mean_and_an_interval() {
        let row = |strategy: &str, test: Option<f64>| Row {
            strategy: strategy.into(),
            test,
            gain: test.map(|test| test - 0.1),
            ..Default::default()
        };
        let rows = [
            row("a", Some(0.5)),
            row("a", Some(0.7)),
            row("b", Some(0.9)),
            row("a", Some(0.6)),
            row("b", None),
        ];
        let pools = pool(&rows, &["strategy".into()]).expect("pools");
        assert_eq!(
            pools
                .iter()
                .map(|pool| (pool.group.as_str(), pool.runs, pool.without))
                .collect::<Vec<_>>(),
            [("strategy=b", 1, 1), ("strategy=a", 3, 0)]
        );
        // t(2) · 0.1 / √3
        assert!((pools[1].test.expect("a mean") - 0.6).abs() < 1e-12);
        assert!((pools[1].test_ci95.expect("an interval") - 4.302_652_730 * 0.1 / 3_f64.sqrt()).abs() < 1e-9);
        assert!((pools[1].gain.expect("a mean") - 0.5).abs() < 1e-12);
        assert_eq!(pools[0].test_ci95, None);
        let error = pool(&rows, &["strategi".into()])
            .expect_err("no such column")
            .to_string();
        assert!(error.contains("there is no such column"), "{error}");
    }

    #[test]
    fn what_is_not_known_is_a_dash() {
        let pool = |test: Option<f64>, test_ci95: Option<f64>| Pool {
            group: "a".into(),
            runs: 1,
            without: 0,
            test,
            test_ci95,
            gain: None,
            gain_ci95: None,
            rollouts: 10.4,
            wall_s: 3.6,
        };
        let table = pools_to_table(&[pool(Some(0.5), None), pool(None, None)]);
        let lines: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines[1], ["a", "1", "0.500", "–", "10", "4"]);
        assert_eq!(lines[2], ["a", "1", "–", "–", "10", "4"]);
    }

    /// Each column is its own: gains that scatter otherwise than scores have another interval.
    #[test]
    fn a_pool_says_of_each_column_what_that_column_holds() {
        let row = |test: f64, gain: f64, rollouts: usize, wall_s: f64| Row {
            test: Some(test),
            test_se: Some(0.03),
            gain: Some(gain),
            gain_se: Some(0.04),
            rollouts,
            wall_s,
            ..Default::default()
        };
        let mut rows = vec![row(0.5, 0.1, 10, 1.0), row(0.7, 0.4, 20, 2.0), row(0.6, 0.1, 60, 6.0)];
        let pools = pool(&rows, &["strategy".into()]).expect("pools");
        let [pool_of_three] = pools.as_slice() else {
            panic!("{pools:?}")
        };
        let is = |found: Option<f64>, expected: f64| found.is_some_and(|found| (found - expected).abs() < 1e-9);
        // Of the gains the deviations are 0.1, 0.2 and 0.1, their variance 0.06 / 2 = 0.03, and the mean's 0.01. What the test examples add
        // they add to the variance.
        let half = |seeds: f64, examples: f64| (4.302_652_730 * seeds).hypot(1.959_963_985 * examples);
        let is_close = |found: Option<f64>, expected: f64| found.is_some_and(|found| (found - expected).abs() < 1e-8);
        assert!(
            is(pool_of_three.gain, 0.2) && is_close(pool_of_three.gain_ci95, half(0.1, 0.04)),
            "{pools:?}"
        );
        assert!(
            is_close(pool_of_three.test_ci95, half(0.1 / 3_f64.sqrt(), 0.03)),
            "{pools:?}"
        );
        assert_eq!((pool_of_three.rollouts, pool_of_three.wall_s), (30.0, 3.0));
        let (table, csv) = (pools_to_table(&pools), pools_to_csv(&pools));
        assert!(
            table.contains("strategy=  3     0.600 ± 0.255  0.200 ± 0.437  30        3"),
            "{table}"
        );
        assert!(
            csv.starts_with("group,runs,without,test,test_ci95,gain,gain_ci95,rollouts,wall_s\n"),
            "{csv}"
        );
        // A run that came to nothing counts as one without a score, and takes part in what it cost.
        rows.push(Row::default());
        let pools = pool(&rows, &["strategy".into()]).expect("pools");
        assert_eq!((pools[0].runs, pools[0].without, pools[0].rollouts), (3, 1, 22.5));
        assert!(pools_to_table(&pools).contains("3 of 4"));
    }

    #[test]
    fn the_best_test_score_comes_first_and_none_last() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for (name, test) in [
            ("a", None),
            ("d", Some(0.25)),
            ("b", Some(0.25)),
            ("c", Some(0.75)),
            ("e", Some(-1.0)),
        ] {
            let row = Row {
                name: name.into(),
                test,
                test_low: test.map(|test| test - 0.125),
                test_high: test.map(|test| test + 0.25),
                directory: "elsewhere, when it was made".into(),
                ..Default::default()
            };
            RunDirectory::at(folder.path().join(name))
                .write_row(&row)
                .expect("a row");
        }
        // Neither is a run.
        std::fs::create_dir(folder.path().join("empty")).expect("a folder");
        std::fs::write(folder.path().join("file"), "x").expect("a file");
        write(folder.path()).expect("a table");
        let table = std::fs::read_to_string(folder.path().join("leaderboard.csv")).expect("the table");
        let names: Vec<&str> = table.lines().filter_map(|line| line.split(',').next()).collect();
        assert_eq!(names, ["name", "c", "b", "d", "e", "a"]);
        let rows = collect(&[folder.path().join("d"), folder.path().join("c")]).expect("rows");
        assert_eq!(rows[1].directory, folder.path().join("d").display().to_string());
        let lines = to_table(&rows);
        assert!(
            lines
                .lines()
                .nth(1)
                .is_some_and(|line| line.starts_with("c    0.750 [0.625, 1.000]  –")),
            "{lines}"
        );
        // A row of before there were intervals has its score all the same.
        let old = Row {
            test: Some(0.5),
            ..Default::default()
        };
        assert!(
            to_table(&[old])
                .lines()
                .nth(1)
                .is_some_and(|line| line.contains(" 0.500 "))
        );
    }

    #[test]
    fn only_a_table_of_ours_is_written_over() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("leaderboard.csv");
        let row = Row {
            name: "a".into(),
            ..Default::default()
        };
        RunDirectory::at(folder.path().join("a"))
            .write_row(&row)
            .expect("a row");
        for before in [None, Some(""), Some("name,status,test\nold,,\n")] {
            if let Some(before) = before {
                std::fs::write(&path, before).expect("a file");
            }
            write(folder.path()).expect("a table");
            let text = std::fs::read_to_string(&path).expect("the table");
            assert!(text.lines().nth(1).is_some_and(|line| line.starts_with("a,")), "{text}");
        }
        for theirs in ["model,score\n", "x"] {
            std::fs::write(&path, theirs).expect("a file");
            let error = write(folder.path()).expect_err("somebody's").to_string();
            assert!(error.contains("was not written by essa"), "{error}");
            assert_eq!(std::fs::read_to_string(&path).expect("the file"), theirs);
        }
    }
}
