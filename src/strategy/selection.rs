//! From several terms to one fitness a candidate. A weighted sum needs a weight for each term. An order of
//! importance needs none: candidates are compared by the first term, those that tie by the next. A Pareto order needs
//! neither: first come the candidates that nobody beats in every term, then those beaten only by these, and so on.
//!
//! Both give ranks, so only a strategy that looks at nothing but the order may use them without a thought.
//! Candidates with equal terms get equal fitness in both, and the order in which candidates come makes no
//! difference. More of a term is better. What could not be judged, a vector with a NaN or of another length than the rest,
//! gets −∞ ([`crate::search::Fitness::FAILED`]) and is in nobody's way.

use std::cmp::Ordering;

/// Ranks by the first term, those that tie by the second, and so on: for each of `vectors`, `[candidates][terms]`, how many
/// judged candidates are worse; −∞ for one not judged.
///
/// Two values tie if they are equal. Where `tolerances` has a positive number for the term, they tie if they round to
/// the same multiple of it: a mere distance below the tolerance would let a tie with b and b with c but not a with c, which
/// is no order.
pub fn lexicographic(vectors: &[Vec<f64>], tolerances: &[f64]) -> Vec<f64> {
    let rounded = |(term, value): (usize, &f64)| match tolerances.get(term) {
        Some(step) if *step > 0.0 && step.is_finite() => (value / step).round(),
        _ => *value,
    };
    let keys: Vec<Vec<f64>> = vectors
        .iter()
        .map(|vector| vector.iter().enumerate().map(rounded).collect())
        .collect();
    ranks(judged(&keys), vectors.len(), |a, b| compare(&keys[b], &keys[a]))
}

/// Ranks by Pareto front, within a front by crowding: for each of `vectors`, `[candidates][terms]`, how many judged
/// candidates are worse; −∞ for one not judged.
///
/// A candidate beats another if it is at least as good in every term and better in one. Front 0 is of those that nobody
/// beats, front 1 of those that only front 0 beats, and so on; within one, who has more room around it is better, and the
/// ends of the front, which are the best in some term, are the best of all ([`fronts`] and [`crowding`]; Deb et al., *A fast
/// and elitist multiobjective genetic algorithm: NSGA-II*, IEEE Trans. Evol. Comput. 6, 2002).
pub fn pareto(vectors: &[Vec<f64>]) -> Vec<f64> {
    let mut keys = vec![(0, 0.0); vectors.len()];
    for (depth, front) in fronts(vectors).iter().enumerate() {
        for (&candidate, room) in front.iter().zip(room(vectors, front)) {
            keys[candidate] = (depth, room);
        }
    }
    let better = |a: usize, b: usize| {
        let ((depth_a, room_a), (depth_b, room_b)) = (keys[a], keys[b]);
        depth_a.cmp(&depth_b).then(room_b.total_cmp(&room_a))
    };
    ranks(judged(vectors), vectors.len(), better)
}

/// Ranks as [`pareto`] does, of `vectors`, `[candidates][terms]`, beside `earlier`, `[points][terms]`, the [`front`] of all that was
/// judged before: for each candidate how many of both, candidates and earlier points, are worse. So one that repeats what is
/// already there is crowded or beaten, and one that fills a gap is ahead, which is what moves a strategy with one mean along
/// the front. The earlier terms must have been judged on the same prompts, or easy prompts look like good candidates.
pub fn pareto_beside(vectors: &[Vec<f64>], earlier: &[Vec<f64>]) -> Vec<f64> {
    let all: Vec<Vec<f64>> = vectors.iter().chain(earlier).cloned().collect();
    let mut ranks = pareto(&all);
    ranks.truncate(vectors.len());
    ranks
}

