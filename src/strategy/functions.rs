//! Functions whose minimum is known, and how many evaluations a strategy takes to come near it: what tests and
//! `examples/minimize.rs` try strategies on. The functions are those of the literature and are minimised, so the fitness
//! of x is −f(x).

use super::Strategy;
use crate::linalg::{dot, orthonormal};
use crate::search::Fitness;
use crate::seed::Seed;
use std::f64::consts::TAU;

/// A function of n numbers whose minimum is 0.
#[derive(Clone, Debug)]
pub struct Function {
    value: fn(&[f64]) -> f64,
    /// Rows of a rotation that x takes first.
    rotation: Option<Vec<Vec<f64>>>,
}

impl Function {
    /// What [`Function::named`] knows.
    pub const NAMES: [&'static str; 5] = ["sphere", "ellipsoid", "rotated-ellipsoid", "rosenbrock", "rastrigin"];

    /// The function of that name; n and the seed matter to one that is rotated.
    pub fn named(name: &str, n: usize, seed: Seed) -> Option<Self> {
        let plain = |value| Self { value, rotation: None };
        Some(match name {
            "sphere" => plain(sphere),
            "ellipsoid" => plain(ellipsoid),
            "rotated-ellipsoid" => plain(ellipsoid).rotated(rotation(n, seed)),
            "rosenbrock" => plain(rosenbrock),
            "rastrigin" => plain(rastrigin),
            _ => return None,
        })
    }

    /// The same function of `rows` · x.
    pub fn rotated(self, rows: Vec<Vec<f64>>) -> Self {
        Self {
            rotation: Some(rows),
            ..self
        }
    }

    /// f(x)
    pub fn value(&self, x: &[f64]) -> f64 {
        match &self.rotation {
            None => (self.value)(x),
            Some(rows) => (self.value)(&rows.iter().map(|row| dot(row, x)).collect::<Vec<_>>()),
        }
    }
}

/// Σ x²
pub fn sphere(x: &[f64]) -> f64 {
    x.iter().map(|x| x * x).sum()
}

/// Axes along the coordinates, the longest a thousand times the shortest: condition 10⁶.
pub fn ellipsoid(x: &[f64]) -> f64 {
    let last = (x.len() as f64 - 1.0).max(1.0);
    x.iter()
        .enumerate()
        .map(|(i, x)| 10f64.powf(6.0 * i as f64 / last) * x * x)
        .sum()
}

/// A bent valley; the minimum is at 1 in every number.
pub fn rosenbrock(x: &[f64]) -> f64 {
    x.windows(2)
        .map(|x| 100.0 * (x[1] - x[0] * x[0]).powi(2) + (1.0 - x[0]).powi(2))
        .sum()
}

/// A bowl full of local minima, one near every whole number.
pub fn rastrigin(x: &[f64]) -> f64 {
    x.iter().map(|x| 10.0 + x * x - 10.0 * (TAU * x).cos()).sum()
}

/// A random rotation or reflection of n dimensions, row by row.
pub fn rotation(n: usize, seed: Seed) -> Vec<Vec<f64>> {
    orthonormal((0..n).map(|row| seed.fold(row as u64).normals(n)))
}

/// The fitness of all members of the coming generation.
pub fn judge(strategy: &dyn Strategy, function: impl Fn(&[f64]) -> f64) -> Vec<Fitness> {
    (0..strategy.population())
        .map(|member| Fitness::new(-function(&strategy.ask(member))))
        .collect()
}

/// Evaluations up to and with the first one at or below the target; `None` when the first generation that ends at the
/// cap or above it comes before.
pub fn evaluations_to_target(
    strategy: &mut dyn Strategy,
    function: impl Fn(&[f64]) -> f64,
    target: f64,
    cap: usize,
) -> Option<usize> {
    let mut evaluations = 0;
    while evaluations < cap {
        let fitness = judge(strategy, &function);
        if let Some(first) = fitness.iter().position(|f| -f.value() <= target) {
            return Some(evaluations + first + 1);
        }
        evaluations += fitness.len();
        strategy.tell(&fitness);
    }
    None
}

/// Evaluations to target over many seeds.
#[derive(Clone, Copy, PartialEq)]
pub struct Quartiles {
    /// A quarter of the runs needed fewer.
    pub low: f64,
    /// Half of the runs needed fewer.
    pub median: f64,
    /// A quarter of the runs needed more.
    pub high: f64,
    /// Runs that reached the target; the three numbers are of these, and NaN where there is none.
    pub reached: usize,
    /// All runs.
    pub runs: usize,
}

impl Quartiles {
    /// Of the runs that reached the target, interpolated as Python's statistics.quantiles(method="inclusive") does it.
    pub fn of(evaluations: &[Option<usize>]) -> Self {
        let mut sorted: Vec<usize> = evaluations.iter().flatten().copied().collect();
        sorted.sort_unstable();
        let quantile = |q: f64| {
            let at = q * (sorted.len().max(1) as f64 - 1.0);
            let number = |at: f64| sorted.get(at as usize).map_or(f64::NAN, |e| *e as f64);
            number(at.floor()) + at.fract() * (number(at.ceil()) - number(at.floor()))
        };
        Self {
            low: quantile(0.25),
            median: quantile(0.5),
            high: quantile(0.75),
            reached: sorted.len(),
            runs: evaluations.len(),
        }
    }
}

impl std::fmt::Debug for Quartiles {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        let Self {
            low,
            median,
            high,
            reached,
            runs,
        } = self;
        write!(f, "median {median:.0} [{low:.0}, {high:.0}] {reached}/{runs} reached")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_function_is_zero_at_its_minimum_alone() {
        for name in Function::NAMES {
            let function = Function::named(name, 4, Seed::new(3)).expect("a name");
            let best = if name == "rosenbrock" { [1.0; 4] } else { [0.0; 4] };
            assert_eq!(function.value(&best), 0.0, "{name}");
            assert!(function.value(&[0.5, -1.0, 2.0, 1.0]) > 1.0, "{name}");
        }
        assert!(Function::named("paraboloid", 4, Seed::new(3)).is_none());
        assert_eq!(ellipsoid(&[1.0, 1.0, 1.0]), 1.0 + 1e3 + 1e6);
        assert!((rastrigin(&[0.5, 1.0]) - 21.25).abs() < 1e-12);
    }

