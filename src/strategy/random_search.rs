//! Random search, the baseline that any strategy must beat: each generation is drawn from N(x0, σ0² I), wherever the
//! search has got to, and the best member so far, the incumbent, is kept. Fitness is noisy and each generation has its
//! own questions, so a fitness that was lucky once must not stay on the throne: the incumbent is member 0 of every generation,
//! and is replaced only by a member that beats it in that generation, on the same questions. Repeated comparisons still
//! favour the lucky, as λ − 1 challengers try each time; the validation split is what tells. The first incumbent is x0.

use super::algorithm::{Algorithm, NoSettings, Search};
use crate::linalg::{all_finite, axpy, norm};
use crate::search::Fitness;
use serde::{Deserialize, Serialize};

// --------------------------------------------------------------------------------------------------------- numbers

/// What random search keeps beside its incumbent, which is the mean.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RandomSearch {
    /// x0, around which members are drawn, `[n]`.
    start: Vec<f64>,
}

impl Algorithm for RandomSearch {
    type Settings = NoSettings;

    /// Member 0 is the incumbent, which has no mirror image.
    const PAIRS: bool = false;

    /// Only the best counts.
    fn weighs_the_worse_half(_: &NoSettings) -> bool {
        false
    }

    fn start(search: &mut Search) -> Self {
        Self {
            start: search.mean.clone(),
        }
    }

    fn is_valid(&self, n: usize) -> bool {
        all_finite(&[&self.start], n)
    }

    // -------------------------------------------------------------------------------------------------------- draw

    fn draw(&self, search: &Search, member: usize) -> Vec<f64> {
        if member == 0 {
            return search.mean.clone();
        }
        let mut x = self.start.clone();
        axpy(search.sigma, &search.noise().normals(member, x.len()), &mut x);
        x
    }

    // ------------------------------------------------------------------------------------------------------- learn

    fn learn(&mut self, search: &mut Search, fitness: &[Fitness]) -> f64 {
        let Some(member) = successor(fitness) else { return 0.0 };
        let next = self.draw(search, member);
        let moved: Vec<f64> = next.iter().zip(&search.mean).map(|(new, old)| new - old).collect();
        search.mean = next;
        norm(&moved)
    }

    /// σ is fixed, so there is none.
    fn limit(&self, _: &Search) -> Option<String> {
        None
    }
}

/// The best of those that beat member 0, if any does. Only one point can be kept, so of tied challengers it is the first;
/// they are draws from the same Gaussian, so this prefers none. Where member 0 failed there is no comparison to be won.
fn successor(fitness: &[Fitness]) -> Option<usize> {
    let incumbent = *fitness.first().filter(|f| !f.is_failed())?;
    let beats = |member: &usize| fitness[*member].value() > incumbent.value();
    // Among equals `min_by` takes the first, and 0 and −0 are equal.
    (1..fitness.len()).filter(beats).min_by(|a, b| {
        let values = [fitness[*b].value(), fitness[*a].value()];
        values[0].partial_cmp(&values[1]).expect("a fitness is a number")
    })
}

// ----------------------------------------------------------------------------------------------------------- tests

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::Seed;
    use crate::strategy::{AskTell, Strategy};

    const X: f64 = f64::NAN; // not judged

    fn strategy() -> AskTell<RandomSearch> {
        let x0 = [1.0, -2.0, 0.5];
        AskTell::new(
            "random-search",
            Search::new(NoSettings {}, &x0, 0.5, 4, false, Seed::new(9)),
        )
    }

    fn fitness(values: [f64; 4]) -> [Fitness; 4] {
        values.map(Fitness::new)
    }

    #[test]
    fn the_incumbent_falls_to_the_best_that_beats_it() {
        for (values, expected) in [
            ([1.0, 0.0, 3.0, 2.0], Some(2)),
            ([1.0, 0.0, 1.0, 1.0], None),
            ([1.0, 2.0, 3.0, 3.0], Some(2)),
            ([-1.0, -0.0, 0.0, -2.0], Some(1)),
            ([1.0, X, X, 2.0], Some(3)),
            ([X, 1.0, 3.0, 2.0], None),
            ([X; 4], None),
        ] {
            assert_eq!(successor(&fitness(values)), expected, "{values:?}");
        }
    }

    #[test]
    fn the_incumbent_is_asked_again_and_the_others_stay_around_the_start() {
        let mut search = strategy();
        assert_eq!(search.ask(0), [1.0, -2.0, 0.5]);
        let best = search.ask(2);
        let step = search.tell(&fitness([0.0, 0.0, 7.0, 1.0]));
        assert_eq!((search.mean(), &search.ask(0)), (&best[..], &best));
        assert!(step.step_norm > 0.0 && !step.flat);
        let z = Seed::new(9).named("noise").fold(1).fold(3).normals(3);
        let expected: Vec<f64> = [1.0, -2.0, 0.5].iter().zip(z).map(|(x, z)| x + 0.5 * z).collect();
        assert_eq!(search.ask(3), expected);
        // 7 was luck: now it scores 2, and whoever scores more has its place.
        let next = search.ask(1);
        search.tell(&fitness([2.0, 3.0, 1.0, 1.0]));
        assert_eq!(search.mean(), next);
    }

    #[test]
    fn a_flat_generation_changes_nothing_but_its_number() {
        let mut search = strategy();
        search.tell(&fitness([9.0, 1.0, 5.0, 10.0]));
        let before = search.clone();
        for values in [[1.0; 4], [X; 4], [X, 2.0, 2.0, X]] {
            assert!(search.tell(&fitness(values)).flat);
        }
        assert_eq!(search.own, before.own);
        let expected = Search {
            generation: 4,
            flat: 3,
            ..before.search
        };
        assert_eq!(search.search, expected);
    }
}
