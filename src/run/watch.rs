//! What a run watches beside its task ([`crate::config::DriftSection`]): a look at some search vectors, as columns, and whether the mean has gone too
//! far, which is a pure function of these columns and of what the checkpoint keeps.

use super::Run;
use crate::config::DriftSection;
use crate::error::Result;
use crate::objective::{Asks, Questions};
use crate::search::Evaluation;
use crate::task::Split;
use std::collections::BTreeMap;

/// What was seen, by column: `kl`, `kl_se` (nats a response), `kl_from_start` (the same on the texts of the trust region), `mean_length` (tokens a response), `off_task/NAME` (scores).
pub type Columns = BTreeMap<String, f64>;

/// The column of the trust region ([`super::region`]).
pub const FROM_START: &str = "kl_from_start";

impl Run<'_> {
    /// The divergence of each candidate from the reference on the first of these prompts, where it is a penalty; none of one whose
    /// probabilities are no finite numbers. Nothing at all where the run was asked to end.
    pub(super) fn penalties(&mut self, questions: &Questions) -> Result<Option<Vec<Option<f64>>>> {
        let drift = &self.plan.config.drift;
        if drift.penalty == 0.0 {
            return Ok(Some(Vec::new()));
        }
        let mut indices = questions.indices.clone();
        indices.truncate(drift.texts);
        let asked = Questions {
            asks: Asks::Drift,
            ..Questions::new(Split::Train, indices, questions.seed)
        };
        let Some(evaluated) = self.evaluate(None, &asked)? else {
            return Ok(None);
        };
        self.count_reference(&evaluated.evaluations[0]);
        Ok(Some(evaluated.evaluations.iter().map(nats).collect()))
    }

    /// Counts what the reference's texts cost, which a candidate has just been asked about: each was read once as it was written, and once as it
    /// was scored.
    pub(super) fn count_reference(&mut self, evaluation: &Evaluation) {
        self.state.num_tokens += 2 * (evaluation.prompt_tokens + evaluation.completion_tokens);
    }

    /// Looks at what is watched beside the task, for each of some search vectors. `evaluations` are those of the task on the same split.
    pub(super) fn watch(
        &mut self,
        thetas: &[Vec<f64>],
        split: Split,
        evaluations: &[Evaluation],
    ) -> Result<Option<Vec<Columns>>> {
        let config = &self.plan.config;
        let mut columns = vec![Columns::new(); thetas.len()];
        if !config.drift.watches() {
            return Ok(Some(columns));
        }
        let examples = self.objective.examples(split);
        for (columns, evaluation) in columns.iter_mut().zip(evaluations) {
            let texts = (examples * config.samples_of_mean()).max(1) as f64;
            columns.insert("mean_length".into(), evaluation.completion_tokens as f64 / texts);
        }
        if config.drift.texts > 0 {
            let mut indices: Vec<usize> = (0..examples).collect();
            self.seed.named("drift prompts").shuffle(&mut indices);
            indices.truncate(config.drift.texts);
            let questions = Questions {
                asks: Asks::Drift,
                ..Questions::new(split, indices, self.seed)
            };
            let Some(evaluated) = self.evaluate(Some(thetas.to_vec()), &questions)? else {
                return Ok(None);
            };
            if self.strategy.generation() == 0 || split == Split::Test {
                self.count_reference(&evaluated.evaluations[0]);
            }
            for (columns, evaluation) in columns.iter_mut().zip(&evaluated.evaluations) {
                divergence(columns, evaluation);
            }
        }
        for (task, name) in config.drift.tasks.keys().enumerate() {
            let questions = Questions {
                asks: Asks::OffTask(task),
                ..Questions::whole(config, split, self.objective.off_task_examples(task, split))
            };
            let Some(evaluated) = self.evaluate(Some(thetas.to_vec()), &questions)? else {
                return Ok(None);
            };
            for (columns, evaluation) in columns.iter_mut().zip(&evaluated.evaluations) {
                if !evaluation.fitness.is_failed() {
                    columns.insert(format!("off_task/{name}"), evaluation.fitness.value());
                }
            }
        }
        Ok(Some(columns))
    }
}

/// The divergence of which this is the evaluation, whose rewards are in nats; none where a probability was no finite number, so that it is not known.
pub(super) fn nats(evaluation: &Evaluation) -> Option<f64> {
    (evaluation.failed == 0 && !evaluation.fitness.is_failed()).then(|| evaluation.fitness.value())
}

