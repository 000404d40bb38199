//! Judges of stored responses: a row of a file in, named terms out. Each judges exactly as the field does: the columns are those in which
//! a benchmark's data and other people's responses are published, so `essa judge` can be held against anybody's results. One judge a
//! file; [`JUDGES`] is the table of them.

pub mod gsm8k;
pub mod ifeval;
pub mod math;

use crate::task::Verdict;
use serde_json::{Map, Value};

/// Judges one row at a time. A pure function of the row.
pub trait RowJudge: Sync {
    /// The columns that it reads, for sentences.
    fn columns(&self) -> &'static [&'static str];

    /// The verdict on a row, or what is wrong with the row, in a part of a sentence.
    fn judge(&self, row: &Map<String, Value>) -> Result<Judged, String>;
}

/// What came of one row.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Judged {
    /// Its terms, and which of them is the reward.
    pub verdict: Verdict,
    /// Judgements of its parts, by name: an instruction each. They are summed up part by part and not row by row.
    pub parts: Vec<(&'static str, Vec<bool>)>,
}

/// The judges, by the name of their task.
pub const JUDGES: &[(&str, &dyn RowJudge)] = &[
    ("gsm8k", &gsm8k::Gsm8k),
    ("ifeval", &ifeval::Ifeval),
    ("math", &math::Math),
];

/// The judge of this name.
pub fn find(name: &str) -> Option<&'static dyn RowJudge> {
    JUDGES.iter().find(|(own, _)| *own == name).map(|(_, judge)| *judge)
}

/// A text of a row.
fn text<'a>(row: &'a Map<String, Value>, key: &str) -> Result<&'a str, String> {
    match row.get(key) {
        Some(Value::String(text)) => Ok(text),
        Some(other) => Err(format!("`{key}` is {other}, expected a text")),
        None => Err(format!("has no `{key}`")),
    }
}

/// 1 for yes.
fn score(is: bool) -> f64 {
    f64::from(u8::from(is))
}
