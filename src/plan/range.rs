//! A range of a sweep, `{ min = 0.01, max = 1.0, log = true }`, and the values that are drawn from it. Draw d of a key is a function
//! of the key and of d alone, so the same file always means the same runs, more draws leave earlier ones as they were, and
//! several jobs agree on them without a word.

use crate::seed::Seed;
use toml::Value;

/// Numbers from `min` to `max`, both included.
#[derive(Clone, Debug, PartialEq)]
pub struct Range {
    min: f64,
    max: f64,
    scale: Scale,
    /// Both ends are whole numbers, so what is drawn is one.
    whole: bool,
}

#[derive(Clone, Debug, PartialEq)]
enum Scale {
    Linear,
    /// Each factor is as likely, wherever it stands.
    Log,
    /// min, min + step, min + 2 step and so on.
    Steps(f64),
}

impl Range {
    /// The range that a table says; none where it says none, because it lacks `min` or `max`.
    pub fn read(table: &toml::Table) -> Option<Result<Self, String>> {
        let ends = [table.get("min")?, table.get("max")?];
        let is_number = |value: &&Value| matches!(value, Value::Integer(_) | Value::Float(_));
        ends.iter().all(is_number).then(|| Self::checked(table, ends))
    }

    fn checked(table: &toml::Table, ends: [&Value; 2]) -> Result<Self, String> {
        if let Some(key) = table
            .keys()
            .find(|key| !["min", "max", "log", "step"].contains(&key.as_str()))
        {
            return Err(format!(
                "has `{key}`, expected a range of `min`, `max`, and `log` or `step`"
            ));
        }
        let [min, max] = ends.map(number);
        if !(min.is_finite() && max.is_finite() && min < max) {
            return Err(format!("goes from {min} to {max}, expected min below max"));
        }
        let log = match table.get("log") {
            None => false,
            Some(Value::Boolean(log)) => *log,
            Some(other) => return Err(format!("has log = {other}, expected true or false")),
        };
        let step = table.get("step").map(number);
        let scale = match (log, step) {
            (true, Some(_)) => return Err("has `log` and `step`, expected one of them".into()),
            (true, None) if min <= 0.0 => {
                return Err(format!("begins at {min}, expected min above 0, because log = true"));
            }
            (true, None) => Scale::Log,
            (false, Some(step)) if !(step > 0.0 && step <= max - min) => {
                return Err(format!("has step = {step}, expected more than 0 and at most max − min"));
            }
            (false, Some(step)) => Scale::Steps(step),
            (false, None) => Scale::Linear,
        };
        let is_whole = |value: &Value| matches!(value, Value::Integer(_));
        let whole = ends.into_iter().all(is_whole) && table.get("step").is_none_or(is_whole);
        Ok(Self { min, max, scale, whole })
    }

    /// Value number `draw` of this key. Numbers that are not whole are rounded to three digits, so that a run's name can say them.
    pub fn draw(&self, key: &str, draw: usize) -> Value {
        let share = Seed::new(0).named("sweep").named(key).fold(draw as u64).uniform();
        // Whole numbers own the interval up to the next one.
        let beyond = if self.whole { self.max + 1.0 } else { self.max };
        let found = match self.scale {
            Scale::Linear => self.min + share * (beyond - self.min),
            Scale::Log => self.min * (beyond / self.min).powf(share),
            Scale::Steps(step) => {
                // As many steps as fit, a hair of rounding allowed.
                let steps = ((self.max - self.min) / step + 1e-9).floor();
                self.min + step * (share * (steps + 1.0)).floor().min(steps)
            }
        };
        if self.whole {
            return Value::Integer(found.floor().clamp(self.min, self.max) as i64);
        }
        let rounded: f64 = format!("{found:.2e}").parse().expect("a number that was just written");
        Value::Float(rounded.clamp(self.min, self.max))
    }
}

fn number(value: &Value) -> f64 {
    match value {
        Value::Integer(number) => *number as f64,
        Value::Float(number) => *number,
        _ => f64::NAN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<Result<Range, String>> {
        Range::read(&text.parse().expect("TOML"))
    }

    fn draws(text: &str) -> Vec<f64> {
        let range = read(text).expect("a range").expect("a range that can be");
        (0..2000)
            .map(|draw| number(&range.draw("strategy.sigma", draw)))
            .collect()
    }

    /// Shares of what is drawn below a point, against those of the distribution; 0.04 is four standard errors of 2,000 draws.
    #[test]
    fn draws_have_the_distribution_of_their_scale() {
        for (text, point, share) in [
            ("min = 0.0\nmax = 2.0", 0.5, 0.25),
            ("min = 0.01\nmax = 1.0\nlog = true", 0.1, 0.5),
            ("min = 1\nmax = 4", 1.5, 0.25),
            ("min = 1\nmax = 4", 3.5, 0.75),
            // 1, 2 and 3 own [1, 4) by its logarithm.
            ("min = 1\nmax = 3\nlog = true", 1.5, 0.5),
            ("min = 10\nmax = 41\nstep = 10", 15.0, 0.25),
            ("min = 10\nmax = 41\nstep = 10", 35.0, 0.75),
            ("min = 0.0\nmax = 0.3\nstep = 0.1", 0.25, 0.75),
        ] {
            let draws = draws(text);
            let below = draws.iter().filter(|x| **x < point).count() as f64 / draws.len() as f64;
            assert!((below - share).abs() < 0.04, "{text}: {below} below {point}");
        }
        let even = draws("min = 10\nmax = 80\nstep = 2");
        assert!(even.iter().all(|x| x % 2.0 == 0.0 && (10.0..=80.0).contains(x)));
        let short = draws("min = 0.01\nmax = 1.0\nlog = true");
        assert!(
            short
                .iter()
                .all(|x| x.to_string().len() <= 6 && (0.01..=1.0).contains(x))
        );
    }

    #[test]
    fn a_draw_hangs_on_its_key_and_number_alone() {
        let range = read("min = 0.0\nmax = 1.0").expect("a range").expect("one that can be");
        assert_eq!(range.draw("a", 3), range.draw("a", 3));
        assert_ne!(range.draw("a", 3), range.draw("b", 3));
        assert_ne!(range.draw("a", 3), range.draw("a", 4));
    }

    #[test]
    fn what_is_no_range_and_what_cannot_be_one() {
        for other in ["min = 1", "max = 1", "min = [1]\nmax = [2]", "kind = 'cma-es'"] {
            assert_eq!(read(other), None, "{other}");
        }
        for (text, words) in [
            ("min = 1\nmax = 1", "expected min below max"),
            ("min = 0\nmax = 1\nlog = true", "expected min above 0"),
            ("min = 1\nmax = 2\nlog = 3", "has log = 3"),
            ("min = 1\nmax = 2\nstep = 5", "has step = 5"),
            ("min = 1\nmax = 2\nlog = true\nstep = 1", "expected one of them"),
            ("min = 1\nmax = 2\nstp = 1", "has `stp`"),
        ] {
            let error = read(text).expect(text).expect_err(text);
            assert!(error.contains(words), "{error}");
        }
    }
}
