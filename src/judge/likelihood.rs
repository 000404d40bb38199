//! Judges by probabilities: how probable the gold answer is to a candidate ([`open`]), and whether the right one of several options is the
//! most probable ([`open_likeliest`]). Nothing is decoded: what an exact match of a text sampled at temperature 1 earns on average is
//! this probability, without the coin, and it costs a prompt.
//!
//! ```json
//! {"answer": "positive"}
//! {"options": ["negative", "positive"], "right": 1}
//! ```

use super::kind::{Asked, Context, Kind, Opened, settings};
use super::{Continuation, Example, Judge, Response, Said, Verdict, score};
use crate::error::Result;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::time::Duration;

/// How the probability of the right answer pays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Grade {
    /// As it is: what an exact match of a text sampled at temperature 1 earns on average. Once an answer is unlikely, it
    /// hardly counts how unlikely.
    #[default]
    Probability,
    /// Its logarithm, a proper scoring rule (Gneiting and Raftery, *Strictly Proper Scoring Rules, Prediction, and
    /// Estimation*, JASA 102, 2007): being sure of a wrong answer costs the most, down to [`LEAST_PROBABILITY`] a token.
    LogProbability,
}

/// Below this probability a token costs no more. Without a floor one hopeless prompt, whose answer's logarithm can be
/// −700, outvotes all others of a generation, and how hopeless it is says nothing about a candidate. The floor is
/// each token's own, so that of a long answer the other tokens still count.
pub const LEAST_PROBABILITY: f64 = 1e-3;

impl Grade {
    /// What an answer earns whose tokens have these log-probabilities; the least there is, and a failure, where one is not
    /// a number.
    pub fn verdict(self, log_probabilities: &[f32]) -> Verdict {
        let logarithms = || log_probabilities.iter().map(|&logarithm| f64::from(logarithm));
        let failed = logarithms().any(f64::is_nan);
        let logarithm: f64 = logarithms().map(|own| own.max(LEAST_PROBABILITY.ln())).sum();
        let probability = if failed { 0.0 } else { logarithms().sum::<f64>().exp() };
        let reward = match self {
            Self::Probability => probability,
            Self::LogProbability => logarithm,
        };
        let terms = [("probability", probability), ("log_probability", logarithm)];
        Verdict {
            failed,
            error: failed.then(|| "a log-probability is not a number".into()),
            ..Verdict::new(reward, terms)
        }
    }
}

/// By the probability of the gold answer and the end of the turn.
pub fn open(table: &toml::Table, _: &Context) -> Opened {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Settings {
        #[serde(default)]
        likelihood: Grade,
    }
    let Settings { likelihood } = settings(table)?;
    Ok(Box::new(likelihood))
}

impl Kind for Grade {
    fn reference(&self, asked: &Asked) -> std::result::Result<Value, String> {
        Ok(json!({ "answer": asked.answer()? }))
    }

    fn asks_likelihood(&self) -> bool {
        true
    }

    fn begin(&self, _: usize) -> Result<Box<dyn Judge>> {
        let grade = *self;
        Ok(Box::new(AtOnce {
            continuations: |example| {
                let answer = example.answer().unwrap_or_default();
                let gold = Continuation {
                    text: answer.into(),
                    ends: true,
                };
                vec![gold]
            },
            verdict: Box::new(move |_, logarithms| match logarithms {
                [answer] => grade.verdict(answer),
                _ => Verdict::failed("one answer was asked for"),
            }),
            judged: Vec::new(),
        }))
    }
}

/// What the right option earns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Likeliest {
    /// 1 where its tokens' logarithms have the largest sum: `acc` of lm-evaluation-harness.
    #[default]
    Correct,
    /// 1 where that sum, divided by the bytes of the option, is the largest: `acc_norm`.
    CorrectNorm,
    /// Its probability among the options.
    Probability,
    /// The logarithm of that, not below that of [`LEAST_PROBABILITY`].
    LogProbability,
}

/// By the right option's probability among the options.
pub fn open_likeliest(table: &toml::Table, _: &Context) -> Opened {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Settings {
        #[serde(default)]
        likeliest: Likeliest,
    }
    let Settings { likeliest } = settings(table)?;
    Ok(Box::new(likeliest))
}

impl Kind for Likeliest {
    fn reference(&self, asked: &Asked) -> std::result::Result<Value, String> {
        let right = asked.right.or_else(|| {
            let gold = asked.gold?;
            asked.options.iter().position(|option| option == gold)
        });
        match right {
            _ if asked.options.len() < 2 => {
                Err("the possible answers are not known; set task.options, or task.answer_map to all of them".into())
            }
            Some(right) => Ok(json!({ "options": asked.options, "right": right })),
            None => Err(format!("the answer is none of {}", asked.options.join(", "))),
        }
    }

    fn asks_likelihood(&self) -> bool {
        true
    }

    fn begin(&self, _: usize) -> Result<Box<dyn Judge>> {
        let paid = *self;
        Ok(Box::new(AtOnce {
            continuations: |example| {
                let options = texts(example).into_iter();
                options.map(|text| Continuation { text, ends: false }).collect()
            },
            verdict: Box::new(move |example, logarithms| paid.verdict(example, logarithms)),
            judged: Vec::new(),
        }))
    }
}

