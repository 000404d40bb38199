//! What can be demanded of the form of an answer. A [`Kind`] is what a config names; an [`Instruction`] is one demand
//! with its arguments, which can be said in a few ways, checked, and, where it is not obeyed, measured for how near the
//! response came.

use super::questions::{Topic, Topics, spelled};
use crate::reward::answer::{Case, mention};
use crate::reward::format;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::borrow::Cow;

/// A kind of instruction, as a config names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The answer is one word.
    OneWord,
    /// The answer is a number and nothing else.
    Number,
    /// No small letters.
    Capitals,
    /// No capital letters.
    Lowercase,
    /// So many bullet points.
    Bullets,
    /// A list of so many things with commas between them and nothing around them.
    CommaList,
    /// A JSON object with a given key.
    Json,
    /// A given first word, and something after it.
    StartsWith,
    /// A given last word, and something before it.
    EndsWith,
    /// No more than so many words.
    AtMostWords,
    /// No comma, though a list was asked for.
    NoCommas,
    /// Double quotes around all of it.
    Quoted,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 12] = [
        Self::OneWord,
        Self::Number,
        Self::Capitals,
        Self::Lowercase,
        Self::Bullets,
        Self::CommaList,
        Self::Json,
        Self::StartsWith,
        Self::EndsWith,
        Self::AtMostWords,
        Self::NoCommas,
        Self::Quoted,
    ];

    /// The name in configs and terms.
    pub fn name(self) -> &'static str {
        match self {
            Self::OneWord => "one_word",
            Self::Number => "number",
            Self::Capitals => "capitals",
            Self::Lowercase => "lowercase",
            Self::Bullets => "bullets",
            Self::CommaList => "comma_list",
            Self::Json => "json",
            Self::StartsWith => "starts_with",
            Self::EndsWith => "ends_with",
            Self::AtMostWords => "at_most_words",
            Self::NoCommas => "no_commas",
            Self::Quoted => "quoted",
        }
    }

    /// The questions that this kind of instruction makes sense for.
    pub(super) fn topics(self, all: &Topics) -> Vec<&Topic> {
        match self {
            Self::Number => all.numbers.iter().collect(),
            Self::Bullets | Self::CommaList | Self::NoCommas => all.things.iter().collect(),
            Self::Json => all.words.iter().chain(&all.numbers).collect(),
            _ => all.words.iter().collect(),
        }
    }

    /// All instructions of this kind for an answer of `count` things, in all the ways to say each.
    pub(super) fn sayings(self, count: usize) -> Vec<(Instruction, String)> {
        let n = spelled(count);
        match self {
            Self::OneWord => said(
                Instruction::OneWord,
                ["Answer in one word.", "Reply with a single word.", "Use one word only."],
            ),
            Self::Number => said(
                Instruction::Number,
                [
                    "Reply with only the number.",
                    "Answer with just the number in digits.",
                    "Give the number and nothing else.",
                ],
            ),
            Self::Capitals => said(
                Instruction::Capitals,
                [
                    "Answer in all capital letters.",
                    "Write your answer in capital letters only.",
                    "Use only uppercase letters.",
                ],
            ),
            Self::Lowercase => said(
                Instruction::Lowercase,
                [
                    "Answer in all lowercase letters.",
                    "Write your answer in lowercase letters only.",
                    "Do not use capital letters.",
                ],
            ),
            Self::Bullets => said(
                Instruction::Bullets { count },
                [
                    format!("Give exactly {n} bullet points."),
                    format!("Answer with exactly {n} bullet points."),
                    format!("Write them as {n} bullet points."),
                ],
            ),
            Self::CommaList => said(
                Instruction::CommaList { count },
                [
                    format!("Answer with a comma-separated list of exactly {n} items."),
                    format!("Reply with only the {n} items, separated by commas."),
                    format!("Give a comma-separated list of {n} items and nothing else."),
                ],
            ),
            Self::Json => each(["answer", "result", "reply"], |key| {
                said(
                    Instruction::Json { key: key.into() },
                    [
                        format!("Reply with a JSON object with the key \"{key}\"."),
                        format!("Answer only with a JSON object that has the key \"{key}\"."),
                        format!("Give your answer as JSON with the key \"{key}\"."),
                    ],
                )
            }),
            Self::StartsWith => each(["Sure", "Well", "Okay"], |word| {
                said(
                    Instruction::StartsWith { word: word.into() },
                    [
                        format!("Start your answer with the word {word}."),
                        format!("Begin your answer with the word \"{word}\"."),
                        format!("The first word of your answer must be {word}."),
                    ],
                )
            }),
            Self::EndsWith => each(["DONE", "END", "OVER"], |word| {
                said(
                    Instruction::EndsWith { word: word.into() },
                    [
                        format!("End your answer with the word {word}."),
                        format!("Finish your answer with the word \"{word}\"."),
                        format!("The last word of your answer must be {word}."),
                    ],
                )
            }),
            Self::AtMostWords => each([3, 4, 5], |count| {
                let n = spelled(count);
                said(
                    Instruction::AtMostWords { count },
                    [
                        format!("Use at most {n} words."),
                        format!("Answer in {n} words or fewer."),
                        format!("Your answer must not be longer than {n} words."),
                    ],
                )
            }),
            Self::NoCommas => said(
                Instruction::NoCommas,
                [
                    "Do not use any commas.",
                    "Answer without using commas.",
                    "Your answer must not contain a comma.",
                ],
            ),
            Self::Quoted => said(
                Instruction::Quoted,
                [
                    "Put your whole answer in double quotes.",
                    "Wrap your answer in double quotation marks.",
                    "Your answer must be in double quotes.",
                ],
            ),
        }
    }
}

