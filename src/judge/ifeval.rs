//! IFEval, as Google's checker judges it, at the level of prompts (all of a prompt's instructions are followed) and of instructions.
//!
//! ```json
//! {"prompt": "…", "instruction_id_list": ["punctuation:no_comma"], "kwargs": [{}], "response": "No comma here."}
//! ```

use super::{Judged, RowJudge, score, text};
use crate::reward::ifeval::{Verdict as Followed, instructions};
use crate::task::Verdict;
use serde_json::{Map, Value};

/// `instruction_id_list` and `kwargs` are parallel lists.
pub struct Ifeval;

impl RowJudge for Ifeval {
    fn columns(&self) -> &'static [&'static str] {
        &["instruction_id_list", "kwargs", "response"]
    }

    fn judge(&self, row: &Map<String, Value>) -> Result<Judged, String> {
        let list = |key: &str| match row.get(key) {
            Some(Value::Array(values)) => Ok(values.as_slice()),
            Some(other) => Err(format!("`{key}` is {other}, expected a list")),
            None => Err(format!("has no `{key}`")),
        };
        let ids = list("instruction_id_list")?.iter().map(|id| id.as_str());
        let ids = ids
            .collect::<Option<Vec<&str>>>()
            .ok_or("`instruction_id_list` holds what is no text")?;
        let kwargs = list("kwargs")?.iter().map(|own| own.as_object().cloned());
        let kwargs = kwargs
            .collect::<Option<Vec<_>>>()
            .ok_or("`kwargs` holds what is no object")?;
        let asked = instructions(&ids, &kwargs).map_err(|error| error.to_string())?;
        let followed = Followed::new(&asked, text(row, "response")?);
        let all = |followed: &[bool]| score(followed.iter().all(|&is| is));
        let (strict, loose) = (all(&followed.strict), all(&followed.loose));
        Ok(Judged {
            verdict: Verdict::new(strict, [("prompt_strict", strict), ("prompt_loose", loose)]),
            parts: vec![
                ("instruction_strict", followed.strict),
                ("instruction_loose", followed.loose),
            ],
        })
    }
}