/// The fronts, best first, each as indices of `vectors` in rising order. Equal vectors are in the same front; those not
/// judged are in none. Takes terms · candidates² comparisons.
pub fn fronts(vectors: &[Vec<f64>]) -> Vec<Vec<usize>> {
    let candidates = judged(vectors);
    let mut beaten_by = vec![0_usize; vectors.len()];
    let mut beats = vec![Vec::new(); vectors.len()];
    for &a in &candidates {
        for &b in &candidates {
            if dominates(&vectors[a], &vectors[b]) {
                beats[a].push(b);
                beaten_by[b] += 1;
            }
        }
    }
    let mut fronts = Vec::new();
    let mut current: Vec<usize> = candidates.into_iter().filter(|&c| beaten_by[c] == 0).collect();
    while !current.is_empty() {
        let mut next = Vec::new();
        for &loser in current.iter().flat_map(|&winner| &beats[winner]) {
            beaten_by[loser] -= 1;
            if beaten_by[loser] == 0 {
                next.push(loser);
            }
        }
        next.sort_unstable();
        fronts.push(std::mem::replace(&mut current, next));
    }
    fronts
}

/// Indices of the vectors that no other beats, in rising order; of equal ones the first. Takes candidates · front comparisons
/// at most, so it may be asked of all candidates of a run.
pub fn front(vectors: &[Vec<f64>]) -> Vec<usize> {
    // From the greatest down, each can be beaten by earlier ones only.
    let mut candidates = judged(vectors);
    candidates.sort_by(|&a, &b| compare(&vectors[b], &vectors[a]).then(a.cmp(&b)));
    let mut front: Vec<usize> = Vec::new();
    for candidate in candidates {
        if !front
            .iter()
            .any(|&member| reaches(&vectors[member], &vectors[candidate]))
        {
            front.push(candidate);
        }
    }
    front.sort_unstable();
    front
}

/// The crowding distance of each of `points`, `[points][terms]`: the mean over terms of the distance between its two
/// neighbours in that term, in units of the term's range; ∞ for the ends of a term, and for all where there are at most two
/// points. A term in which all are equal adds nothing, and neither does one that reaches to infinity, but for its ends.
///
/// `points` are one front, each once, of one length and without NaN. Of points that are equal in one term, the order of all
/// their terms says which is whose neighbour, so that the order in which they are given does not.
pub fn crowding(points: &[Vec<f64>]) -> Vec<f64> {
    let terms = points.iter().map(Vec::len).min().unwrap_or(0);
    if points.len() <= 2 {
        return vec![f64::INFINITY; points.len()];
    }
    let mut distance = vec![0.0; points.len()];
    for term in 0..terms {
        let mut order: Vec<usize> = (0..points.len()).collect();
        let by_term = |&a: &usize, &b: &usize| number_order(points[a][term], points[b][term]);
        order.sort_by(|a, b| by_term(a, b).then_with(|| compare(&points[*a], &points[*b])));
        let (low, high) = (order[0], order[order.len() - 1]);
        let range = points[high][term] - points[low][term];
        if range == 0.0 || range.is_nan() {
            continue;
        }
        for neighbours in order.windows(3) {
            let gap = (points[neighbours[2]][term] - points[neighbours[0]][term]) / range;
            distance[neighbours[1]] += if gap.is_finite() { gap / terms as f64 } else { 0.0 };
        }
        distance[low] = f64::INFINITY;
        distance[high] = f64::INFINITY;
    }
    distance
}

/// The volume of what `points`, `[points][terms]`, beat and `reference`, `[terms]`, does not: the union of the boxes between
/// the reference and each point. A point that is not better than the reference in every term adds nothing, and so does one
/// with a NaN or of another length; the volume in no dimension is 0.
///
/// Exact: in two dimensions one sweep; in more, slices between the values of the last term, each the volume of one dimension
/// less (HSO: While et al., *A faster algorithm for calculating hypervolume*, IEEE Trans. Evol. Comput. 10, 2006). Takes
/// time in the order of pointsᵈ⁻¹, so it is for a few terms.
pub fn hypervolume(points: &[Vec<f64>], reference: &[f64]) -> f64 {
    let inside = |point: &&Vec<f64>| point.len() == reference.len() && point.iter().zip(reference).all(|(p, r)| p > r);
    let edges: Vec<Vec<f64>> = points
        .iter()
        .filter(inside)
        .map(|point| point.iter().zip(reference).map(|(p, r)| p - r).collect())
        .collect();
    volume(edges.iter().map(Vec::as_slice).collect(), reference.len())
}

