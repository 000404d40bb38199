//! `essa leaderboard DIR…`: the table of runs, best first.

use crate::error::{Error, Result};
use crate::files::write_atomically;
use crate::run::leaderboard;
use std::path::{Path, PathBuf};

/// Prints the rows of all runs under `directories`, as a table or as CSV, and writes the CSV to `output` if given.
pub fn print(directories: &[PathBuf], csv: bool, output: Option<&Path>) -> Result<()> {
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
    if let Some(output) = output {
        write_atomically(output, leaderboard::to_csv(&rows).as_bytes())?;
    }
    println!(
        "{}",
        if csv {
            leaderboard::to_csv(&rows).trim_end().to_string()
        } else {
            leaderboard::to_table(&rows)
        }
    );
    Ok(())
}