/// One instruction in three wordings.
fn said(instruction: Instruction, texts: [impl Into<String>; 3]) -> Vec<(Instruction, String)> {
    texts.map(|text| (instruction.clone(), text.into())).into()
}

/// The sayings for each of three arguments.
fn each<A>(arguments: [A; 3], say: impl Fn(A) -> Vec<(Instruction, String)>) -> Vec<(Instruction, String)> {
    arguments.into_iter().flat_map(say).collect()
}

/// One instruction with its arguments.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Instruction {
    OneWord,
    Number,
    Capitals,
    Lowercase,
    Bullets { count: usize },
    CommaList { count: usize },
    Json { key: String },
    StartsWith { word: String },
    EndsWith { word: String },
    AtMostWords { count: usize },
    NoCommas,
    Quoted,
}

impl Instruction {
    pub(super) fn kind(&self) -> Kind {
        match self {
            Self::OneWord => Kind::OneWord,
            Self::Number => Kind::Number,
            Self::Capitals => Kind::Capitals,
            Self::Lowercase => Kind::Lowercase,
            Self::Bullets { .. } => Kind::Bullets,
            Self::CommaList { .. } => Kind::CommaList,
            Self::Json { .. } => Kind::Json,
            Self::StartsWith { .. } => Kind::StartsWith,
            Self::EndsWith { .. } => Kind::EndsWith,
            Self::AtMostWords { .. } => Kind::AtMostWords,
            Self::NoCommas => Kind::NoCommas,
            Self::Quoted => Kind::Quoted,
        }
    }

    pub(super) fn is_followed(&self, response: &str) -> bool {
        // A lone DONE begins and ends as it should and says nothing.
        let says_more = || {
            response
                .split_whitespace()
                .filter(|token| format::has_word(token))
                .nth(1)
                .is_some()
        };
        match self {
            Self::OneWord => format::one_word(response),
            Self::Number => format::only_number(response),
            Self::Capitals => format::all_capitals(response),
            Self::Lowercase => format::all_lowercase(response),
            Self::Bullets { count } => format::bullets(response).len() == *count,
            Self::CommaList { count } => format::comma_list(response).is_some_and(|items| items.len() == *count),
            Self::Json { key } => format::json_with_keys(response, &[key]),
            Self::StartsWith { word } => format::starts_with(response, word, Case::Insensitive) && says_more(),
            Self::EndsWith { word } => format::ends_with(response, word, Case::Insensitive) && says_more(),
            Self::AtMostWords { count } => format::at_most_words(response, *count),
            Self::NoCommas => format::no_commas(response),
            Self::Quoted => format::quoted(response),
        }
    }

    /// How near `response` comes to obeying, from 0 to 1, and 1 only if it obeys: fewer words too many, more letters in
    /// the right case, another bullet point are nearer. A search that starts from a model that never obeys has nothing
    /// else to climb on.
    pub(super) fn closeness(&self, response: &str) -> f64 {
        if self.is_followed(response) {
            return 1.0;
        }
        let words = response
            .split_whitespace()
            .filter(|token| format::has_word(token))
            .count();
        if words == 0 {
            return 0.0;
        }
        let count_of = |wanted: fn(char) -> bool| response.chars().filter(|c| wanted(*c)).count() as f64;
        let nearness = match self {
            Self::OneWord => ratio(1, words),
            Self::Number if response.contains(|c: char| c.is_ascii_digit()) => ratio(1, words),
            Self::Number => 0.0,
            Self::Capitals => count_of(char::is_uppercase) / count_of(char::is_alphabetic).max(1.0),
            Self::Lowercase if response.contains(char::is_lowercase) => 1.0 / (1.0 + count_of(char::is_uppercase)),
            Self::Lowercase => 0.0,
            Self::Bullets { count } => {
                // A numbered list is on the way, and what small models write.
                let numbered = |line: &&str| {
                    line.trim()
                        .split_once(". ")
                        .is_some_and(|(n, _)| n.parse::<u8>().is_ok())
                };
                let numbers = response.lines().filter(numbered).count();
                ratio(*count, format::bullets(response).len()).max(ratio(*count, numbers) / 2.0)
            }
            Self::CommaList { count } => {
                let lines = response.lines().filter(|line| format::has_word(line)).count();
                ratio(*count, response.split(',').count()) * ratio(1, lines)
            }
            Self::Json { key } => {
                let inside = response
                    .find('{')
                    .zip(response.rfind('}'))
                    .and_then(|(from, to)| response.get(from..=to));
                let steps = [
                    response.contains(&format!("\"{key}\"")),
                    inside.is_some(),
                    inside.is_some_and(|object| format::json_with_keys(object, &[key])),
                ];
                steps.iter().filter(|step| **step).count() as f64 / 4.0
            }
            // What stands on the wrong side of the marker is too much.
            Self::StartsWith { word } => beside(response, word, |before, _| before),
            Self::EndsWith { word } => beside(response, word, |_, after| after),
            Self::AtMostWords { count } => ratio(*count, words),
            Self::NoCommas => 1.0 / (1.0 + count_of(|c| c == ',')),
            Self::Quoted => {
                let quote = ['"', '“', '”'];
                let ends = [response.trim().starts_with(quote), response.trim().ends_with(quote)];
                ends.iter().filter(|end| **end).count() as f64 / 2.0
            }
        };
        nearness.min(0.9)
    }

