//! `essa leaderboard DIR…`: the table of runs, best first.

use crate::error::{Error, Result};
use crate::files::write_output;
use crate::run::leaderboard;
use crate::terminal;
use std::path::{Path, PathBuf};

/// Prints the rows of all runs under `directories`, or pools of those that agree in `group_by`, as a table or as CSV, and writes
/// the CSV to `output` if given.
pub fn print(directories: &[PathBuf], group_by: &[String], csv: bool, output: Option<&Path>) -> Result<()> {
    let rows = leaderboard::collect(directories)?;
    if rows.is_empty() {
        let names: Vec<String> = directories
            .iter()
            .map(|directory| directory.display().to_string())
            .collect();
        return Err(Error::config(format!(
            "{}: no finished run (no result.json) in there",
            names.join(", ")
        )));
    }
    let (as_csv, as_table) = if group_by.is_empty() {
        (leaderboard::to_csv(&rows), leaderboard::to_table(&rows))
    } else {
        let pools = leaderboard::pool(&rows, group_by)?;
        (leaderboard::pools_to_csv(&pools), leaderboard::pools_to_table(&pools))
    };
    if let Some(output) = output {
        write_output(output, as_csv.as_bytes())?;
    }
    terminal::print(if csv { as_csv.trim_end() } else { &as_table })
}
