//! `essa`: argv to one function a command. Exit codes: 0 done, 1 an error, 2 wrong usage, 75 asked to end
//! before it was done, and the same command goes on.

use clap::{Args, Parser, Subcommand, ValueEnum};
use essa::commands::align::AlignArguments;
use essa::commands::generate::GenerateArguments;
use essa::commands::score::ScoreArguments;
use essa::commands::sweep::SweepArguments;
use essa::commands::{self, ModelArguments};
use essa::engine::Sampling;
use essa::error::Result;
use essa::model::{Device, LoadOptions, Precision};
use essa::run::{StopReason, interrupt};
use essa::task::Split;
use essa::terminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

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
    Align {
        /// A TOML file, or `quickstart` for the embedded one (see docs/configuration.md).
        config: PathBuf,
        /// Overrides one key of the config, such as run.generations=5.
        #[arg(long = "set", value_name = "KEY=VALUE")]
        set: Vec<String>,
        /// The run's directory [default: runs/<name>]; if it holds the run already, the run goes on.
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
        /// Goes on from the directory's newest checkpoint under a changed config, in a new directory beside it.
        #[arg(long)]
        fork: bool,
        /// Ends the run after this time, such as 3h50m, so that the same command can go on; exit status 75.
        #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
        max_time: Option<Duration>,
    },
    /// Does every run of a config with a `[sweep]` table, and writes one leaderboard.
    Sweep {
        /// A TOML file whose `[sweep]` table has a list for each key that varies.
        config: PathBuf,
        /// Overrides one key of all runs.
        #[arg(long = "set", value_name = "KEY=VALUE")]
        set: Vec<String>,
        /// The folder of the runs [default: runs/<name>]; what is finished there is skipped, what is broken goes on.
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
        /// Runs that go on side by side under a launcher, each on its part of the ranks.
        #[arg(long, value_name = "N", default_value_t = 1)]
        groups: usize,
        /// Ends the sweep after this time, such as 3h50m, so that the same command can go on; exit status 75.
        #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
        max_time: Option<Duration>,
    },
    /// Scores a run's adapter and its start on a held-out split.
    Eval {
        /// A run's directory.
        run: PathBuf,
        /// Which examples.
        #[arg(long, value_enum, default_value = "test")]
        split: SplitName,
        /// Overrides one key of the run's config.
        #[arg(long = "set", value_name = "KEY=VALUE")]
        set: Vec<String>,
        /// Writes the texts as JSON lines.
        #[arg(long, value_name = "FILE")]
        rollouts: Option<PathBuf>,
    },
    /// Writes a run's mean as a PEFT adapter directory.
    Export {
        /// A run's directory.
        run: PathBuf,
        /// The newest mean instead of the best validated one.
        #[arg(long)]
        newest: bool,
        /// Where to write it.
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
    },
    /// Prints the table of runs, best test score first.
    Leaderboard {
        /// Runs, or folders of runs.
        #[arg(required = true)]
        directories: Vec<PathBuf>,
        /// Pools runs that agree in these columns, or keys of the config, to a mean and a 95 % interval.
        #[arg(long, value_name = "COLUMNS", value_delimiter = ',')]
        group_by: Vec<String>,
        /// Prints CSV instead of a table.
        #[arg(long)]
        csv: bool,
        /// Writes the CSV to a file as well.
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Writes a text for every prompt of a file.
    Generate {
        #[command(flatten)]
        model: ModelFlags,
        /// JSON lines with `prompt`.
        #[arg(long, value_name = "FILE")]
        prompts: PathBuf,
        /// Token budget of a text.
        #[arg(long, value_name = "N")]
        max_new_tokens: usize,
        /// Takes prompts as they stand, without the chat template.
        #[arg(long)]
        raw: bool,
        /// Writes on past stop tokens.
        #[arg(long)]
        ignore_eos: bool,
        /// 0 takes the likeliest token.
        #[arg(long, default_value_t = 0.0)]
        temperature: f64,
        /// Probability that the kept tokens hold.
        #[arg(long, default_value_t = 1.0)]
        top_p: f64,
        /// Likeliest tokens kept; 0 keeps all.
        #[arg(long, default_value_t = 0)]
        top_k: usize,
        /// Root of the random numbers.
        #[arg(long, default_value_t = 0)]
        seed: u64,
        /// Writes counts and times as JSON.
        #[arg(long, value_name = "FILE")]
        stats: Option<PathBuf>,
        /// Where the rows go, with `completion`, `token_ids` and `finish_reason`.
        #[arg(long, value_name = "FILE")]
        output: PathBuf,
    },
    /// Writes the log-probability of every completion token of a file.
    Score {
        #[command(flatten)]
        model: ModelFlags,
        /// JSON lines with `prompt` and `completion`, or `prompt_ids` and `completion_ids`.
        #[arg(long, value_name = "FILE")]
        input: PathBuf,
        /// Takes prompts as they stand, without the chat template.
        #[arg(long)]
        raw: bool,
        /// Where the rows go, with `logprobs`.
        #[arg(long, value_name = "FILE")]
        output: PathBuf,
    },
}

