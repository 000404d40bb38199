//! `essa leaderboard DIR…`: the table of runs, best first.

use crate::error::{Error, Result};
use crate::files::write_output;
use crate::report::{comparison, leaderboard};
use crate::terminal;
use clap::Args;
use std::path::PathBuf;

/// Flags of `essa leaderboard`.
#[derive(Args, Clone, Debug)]
pub struct LeaderboardArguments {
    /// Runs, or folders of runs.
    #[arg(required = true)]
    pub directories: Vec<PathBuf>,
    /// Pools runs that agree in these columns, or keys of the config, to a mean and a 95 % interval.
    #[arg(long, value_name = "COLUMNS", value_delimiter = ',')]
    pub group_by: Vec<String>,
    /// Compares runs that differ in these columns, or keys of the config: a mean for each arm, and of each two arms the difference of
    /// their paired runs with a 95 % interval.
    #[arg(long, value_name = "COLUMNS", value_delimiter = ',', conflicts_with = "group_by")]
    pub compare: Vec<String>,
    /// With --compare: runs of two arms that agree in these are a pair.
    #[arg(
        long,
        value_name = "COLUMNS",
        value_delimiter = ',',
        default_value = "seed",
        requires = "compare"
    )]
    pub pair: Vec<String>,
    /// Prints CSV instead of a table.
    #[arg(long)]
    pub csv: bool,
    /// Writes the CSV to a file as well.
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// Prints the rows of all runs under some directories, or pools of those that agree in some columns, or comparisons of such pools, as
/// a table or as CSV, and writes the CSV to a file if one is given.
pub fn print(arguments: &LeaderboardArguments) -> Result<()> {
    let (directories, group_by) = (&arguments.directories, &arguments.group_by);
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
    let compare = &arguments.compare;
    let (as_csv, as_table) = if !compare.is_empty() {
        let comparisons = comparison::compare(&rows, compare, &arguments.pair)?;
        let arms = leaderboard::pools_to_table(&leaderboard::pool(&rows, compare)?);
        let table = format!("{arms}\n\n{}", comparison::to_table(&comparisons));
        (comparison::to_csv(&comparisons), table)
    } else if group_by.is_empty() {
        (leaderboard::to_csv(&rows), leaderboard::to_table(&rows))
    } else {
        let pools = leaderboard::pool(&rows, group_by)?;
        (leaderboard::pools_to_csv(&pools), leaderboard::pools_to_table(&pools))
    };
    if let Some(output) = &arguments.output {
        write_output(output, as_csv.as_bytes())?;
    }
    terminal::print(if arguments.csv { as_csv.trim_end() } else { &as_table })
}
