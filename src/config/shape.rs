//! The shape of a run from its budget: `run.rollouts_total` says how many texts the candidates may write, and [`shape`] how many candidates, prompts and
//! generations that makes. One function, read when the config is, so that whoever reads a config, or sweeps over budgets, has the same.

use crate::error::{Error, Result};
use toml::{Table, Value};

/// Candidates, prompts and generations of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// λ
    pub population: usize,
    /// Prompts a generation.
    pub prompts: usize,
    /// Generations.
    pub generations: usize,
}

/// Why a run has the shape that it has, in a plan.
pub const REASON: &str = "run.rollouts_total: five prompts and as many candidates as that leaves, because candidates tell more about where to go than prompts do; \
    80 × 5 × 8 was the best of the shapes that were tried at 3,200 rollouts, and candidates and generations both grow with the root of the budget";

const PROMPTS: usize = 5;
const FEWEST_GENERATIONS: usize = 4;
const SMALLEST_POPULATION: usize = 4;

/// For so many texts, of which no more are written: 80 × 5 × 8 at 3,200 (experiments/LOG.md, 2026-11-28), and above and below it candidates and
/// generations in the same proportion. Where it is too few for four generations of four candidates, none.
pub fn shape(rollouts: usize) -> Option<Shape> {
    let generations = (8.0 * (rollouts as f64 / 3200.0).sqrt()).round() as usize;
    let generations = generations.max(FEWEST_GENERATIONS);
    let population = rollouts / (PROMPTS * generations) / 2 * 2;
    (population >= SMALLEST_POPULATION).then_some(Shape {
        population,
        prompts: PROMPTS,
        generations,
    })
}

/// Writes the shape into a table that has a budget. Keys that say the same may stand there already, as in the config of a run that goes on.
pub(super) fn fill(table: &mut Table) -> Result<()> {
    let integer = |section: &str, key: &str| table.get(section)?.get(key)?.as_integer();
    let Some(total) = integer("run", "rollouts_total") else {
        return Ok(());
    };
    let samples = integer("run", "samples").unwrap_or(1).max(1);
    let Some(shape) = shape(usize::try_from(total / samples).unwrap_or(0)) else {
        return Err(Error::config(format!(
            "run.rollouts_total is {total}, expected at least {} times run.samples: {FEWEST_GENERATIONS} generations of {SMALLEST_POPULATION} candidates on {PROMPTS} prompts",
            FEWEST_GENERATIONS * SMALLEST_POPULATION * PROMPTS
        )));
    };
    for (section, key, value) in [
        ("strategy", "population", shape.population),
        ("run", "prompts", shape.prompts),
        ("run", "generations", shape.generations),
    ] {
        let own = table.entry(section).or_insert_with(|| Value::Table(Table::new()));
        // What is no table is refused by whoever reads the section.
        let Some(own) = own.as_table_mut() else { continue };
        match own.get(key) {
            Some(said) if said.as_integer() != Some(value as i64) => {
                return Err(Error::config(format!(
                    "{section}.{key} is {said}, and run.rollouts_total = {total} makes it {value}; leave one of the two out"
                )));
            }
            _ => _ = own.insert(key.into(), Value::Integer(value as i64)),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_never_exceeded_and_hardly_left() {
        for rollouts in [80, 81, 320, 800, 3_199, 3_200, 12_800, 51_200, 1_000_000] {
            let shape = shape(rollouts).expect("a shape");
            let spent = shape.population * shape.prompts * shape.generations;
            assert!(spent <= rollouts && spent * 2 > rollouts, "{rollouts}: {shape:?}");
            assert_eq!(shape.population % 2, 0);
        }
        let of = |rollouts| shape(rollouts).map(|shape| (shape.population, shape.prompts, shape.generations));
        assert_eq!(
            [79, 800, 3_200, 12_800].map(of),
            [None, Some((40, 5, 4)), Some((80, 5, 8)), Some((160, 5, 16))]
        );
    }
}
