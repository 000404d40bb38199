//! `essa judge`: scores stored responses, so that a judge can be held against anybody's results.

use crate::error::{Error, Result};
use crate::files::{check_output, read_json_lines, write_output};
use crate::judge::{self, JUDGES, Judged};
use crate::statistics::Estimate;
use crate::terminal::print;
use clap::Args;
use rayon::prelude::*;
use serde_json::json;
use std::path::PathBuf;

/// Flags of `essa judge`.
#[derive(Args, Clone, Debug)]
pub struct JudgeArguments {
    /// Whose rules: gsm8k, ifeval or math.
    #[arg(long, value_name = "NAME")]
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
    let judge = judge::find(&arguments.task).ok_or_else(|| {
        let known: Vec<&str> = JUDGES.iter().map(|(name, _)| *name).collect();
        Error::config(format!(
            "--task {}: expected one of {}",
            arguments.task,
            known.join(", ")
        ))
    })?;
    check_output(&arguments.output)?;
    let mut rows = read_json_lines(&arguments.input)?;
    let judged = rows.par_iter().enumerate().map(|(index, row)| {
        let row = row.as_object().expect("the reader takes nothing else");
        judge.judge(row).map_err(|what| {
            let columns = judge.columns().join("`, `");
            let what = format!("row {}: {what}; {} reads `{columns}`", index + 1, arguments.task);
            Error::file(&arguments.input, what)
        })
    });
    let judged = judged.collect::<Result<Vec<Judged>>>()?;
    let mut lines = String::new();
    for (row, own) in rows.iter_mut().zip(&judged) {
        row["reward"] = json!(own.verdict.reward);
        row["terms"] = json!(own.verdict.terms);
        for (name, parts) in &own.parts {
            row[*name] = json!(parts);
        }
        lines += &format!("{row}\n");
    }
    write_output(&arguments.output, lines.as_bytes())?;
    print(summary(&judged))
}

/// The mean of each term with its 95 % interval, a line each.
fn summary(judged: &[Judged]) -> String {
    let mut lines = vec![format!("{} rows, with 95 % intervals", judged.len())];
    let mut line = |name: &str, values: Vec<f64>| {
        lines.push(format!("{name:<20}{} of {}", Estimate::of_mean(&values), values.len()));
    };
    let first = judged.first().expect("the reader refuses a file without rows");
    for name in first.verdict.terms.keys() {
        let values = judged.iter().filter_map(|own| own.verdict.terms.get(name));
        line(name, values.copied().collect());
    }
    for (at, (name, _)) in first.parts.iter().enumerate() {
        let values = judged.iter().flat_map(|own| &own.parts[at].1);
        line(name, values.map(|&is| f64::from(u8::from(is))).collect());
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_are_summed_up_by_row_and_parts_by_part() {
        let judged = |strict: f64, parts: &[bool]| Judged {
            verdict: crate::task::Verdict::new(strict, [("strict", strict)]),
            parts: vec![("each", parts.to_vec())],
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
    }
}