    /// The part of the response that holds the answer: the value under the JSON key if there is one, else all of it.
    pub(super) fn content<'a>(&self, response: &'a str) -> Cow<'a, str> {
        if let Self::Json { key } = self
            && let Some(value) = format::json_object(response).and_then(|mut map| map.remove(key))
        {
            return match value {
                Value::String(text) => text.into(),
                other => other.to_string().into(),
            };
        }
        response.into()
    }
}

/// The smaller over the larger; 0 if either is 0.
fn ratio(one: usize, other: usize) -> f64 {
    one.min(other) as f64 / one.max(other).max(1) as f64
}

/// How near a marker is to its side of the text: 1 over one more than the words that `wrong_side` picks out of those
/// before and after it. 0 if the marker is missing or all there is.
fn beside(response: &str, marker: &str, wrong_side: fn(usize, usize) -> usize) -> f64 {
    let (response, marker) = (response.to_lowercase(), marker.trim().to_lowercase());
    let Some(at) = mention(&response, &marker) else {
        return 0.0;
    };
    let words = |text: &str| text.split_whitespace().filter(|token| format::has_word(token)).count();
    let (before, after) = (words(&response[..at]), words(&response[at + marker.len()..]));
    if before + after == 0 {
        0.0
    } else {
        ratio(1, 1 + wrong_side(before, after))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_configs() {
        for kind in Kind::ALL {
            assert_eq!(serde_json::to_value(kind).expect("a name"), kind.name());
            for (instruction, saying) in kind.sayings(3) {
                assert_eq!(instruction.kind(), kind);
                assert!(saying.ends_with('.'), "{saying}");
            }
        }
    }

    #[test]
    fn the_nearer_the_better() {
        let json = Instruction::Json { key: "answer".into() };
        let ends = Instruction::EndsWith { word: "DONE".into() };
        let starts = Instruction::StartsWith { word: "Sure".into() };
        let ladders: [(Instruction, &[&str]); 12] = [
            (
                Instruction::OneWord,
                &["", "The answer is cold.", "Very cold.", "yes/no", "Cold."],
            ),
            (Instruction::Number, &["seven", "3 + 4 = 7", "about 7", "7"]),
            (Instruction::Capitals, &["cold", "It is Cold", "IT IS Cold", "COLD"]),
            (
                Instruction::Lowercase,
                &["12", "The Answer", "The answer", "the answer"],
            ),
            (
                Instruction::Bullets { count: 3 },
                &["a, b, c", "1. a\n2. b", "- a\n- b", "- a\n- b\n- c"],
            ),
            (
                Instruction::CommaList { count: 3 },
                &["", "a\nb\nc", "a and b and c", "a, b", "a, b, c"],
            ),
            (
                json,
                &[
                    "cold",
                    "{\"reply\": 1}",
                    "{\"answer\" cold}",
                    "```json\n{\"answer\": 1}\n``` is it",
                    "{\"answer\": 1}",
                ],
            ),
            (
                starts,
                &["It is cold", "It is cold, sure", "Oh sure, it is", "Sure, it is"],
            ),
            (ends, &["DONE", "DONE, it is cold", "Cold. DONE, I say", "Cold. DONE"]),
            (
                Instruction::AtMostWords { count: 3 },
                &["", "a b c d e f", "a b c d", "a b c"],
            ),
            (Instruction::NoCommas, &["", "a, b, c", "a, b", "a b"]),
            (Instruction::Quoted, &["cold", "\"cold", "\"cold\""]),
        ];
        for (instruction, rungs) in ladders {
            let heights: Vec<f64> = rungs.iter().map(|response| instruction.closeness(response)).collect();
            assert!(
                heights.is_sorted_by(|low, high| low < high) || rungs[0] == "12",
                "{instruction:?}: {heights:?}"
            );
            assert_eq!(heights.last(), Some(&1.0), "{instruction:?}");
            assert!(heights.iter().rev().skip(1).all(|height| (0.0..=0.9).contains(height)));
        }
    }
}