impl Likeliest {
    fn verdict(self, example: &Example, logarithms: &[Vec<f32>]) -> Verdict {
        let options = texts(example);
        let right = example.reference["right"].as_u64().map(|right| right as usize);
        let sums: Vec<f64> = logarithms
            .iter()
            .map(|own| own.iter().map(|&own| f64::from(own)).sum())
            .collect();
        let (Some(right), false) = (
            right,
            sums.len() != options.len() || sums.iter().any(|sum| sum.is_nan()),
        ) else {
            return Verdict::failed("a log-probability is not a number");
        };
        let norms: Vec<f64> = sums
            .iter()
            .zip(&options)
            .map(|(sum, text)| sum / text.len().max(1) as f64)
            .collect();
        let largest = sums.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let total: f64 = sums.iter().map(|sum| (sum - largest).exp()).sum();
        let probability = if largest.is_finite() {
            (sums[right] - largest).exp() / total
        } else {
            0.0
        };
        let (correct, correct_norm) = (
            score(first_largest(&sums) == right),
            score(first_largest(&norms) == right),
        );
        let log_probability = probability.max(LEAST_PROBABILITY).ln();
        let reward = match self {
            Self::Correct => correct,
            Self::CorrectNorm => correct_norm,
            Self::Probability => probability,
            Self::LogProbability => log_probability,
        };
        let terms = [
            ("correct", correct),
            ("correct_norm", correct_norm),
            ("probability", probability),
            ("log_probability", log_probability),
        ];
        Verdict::new(reward, terms)
    }
}

fn texts(example: &Example) -> Vec<String> {
    let options = example.reference["options"].as_array();
    let texts = options.into_iter().flatten().filter_map(Value::as_str);
    texts.map(String::from).collect()
}

/// Of equals the first, as numpy's `argmax` has it.
fn first_largest(numbers: &[f64]) -> usize {
    let mut best = 0;
    for (at, number) in numbers.iter().enumerate() {
        if *number > numbers[best] {
            best = at;
        }
    }
    best
}

/// Judges as soon as it is asked, because it only adds up.
struct AtOnce {
    continuations: fn(&Example) -> Vec<Continuation>,
    #[allow(clippy::type_complexity)]
    verdict: Box<dyn Fn(&Example, &[Vec<f32>]) -> Verdict + Send>,
    judged: Vec<(usize, Verdict)>,
}

impl Judge for AtOnce {
    fn continuations(&self, example: &Example) -> Option<Vec<Continuation>> {
        Some((self.continuations)(example))
    }

    fn submit(&mut self, responses: Vec<Response>) {
        for response in responses {
            let verdict = match &response.said {
                Said::Logarithms(logarithms) => (self.verdict)(&response.example, logarithms),
                Said::Text(_) | Said::AgainstStart { .. } => {
                    Verdict::failed("the judge reads probabilities of a candidate alone, and something else was given")
                }
            };
            self.judged.push((response.ticket, verdict));
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

    #[test]
    fn a_wrong_answer_that_is_certain_costs_most() {
        let floor = 0.001_f64.ln();
        let [sure, unsure, broken] = [-30.0, -3.0, f32::NAN].map(|own| Grade::LogProbability.verdict(&[own, -0.5]));
        assert_eq!((sure.reward, unsure.reward, sure.failed), (floor - 0.5, -3.5, false));
        // What is no number is no verdict, and never the better for it.
        assert!(broken.failed && broken.reward == sure.reward && broken.terms["probability"] == 0.0);
        let ends = [f32::NEG_INFINITY, 0.0].map(|own| Grade::Probability.verdict(&[own, 0.0]));
        assert!(ends[0].reward == 0.0 && ends[1].reward == 1.0);
        let small = Grade::Probability.verdict(&[-30.0, -1.0]).reward;
        assert!(
            (small / (-31_f64).exp() - 1.0).abs() < 1e-6,
            "a probability has no floor: {small}"
        );
    }

    /// One prompt that no candidate can answer is worth as much as one on which they differ, and not as nineteen.
    #[test]
    fn one_hopeless_prompt_does_not_outvote_the_others() {
        let mean = |hopeless: f32, others: f32| {
            let of = |own: f32| Grade::LogProbability.verdict(&[own]).reward;
            (of(hopeless) + 19.0 * of(others)) / 20.0
        };
        assert!(mean(-400.0, -0.5) > mean(-300.0, -0.6), "better on nineteen of twenty");
        // A long answer with one impossible token: the others still tell candidates apart.
        let long = |others: f32| Grade::LogProbability.verdict(&[others, -80.0, others]).reward;
        assert!(long(-1.0) > long(-2.0));
    }

    #[test]
    fn the_likeliest_option_is_the_answer() {
        let example = Example {
            reference: json!({ "options": ["no", "yes indeed"], "right": 1 }),
            ..Example::default()
        };
        let verdict = Likeliest::Correct.verdict(&example, &[vec![-2.0], vec![-1.5, -1.5]]);
        // −2 against −3, and −1 against −0.3 a byte.
        assert_eq!((verdict.reward, verdict.terms["correct_norm"]), (0.0, 1.0));
        let expected = 1.0 / (1.0 + 1_f64.exp());
        assert!((verdict.terms["probability"] - expected).abs() < 1e-12);
        assert!(
            Likeliest::Correct
                .verdict(&example, &[vec![f32::NAN], vec![0.0]])
                .failed
        );
        let hopeless = Likeliest::LogProbability.verdict(&example, &[vec![0.0], vec![f32::NEG_INFINITY]]);
        assert_eq!(hopeless.reward, LEAST_PROBABILITY.ln());
    }
}
