//! IFEval, as Google's checker judges it, at the level of prompts (all of a prompt's instructions are followed) and of instructions.
//!
//! ```json
//! {"prompt": "…", "instruction_id_list": ["punctuation:no_comma"], "kwargs": [{}], "response": "No comma here."}
//! ```

use super::answer::{no_settings, rule};
use super::kind::{Asked, Context, Kind, Opened};
use super::{Judge, Verdict, score};
use crate::error::Result;
use crate::reward::ifeval::{Instruction, Verdict as Followed, instructions};
use crate::statistics::mean;
use serde_json::{Map, Value, json};

struct Ifeval;

/// The judge.
pub fn open(table: &toml::Table, _: &Context) -> Opened {
    no_settings(table)?;
    Ok(Box::new(Ifeval))
}

/// The instructions of a reference, which was checked when it was made.
fn read(reference: &Value) -> std::result::Result<Vec<Instruction>, String> {
    let list = |key: &str| reference[key].as_array().ok_or(format!("the example has no `{key}`"));
    let ids: Vec<&str> = list("instruction_id_list")?.iter().filter_map(Value::as_str).collect();
    let kwargs: Vec<Map<String, Value>> = list("kwargs")?
        .iter()
        .filter_map(|own| own.as_object().cloned())
        .collect();
    instructions(&ids, &kwargs).map_err(|error| error.to_string())
}

impl Kind for Ifeval {
    /// `instruction_id_list` and `kwargs` are parallel lists.
    fn reference(&self, asked: &Asked) -> std::result::Result<Value, String> {
        let ids: Vec<String> = asked.row.get("instruction_id_list", "a list of instructions' names")?;
        let kwargs: Vec<Map<String, Value>> = asked.row.get("kwargs", "a list of objects")?;
        let reference = json!({ "instruction_id_list": ids, "kwargs": kwargs });
        if ids.is_empty() {
            return Err("column `instruction_id_list` is empty, expected at least one instruction".into());
        }
        read(&reference).map(|_| reference)
    }

    fn begin(&self, threads: usize) -> Result<Box<dyn Judge>> {
        Ok(rule(threads, |reference, response| {
            let asked = match read(reference) {
                Ok(asked) => asked,
                Err(why) => return Verdict::failed(why),
            };
            let followed = Followed::new(&asked, response);
            let all = |followed: &[bool]| score(followed.iter().all(|&is| is));
            let share = |followed: &[bool]| mean(&followed.iter().map(|&is| score(is)).collect::<Vec<_>>());
            let strict = all(&followed.strict);
            let terms = [
                ("prompt_strict", strict),
                ("prompt_loose", all(&followed.loose)),
                ("instruction_strict", share(&followed.strict)),
                ("instruction_loose", share(&followed.loose)),
            ];
            let mut verdict = Verdict::new(strict, terms);
            verdict.parts.insert("instruction_strict".into(), followed.strict);
            verdict.parts.insert("instruction_loose".into(), followed.loose);
            verdict
        }))
    }
}