    #[test]
    fn a_rotation_keeps_lengths() {
        let rows = rotation(7, Seed::new(1));
        let x = Seed::new(2).normals(7);
        let turned: Vec<f64> = rows.iter().map(|row| dot(row, &x)).collect();
        assert_ne!(turned, x);
        assert!((sphere(&turned) - sphere(&x)).abs() < 1e-13);
    }

    #[test]
    fn quartiles_are_of_the_runs_that_arrived() {
        let some = Quartiles::of(&[Some(4), None, Some(1), Some(3), Some(2)]);
        assert_eq!((some.low, some.median, some.high), (1.75, 2.5, 3.25));
        assert_eq!((some.reached, some.runs), (4, 5));
        assert!(Quartiles::of(&[None]).median.is_nan());
    }

    #[test]
    fn functions_are_those_of_the_literature() {
        // 100 (x₂ − x₁²)² + (1 − x₁)²
        assert_eq!((rosenbrock(&[0.0, 2.0]), rosenbrock(&[2.0, 3.0])), (401.0, 101.0));
        assert_eq!(rosenbrock(&[0.0, 2.0, 3.0]), 401.0 + 101.0);
        // cos π/2 = 0
        assert!((rastrigin(&[0.25]) - 10.0625).abs() < 1e-12);
        let x = [0.5, -1.0, 2.0, 1.0];
        let rotated = Function::named("rotated-ellipsoid", 4, Seed::new(3)).expect("a name");
        let turned: Vec<f64> = rotation(4, Seed::new(3)).iter().map(|row| dot(row, &x)).collect();
        assert_eq!(rotated.value(&x), ellipsoid(&turned));
        assert_ne!(rotated.value(&x), ellipsoid(&x));
    }

    /// Asks 0, 1, 2; then 3, 4, 5; and so on.
    struct Counting(u64);

    impl Strategy for Counting {
        fn name(&self) -> &'static str {
            "counting"
        }
        fn population(&self) -> usize {
            3
        }
        fn generation(&self) -> u64 {
            self.0
        }
        fn ask(&self, member: usize) -> Vec<f64> {
            vec![(self.0 * 3) as f64 + member as f64]
        }
        fn tell(&mut self, fitness: &[Fitness]) -> crate::strategy::Step {
            assert_eq!(fitness.len(), 3);
            self.0 += 1;
            crate::strategy::Step {
                sigma: 1.0,
                step_norm: 0.0,
                mean_norm: 0.0,
                spread: None,
                failed: 0,
                flat: false,
                stop: None,
            }
        }
        fn mean(&self) -> &[f64] {
            &[]
        }
        fn set_mean(&mut self, _: Vec<f64>) {}
        fn sigma(&self) -> f64 {
            1.0
        }
        fn state(&self) -> serde_json::Value {
            serde_json::Value::Null
        }
    }

    /// 10 − x is at 3 or below from x = 7 on: the eighth evaluation, in the third generation.
    #[test]
    fn evaluations_are_counted_up_to_the_first_that_arrives() {
        let needed = |target: f64, cap: usize| evaluations_to_target(&mut Counting(0), |x| 10.0 - x[0], target, cap);
        assert_eq!(
            (needed(3.0, 100), needed(3.5, 100), needed(10.0, 100)),
            (Some(8), Some(8), Some(1))
        );
        assert_eq!((needed(3.0, 7), needed(3.0, 6), needed(10.0, 0)), (Some(8), None, None));
    }

    /// As statistics.quantiles([10, 20, 40], n=4, method="inclusive") says.
    #[test]
    fn quartiles_lie_between_runs() {
        let some = Quartiles::of(&[Some(40), Some(10), None, Some(20)]);
        assert_eq!((some.low, some.median, some.high), (15.0, 20.0, 30.0));
        assert_eq!(format!("{some:?}"), "median 20 [15, 30] 3/4 reached");
    }
}
