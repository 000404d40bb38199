//! From fitness to weights: pure functions that look at the order of a generation's members, or at their distances, and
//! say how much each counts. Rewards of language models are mostly 0 or 1 averaged over a few prompts, so ties are the
//! rule: members that tie always get the same weight, and a generation in which all tie is flat and carries no
//! information. A failed member ([`Fitness::FAILED`]) comes last in every order and has weight 0 in every sum, so its
//! failure lowers nobody's rank and its direction, of which nothing is known, neither attracts nor repels.

use crate::search::Fitness;

/// Whether a generation says nothing about where to go: fewer than two different fitness values were judged.
pub fn is_flat(fitness: &[Fitness]) -> bool {
    tied_groups(fitness).len() < 2
}

/// Hands out the weights of ranks (best first, one a member) to members. Tied members share: each gets the mean of
/// the weights of the ranks that they hold together. Failed members get 0 and nobody gets what was theirs, so the
/// fewer members were judged, the less the sum and the shorter the step.
pub fn share_weights(weight_of_rank: &[f64], fitness: &[Fitness]) -> Vec<f64> {
    let mut weights = vec![0.0; fitness.len()];
    let mut first = 0;
    for group in tied_groups(fitness) {
        let ranks = &weight_of_rank[first..first + group.len()];
        let share = ranks.iter().sum::<f64>() / group.len() as f64;
        for member in &group {
            weights[*member] = share;
        }
        first += group.len();
    }
    weights
}

/// The utilities of natural evolution strategies, best rank first, `[λ]`: u_k = max(0, ln(λ/2 + 1) − ln k), scaled to a
/// sum of 1, less 1/λ (Wierstra et al., JMLR 15, 2014, section 3.1). Their sum is 0, so on average over all orders of the
/// members nothing moves; members that failed leave a sum that is not 0, which is why gradients subtract what chance
/// would give.
pub fn utilities(population: usize) -> Vec<f64> {
    let lambda = population as f64;
    let raw: Vec<f64> = (1..=population)
        .map(|k| ((lambda / 2.0 + 1.0).ln() - (k as f64).ln()).max(0.0))
        .collect();
    let sum: f64 = raw.iter().sum();
    raw.iter().map(|u| u / sum - 1.0 / lambda).collect()
}

/// Ranks scaled to [−½, ½] with sum zero, the best highest; tied members share the mean of their ranks. The distance
/// between neighbouring ranks is 1/(λ − 1), failed members or not, so failures shorten the step.
pub fn centred_ranks(fitness: &[Fitness]) -> Vec<f64> {
    let judged = fitness.iter().filter(|f| !f.is_failed()).count();
    let distance = 1.0 / (fitness.len() as f64 - 1.0).max(1.0);
    let middle = (judged as f64 - 1.0) / 2.0;
    let of_rank: Vec<f64> = (0..fitness.len())
        .map(|rank| (middle - rank as f64) * distance)
        .collect();
    share_weights(&of_rank, fitness)
}

/// Distances from the mean fitness in units of the standard deviation, both over the judged members; 0 for a failed
/// member, and for everybody when the generation is flat.
pub fn z_scores(fitness: &[Fitness]) -> Vec<f64> {
    let judged: Vec<f64> = fitness.iter().filter(|f| !f.is_failed()).map(|f| f.value()).collect();
    let count = judged.len() as f64;
    let mean = judged.iter().sum::<f64>() / count;
    let variance = judged.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count;
    if is_flat(fitness) {
        return vec![0.0; fitness.len()];
    }
    if !variance.is_finite() || variance == 0.0 {
        // A value of infinity, or differences too small to square: the order is all that can be used.
        return centred_ranks(fitness);
    }
    let score = |f: &Fitness| {
        if f.is_failed() {
            0.0
        } else {
            (f.value() - mean) / variance.sqrt()
        }
    };
    fitness.iter().map(score).collect()
}

