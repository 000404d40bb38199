//! `essa eval RUN`: the held-out score of a run's adapter and of its start, again, from the run's own files.

use super::{open_alignment, run_config};
use crate::error::{Error, Result};
use crate::files::{check_output, read_text, write_output};
use crate::objective::{Objective, Questions};
use crate::population::{self, Evaluated, Work};
use crate::ranks::{Node, Ranks};
use crate::run::Mean;
use crate::search::{Evaluation, paired_gain};
use crate::seed::Seed;
use crate::task::Split;
use crate::terminal::print;
use std::path::Path;

/// Judges the start and the kept mean of `run` on `split`; `rollouts` is where to put the texts, if anywhere.
pub fn evaluate(run: &Path, split: Split, overrides: &[String], rollouts: Option<&Path>) -> Result<()> {
    rollouts.map_or(Ok(()), check_output)?;
    let mut config = run_config(run)?;
    if !overrides.is_empty() {
        config = crate::config::RunConfig::load(&run.join("config.toml"), overrides)?;
    }
    let best = read_mean(run)?;
    let mut objective = open_alignment(&config, Node::ALONE, &|_| ())?;
    let n = objective.layout().dim();
    if best.theta.len() != n {
        let what = format!(
            "mean.json holds {} numbers, and the config's space has {n}",
            best.theta.len()
        );
        return Err(Error::file(run, what));
    }
    let seed = Seed::new(config.seed);
    let questions = Questions {
        split,
        indices: (0..objective.examples(split)).collect(),
        seed: seed.named(if split == Split::Test {
            "test texts"
        } else {
            "validation texts"
        }),
        graded: false,
    };
    let thetas = [vec![0.0; n], best.theta];
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
    let (gain, se) = paired_gain(end, start);
    print(format_args!(
        "{} examples of the {} split\nstart                 {}\nmean of generation {:<3}{}\n\
         gain                  {gain:.4} ± {se:.4}  (95 %: {:.4} to {:.4})",
        end.rewards.len(),
        format!("{split:?}").to_lowercase(),
        score(start),
        best.generation,
        score(end),
        gain - 1.96 * se,
        gain + 1.96 * se
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

/// The mean that a run keeps.
pub(super) fn read_mean(run: &Path) -> Result<Mean> {
    let path = run.join("mean.json");
    serde_json::from_str(&read_text(&path)?).map_err(|e| Error::file(&path, format!("not a mean: {e}")))
}

fn score(evaluation: &Evaluation) -> String {
    let (score, se) = (evaluation.fitness.value(), evaluation.standard_error());
    let terms: Vec<String> = evaluation
        .terms
        .iter()
        .map(|(name, value)| format!("{name} {value:.3}"))
        .collect();
    format!(
        "{score:.4} ± {se:.4}  (95 %: {:.4} to {:.4})  {}",
        score - 1.96 * se,
        score + 1.96 * se,
        terms.join("  ")
    )
}