/// Adds a divergence that is known.
fn divergence(columns: &mut Columns, evaluation: &Evaluation) {
    if let Some(kl) = nats(evaluation) {
        columns.insert("kl".into(), kl);
        columns.insert("kl_se".into(), evaluation.standard_error());
    }
}

/// Why a mean may not be kept; none where it may. `start` is what was seen of the start.
pub fn too_far(limits: &DriftSection, now: &Columns, start: &Columns) -> Option<String> {
    if let Some(most) = limits.max_kl {
        match now.get("kl") {
            Some(kl) if *kl <= most => {}
            Some(kl) => {
                return Some(format!(
                    "the mean is {kl:.3} nats a response from the reference, above drift.max_kl = {most}"
                ));
            }
            None => {
                return Some(
                    "the mean's probabilities are no finite numbers, so that its divergence cannot be held against drift.max_kl".into(),
                );
            }
        }
    }
    if let (Some(most), Some(length), Some(usual)) =
        (limits.max_length, now.get("mean_length"), start.get("mean_length"))
        && *length > most * usual
    {
        return Some(format!(
            "the mean's responses have {length:.1} tokens, more than drift.max_length = {most} times the start's {usual:.1}"
        ));
    }
    let most = limits.max_fall?;
    limits.tasks.keys().find_map(|name| {
        let column = format!("off_task/{name}");
        let (score, usual) = (now.get(&column)?, start.get(&column)?);
        (usual - score > most).then(|| {
            format!("the mean's score on {name} is {score:.3}, more than drift.max_fall = {most} below the start's {usual:.3}")
        })
    })
}

/// For a person: the columns in a few words.
pub fn said(columns: &Columns) -> String {
    let one = |(name, value): (&String, &f64)| match name.as_str() {
        "kl" => Some(format!("  KL {value:.3} nats")),
        FROM_START => Some(format!("  {value:.3} nats from the start")),
        name => name
            .strip_prefix("off_task/")
            .map(|task| format!("  {task} {value:.3}")),
    };
    columns.iter().filter_map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::search::Fitness;
    use crate::task::TaskConfig;

    #[test]
    fn a_mean_is_too_far_beyond_any_limit() {
        let columns = |kl: f64, length: f64, other: f64| -> Columns {
            [("kl", kl), ("mean_length", length), ("off_task/other", other)]
                .map(|(name, value)| (name.to_string(), value))
                .into()
        };
        let limits = DriftSection {
            texts: 8,
            max_kl: Some(1.0),
            max_length: Some(2.0),
            max_fall: Some(0.25),
            tasks: BTreeMap::from([("other".to_string(), TaskConfig::default())]),
            ..DriftSection::default()
        };
        let start = columns(0.0, 10.0, 0.5);
        let why = |now: Columns| too_far(&limits, &now, &start).unwrap_or_default();
        assert_eq!(why(columns(1.0, 20.0, 0.25)), "", "a limit that is only reached");
        assert!(why(columns(1.5, 10.0, 0.5)).contains("1.500 nats a response"));
        assert!(why(columns(0.5, 20.5, 0.5)).contains("20.5 tokens"));
        assert!(why(columns(0.5, 10.0, 0.125)).contains("score on other is 0.125"));
        let mut unknown = columns(0.5, 10.0, 0.5);
        unknown.remove("kl");
        assert!(why(unknown.clone()).contains("no finite numbers"));
        assert_eq!(too_far(&DriftSection::default(), &unknown, &start), None);
    }

    #[test]
    fn a_divergence_with_failed_texts_is_not_known() {
        let mut evaluation = Evaluation {
            fitness: Fitness::new(0.5),
            terms: BTreeMap::new(),
            rewards: vec![0.25, 0.75],
            failed: 0,
            truncated: 0,
            prompt_tokens: 0,
            completion_tokens: 0,
        };
        let mut columns = Columns::new();
        divergence(&mut columns, &evaluation);
        assert_eq!((columns["kl"], columns["kl_se"]), (0.5, 0.25));
        evaluation.failed = 1;
        let mut columns = Columns::new();
        divergence(&mut columns, &evaluation);
        assert_eq!(columns, Columns::new());
    }
}
