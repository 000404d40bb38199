//! `essa eval RUN`: the held-out score of a run's adapter and of its start, again, from the run's own files.

use crate::error::{Error, Result};
use crate::farm::population::{self, Evaluated, Work};
use crate::farm::ranks::Ranks;
use crate::files::{check_output, write_output};
use crate::objective::{Alignment, Objective, Questions};
use crate::record::RunDirectory;
use crate::search::{Evaluation, start};
use crate::statistics::Estimate;
use crate::task::Split;
use crate::terminal::print;
use crate::threads::Node;
use clap::{Args, ValueEnum};
use std::path::PathBuf;

/// Flags of `essa eval`.
#[derive(Args, Clone, Debug)]
pub struct EvalArguments {
    /// A run's directory.
    pub run: PathBuf,
    /// Which examples.
    #[arg(long, value_enum, default_value = "test")]
    pub split: SplitName,
    /// Overrides one key of the run's config.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Writes the texts as JSON lines.
    #[arg(long, value_name = "FILE")]
    pub rollouts: Option<PathBuf>,
}

/// A split on the command line.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum SplitName {
    /// What judges candidates.
    Train,
    /// What judges the mean during a run.
    Validation,
    /// What judges the result.
    Test,
}

impl From<SplitName> for Split {
    fn from(name: SplitName) -> Self {
        match name {
            SplitName::Train => Self::Train,
            SplitName::Validation => Self::Validation,
            SplitName::Test => Self::Test,
        }
    }
}

/// Judges the start and the kept mean of a run on a split.
pub fn evaluate(arguments: &EvalArguments) -> Result<()> {
    let split = Split::from(arguments.split);
    let rollouts = arguments.rollouts.as_deref();
    rollouts.map_or(Ok(()), check_output)?;
    let directory = RunDirectory::at(&arguments.run);
    let config = directory.config(&arguments.set)?;
    let best = directory.mean()?;
    let mut objective = Alignment::open(&config, Node::ALONE, &|_| ())?;
    let n = objective.layout().dim();
    if best.theta.len() != n {
        let what = format!(
            "mean.json holds {} numbers, and the config's space has {n}",
            best.theta.len()
        );
        return Err(Error::file(directory.path(), what));
    }
    let questions = Questions::whole(&config, split, objective.examples(split));
    let thetas = [start(n), best.theta];
    let work = Work {
        candidates: thetas.len(),
        theta: &|candidate| thetas[candidate].clone(),
        questions: &questions,
        digest: "",
        known: Vec::new(),
        racing: false,
    };
    let judged = population::evaluate(&Ranks::alone(), &mut objective, work, &mut |_| Ok(()), &mut || true)?;
    let Evaluated {
        evaluations: judged,
        rollouts: texts,
        ..
    } = judged.expect("nobody says stop");
    let (start, end) = (&judged[0], &judged[1]);
    print(format_args!(
        "{} examples of the {} split, with 95 % intervals\nstart                 {}\nmean of generation {:<3}{}\n\
         gain                  {:.4}",
        end.rewards.len(),
        format!("{split:?}").to_lowercase(),
        score(start),
        best.generation,
        score(end),
        Estimate::of_gain(&end.rewards, &start.rewards),
    ))?;
    if let Some(path) = rollouts {
        let lines: String = texts
            .iter()
            .map(|text| serde_json::to_string(text).expect("JSON of text") + "\n")
            .collect();
        write_output(path, lines.as_bytes())?;
    }
    Ok(())
}

fn score(evaluation: &Evaluation) -> String {
    let terms: Vec<String> = evaluation
        .terms
        .iter()
        .map(|(name, value)| format!("{name} {value:.3}"))
        .collect();
    format!("{:.4}  {}", evaluation.estimate(), terms.join("  "))
}
