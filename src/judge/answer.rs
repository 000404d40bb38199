//! Judges that hold a response against a gold answer: [`exact`], [`first_word`], [`contains`], [`number`], [`regex()`]
//! ([`crate::reward::answer`] says what each reads).
//!
//! ```json
//! {"answer": "positive"}
//! ```

use super::kind::{Asked, Context, Kind, Opened, settings};
use super::{Beside, Example, Judge, Verdict, score};
use crate::error::Result;
use crate::reward::answer;
use crate::reward::format::has_word;
use crate::reward::number::Number;
use regex::Regex;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

/// The response is the answer and nothing else.
pub fn exact(table: &toml::Table, context: &Context) -> Opened {
    let case = context.case;
    plain(
        table,
        |_| None,
        move |response, gold| answer::exact(response, gold, case),
    )
}

/// Its first word is the answer.
pub fn first_word(table: &toml::Table, context: &Context) -> Opened {
    let case = context.case;
    let refuses = |gold: &str| {
        let is_word = gold.split_whitespace().count() == 1 && has_word(gold);
        (!is_word).then_some("is not a single word, and judge = \"first_word\"")
    };
    plain(table, refuses, move |response, gold| {
        answer::first_word(response, gold, case)
    })
}

/// It mentions the answer, and of all answers that are known no other one: naming all must not be rewarded, and repeating the question often does
/// just that. An answer that is a part of the right one (`good` of `very good`) cannot be avoided.
pub fn contains(table: &toml::Table, context: &Context) -> Opened {
    let (case, labels) = (context.case, context.labels.clone());
    let correct = move |response: &str, gold: &str| {
        let mut others = labels.iter().filter(|label| !answer::contains(gold, label, case));
        answer::contains(response, gold, case) && !others.any(|label| answer::contains(response, label, case))
    };
    plain(table, |_| None, correct)
}

/// Its last number is the last number of the answer.
pub fn number(table: &toml::Table, _: &Context) -> Opened {
    let refuses = |gold: &str| {
        Number::last_in(gold)
            .is_none()
            .then_some("has no number, and judge = \"number\"")
    };
    plain(table, refuses, answer::number)
}

/// What a pattern captures in it is the answer.
pub fn regex(table: &toml::Table, context: &Context) -> Opened {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Settings {
        regex: String,
    }
    let Settings { regex } = settings(table)?;
    let (pattern, case) = (captures(&regex)?, context.case);
    Ok(Box::new(Rule {
        refuses: |_| None,
        correct: Arc::new(move |response: &str, gold: &str| answer::regex(response, &pattern, gold, case)),
    }))
}

/// A pattern with a group.
pub fn captures(pattern: &str) -> std::result::Result<Regex, String> {
    let regex = Regex::new(pattern).map_err(|error| format!("regex = '{pattern}' is not valid: {error}"))?;
    if regex.captures_len() < 2 {
        return Err(format!(
            "regex = '{pattern}' has no group; put ( ) around the part that is the answer"
        ));
    }
    Ok(regex)
}

/// Whether a response gives the answer.
type Correct = dyn Fn(&str, &str) -> bool + Send + Sync;

struct Rule {
    /// Why a gold answer can never be given, if so.
    refuses: fn(&str) -> Option<&'static str>,
    correct: Arc<Correct>,
}

fn plain(
    table: &toml::Table,
    refuses: fn(&str) -> Option<&'static str>,
    correct: impl Fn(&str, &str) -> bool + Send + Sync + 'static,
) -> Opened {
    no_settings(table)?;
    Ok(Box::new(Rule {
        refuses,
        correct: Arc::new(correct),
    }))
}

/// Refuses settings where a judge has none.
pub(super) fn no_settings(table: &toml::Table) -> std::result::Result<(), String> {
    match table.keys().next() {
        Some(key) => Err(format!(
            "`{key}` is set, and this judge has no settings; write its name alone"
        )),
        None => Ok(()),
    }
}

impl Kind for Rule {
    fn reference(&self, asked: &Asked) -> std::result::Result<Value, String> {
        let gold = asked.answer()?;
        match (self.refuses)(gold) {
            Some(why) => Err(format!("the answer `{gold}` {why}")),
            None => Ok(json!({ "answer": gold })),
        }
    }

    fn begin(&self, threads: usize) -> Result<Box<dyn Judge>> {
        let correct = self.correct.clone();
        Ok(rule(threads, move |reference, response| {
            match reference["answer"].as_str() {
                Some(gold) => {
                    let correct = score(correct(response, gold));
                    Verdict::new(correct, [("correct", correct)])
                }
                None => Verdict::failed("the example has no answer"),
            }
        }))
    }
}

/// A judge of a function over the reference, for kinds without settings.
pub(super) fn rule(threads: usize, judge: impl Fn(&Value, &str) -> Verdict + Send + Sync + 'static) -> Box<dyn Judge> {
    let judge = move |example: &Example, response: &str| judge(&example.reference, response);
    Box::new(Beside::new(Arc::new(judge), threads))
}
