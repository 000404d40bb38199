//! MATH, as the grader of PRM800K judges it: is the answer in the response's last box, or the given answer itself, the right one?
//!
//! ```json
//! {"problem": "…", "answer": "\\frac{1}{2}", "response": "… so it is $\\boxed{0.5}$."}
//! {"ground_truth": "\\frac{1}{2}", "given": "0.5"}
//! ```

use super::{Judged, RowJudge, score, text};
use crate::reward::math::{boxed_answer, grade};
use crate::task::Verdict;
use serde_json::{Map, Value};

/// `answer` or `ground_truth` is the right answer; what is judged is `given`, or what `response` has in its last box.
pub struct Math;

impl RowJudge for Math {
    fn columns(&self) -> &'static [&'static str] {
        &["answer", "response"]
    }

    fn judge(&self, row: &Map<String, Value>) -> Result<Judged, String> {
        let key = |names: [&'static str; 2]| {
            names
                .into_iter()
                .find(|name| row.contains_key(*name))
                .unwrap_or(names[0])
        };
        let gold = text(row, key(["answer", "ground_truth"]))?;
        let (boxed, given) = match key(["response", "given"]) {
            "given" => (true, Some(text(row, "given")?)),
            name => {
                let found = boxed_answer(text(row, name)?);
                (found.is_some(), found)
            }
        };
        let correct = score(given.is_some_and(|given| grade(given, gold)));
        Ok(Judged {
            verdict: Verdict::new(correct, [("correct", correct), ("answered", score(boxed))]),
            parts: Vec::new(),
        })
    }
}
