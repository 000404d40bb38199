//! `essa judge`: scores stored responses, so that a judge can be held against anybody's results.

use crate::config::RunConfig;
use crate::error::{Error, Result};
use crate::files::{check_output, write_output};
use crate::judge::kind::Context;
use crate::judge::{Example, JudgeConfig, RewardConfig, Said, Verdict, judge_all};
use crate::rows::{self, Row};
use crate::statistics::Estimate;
use crate::task::PRESETS;
use crate::task::rows::{Preset, RowsConfig};
use crate::terminal::print;
use clap::Args;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Flags of `essa judge`.
#[derive(Args, Clone, Debug)]
pub struct JudgeArguments {
    /// Whose rules: gsm8k, math, ifeval, choice, countdown, or a run's config file.
    #[arg(long, value_name = "NAME|CONFIG")]
    pub task: String,
    /// JSON lines with a task's columns and `response` (docs/judging.md).
    #[arg(long, value_name = "FILE")]
    pub input: PathBuf,
    /// Where the rows go, with `reward` and `terms`.
    #[arg(long, value_name = "FILE")]
    pub output: PathBuf,
}

/// Writes every row again with its verdict, and prints what they come to.
pub fn judge(arguments: &JudgeArguments) -> Result<()> {
    let (task, preset, reward) = rules(&arguments.task)?;
    check_output(&arguments.output)?;
    let path = &arguments.input;
    let rows = rows::read(path)?;
    let responses: Vec<String> = rows
        .iter()
        .map(|(line, row)| response(path, *line, row))
        .collect::<Result<_>>()?;
    let (examples, kind) = task.stored(preset, rows, path)?;
    if kind.asks_likelihood() {
        return Err(Error::config(format!(
            "--task {}: its judge reads probabilities and no texts; expected one that reads responses",
            arguments.task
        )));
    }
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let mut judge = reward.join(kind.begin(threads)?, &Context::default())?;
    let examples: Vec<Arc<Example>> = examples.into_iter().map(Arc::new).collect();
    let said = examples.iter().cloned().zip(responses.into_iter().map(Said::Text));
    let judged = judge_all(&mut *judge, said.collect());
    let mut lines = String::new();
    for (example, verdict) in examples.iter().zip(&judged) {
        let mut row = example.row.clone();
        row.set("reward", &verdict.reward);
        row.set("terms", &verdict.terms);
        for (name, parts) in &verdict.parts {
            row.set(name, parts);
        }
        if let Some(error) = &verdict.error {
            row.set("error", error);
        }
        lines += &format!("{row}\n");
    }
    write_output(&arguments.output, lines.as_bytes())?;
    print(summary(&judged))
}

/// How rows are read, and what their terms weigh: those of a kind of task, or of a config.
fn rules(task: &str) -> Result<(RowsConfig, &'static Preset, RewardConfig)> {
    // What reads probabilities has no responses to be stored.
    let reads_texts = |name: &str| !JudgeConfig::named(name).asks_likelihood();
    let known = PRESETS.iter().filter(|preset| preset.judge.is_some_and(reads_texts));
    if let Some(preset) = known.clone().find(|preset| preset.name == task) {
        return Ok((RowsConfig::default(), preset, RewardConfig::default()));
    }
    if !Path::new(task).exists() {
        let names: Vec<&str> = known.map(|preset| preset.name).collect();
        return Err(Error::config(format!(
            "--task {task}: expected one of {}, or a run's config file, and there is no file of this name",
            names.join(", ")
        )));
    }
    let config = RunConfig::load(Path::new(task), &[])?;
    let (rows, preset) = config.task.rows().ok_or_else(|| {
        Error::config(format!(
            "--task {task}: its task is made and not read from rows; expected one with files"
        ))
    })?;
    Ok((rows, preset, config.reward))
}

/// What is judged: `response`, or the answer itself as the file of a grader has it, `given`.
fn response(path: &Path, line: usize, row: &Row) -> Result<String> {
    let column = if row.has("given") && !row.has("response") {
        "given"
    } else {
        "response"
    };
    row.get::<String>(column, "a text")
        .map_err(|what| Error::file(path, format!("line {line}: {what}")))
}

/// The mean of each term with its 95 % interval, a line each.
fn summary(judged: &[Verdict]) -> String {
    let failed = judged.iter().filter(|verdict| verdict.failed).count();
    let mut first = format!("{} rows, with 95 % intervals", judged.len());
    if failed > 0 {
        first += &format!("; {failed} could not be judged");
    }
    let mut lines = vec![first];
    let mut line = |name: &str, values: Vec<f64>| {
        lines.push(format!("{name:<20}{} of {}", Estimate::of_mean(&values), values.len()));
    };
    let parts: BTreeSet<&String> = judged.iter().flat_map(|own| own.parts.keys()).collect();
    let terms: BTreeSet<&String> = judged.iter().flat_map(|own| own.terms.keys()).collect();
    // A term that is the share of parts is told by its parts.
    for name in terms.difference(&parts) {
        line(
            name,
            judged.iter().filter_map(|own| own.terms.get(*name)).copied().collect(),
        );
    }
    for name in parts {
        let values = judged.iter().filter_map(|own| own.parts.get(name)).flatten();
        line(name, values.map(|&is| f64::from(u8::from(is))).collect());
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_are_summed_up_by_row_and_parts_by_part() {
        let judged = |strict: f64, parts: &[bool]| {
            let mut verdict = Verdict::new(strict, [("strict", strict), ("each", 0.1)]);
            verdict.parts.insert("each".into(), parts.to_vec());
            verdict
        };
        let told = summary(&[judged(1.0, &[true]), judged(0.0, &[true, false, false])]);
        let lines: Vec<&str> = told.lines().collect();
        assert!(lines[0].starts_with("2 rows"));
        assert!(
            lines[1].starts_with("strict") && lines[1].contains("0.500 [") && lines[1].ends_with("of 2"),
            "{told}"
        );
        assert!(
            lines[2].starts_with("each") && lines[2].contains("0.500 [") && lines[2].ends_with("of 4"),
            "{told}"
        );
        assert_eq!(lines.len(), 3);
    }
}
