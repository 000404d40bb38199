//! MATH, as the grader of PRM800K judges it: is the answer in the response's last box, or the given answer itself, the right one?
//!
//! ```json
//! {"problem": "…", "answer": "\\frac{1}{2}", "response": "… so it is $\\boxed{0.5}$."}
//! {"ground_truth": "\\frac{1}{2}", "given": "0.5"}
//! ```

use super::answer::{no_settings, rule};
use super::kind::{Asked, Context, Kind, Opened};
use super::{Judge, Verdict, score};
use crate::error::Result;
use crate::reward::math::{boxed_answer, grade};
use serde_json::{Value, json};

struct Math;

/// The judge.
pub fn open(table: &toml::Table, _: &Context) -> Opened {
    no_settings(table)?;
    Ok(Box::new(Math))
}

impl Kind for Math {
    /// `answer` or `ground_truth` is the right answer, or what the last box of `solution` holds. Where a row has `given`, that is judged as
    /// it stands, without a box.
    fn reference(&self, asked: &Asked) -> std::result::Result<Value, String> {
        let row = asked.row;
        let gold = match asked.gold {
            Some(gold) => gold.to_owned(),
            None if row.has("ground_truth") && !row.has("answer") => row.text("ground_truth")?,
            None if row.has("solution") && !row.has("answer") => {
                let solution = row.text("solution")?;
                boxed_answer(&solution)
                    .ok_or("column `solution` has no \\boxed{…}, and there is no `answer`")?
                    .to_owned()
            }
            None => row.text("answer")?,
        };
        Ok(json!({ "answer": gold, "bare": row.has("given") && !row.has("response") }))
    }

    fn begin(&self, threads: usize) -> Result<Box<dyn Judge>> {
        Ok(rule(threads, |reference, response| {
            let Some(gold) = reference["answer"].as_str() else {
                return Verdict::failed("the example has no answer");
            };
            let given = match reference["bare"] {
                Value::Bool(true) => Some(response),
                _ => boxed_answer(response),
            };
            let correct = score(given.is_some_and(|given| grade(given, gold)));
            Verdict::new(correct, [("correct", correct), ("answered", score(given.is_some()))])
        }))
    }
}
