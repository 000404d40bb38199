//! What a run's numbers say about how it goes: too much noise, a step size that leads nowhere, a mean that has collapsed.
//! Pure functions of what the checkpoint keeps, so a resumed run comes to the same conclusions.

use crate::record::metrics::Row;
use crate::search::Evaluation;
use crate::statistics::{mean, paired_gain};

/// Generations that a trend is read from.
const WINDOW: usize = 3;

/// Below this signal-to-noise more prompts are asked for: two thirds of what sets candidates apart is noise.
const LOW_SNR: f64 = 0.5;

/// Validations in a row, each clearly below the best, after which a mean has collapsed.
pub const COLLAPSED: u32 = 2;

/// Whether the last generations were mostly noise.
pub fn is_noisy(rows: &[Row]) -> bool {
    recent(rows).is_some_and(|rows| {
        let snrs: Vec<f64> = rows.iter().filter_map(|row| row.snr).collect();
        snrs.len() == WINDOW && mean(&snrs) < LOW_SNR
    })
}

/// What to change, in words; said at the end of every third generation that has a reason to. `prompts` can still grow, or
/// cannot.
pub fn advice(rows: &[Row], prompts_can_grow: bool) -> Option<String> {
    let recent = recent(rows)?;
    if !recent.last()?.generation.is_multiple_of(WINDOW as u64) {
        return None;
    }
    let of = |value: &dyn Fn(&Row) -> Option<f64>| {
        let values: Vec<f64> = recent.iter().filter_map(value).collect();
        (values.len() == WINDOW).then(|| mean(&values))
    };
    // Few prompts have few scores, so that many candidates tie although they differ.
    let are_told_apart = of(&|row| row.snr).is_some_and(|snr| snr >= LOW_SNR);
    if of(&|row| row.tie_ratio).is_some_and(|ties| ties > 0.9) && !are_told_apart {
        return Some(
            "nearly all candidates score the same: raise strategy.sigma if they score as the mean does, lower it if they score \
             worse, or give a graded reward (task.partial_credit, task.train_judge)"
                .into(),
        );
    }
    if of(&|row| row.clipped_ratio).is_some_and(|clipped| clipped > 0.5) {
        return Some(
            "more than half of the texts are cut off by generation.max_new_tokens: raise it if answers need the room"
                .into(),
        );
    }
    if is_noisy(rows) && !prompts_can_grow {
        return Some(format!(
            "the candidates' differences are mostly noise (signal-to-noise {:.2}): raise strategy.population, which brings more than \
             as many rollouts spent on prompts, or strategy.sigma while candidates still score near the mean",
            of(&|row| row.snr).unwrap_or(0.0)
        ));
    }
    None
}

/// Whether a mean is worse than the best one beyond three standard errors of their paired difference.
pub fn is_clearly_worse(now: &Evaluation, best: &[f64]) -> bool {
    if best.len() != now.rewards.len() {
        return false;
    }
    let (gain, error) = paired_gain(&now.rewards, best);
    gain < 0.0 && gain + 3.0 * error < 0.0
}

