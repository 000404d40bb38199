//! Judges: what a response is worth, as named terms. A task gives examples and says which judge; a judge takes responses when they
//! have ended and gives verdicts when it has them, beside decoding, so that a slow one never stops the engine. [`kinds`] is the table
//! of those that a config can name, one a file; [`pure`] makes one of a function.

pub mod answer;
mod beside;
pub mod command;
pub mod countdown;
pub mod gsm8k;
pub mod ifeval;
pub mod kind;
pub mod kinds;
pub mod letter;
pub mod likelihood;
pub mod math;
pub mod preference;
pub mod process;
pub mod reward;
pub mod reward_model;
pub mod terms;

pub use beside::Beside;
pub use kinds::JudgeConfig;
pub use reward::{OfSamples, RewardConfig, Selection};

use crate::rows::Row;
use crate::text::Message;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Takes responses and gives verdicts.
pub trait Judge: Send {
    /// The texts whose probability it wants to know after an example's prompt; none where it wants a text that the candidate writes.
    fn continuations(&self, _example: &Example) -> Option<Vec<Continuation>> {
        None
    }

    /// Whether it also wants to know what the start of the search says of these ([`Said::AgainstStart`]).
    fn compares_with_start(&self) -> bool {
        false
    }

    /// What has to be handed in together.
    fn scope(&self) -> Scope {
        Scope::Response
    }

    /// Hands responses in, and does not wait.
    fn submit(&mut self, responses: Vec<Response>);

    /// Gives the verdicts that there are, by ticket and in any order, to `sink`. Where there is none, and some are outstanding, waits for
    /// one, but no longer than `wait`. Every response gets one verdict in the end; one that cannot be judged is [`Verdict::failed`].
    fn poll(&mut self, wait: Duration, sink: &mut dyn FnMut(usize, Verdict));
}

/// What has to be handed in together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scope {
    /// Each response is judged by itself.
    #[default]
    Response,
    /// All responses to a question, of all candidates, in one call of [`Judge::submit`]: judges that compare.
    Question,
}

/// One response to be judged.
#[derive(Clone, Debug)]
pub struct Response {
    /// Whoever hands it in knows it by this number.
    pub ticket: usize,
    /// What was asked.
    pub example: Arc<Example>,
    /// What came.
    pub said: Said,
}

/// What a candidate has to say to an example.
#[derive(Clone, Debug, PartialEq)]
pub enum Said {
    /// The text that it wrote.
    Text(String),
    /// For each continuation that was asked for, the natural logarithms of its tokens' probabilities.
    Logarithms(Vec<Vec<f32>>),
    /// The same beside what the start of the search says: θ = start, with the adapter that it starts with.
    AgainstStart {
        /// Of the candidate, `[continuations][tokens]`.
        candidate: Vec<Vec<f32>>,
        /// Of the start, in the same shape.
        start: Vec<Vec<f32>>,
    },
}

/// A text that might follow a prompt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Continuation {
    /// The text.
    pub text: String,
    /// Whether the end of the turn belongs to it.
    pub ends: bool,
}

/// One example: what the model is shown, and what the judge knows beside it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Example {
    /// Names the example among all splits of the task.
    pub id: String,
    /// The conversation so far; the chat template renders it.
    pub messages: Vec<Message>,
    /// What the judge needs: the gold answer, the instruction's arguments.
    pub reference: serde_json::Value,
    /// The columns of the file that it comes from, if it does.
    #[serde(default, skip_serializing_if = "Row::is_empty")]
    pub row: Row,
    /// What the data's own assistant says, where they have one: what supervised learning imitates. Judges never see it.
    #[serde(skip)]
    pub completion: Option<String>,
}

impl Example {
    /// What supervised learning imitates: what the data's own assistant says, or else the gold answer.
    pub fn demonstrated(&self) -> Option<&str> {
        self.completion.as_deref().or_else(|| self.answer())
    }

    /// The gold answer, where the reference has one.
    pub fn answer(&self) -> Option<&str> {
        self.reference.get("answer").and_then(serde_json::Value::as_str)
    }
}

/// The outcome of one judgement.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// What the search maximises, usually in [0, 1].
    pub reward: f64,
    /// What the reward is made of, by name.
    pub terms: BTreeMap<String, f64>,
    /// The judge could not come to a verdict; the reward then stands as configured (`reward.failed`, 0).
    pub failed: bool,
    /// Judgements of its parts, by name: an instruction each. For the log, and to be summed up part by part.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub parts: BTreeMap<String, Vec<bool>>,
    /// Why it failed, for the log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl Verdict {
    /// A verdict. A reward that is not a finite number is no verdict: that gives [`Verdict::failed`]. A term that is not
    /// finite is left out.
    pub fn new<'a>(reward: f64, terms: impl IntoIterator<Item = (&'a str, f64)>) -> Self {
        if !reward.is_finite() {
            return Self::failed(format!("the reward is {reward}"));
        }
        let finite = terms.into_iter().filter(|(_, value)| value.is_finite());
        Self {
            reward,
            terms: finite.map(|(name, value)| (name.to_owned(), value)).collect(),
            ..Self::default()
        }
    }

    /// No verdict, and why: reward 0, counted by the caller.
    pub fn failed(why: impl Into<String>) -> Self {
        Self {
            failed: true,
            error: Some(why.into()),
            ..Self::default()
        }
    }
}

/// A judge of a pure function, which a thread of its own calls.
pub fn pure(rule: impl Fn(&Example, &str) -> Verdict + Send + Sync + 'static) -> Box<dyn Judge> {
    Box::new(Beside::new(Arc::new(rule), 1))
}

/// Judges all of `responses` and returns the verdicts in their order: for stored responses and tests, where nothing is decoded beside.
pub fn judge_all(judge: &mut dyn Judge, responses: Vec<(Arc<Example>, Said)>) -> Vec<Verdict> {
    let mut verdicts: Vec<Option<Verdict>> = vec![None; responses.len()];
    let numbered = responses.into_iter().enumerate();
    judge.submit(
        numbered
            .map(|(ticket, (example, said))| Response { ticket, example, said })
            .collect(),
    );
    let mut missing = verdicts.len();
    while missing > 0 {
        judge.poll(Duration::from_secs(1), &mut |ticket, verdict| {
            missing -= usize::from(verdicts[ticket].replace(verdict).is_none());
        });
    }
    verdicts
        .into_iter()
        .map(|verdict| verdict.expect("all have come"))
        .collect()
}

/// 1 for yes.
fn score(is: bool) -> f64 {
    f64::from(u8::from(is))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_that_is_no_number_is_a_failed_judgement() {
        for reward in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let verdict = Verdict::new(reward, [("correct", 1.0)]);
            assert!(verdict.failed && verdict.reward == 0.0 && verdict.terms.is_empty());
        }
        let verdict = Verdict::new(0.5, [("correct", 1.0), ("odd", f64::NAN)]);
        assert!(!verdict.failed && verdict.terms.len() == 1);
    }

    #[test]
    fn a_function_becomes_a_judge_and_a_panic_a_failure() {
        let mut judge = pure(|_, text| match text {
            "panic" => panic!("no"),
            text => Verdict::new(text.len() as f64, []),
        });
        let example = Arc::new(Example::default());
        let said = |text: &str| (example.clone(), Said::Text(text.into()));
        let verdicts = judge_all(&mut *judge, vec![said("abc"), said("panic"), said("ab")]);
        assert_eq!([verdicts[0].reward, verdicts[2].reward], [3.0, 2.0]);
        assert!(verdicts[1].failed);
    }
}