/// The judged members, best first, those of equal fitness together.
fn tied_groups(fitness: &[Fitness]) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..fitness.len())
        .filter(|member| !fitness[*member].is_failed())
        .collect();
    order.sort_by(|a, b| fitness[*a].best_first(&fitness[*b]));
    // Equality is that of numbers, which makes 0 and −0 one value although the order tells them apart.
    order
        .chunk_by(|a, b| fitness[*a] == fitness[*b])
        .map(<[usize]>::to_vec)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const X: f64 = f64::NAN; // not judged

    fn fitness(values: &[f64]) -> Vec<Fitness> {
        values.iter().copied().map(Fitness::new).collect()
    }

    #[test]
    fn the_best_member_gets_the_first_weight() {
        let weights = share_weights(&[0.5, 0.3, 0.2, 0.0], &fitness(&[2.0, 9.0, -1.0, 3.0]));
        assert_eq!(weights, [0.2, 0.5, 0.0, 0.3]);
    }

    #[test]
    fn tied_members_share_the_weights_of_their_ranks() {
        let of_rank = [0.5, 0.25, 0.25, 0.0];
        assert_eq!(
            share_weights(&of_rank, &fitness(&[0.0, 1.0, 1.0, 0.0])),
            [0.125, 0.375, 0.375, 0.125]
        );
        assert_eq!(
            share_weights(&of_rank, &fitness(&[1.0, 1.0, 1.0, 0.0])),
            [1.0 / 3.0, 1.0 / 3.0, 1.0 / 3.0, 0.0]
        );
        assert_eq!(share_weights(&of_rank, &fitness(&[7.0, 7.0, 7.0, 7.0])), [0.25; 4]);
        assert_eq!(
            share_weights(&of_rank, &fitness(&[0.0, -0.0, -1.0, -2.0])),
            [0.375, 0.375, 0.25, 0.0]
        );
    }

    #[test]
    fn a_failed_member_has_no_weight_and_nobody_inherits_it() {
        let of_rank = [0.5, 0.25, 0.25, 0.0];
        assert_eq!(
            share_weights(&of_rank, &fitness(&[X, 1.0, X, 2.0])),
            [0.0, 0.25, 0.0, 0.5]
        );
        assert_eq!(share_weights(&of_rank, &fitness(&[X, X, X, 2.0])), [0.0, 0.0, 0.0, 0.5]);
        assert_eq!(share_weights(&of_rank, &fitness(&[X; 4])), [0.0; 4]);
        // Negative weights, which belong to the last ranks, do not reach the failed either.
        assert_eq!(
            share_weights(&[0.75, 0.25, -0.5, -0.5], &fitness(&[3.0, X, 1.0, 2.0])),
            [0.75, 0.0, -0.5, 0.25]
        );
    }

    #[test]
    fn utilities_sum_to_zero_and_the_worse_half_shares_the_least() {
        let found = utilities(4);
        // ln 3, ln 1.5, 0, 0 over ln 4.5, less a quarter.
        let expected = [0.480_422_710_3, 0.019_577_289_7, -0.25, -0.25];
        assert!(
            found.iter().zip(expected).all(|(u, e)| (u - e).abs() < 1e-9),
            "{found:?}"
        );
        for population in 2..40 {
            assert!(utilities(population).iter().sum::<f64>().abs() < 1e-15);
        }
    }

    #[test]
    fn flat_is_one_value_or_none() {
        assert!(is_flat(&fitness(&[0.5, 0.5, 0.5])));
        assert!(is_flat(&fitness(&[0.0, -0.0])));
        assert!(is_flat(&fitness(&[0.5, X, 0.5])));
        assert!(is_flat(&fitness(&[X, 0.5, X])));
        assert!(is_flat(&fitness(&[X, X])));
        assert!(!is_flat(&fitness(&[0.5, X, 0.25])));
        assert!(!is_flat(&fitness(&[0.0, 0.0, 0.0, 1.0])));
    }

    #[test]
    fn centred_ranks_run_from_minus_half_to_half() {
        assert_eq!(
            centred_ranks(&fitness(&[10.0, 30.0, 20.0, 50.0, 40.0])),
            [-0.5, 0.0, -0.25, 0.5, 0.25]
        );
        assert_eq!(centred_ranks(&fitness(&[1.0, 0.0])), [0.5, -0.5]);
    }

    #[test]
    fn centred_ranks_of_ties_and_failures() {
        assert_eq!(
            centred_ranks(&fitness(&[1.0, 0.0, 0.0, 0.0, 0.0])),
            [0.5, -0.125, -0.125, -0.125, -0.125]
        );
        assert_eq!(centred_ranks(&fitness(&[4.0, 4.0, 4.0])), [0.0; 3]);
        assert_eq!(
            centred_ranks(&fitness(&[3.0, X, 1.0, 2.0, X])),
            [0.25, 0.0, -0.25, 0.0, 0.0]
        );
        assert_eq!(centred_ranks(&fitness(&[X, X])), [0.0; 2]);
        assert_eq!(centred_ranks(&fitness(&[1.0])), [0.0]);
    }

    #[test]
    fn z_scores_have_mean_zero_and_deviation_one() {
        assert_eq!(z_scores(&fitness(&[1.0, 3.0, 1.0, 3.0])), [-1.0, 1.0, -1.0, 1.0]);
        assert_eq!(z_scores(&fitness(&[0.0, 10.0, X, 5.0, 5.0])), {
            let d = 50.0_f64 / 4.0;
            [-5.0 / d.sqrt(), 5.0 / d.sqrt(), 0.0, 0.0, 0.0]
        });
        assert_eq!(z_scores(&fitness(&[0.1; 7])), [0.0; 7]);
        assert_eq!(z_scores(&fitness(&[X, 2.0])), [0.0; 2]);
        assert_eq!(z_scores(&fitness(&[f64::INFINITY, 0.0, 1.0])), [0.5, -0.5, 0.0]);
    }
}