/// The volume in the first `dim` terms of the boxes between the origin and `points`, all of them positive there.
fn volume(mut points: Vec<&[f64]>, dim: usize) -> f64 {
    if dim == 0 {
        return 0.0;
    }
    // From the greatest last term down: each slice has the points that reach up to it.
    points.sort_by(|a, b| number_order(b[dim - 1], a[dim - 1]));
    let floor = |index: usize| points.get(index + 1).map_or(0.0, |next| next[dim - 1]);
    let slices = (0..points.len()).map(|index| (index, points[index][dim - 1] - floor(index)));
    let mut widest = 0.0_f64;
    let mut sum = 0.0;
    for (index, height) in slices {
        widest = widest.max(points[index][0]);
        if height > 0.0 {
            sum += height
                * match dim {
                    1 => 1.0,
                    2 => widest,
                    _ => volume(unbeaten(&points[..=index], dim - 1), dim - 1),
                };
        }
    }
    sum
}

/// The points that no other reaches in all of the first `dim` terms; of equal ones one.
fn unbeaten<'a>(points: &[&'a [f64]], dim: usize) -> Vec<&'a [f64]> {
    let mut kept: Vec<&[f64]> = Vec::new();
    for &point in points {
        if !kept.iter().any(|other| reaches(&other[..dim], &point[..dim])) {
            kept.retain(|other| !reaches(&point[..dim], &other[..dim]));
            kept.push(point);
        }
    }
    kept
}

/// The room around each member of a front, equal members having that of one.
fn room(vectors: &[Vec<f64>], front: &[usize]) -> Vec<f64> {
    let mut distinct: Vec<Vec<f64>> = front.iter().map(|&member| vectors[member].clone()).collect();
    distinct.sort_by(|a, b| compare(a, b));
    distinct.dedup_by(|a, b| compare(a, b).is_eq());
    let rooms = crowding(&distinct);
    let place = |member: &usize| distinct.binary_search_by(|other| compare(other, &vectors[*member]));
    front
        .iter()
        .map(|member| place(member).map_or(0.0, |at| rooms[at]))
        .collect()
}

/// Indices of the vectors that were judged: without NaN, not empty, and as long as the longest.
fn judged(vectors: &[Vec<f64>]) -> Vec<usize> {
    let terms = vectors.iter().map(Vec::len).max().unwrap_or(0);
    let is_judged = |vector: &Vec<f64>| terms > 0 && vector.len() == terms && !vector.iter().any(|term| term.is_nan());
    (0..vectors.len()).filter(|&index| is_judged(&vectors[index])).collect()
}

/// For each of `count` candidates how many of the `judged` come behind it in the order `better`, in which the better is
/// less; −∞ for the others.
fn ranks(mut judged: Vec<usize>, count: usize, better: impl Fn(usize, usize) -> Ordering) -> Vec<f64> {
    let mut found = vec![f64::NEG_INFINITY; count];
    judged.sort_by(|&a, &b| better(a, b));
    let mut behind = judged.len();
    for tied in judged.chunk_by(|&a, &b| better(a, b).is_eq()) {
        behind -= tied.len();
        for &candidate in tied {
            found[candidate] = behind as f64;
        }
    }
    found
}

/// At least as good in every term and better in one.
fn dominates(a: &[f64], b: &[f64]) -> bool {
    reaches(a, b) && a.iter().zip(b).any(|(x, y)| x > y)
}

/// At least as good in every term.
fn reaches(a: &[f64], b: &[f64]) -> bool {
    a.iter().zip(b).all(|(x, y)| x >= y)
}

/// By the first term, then the second, and so on.
fn compare(a: &[f64], b: &[f64]) -> Ordering {
    let unequal = a
        .iter()
        .zip(b)
        .map(|(x, y)| number_order(*x, *y))
        .find(|order| order.is_ne());
    unequal.unwrap_or(a.len().cmp(&b.len()))
}