#[derive(Args)]
struct ModelFlags {
    /// A .gguf file or a Hugging Face folder.
    #[arg(long, value_name = "PATH")]
    model: PathBuf,
    /// A PEFT LoRA directory.
    #[arg(long, value_name = "DIR")]
    adapter: Option<PathBuf>,
    /// f32, bf16, int8 or int4.
    #[arg(long, default_value = "int8")]
    precision: Precision,
    /// cpu, or cuda:N.
    #[arg(long, default_value = "cpu")]
    device: Device,
    /// GiB that the key-value cache may take.
    #[arg(long, default_value_t = 2.0)]
    cache_gib: f64,
    /// Threads; 0 takes what the launcher or the machine gives.
    #[arg(long, default_value_t = 0)]
    threads: usize,
}

impl From<ModelFlags> for ModelArguments {
    fn from(flags: ModelFlags) -> Self {
        Self {
            model: flags.model,
            adapter: flags.adapter,
            options: LoadOptions {
                device: flags.device,
                ..flags.precision.into()
            },
            cache_gib: flags.cache_gib,
            threads: flags.threads,
        }
    }
}

#[derive(Clone, Copy, ValueEnum)]
enum SplitName {
    Train,
    Validation,
    Test,
}

fn main() -> ExitCode {
    essa::threads::wait_passively();
    match run(Cli::parse().command) {
        Ok(StopReason::Interrupted) => ExitCode::from(interrupt::EXIT_CODE),
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => {
            terminal::say(format_args!("essa: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<StopReason> {
    let done = match command {
        Command::Align {
            config,
            set,
            out,
            fork,
            max_time,
        } => {
            return commands::align::align(&AlignArguments {
                config,
                set,
                out,
                fork,
                max_time,
            });
        }
        Command::Sweep {
            config,
            set,
            out,
            groups,
            max_time,
        } => {
            return commands::sweep::sweep(&SweepArguments {
                config,
                set,
                out,
                groups,
                max_time,
            });
        }
        Command::Eval {
            run,
            split,
            set,
            rollouts,
        } => {
            let split = match split {
                SplitName::Train => Split::Train,
                SplitName::Validation => Split::Validation,
                SplitName::Test => Split::Test,
            };
            commands::evaluate::evaluate(&run, split, &set, rollouts.as_deref())
        }
        Command::Export { run, newest, out } => commands::export::export(&run, newest, &out),
        Command::Leaderboard {
            directories,
            group_by,
            csv,
            output,
        } => commands::leaderboard::print(&directories, &group_by, csv, output.as_deref()),
        Command::Generate {
            model,
            prompts,
            max_new_tokens,
            raw,
            ignore_eos,
            temperature,
            top_p,
            top_k,
            seed,
            stats,
            output,
        } => commands::generate::generate(&GenerateArguments {
            model: model.into(),
            prompts,
            max_new_tokens,
            raw,
            ignore_eos,
            sampling: Sampling {
                temperature,
                top_p,
                top_k,
            },
            seed,
            stats,
            output,
        }),
        Command::Score {
            model,
            input,
            raw,
            output,
        } => commands::score::score(&ScoreArguments {
            model: model.into(),
            input,
            raw,
            output,
        }),
    };
    done.map(|()| StopReason::Generations)
}
