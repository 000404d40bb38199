//! Multiple choice by the letter that a response names ([`crate::reward::letter`] says how it is found).
//!
//! ```json
//! {"options": 4, "right": 1, "response": "The answer is (B)."}
//! ```

use super::answer::{no_settings, rule};
use super::kind::{Asked, Context, Kind, Opened};
use super::{Judge, Verdict, score};
use crate::error::Result;
use crate::reward::letter::letter;
use serde_json::{Value, json};

struct Letter;

/// The judge.
pub fn open(table: &toml::Table, _: &Context) -> Opened {
    no_settings(table)?;
    Ok(Box::new(Letter))
}

impl Kind for Letter {
    fn reference(&self, asked: &Asked) -> std::result::Result<Value, String> {
        match asked.right {
            Some(right) => Ok(json!({ "options": asked.options, "right": right })),
            None => Err("which option is right is not known; set task.options to their column and task.answer to that of the right one".into()),
        }
    }

    fn begin(&self, threads: usize) -> Result<Box<dyn Judge>> {
        Ok(rule(threads, |reference, response| {
            let options = reference["options"].as_array().map_or(0, Vec::len);
            let Some(right) = reference["right"].as_u64() else {
                return Verdict::failed("the example has no right option");
            };
            let found = letter(response, options);
            let correct = score(found == Some(right as usize));
            Verdict::new(correct, [("correct", correct), ("answered", score(found.is_some()))])
        }))
    }
}
