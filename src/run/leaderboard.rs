//! `leaderboard.csv`: one row a run, best test score first. A run keeps its own row in `result.json`; the table is made
//! from those, so it can always be made again, and runs that end at the same time do not lose each other's rows.

use crate::error::{Error, Result};
use crate::files::{read_text, write_atomically};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// What is known of one run when it has ended. Column names are an interface.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// The run's name.
    pub name: String,
    /// `finished`, `interrupted`, or why the strategy stopped.
    pub status: String,
    /// Test score of the exported mean.
    pub test: Option<f64>,
    /// Its standard error over the test examples.
    pub test_se: Option<f64>,
    /// Test score of the start (θ = 0), on the same examples.
    pub start_test: Option<f64>,
    /// Its standard error.
    pub start_test_se: Option<f64>,
    /// `test − start_test`.
    pub gain: Option<f64>,
    /// Standard error of the paired difference.
    pub gain_se: Option<f64>,
    /// Examples of the test split.
    pub test_examples: usize,
    /// Validation score of the start.
    pub start_validation: f64,
    /// Validation score of the exported mean, by which it was chosen.
    pub best_validation: f64,
    /// The generation of the exported mean.
    pub best_generation: u64,
    /// Generations done.
    pub generations: u64,
    /// Base model.
    pub model: String,
    /// SHA-256 of its weights.
    pub model_sha256: String,
    /// Precision of its products.
    pub precision: String,
    /// Task.
    pub task: String,
    /// Space.
    pub space: String,
    /// Dimension of the search.
    pub n: usize,
    /// Strategy.
    pub strategy: String,
    /// Candidates a generation.
    pub population: usize,
    /// Prompts a generation.
    pub prompts: usize,
    /// Seed.
    pub seed: u64,
    /// Rollouts that judged candidates.
    pub rollouts: usize,
    /// Tokens read and written, evaluations of the mean included.
    pub num_tokens: usize,
    /// Seconds from start to end.
    pub wall_s: f64,
    /// SHA-256 of the resolved config.
    pub config_sha256: String,
    /// Version of essa.
    pub essa: String,
    /// End, UTC.
    pub finished: String,
    /// The run's directory.
    pub directory: String,
}

/// Rows of all runs under these directories: each is a run, or a folder of runs.
pub fn collect(directories: &[PathBuf]) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for directory in directories {
        let own = directory.join("result.json");
        if own.exists() {
            rows.push(read(&own)?);
            continue;
        }
        let entries = std::fs::read_dir(directory).map_err(Error::io(directory))?;
        let mut inside: Vec<PathBuf> = entries
            .flatten()
            .map(|entry| entry.path().join("result.json"))
            .collect();
        inside.sort();
        for path in inside.iter().filter(|path| path.exists()) {
            rows.push(read(path)?);
        }
    }
    // Runs without a test score come last; equal scores stay in order of their names.
    rows.sort_by(|a, b| {
        let score = |row: &Row| row.test.unwrap_or(f64::NEG_INFINITY);
        score(b).total_cmp(&score(a)).then_with(|| a.name.cmp(&b.name))
    });
    Ok(rows)
}

/// Writes `leaderboard.csv` of a folder of runs.
pub fn write(folder: &Path) -> Result<()> {
    write_atomically(
        &folder.join("leaderboard.csv"),
        to_csv(&collect(&[folder.to_path_buf()])?).as_bytes(),
    )
}

/// The rows as CSV.
pub fn to_csv(rows: &[Row]) -> String {
    let mut writer = csv::Writer::from_writer(Vec::new());
    for row in rows {
        writer.serialize(row).expect("a flat row in memory");
    }
    String::from_utf8(writer.into_inner().expect("a writer to memory")).expect("CSV of text")
}

/// The rows as a table to read.
pub fn to_table(rows: &[Row]) -> String {
    let score = |value: Option<f64>, se: Option<f64>| match (value, se) {
        (Some(value), Some(se)) => format!("{value:.3} ± {se:.3}"),
        _ => "–".into(),
    };
    let mut lines = vec![
        [
            "run",
            "test",
            "start",
            "gain",
            "generations",
            "n",
            "strategy",
            "task",
            "status",
        ]
        .map(String::from),
    ];
    for row in rows {
        lines.push([
            row.name.clone(),
            score(row.test, row.test_se),
            score(row.start_test, row.start_test_se),
            score(row.gain, row.gain_se),
            row.generations.to_string(),
            row.n.to_string(),
            row.strategy.clone(),
            row.task.clone(),
            row.status.clone(),
        ]);
    }
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..lines[0].len()).map(width).collect();
    let pad = |(text, width): (&String, &usize)| format!("{text}{}", " ".repeat(width - text.chars().count()));
    let line = |line: &[String; 9]| {
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

fn read(path: &Path) -> Result<Row> {
    serde_json::from_str(&read_text(path)?).map_err(|e| Error::file(path, format!("not the result of a run: {e}")))
}
