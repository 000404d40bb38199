//! Preferences by forward passes alone: how much more probable than at the start of the search a candidate finds the chosen text of a pair, and how much
//! less the rejected one ([`crate::reward::preference`] has the objectives). Nothing is decoded. Rows are those that TRL's trainers read; sides
//! and prompts are texts, or lists of turns, whose common beginning is the prompt where there is no such column.
//!
//! ```json
//! {"prompt": "What color is the sky?", "chosen": "It is blue.", "rejected": "It is green."}
//! {"chosen": [{"role": "user", "content": "…"}, {"role": "assistant", "content": "…"}], "rejected": [{"role": "user", "content": "…"}, {"role": "assistant", "content": "…"}]}
//! {"prompt": "What color is the sky?", "completion": "It is blue.", "label": true}
//! ```

use super::kind::{Asked, Context, Conversation, Kind, Opened, settings};
use super::{Continuation, Example, Judge, Response, Said, Verdict};
use crate::error::Result;
use crate::reward::preference::{Earned, Goal, Preference, Scored};
use crate::rows::Row;
use crate::text::Message;
use crate::text::conversation::{Content, content};
use serde::Deserialize;
use serde_json::{Value, json};
use std::time::Duration;

/// By a preference objective.
pub fn open(table: &toml::Table, _: &Context) -> Opened {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Settings {
        #[serde(default)]
        preference: Goal,
        #[serde(default = "usual_beta")]
        beta: f64,
        #[serde(default)]
        delta: Option<f64>,
    }
    let Settings {
        preference: goal,
        beta,
        delta,
    } = settings(table)?;
    if !(beta > 0.0 && beta.is_finite()) {
        return Err(format!("beta is {beta}, expected a number above 0; 0.1 is usual"));
    }
    match delta {
        Some(delta) if goal != Goal::Bco => {
            return Err(format!(
                "delta = {delta} is of preference = \"bco\" alone; leave it out"
            ));
        }
        Some(delta) if !delta.is_finite() => return Err(format!("delta is {delta}, expected a number")),
        _ => {}
    }
    let delta = delta.unwrap_or(0.0);
    Ok(Box::new(Preference { goal, beta, delta }))
}

fn usual_beta() -> f64 {
    0.1
}

impl Kind for Preference {
    fn reference(&self, asked: &Asked) -> std::result::Result<Value, String> {
        let (row, is) = (asked.row, |column: &str| asked.row.has(column));
        if is("chosen") || is("rejected") {
            let (_, [chosen, rejected]) = sides(row)?;
            if chosen == rejected {
                return Err(
                    "`chosen` and `rejected` are the same text; expected one that is preferred to the other".into(),
                );
            }
            return Ok(json!({ "chosen": chosen, "rejected": rejected }));
        }
        if !is("completion") {
            let missing = row.raw("chosen").expect_err("it is not there");
            return Err(format!(
                "{missing}; expected `chosen` and `rejected`, or `completion` and `label` for preference = \"bco\""
            ));
        }
        if self.goal != Goal::Bco {
            return Err(
                "the row has `completion`, which is judged by its label under preference = \"bco\" alone; expected `chosen` and `rejected`"
                    .into(),
            );
        }
        let label = row.get::<bool>(
            "label",
            "true for a desirable completion or false for an undesirable one",
        )?;
        let (_, completion) = side(row, "completion")?;
        Ok(json!({ "completion": completion, "label": label }))
    }

    fn asks_likelihood(&self) -> bool {
        true
    }

    fn conversation(&self) -> Option<Conversation> {
        Some(conversation)
    }

    fn begin(&self, _: usize) -> Result<Box<dyn Judge>> {
        Ok(Box::new(Comparing {
            preference: *self,
            judged: Vec::new(),
        }))
    }
}

/// The conversation before the sides: the column `prompt`, or what the sides begin with.
fn conversation(row: &Row) -> std::result::Result<Vec<Message>, String> {
    let common = match row.has("completion") {
        true => side(row, "completion")?.0,
        false => sides(row)?.0,
    };
    if !row.has("prompt") {
        let missing = row.raw("prompt").expect_err("it is not there");
        return match common.is_empty() {
            true => Err(format!(
                "{missing}; expected it, or sides that are lists of turns and begin with it, or task.prompt"
            )),
            false => Ok(common),
        };
    }
    let prompt = match content(row, "prompt")? {
        Content::Text(text) => vec![Message::user(text)],
        Content::Turns(turns) => turns,
    };
    if prompt.last().is_none_or(|turn| turn.role == "assistant") {
        return Err("column `prompt` ends with a turn of the assistant, expected one that is to be answered".into());
    }
    // A system's turn may stand in the sides alone.
    let asked = |turns: &[Message]| {
        turns
            .iter()
            .filter(|turn| turn.role != "system")
            .cloned()
            .collect::<Vec<_>>()
    };
    if common.is_empty() {
        Ok(prompt)
    } else if asked(&common) == asked(&prompt) {
        Ok(common)
    } else {
        Err(
            "the sides answer another prompt than that of column `prompt`; expected the same conversation before both"
                .into(),
        )
    }
}