/// The order of numbers, in which 0 and −0 are one, and NaN above all so that there is an order.
fn number_order(a: f64, b: f64) -> Ordering {
    (a + 0.0).total_cmp(&(b + 0.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    const X: f64 = f64::NAN; // not judged
    const FAILED: f64 = f64::NEG_INFINITY;

    /// Made by make_pareto.py with pymoo.
    #[derive(Deserialize)]
    struct Case {
        kind: String,
        points: Vec<Vec<f64>>,
        front_of: Vec<usize>,
        fronts: Vec<Rooms>,
        reference: Vec<f64>,
        hypervolume: f64,
    }

    #[derive(Deserialize)]
    struct Rooms {
        points: Vec<Vec<f64>>,
        crowding: Vec<Option<f64>>,
    }

    fn cases() -> Vec<Case> {
        serde_json::from_str(include_str!("../../tests/golden/fixtures/pareto.json")).unwrap()
    }

    fn vectors<const N: usize>(rows: &[[f64; N]]) -> Vec<Vec<f64>> {
        rows.iter().map(|row| row.to_vec()).collect()
    }

    fn close(a: f64, b: f64) -> bool {
        a == b || (a - b).abs() < 1e-9
    }

    #[test]
    fn fronts_are_those_of_pymoo() {
        for case in cases() {
            let mut found = vec![usize::MAX; case.points.len()];
            for (depth, front) in fronts(&case.points).iter().enumerate() {
                front.iter().for_each(|&member| found[member] = depth);
            }
            assert_eq!(found, case.front_of, "{}", case.kind);
        }
    }

    #[test]
    fn crowding_distances_are_those_of_pymoo() {
        for case in cases() {
            for rooms in case.fronts {
                // In the opposite order, for the order must not matter.
                let reversed: Vec<Vec<f64>> = rooms.points.iter().rev().cloned().collect();
                let found = crowding(&reversed);
                for (found, expected) in found.iter().rev().zip(&rooms.crowding) {
                    let expected = expected.unwrap_or(f64::INFINITY);
                    assert!(close(*found, expected), "{}: {found} against {expected}", case.kind);
                }
            }
        }
    }

    #[test]
    fn hypervolumes_are_those_of_pymoo() {
        for case in cases() {
            let found = hypervolume(&case.points, &case.reference);
            assert!(
                close(found, case.hypervolume),
                "{}: {found} against {}",
                case.kind,
                case.hypervolume
            );
            let front: Vec<Vec<f64>> = front(&case.points).iter().map(|&i| case.points[i].clone()).collect();
            assert!(
                close(hypervolume(&front, &case.reference), case.hypervolume),
                "{}",
                case.kind
            );
        }
    }

    #[test]
    fn hypervolumes_computed_by_hand() {
        let steps = vectors(&[[3.0, 1.0], [2.0, 2.0], [1.0, 3.0], [1.0, 1.0], [2.0, 2.0]]);
        assert_eq!(hypervolume(&steps, &[0.0, 0.0]), 6.0);
        assert_eq!(hypervolume(&steps, &[1.0, 1.0]), 1.0);
        assert_eq!(hypervolume(&steps, &[3.0, 3.0]), 0.0);
        assert_eq!(
            hypervolume(
                &vectors(&[[2.0, 1.0, 1.0], [1.0, 2.0, 1.0], [1.0, 1.0, 2.0]]),
                &[0.0; 3]
            ),
            4.0
        );
        assert_eq!(hypervolume(&vectors(&[[2.0], [5.0], [-1.0]]), &[1.0]), 4.0);
        assert_eq!(
            hypervolume(&vectors(&[[f64::INFINITY, 1.0], [f64::INFINITY, 2.0]]), &[0.0; 2]),
            f64::INFINITY
        );
        assert_eq!(hypervolume(&vectors(&[[X, 1.0]]), &[0.0; 2]), 0.0);
        assert_eq!(hypervolume(&vectors(&[[1.0]]), &[0.0; 2]), 0.0);
        assert_eq!(hypervolume(&[vec![]], &[]) + hypervolume(&[], &[0.0]), 0.0);
    }

    #[test]
    fn the_first_term_decides_and_ties_ask_the_next() {
        let found = lexicographic(
            &vectors(&[[1.0, 0.0], [0.5, 9.0], [1.0, 2.0], [0.5, 9.0], [0.0, 0.0]]),
            &[],
        );
        assert_eq!(found, [3.0, 1.0, 4.0, 1.0, 0.0]);
        assert_eq!(lexicographic(&vectors(&[[0.0, 1.0], [-0.0, 2.0]]), &[]), [0.0, 1.0]);
        let infinite = vectors(&[[f64::INFINITY, 0.0], [f64::NEG_INFINITY, 1.0], [0.0, 0.0]]);
        assert_eq!(lexicographic(&infinite, &[]), [2.0, 0.0, 1.0]);
    }

    #[test]
    fn values_that_round_to_one_multiple_tie() {
        let near = vectors(&[[0.91, 1.0], [0.94, 0.0], [0.80, 5.0]]);
        assert_eq!(lexicographic(&near, &[]), [1.0, 2.0, 0.0]);
        assert_eq!(lexicographic(&near, &[0.1]), [2.0, 1.0, 0.0]);
        for none in [0.0, -1.0, X, f64::INFINITY] {
            assert_eq!(lexicographic(&near, &[none]), [1.0, 2.0, 0.0]);
        }
    }

    #[test]
    fn the_better_front_and_then_the_more_room() {
        let found = pareto(&vectors(&[
            [4.0, 0.0],  // an end
            [3.5, 0.5],  // crowded
            [3.0, 1.0],  // crowded, but with more room
            [0.0, 4.0],  // an end
            [2.0, 0.0],  // beaten
            [-1.0, 0.0], // beaten by that one too
        ]));
        assert_eq!(found, [4.0, 2.0, 3.0, 4.0, 1.0, 0.0]);
    }

    #[test]
    fn equal_vectors_are_equal_and_take_no_room_from_each_other() {
        let found = pareto(&vectors(&[
            [2.0, 0.0],
            [1.0, 1.0],
            [1.0, 1.0],
            [0.0, 2.0],
            [0.0, 0.0],
            [-0.0, 0.0],
        ]));
        assert_eq!(found, [4.0, 2.0, 2.0, 4.0, 0.0, 0.0]);
        assert_eq!(pareto(&vectors(&[[1.0, 1.0]; 3])), [0.0; 3]);
        assert_eq!(
            front(&vectors(&[[0.0, 2.0], [2.0, 0.0], [-0.0, 2.0], [0.0, 0.0], [2.0, 0.0]])),
            [0, 1]
        );
    }

    #[test]
    fn who_fills_a_gap_beside_earlier_points_is_ahead() {
        let earlier = vectors(&[[4.0, 0.0], [3.9, 0.2], [3.8, 0.4], [0.0, 4.0]]);
        let rows = vectors(&[[2.0, 2.0], [3.85, 0.3], [3.0, 0.0], [4.0, 0.0], [X, 5.0]]);
        // Behind the filler are the three that crowd and the beaten one; before it the ends, among them one that came twice.
        assert_eq!(pareto_beside(&rows, &earlier), [4.0, 1.0, 0.0, 5.0, FAILED]);
        assert_eq!(pareto_beside(&rows, &[]), pareto(&rows));
    }

    #[test]
    fn the_order_of_candidates_makes_no_difference() {
        for case in cases() {
            let reversed: Vec<Vec<f64>> = case.points.iter().rev().cloned().collect();
            for rank in [pareto, |v: &[Vec<f64>]| lexicographic(v, &[0.1])] {
                let mut found = rank(&reversed);
                found.reverse();
                assert_eq!(found, rank(&case.points), "{}", case.kind);
            }
        }
    }

    #[test]
    fn infinite_terms_have_a_rank() {
        let far = vectors(&[[f64::INFINITY, 0.0], [1.0, 1.0], [2.0, 0.5], [0.0, f64::INFINITY]]);
        assert_eq!(pareto(&far), [2.0, 0.0, 0.0, 2.0]);
        let both = vectors(&[[f64::INFINITY, 1.0], [f64::INFINITY, 2.0], [f64::NEG_INFINITY, 3.0]]);
        assert_eq!(pareto(&both), [0.0, 1.0, 1.0]);
    }
}
