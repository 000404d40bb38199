//! Random search, the baseline that any strategy must beat: each generation is drawn from N(x0, σ0² I), wherever the
//! search has got to, and the best member so far, the incumbent, is kept. Fitness is noisy and each generation has its
//! own questions, so a fitness that was lucky once must not stay on the throne: the incumbent is member 0 of every generation,
//! on the same questions as all others. And it must not win the throne: of λ − 1 new members the best is mostly the luckiest, so
//! where it beats the incumbent it is asked again in the next generation, as member 1, and takes its place only if it wins
//! there too. The first incumbent is x0.

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
    /// Who beat the incumbent once, `[n]`; none where nobody did.
    #[serde(deserialize_with = "Option::deserialize")] // Or a state without it would pass.
    challenger: Option<Vec<f64>>,
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
            challenger: None,
        }
    }

    fn is_valid(&self, n: usize) -> bool {
        let challenger = self.challenger.as_ref().unwrap_or(&self.start);
        all_finite(&[&self.start, challenger], n)
    }

    // -------------------------------------------------------------------------------------------------------- draw

    fn draw(&self, search: &Search, member: usize) -> Vec<f64> {
        match (&self.challenger, member) {
            (_, 0) => return search.mean.clone(),
            (Some(challenger), 1) => return challenger.clone(),
            _ => {}
        }
        let mut x = self.start.clone();
        axpy(search.sigma, &search.noise().normals(member, x.len()), &mut x);
        x
    }

    // ------------------------------------------------------------------------------------------------------- learn

    fn learn(&mut self, search: &mut Search, fitness: &[Fitness]) -> f64 {
        let is_asked_again = self.challenger.is_some();
        let Successors { incumbent, challenger } = successors(fitness, is_asked_again);
        let challenger = challenger.map(|member| self.draw(search, member));
        let next = self.draw(search, incumbent);
        self.challenger = challenger;
        let moved: Vec<f64> = next.iter().zip(&search.mean).map(|(new, old)| new - old).collect();
        search.mean = next;
        norm(&moved)
    }

    /// σ is fixed, so there is none.
    fn limit(&self, _: &Search) -> Option<String> {
        None
    }
}

/// Members that the next generation knows.
#[derive(Debug, PartialEq)]
struct Successors {
    incumbent: usize,
    challenger: Option<usize>,
}

/// Member 1 takes the place of member 0 if it has won before (`is_asked_again`) and wins again; of the new members the best is the next
/// challenger if it beats who then is the incumbent. Only one point can be kept, so of tied ones it is the first; they are draws from the
/// same Gaussian, so this prefers none. Where the incumbent failed there is no comparison to be won, and all stays as it was.
fn successors(fitness: &[Fitness], is_asked_again: bool) -> Successors {
    let beats = |a: usize, b: usize| !fitness[b].is_failed() && fitness[a].value() > fitness[b].value();
    if fitness[0].is_failed() {
        let challenger = is_asked_again.then_some(1);
        return Successors {
            incumbent: 0,
            challenger,
        };
    }
    let incumbent = usize::from(is_asked_again && beats(1, 0));
    let first = if is_asked_again { 2 } else { 1 };
    // Among equals `min_by` takes the first, and 0 and −0 are equal.
    let new = (first..fitness.len()).filter(|&member| beats(member, incumbent));
    let challenger = new.min_by(|a, b| {
        let values = [fitness[*b].value(), fitness[*a].value()];
        values[0].partial_cmp(&values[1]).expect("a fitness is a number")
    });
    Successors { incumbent, challenger }
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
    fn the_best_of_those_that_win_is_asked_again() {
        for (values, is_asked_again, incumbent, challenger) in [
            // The first time.
            ([1.0, 0.0, 3.0, 2.0], false, 0, Some(2)),
            ([1.0, 0.0, 1.0, 1.0], false, 0, None),
            ([1.0, 2.0, 3.0, 3.0], false, 0, Some(2)),
            ([-1.0, -0.0, 0.0, -2.0], false, 0, Some(1)),
            ([1.0, X, X, 2.0], false, 0, Some(3)),
            ([X, 1.0, 3.0, 2.0], false, 0, None),
            ([X; 4], false, 0, None),
            // Member 1 has won before.
            ([1.0, 2.0, 0.0, 0.0], true, 1, None),
            ([1.0, 2.0, 1.5, 3.0], true, 1, Some(3)),
            ([1.0, 1.0, 0.0, 2.0], true, 0, Some(3)),
            ([1.0, X, 0.0, 0.0], true, 0, None),
            ([X, 9.0, 3.0, 2.0], true, 0, Some(1)),
        ] {
            let expected = Successors { incumbent, challenger };
            assert_eq!(successors(&fitness(values), is_asked_again), expected, "{values:?}");
        }
    }

    #[test]
    fn who_wins_twice_is_the_incumbent_and_the_others_stay_around_the_start() {
        let mut search = strategy();
        assert_eq!(search.ask(0), [1.0, -2.0, 0.5]);
        let best = search.ask(2);
        let step = search.tell(&fitness([0.0, 0.0, 7.0, 1.0]));
        assert_eq!((step.step_norm, step.flat), (0.0, false));
        assert_eq!((search.mean(), search.ask(1)), (&[1.0, -2.0, 0.5][..], best.clone()));
        let z = Seed::new(9).named("noise").fold(1).fold(3).normals(3);
        let expected: Vec<f64> = [1.0, -2.0, 0.5].iter().zip(z).map(|(x, z)| x + 0.5 * z).collect();
        assert_eq!(search.ask(3), expected);
        let step = search.tell(&fitness([0.0, 2.0, 1.0, 1.0]));
        assert!(step.step_norm > 0.0);
        assert_eq!((search.mean(), search.ask(0)), (&best[..], best.clone()));
        // 7 was not asked again, so what comes next is new; who is lucky once is forgotten.
        let lucky = search.ask(1);
        search.tell(&fitness([2.0, 3.0, 1.0, 1.0]));
        assert_eq!(search.ask(1), lucky);
        search.tell(&fitness([2.0, 1.0, 1.0, 1.0]));
        assert_eq!(search.mean(), best);
        assert_ne!(search.ask(1), lucky);
    }

    /// Where fitness is chance, the mean of a search that believes one win moves in nearly every generation: the best of 19 beats
    /// member 0 in 19 of 20. One that asks again moves in half of those that had a challenger, so seldom more than half of the time.
    #[test]
    fn luck_is_not_enough() {
        let mut search = AskTell::<RandomSearch>::new(
            "random-search",
            Search::new(NoSettings {}, &[0.0; 3], 0.5, 20, false, Seed::new(9)),
        );
        let moves = (0..400).filter(|&generation| {
            let chance = Seed::new(5).fold(generation).normals(20);
            let fitness: Vec<Fitness> = chance.into_iter().map(Fitness::new).collect();
            search.tell(&fitness).step_norm > 0.0
        });
        let share = moves.count() as f64 / 400.0;
        assert!((0.4..0.55).contains(&share), "{share}");
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
