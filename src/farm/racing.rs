//! Racing: the prompts of a generation come in rounds, and candidates that are behind drop out between them (successive
//! halving: Karnin, Koren, Somekh, *Almost Optimal Exploration in Multi-Armed Bandits*, ICML 2013; for evolution
//! strategies Heidrich-Meisner and Igel, *Hoeffding and Bernstein Races for Selecting Policies*, ICML 2009). After a
//! quarter of the prompts the better three quarters of the candidates go on, after half of them the better half; who ties
//! with the last of these goes on as well. That takes at most 11/16 of the rollouts, 31 % less, where no two tie.
//!
//! Who goes on to the end is scored on all prompts, exactly as without a race. Who dropped out has seen fewer, and perhaps
//! easier ones: its score is shifted by what the remaining prompts changed for those who saw both, and stays below
//! that of everyone who finished. So a strategy that weighs all of the worse half alike (CMA-ES without negative weights,
//! the natural evolution strategies, CEM up to an elite of one half, random search) takes the step that it would take without
//! a race, unless a candidate was dropped that would have come back. One that weighs the worse half by rank or by score
//! would be told biased scores, and a config that races it is refused ([`crate::strategy::StrategyConfig::weighs_the_worse_half`]).

use crate::search::{Evaluation, Fitness};
use crate::statistics::mean;
use std::ops::Range;

/// The rounds of a race over so many prompts.
pub fn rounds(prompts: usize) -> Vec<Range<usize>> {
    let ends = [prompts.div_ceil(4), prompts.div_ceil(2), prompts];
    let starts = [0, ends[0], ends[1]];
    let rounds = starts.into_iter().zip(ends).map(|(start, end)| start..end);
    rounds.filter(|round| !round.is_empty()).collect()
}

/// Which of the `contenders`, of `candidates` at the start, go on: those that are not behind on what all of them were
/// asked. `rewards` are a contender's so far.
pub fn survivors(contenders: &[usize], candidates: usize, rewards: &dyn Fn(usize) -> Vec<f64>) -> Vec<usize> {
    let asked = contenders.iter().map(|&candidate| rewards(candidate));
    let means: Vec<f64> = asked.map(|rewards| mean(&rewards)).collect();
    let mut best_first = means.clone();
    best_first.sort_by(|a, b| b.total_cmp(a));
    let places = if contenders.len() == candidates {
        (3 * candidates).div_ceil(4)
    } else {
        candidates.div_ceil(2)
    };
    let Some(&last) = best_first.get(places.max(1) - 1) else {
        return contenders.to_vec();
    };
    let ahead = contenders.iter().zip(&means).filter(|(_, mean)| **mean >= last);
    ahead.map(|(candidate, _)| *candidate).collect()
}

/// Gives those who dropped out a score that can stand beside the others'.
pub fn settle(evaluations: &mut [Evaluation]) {
    let prompts = evaluations.iter().map(|e| e.rewards.len()).max().unwrap_or(0);
    let finished: Vec<Vec<f64>> = evaluations
        .iter()
        .filter(|e| e.rewards.len() == prompts)
        .map(|e| e.rewards.clone())
        .collect();
    let least = finished
        .iter()
        .map(|rewards| mean(rewards))
        .fold(f64::INFINITY, f64::min);
    for evaluation in evaluations.iter_mut().filter(|e| e.rewards.len() < prompts) {
        let asked = evaluation.rewards.len();
        let shifts: Vec<f64> = finished.iter().map(|all| mean(all) - mean(&all[..asked])).collect();
        if !evaluation.fitness.is_failed() {
            // Below, not level: strategies share weights among those who tie.
            let score = evaluation.fitness.value() + mean(&shifts);
            evaluation.fitness = Fitness::new(score.min(least.next_down()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn evaluation(rewards: &[f64]) -> Evaluation {
        Evaluation {
            fitness: Fitness::new(mean(rewards)),
            terms: BTreeMap::new(),
            rewards: rewards.to_vec(),
            failed: 0,
            truncated: 0,
            prompt_tokens: 0,
            completion_tokens: 0,
        }
    }

    #[test]
    fn rounds_are_all_prompts_in_order() {
        assert_eq!(rounds(20), [0..5, 5..10, 10..20]);
        assert_eq!(rounds(7), [0..2, 2..4, 4..7]);
        assert_eq!(rounds(2), [0..1, 1..2]);
        assert_eq!(rounds(1), std::slice::from_ref(&(0..1)));
        for prompts in 1..50 {
            let all: Vec<usize> = rounds(prompts).into_iter().flatten().collect();
            assert!(all.into_iter().eq(0..prompts));
        }
    }

    #[test]
    fn who_is_behind_drops_out_and_who_ties_goes_on() {
        let scores = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0];
        let of = |candidate: usize| vec![scores[candidate]];
        let all: Vec<usize> = (0..8).collect();
        let first = survivors(&all, 8, &of);
        assert_eq!(first, [2, 3, 4, 5, 6, 7]);
        assert_eq!(survivors(&first, 8, &of), [4, 5, 6, 7]);
        assert_eq!(survivors(&all, 8, &|_| vec![0.5]), all, "all tie");
        // Two of ten are right so far: the rest ties behind them, and nobody can be told to be hopeless.
        let sparse = |candidate: usize| vec![if candidate < 2 { 1.0 } else { 0.0 }];
        assert_eq!(survivors(&all, 8, &sparse), all);
        assert_eq!(survivors(&[0], 1, &of), [0]);
    }

    #[test]
    fn scores_of_those_who_finished_stay_and_the_others_are_shifted() {
        // The second half of the prompts is harder by 0.5.
        let mut race = [
            evaluation(&[1.0, 1.0, 0.5, 0.5]),
            evaluation(&[0.5, 0.5, 0.0, 0.0]),
            evaluation(&[0.25, 0.25]),
            evaluation(&[0.875]),
        ];
        settle(&mut race);
        let scores: Vec<f64> = race.iter().map(|e| e.fitness.value()).collect();
        assert_eq!(scores[..3], [0.75, 0.25, 0.0]);
        assert!(
            scores[3] < 0.25 && scores[3] > 0.2499,
            "none reaches one who finished: {}",
            scores[3]
        );
        let mut failed = [evaluation(&[1.0, 1.0]), evaluation(&[0.0])];
        failed[1].fitness = Fitness::FAILED;
        settle(&mut failed);
        assert!(failed[1].fitness.is_failed());
    }
}
