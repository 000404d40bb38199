//! `essa`: argv to one function a command. Exit codes: 0 done, 1 an error, 2 wrong usage, 75 asked to end
//! before it was done, and the same command goes on.

use clap::{Parser, Subcommand};
use essa::commands::align::{self, AlignArguments};
use essa::commands::evaluate::{self, EvalArguments};
use essa::commands::export::{self, ExportArguments};
use essa::commands::generate::{self, GenerateArguments};
use essa::commands::judge::{self, JudgeArguments};
use essa::commands::leaderboard::{self, LeaderboardArguments};
use essa::commands::score::{self, ScoreArguments};
use essa::commands::sweep::{self, SweepArguments};
use essa::commands::warm_start::{self, WarmStartArguments};
use essa::error::Result;
use essa::record::Outcome;
use essa::run::interrupt;
use essa::terminal;
use std::process::ExitCode;

/// Aligns language models without gradients.
#[derive(Parser)]
#[command(version, about, long_about = None)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Evolves an adapter for a task: the main job.
    Align(AlignArguments),
    /// Trains the supervised adapter that a search begins from.
    WarmStart(WarmStartArguments),
    /// Does every run of a config with a `[sweep]` table, and writes one leaderboard.
    Sweep(SweepArguments),
    /// Scores a run's adapter and its start on a held-out split.
    Eval(EvalArguments),
    /// Writes a run's mean as a PEFT adapter directory.
    Export(ExportArguments),
    /// Prints the table of runs, best test score first.
    Leaderboard(LeaderboardArguments),
    /// Writes a text for every prompt of a file.
    Generate(GenerateArguments),
    /// Judges stored responses as a benchmark does.
    Judge(JudgeArguments),
    /// Writes the log-probability of every completion token of a file.
    Score(ScoreArguments),
}

fn main() -> ExitCode {
    // What needs no work is answered before the program may start again.
    let Cli { command } = Cli::parse();
    essa::threads::wait_passively();
    match run(&command) {
        Ok(Outcome::Interrupted) => ExitCode::from(interrupt::EXIT_CODE),
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => {
            terminal::say(format_args!("essa: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn run(command: &Command) -> Result<Outcome> {
    match command {
        Command::Align(arguments) => return align::align(arguments),
        Command::WarmStart(arguments) => return warm_start::warm_start(arguments),
        Command::Sweep(arguments) => return sweep::sweep(arguments),
        Command::Eval(arguments) => evaluate::evaluate(arguments),
        Command::Export(arguments) => export::export(arguments),
        Command::Leaderboard(arguments) => leaderboard::print(arguments),
        Command::Generate(arguments) => generate::generate(arguments),
        Command::Judge(arguments) => judge::judge(arguments),
        Command::Score(arguments) => score::score(arguments),
    }?;
    Ok(Outcome::Finished)
}