/// What both sides of a pair begin with, and what each says then.
fn sides(row: &Row) -> std::result::Result<(Vec<Message>, [String; 2]), String> {
    let (before_chosen, chosen) = side(row, "chosen")?;
    let (before_rejected, rejected) = side(row, "rejected")?;
    if before_chosen != before_rejected {
        return Err(
            "`chosen` and `rejected` answer different prompts; expected the same conversation before the last turn of both".into(),
        );
    }
    Ok((before_chosen, [chosen, rejected]))
}

/// The turns before the last one, and that one's text.
fn side(row: &Row, column: &str) -> std::result::Result<(Vec<Message>, String), String> {
    let (before, text) = match content(row, column)? {
        Content::Text(text) => (Vec::new(), text),
        Content::Turns(mut turns) => match turns.pop() {
            Some(last) if last.role == "assistant" => (turns, last.content),
            _ => {
                return Err(format!(
                    "column `{column}` does not end with a turn of the assistant, which is what is preferred or not"
                ));
            }
        },
    };
    if text.trim().is_empty() {
        return Err(format!(
            "column `{column}` is empty, expected a text that answers the prompt"
        ));
    }
    Ok((before, text))
}

/// Judges as soon as it is asked, because it only adds up.
struct Comparing {
    preference: Preference,
    judged: Vec<(usize, Verdict)>,
}

impl Comparing {
    fn verdict(&self, response: &Response) -> Verdict {
        let (candidate, start) = match &response.said {
            Said::Logarithms(candidate) => (candidate, None),
            Said::AgainstStart { candidate, start } => (candidate, Some(start)),
            Said::Text(_) => return Verdict::failed("the judge reads probabilities, and a text was given"),
        };
        let scored = |at: usize| Scored {
            candidate: &candidate[at],
            start: start.and_then(|start| start.get(at)).map_or(&[], Vec::as_slice),
        };
        let (reward, terms): Earned = match (candidate.len(), response.example.reference["label"].as_bool()) {
            (2, None) => self.preference.pair(scored(0), scored(1)),
            (1, Some(label)) => self.preference.labelled(scored(0), label),
            _ => return Verdict::failed("the example has neither two sides nor a label"),
        };
        if reward.is_nan() {
            return Verdict::failed("a log-probability is not a number");
        }
        Verdict::new(reward, terms)
    }
}

impl Judge for Comparing {
    /// The texts of an example, each with the end of its turn: a pair's chosen one first.
    fn continuations(&self, example: &Example) -> Option<Vec<Continuation>> {
        let texts = ["chosen", "rejected", "completion"].map(|column| example.reference[column].as_str());
        let whole = |text: &str| Continuation {
            text: text.into(),
            ends: true,
        };
        Some(texts.into_iter().flatten().map(whole).collect())
    }

    fn compares_with_start(&self) -> bool {
        self.preference.goal.needs_reference()
    }

    fn submit(&mut self, responses: Vec<Response>) {
        for response in responses {
            self.judged.push((response.ticket, self.verdict(&response)));
        }
    }

