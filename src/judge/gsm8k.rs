//! GSM8K, as lm-evaluation-harness judges it: `strict` finds the answer behind `####`, `flexible` takes the last number.
//!
//! ```json
//! {"question": "…", "answer": "… #### 72", "response": "48 + 24 = 72\n#### 72"}
//! ```

use super::{Judged, RowJudge, score, text};
use crate::reward::gsm8k::{flexible, same, strict};
use crate::task::Verdict;
use serde_json::{Map, Value};

/// `answer` is the right one, or a solution that ends in `#### ` and it.
pub struct Gsm8k;

impl RowJudge for Gsm8k {
    fn columns(&self) -> &'static [&'static str] {
        &["answer", "response"]
    }

    fn judge(&self, row: &Map<String, Value>) -> Result<Judged, String> {
        let (gold, response) = (text(row, "answer")?, text(row, "response")?);
        let is = |found: Option<String>| score(found.is_some_and(|found| same(&found, gold)));
        let strict = is(strict(response));
        Ok(Judged {
            verdict: Verdict::new(strict, [("strict", strict), ("flexible", is(flexible(response)))]),
            parts: Vec::new(),
        })
    }
}
