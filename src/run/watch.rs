//! What a run watches beside its task ([`crate::config::DriftSection`]): columns of a look at some search vectors, and whether the mean has gone
//! too far. Pure functions of evaluations and of what the checkpoint keeps.

use crate::config::DriftSection;
use crate::search::Evaluation;
use std::collections::BTreeMap;

/// What was seen, by column: `kl`, `kl_se` (nats a response), `mean_length` (tokens a response), `off_task/NAME` (scores).
pub type Columns = BTreeMap<String, f64>;

/// Adds the divergence from the reference, whose evaluation has a reward in nats for each text. Nothing where a probability was no finite
/// number, so that the divergence is not known.
pub fn divergence(columns: &mut Columns, evaluation: &Evaluation) {
    if evaluation.failed == 0 && !evaluation.fitness.is_failed() {
        columns.insert("kl".into(), evaluation.fitness.value());
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