    fn poll(&mut self, _: Duration, sink: &mut dyn FnMut(usize, Verdict)) {
        for (ticket, verdict) in self.judged.drain(..) {
            sink(ticket, verdict);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reads(settings: &str, row: &str) -> std::result::Result<(Vec<Message>, Value), String> {
        let table: toml::Table = settings.parse().expect("TOML");
        let kind = open(&table, &Context::default())?;
        let row = Row::parse(row)?;
        let reference = kind.reference(&Asked::of(&row))?;
        let turns = kind.conversation().expect("it reads one")(&row)?;
        Ok((turns, reference))
    }

    #[test]
    fn rows_come_in_the_shapes_of_trl() {
        let [user, yes, no] = [
            r#"{"role": "user", "content": "Q"}"#,
            r#"{"role": "assistant", "content": "yes"}"#,
            r#"{"role": "assistant", "content": "no"}"#,
        ];
        let pair = json!({ "chosen": "yes", "rejected": "no" });
        for row in [
            r#"{"prompt": "Q", "chosen": "yes", "rejected": "no"}"#.to_owned(),
            format!(r#"{{"prompt": [{user}], "chosen": [{yes}], "rejected": [{no}]}}"#),
            format!(r#"{{"chosen": [{user}, {yes}], "rejected": [{user}, {no}]}}"#),
            format!(r#"{{"prompt": "Q", "chosen": [{user}, {yes}], "rejected": [{user}, {no}]}}"#),
        ] {
            let expected = (vec![Message::user("Q")], pair.clone());
            assert_eq!(reads("", &row), Ok(expected), "{row}");
        }
        let labelled = reads(
            "preference = 'bco'",
            r#"{"prompt": "Q", "completion": "yes", "label": false}"#,
        );
        let expected = json!({ "completion": "yes", "label": false });
        assert_eq!(labelled.map(|(_, reference)| reference), Ok(expected));
    }

    #[test]
    fn what_is_no_preference_is_told_in_a_sentence() {
        let user = |text: &str| format!(r#"{{"role": "user", "content": "{text}"}}"#);
        let said = r#"{"role": "assistant", "content": "a"}"#;
        let other = r#"{"role": "assistant", "content": "b"}"#;
        for (settings, row, expected) in [
            ("", r#"{"prompt": "Q", "chosen": "a"}"#, "column `rejected` is missing"),
            ("", r#"{"prompt": "Q", "rejected": "a"}"#, "column `chosen` is missing"),
            (
                "",
                r#"{"prompt": "Q"}"#,
                "column `chosen` is missing; the line has `prompt`; expected `chosen` and `rejected`",
            ),
            (
                "",
                r#"{"prompt": "Q", "chosen": "a", "rejected": null}"#,
                "column `rejected` is null, expected a text",
            ),
            (
                "",
                r#"{"prompt": "Q", "chosen": "a", "rejected": " \n"}"#,
                "column `rejected` is empty",
            ),
            (
                "",
                r#"{"prompt": "Q", "chosen": "a", "rejected": 3}"#,
                "column `rejected` is 3, expected a text",
            ),
            (
                "",
                r#"{"prompt": "Q", "chosen": "a", "rejected": "a"}"#,
                "are the same text",
            ),
            ("", r#"{"chosen": "a", "rejected": "b"}"#, "column `prompt` is missing"),
            (
                "",
                r#"{"prompt": 5, "chosen": "a", "rejected": "b"}"#,
                "column `prompt` is 5",
            ),
            (
                "",
                r#"{"prompt": "Q", "chosen": "a", "rejected": [1]}"#,
                "column `rejected` has a turn without a role",
            ),
            (
                "",
                r#"{"prompt": "Q", "chosen": "a", "rejected": []}"#,
                "does not end with a turn of the assistant",
            ),
            (
                "",
                r#"{"prompt": "Q", "completion": "a", "label": true}"#,
                "preference = \"bco\" alone",
            ),
            (
                "preference = 'bco'",
                r#"{"prompt": "Q", "completion": "a", "label": "good"}"#,
                "column `label` is \"good\", expected true",
            ),
            (
                "preference = 'bco'",
                r#"{"prompt": "Q", "completion": "a", "label": 1}"#,
                "column `label` is 1, expected true",
            ),
            (
                "preference = 'bco'",
                r#"{"prompt": "Q", "completion": "a"}"#,
                "column `label` is missing",
            ),
            ("preference = 'ppo'", "{}", "unknown variant `ppo`"),
            ("beta = 0.0", "{}", "beta is 0, expected a number above 0"),
            ("beta = nan", "{}", "beta is NaN"),
            ("delta = 1.0", "{}", "delta = 1 is of preference = \"bco\" alone"),
            ("gamma = 1.0", "{}", "gamma"),
        ] {
            let told = reads(settings, row).expect_err(row);
            assert!(told.contains(expected), "{settings} {row}: {told}");
        }
        let differing = format!(
            r#"{{"chosen": [{}, {said}], "rejected": [{}, {other}]}}"#,
            user("Q"),
            user("R")
        );
        assert!(
            reads("", &differing)
                .expect_err("two prompts")
                .contains("answer different prompts")
        );
        let another = format!(
            r#"{{"prompt": "R", "chosen": [{}, {said}], "rejected": [{}, {other}]}}"#,
            user("Q"),
            user("Q")
        );
        assert!(reads("", &another).expect_err("two prompts").contains("another prompt"));
    }
}