fn recent(rows: &[Row]) -> Option<&[Row]> {
    // The first row is the start, which no candidates were judged for.
    let generations = rows.get(1..)?;
    generations.len().checked_sub(WINDOW).map(|first| &generations[first..])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::search::Fitness;
    use std::collections::BTreeMap;

    fn rows(snrs: &[f64], ties: f64) -> Vec<Row> {
        let row = |(index, snr): (usize, &f64)| Row {
            generation: index as u64 + 1,
            snr: Some(*snr),
            tie_ratio: Some(ties),
            clipped_ratio: Some(0.0),
            ..Row::default()
        };
        let start = std::iter::once(Row::default());
        start.chain(snrs.iter().enumerate().map(row)).collect()
    }

    #[test]
    fn advice_is_given_for_a_reason() {
        assert!(!is_noisy(&rows(&[0.1, 0.1], 0.0)), "two generations are no trend");
        assert!(is_noisy(&rows(&[9.0, 0.1, 0.2, 0.3], 0.0)));
        let said = |snrs: &[f64], ties: f64, grow: bool| advice(&rows(snrs, ties), grow).unwrap_or_default();
        assert!(said(&[0.1, 0.2, 0.3], 0.0, false).contains("signal-to-noise 0.20"));
        assert_eq!(said(&[0.1, 0.2, 0.3], 0.0, true), "");
        assert_eq!(said(&[0.1, 0.2, 0.3, 0.1], 0.0, false), "", "not in every generation");
        assert_eq!(said(&[3.0, 2.0, 3.0], 0.2, false), "");
        assert!(said(&[0.1, 0.2, 0.3], 0.95, false).contains("score the same"));
        assert_eq!(said(&[3.0, 2.0, 3.0], 0.95, false), "", "they tie, and are told apart");
    }

    #[test]
    fn worse_is_beyond_three_standard_errors() {
        let now = |wrong: usize| Evaluation {
            fitness: Fitness::new(0.0),
            terms: BTreeMap::new(),
            rewards: (0..64).map(|question| f64::from(u8::from(question >= wrong))).collect(),
            failed: 0,
            truncated: 0,
            prompt_tokens: 0,
            completion_tokens: 0,
        };
        let best = vec![1.0; 64];
        // k of 64 lost: k/64 against 3 √(k/64 (1 − k/64) / 63): from k = 9.
        assert!(!is_clearly_worse(&now(7), &best) && is_clearly_worse(&now(10), &best));
        assert!(!is_clearly_worse(&now(0), &best) && is_clearly_worse(&now(64), &best));
    }

    /// Half of the differences being noise, nine tenths of the candidates in ties and half of the texts cut off are no reason yet.
    #[test]
    fn a_limit_that_is_only_reached_is_no_reason() {
        assert!(!is_noisy(&rows(&[0.5, 0.5, 0.5], 0.0)) && is_noisy(&rows(&[0.5, 0.5, 0.4375], 0.0)));
        assert_eq!(advice(&rows(&[3.0, 3.0, 3.0], 0.9), false), None);
        let clipped = |ratios: [f64; 3]| {
            let mut rows = rows(&[3.0, 3.0, 3.0], 0.0);
            for (row, ratio) in rows[1..].iter_mut().zip(ratios) {
                row.clipped_ratio = Some(ratio);
            }
            advice(&rows, false).unwrap_or_default()
        };
        assert_eq!(clipped([0.5, 0.5, 0.5]), "");
        assert!(clipped([0.75, 0.25, 0.75]).contains("cut off by generation.max_new_tokens"));
        let mut gaps = rows(&[0.1, 0.1, 0.1], 0.0);
        gaps[2].snr = None;
        assert!(!is_noisy(&gaps), "three generations, and one of them says nothing");
    }

    #[test]
    fn a_mean_that_only_ties_is_not_worse() {
        let now = |rewards: &[f64]| Evaluation {
            fitness: Fitness::new(0.0),
            terms: BTreeMap::new(),
            rewards: rewards.to_vec(),
            failed: 0,
            truncated: 0,
            prompt_tokens: 0,
            completion_tokens: 0,
        };
        assert!(!is_clearly_worse(&now(&[0.5, 0.5]), &[0.5, 0.5]));
        // A loss of ½ with a standard error of ½ / 3: differences −½ ± d over four, of which two are above.
        let d = 3.0_f64.sqrt() / 6.0;
        let at = |loss: f64| now(&[-loss + d, -loss - d, -loss + d, -loss - d]);
        assert!(!is_clearly_worse(&at(0.499), &[0.0; 4]) && is_clearly_worse(&at(0.501), &[0.0; 4]));
        assert!(
            !is_clearly_worse(&now(&[0.0]), &[1.0, 1.0]),
            "of other questions nothing is known"
        );
        // −1.5 with a standard error of a half is at the edge, and not beyond it.
        assert!(!is_clearly_worse(&now(&[-1.0, -2.0]), &[0.0; 2]));
    }
}
