//! Countdown: an expression that uses each of some numbers once and comes to a target ([`crate::reward::countdown`] has the rules).
//!
//! ```json
//! {"nums": [44, 19, 35], "target": 98, "response": "<answer>44 + 19 + 35</answer>"}
//! ```

use super::answer::{no_settings, rule};
use super::kind::{Asked, Context, Kind, Opened};
use super::{Judge, Verdict, score};
use crate::error::Result;
use crate::reward::countdown::Countdown as Puzzle;
use serde_json::{Value, json};

struct Countdown;

/// The judge.
pub fn open(table: &toml::Table, _: &Context) -> Opened {
    no_settings(table)?;
    Ok(Box::new(Countdown))
}

impl Kind for Countdown {
    fn reference(&self, asked: &Asked) -> std::result::Result<Value, String> {
        let numbers: Vec<i64> = asked.row.get("nums", "a list of whole numbers")?;
        let target: i64 = asked.row.get("target", "a whole number")?;
        if numbers.is_empty() {
            return Err("column `nums` is empty, expected at least one number".into());
        }
        Ok(json!({ "nums": numbers, "target": target }))
    }

    fn begin(&self, threads: usize) -> Result<Box<dyn Judge>> {
        Ok(rule(threads, |reference, response| {
            let numbers = reference["nums"].as_array();
            let numbers: Option<Vec<i64>> = numbers.and_then(|all| all.iter().map(Value::as_i64).collect());
            let (Some(numbers), Some(target)) = (numbers, reference["target"].as_i64()) else {
                return Verdict::failed("the example has no numbers or no target");
            };
            let judged = Puzzle { numbers, target }.judge(response);
            let terms = [
                ("correct", score(judged.correct)),
                ("valid", score(judged.valid)),
                ("answered", score(judged.answered)),
            ];
            Verdict::new(score(judged.correct), terms)
        }))
    }
}
