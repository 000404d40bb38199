//! GSM8K, as lm-evaluation-harness judges it: `strict` finds the answer behind `####`, `flexible` takes the last number.
//!
//! ```json
//! {"question": "…", "answer": "… #### 72", "response": "48 + 24 = 72\n#### 72"}
//! ```

use super::answer::{no_settings, rule};
use super::kind::{Asked, Context, Kind, Opened};
use super::{Judge, Verdict, score};
use crate::error::Result;
use crate::reward::gsm8k::{flexible, same, strict};
use serde_json::{Value, json};

struct Gsm8k;

/// The judge.
pub fn open(table: &toml::Table, _: &Context) -> Opened {
    no_settings(table)?;
    Ok(Box::new(Gsm8k))
}

impl Kind for Gsm8k {
    /// `answer` is the right one, or a solution that ends in `#### ` and it.
    fn reference(&self, asked: &Asked) -> std::result::Result<Value, String> {
        let gold = match asked.gold {
            Some(gold) => gold.to_owned(),
            None => asked.row.text("answer")?,
        };
        Ok(json!({ "answer": gold }))
    }

    fn begin(&self, threads: usize) -> Result<Box<dyn Judge>> {
        Ok(rule(threads, |reference, response| {
            let Some(gold) = reference["answer"].as_str() else {
                return Verdict::failed("the example has no answer");
            };
            let is = |found: Option<String>| score(found.is_some_and(|found| same(&found, gold)));
            let strict = is(strict(response));
            Verdict::new(strict, [("strict", strict), ("flexible", is(flexible(response)))])
        }))
    }
}
