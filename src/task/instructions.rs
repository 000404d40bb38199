//! Following verifiable instructions: a simple question, and a demand on the form of the answer that a program can
//! check. It is alignment in the small, needs no data set, and is made from a seed. One example, as made for seed 0:
//!
//! ```text
//! EXAMPLE
//! ```
//!
//! The judge reads two terms: `follows`, 0 or 1, whether the instruction was obeyed, and `correct`, from 0 to 1, how right
//! the content is (for a list, the share of the things asked for). The reward is `follows · (1 − w + w · correct)`
//! with w = `content_weight`, ½ unless told: obeying with nonsense earns half, a right answer in the wrong form earns
//! nothing. `follows.<kind>` is the same as `follows`, so that a mean over it is of one kind alone. Facts, and not only
//! prompts, are kept apart between the splits, so a better score on test is no memory of an answer.

mod questions;
mod word_lists;

use super::splits::Splits;
use super::{Example, Message, Split, Task, Terms};
use crate::error::{Error, Result};
use crate::reward::answer::Case;
use crate::reward::format;
use crate::seed::Seed;
use questions::{Fact, Gold, Question, Topic, Topics, spelled};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// What to make.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct InstructionsConfig {
    /// The kinds of instruction, which take turns; a kind that is listed twice comes up twice as often.
    pub kinds: Vec<Kind>,
    /// Examples that judge candidates.
    pub train_size: usize,
    /// Examples that judge the mean during a run.
    pub validation_size: usize,
    /// Examples that judge the result.
    pub test_size: usize,
    /// w, the part of the reward that right content earns, from 0 (form alone) to 1 (form earns nothing alone).
    pub content_weight: f64,
}

impl Default for InstructionsConfig {
    fn default() -> Self {
        Self {
            kinds: DEFAULT_KINDS.to_vec(),
            train_size: 512,
            validation_size: 128,
            test_size: 256,
            content_weight: 0.5,
        }
    }
}

/// The kinds of instruction in a run that names none.
pub const DEFAULT_KINDS: [Kind; 12] = Kind::ALL;

/// The task.
#[derive(Debug)]
pub struct Instructions {
    content_weight: f64,
    splits: Splits,
}

impl Instructions {
    /// Makes the examples.
    pub fn new(config: &InstructionsConfig, seed: Seed) -> Result<Self> {
        let weight = config.content_weight;
        if !(0.0..=1.0).contains(&weight) {
            return Err(Error::config(format!(
                "task: content_weight = {weight}; expected a number from 0 to 1"
            )));
        }
        if config.kinds.is_empty() {
            return Err(Error::config(
                "task: kinds is empty; expected at least one kind of instruction",
            ));
        }
        let topics = Topics::new(seed.named("splits"));
        let make = |split| examples(config, split, &topics, seed);
        let splits = Splits::new(make(Split::Train)?, make(Split::Validation)?, make(Split::Test)?);
        debug_assert_eq!((splits.removed_from_train, splits.removed_from_validation), (0, 0));
        Ok(Self {
            content_weight: weight,
            splits,
        })
    }
}

impl Task for Instructions {
    fn name(&self) -> &str {
        "instructions"
    }

    fn examples(&self, split: Split) -> &[Example] {
        self.splits.get(split)
    }

    fn judge(&self, example: &Example, response: &str) -> Terms {
        let Ok(Reference { instruction, gold }) = Reference::deserialize(&example.reference) else {
            return Terms::failed();
        };
        let follows = instruction.is_followed(response);
        let Some(correct) = gold.share(&instruction.content(response)) else {
            return Terms::failed();
        };
        let earned = 1.0 - self.content_weight + self.content_weight * correct;
        let reward = if follows { earned } else { 0.0 };
        let follows = f64::from(follows);
        let by_kind = format!("follows.{}", instruction.kind().name());
        Terms::new(
            reward,
            [("follows", follows), (&by_kind, follows), ("correct", correct)],
        )
    }
}

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
    fn topics(self, all: &Topics) -> Vec<&Topic> {
        match self {
            Self::Number => all.numbers.iter().collect(),
            Self::Bullets | Self::CommaList | Self::NoCommas => all.things.iter().collect(),
            Self::Json => all.words.iter().chain(&all.numbers).collect(),
            _ => all.words.iter().collect(),
        }
    }

    /// All instructions of this kind for an answer of `count` things, in all the ways to say each.
    fn sayings(self, count: usize) -> Vec<(Instruction, String)> {
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
enum Instruction {
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
    fn kind(&self) -> Kind {
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

    fn is_followed(&self, response: &str) -> bool {
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

    /// The part of the response that holds the answer: the value under the JSON key if there is one, else all of it.
    fn content<'a>(&self, response: &'a str) -> Cow<'a, str> {
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

/// What the judge needs to know.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Reference {
    instruction: Instruction,
    gold: Gold,
}

/// The examples of one split: the kinds take turns, so that any batch of neighbours is as mixed as the whole.
fn examples(config: &InstructionsConfig, split: Split, topics: &Topics, seed: Seed) -> Result<Vec<Example>> {
    let (name, size) = match split {
        Split::Train => ("train", config.train_size),
        Split::Validation => ("validation", config.validation_size),
        Split::Test => ("test", config.test_size),
    };
    if size == 0 {
        return Err(Error::config(format!("task: {name}_size = 0; expected at least 1")));
    }
    let turns: Vec<Kind> = config.kinds.iter().copied().cycle().take(size).collect();
    let mut wanted: BTreeMap<Kind, usize> = BTreeMap::new();
    for kind in &turns {
        *wanted.entry(*kind).or_default() += 1;
    }
    let mut made = BTreeMap::new();
    for (kind, wanted) in wanted {
        let prompts = prompts(kind, split, wanted, topics, seed.named("prompts"));
        if prompts.len() < wanted {
            return Err(Error::config(format!(
                "task: {name}_size = {size} asks for {wanted} different prompts of the kind \"{}\", and there are {} in \
                 {name}; lower {name}_size or list more kinds",
                kind.name(),
                prompts.len(),
            )));
        }
        made.insert(kind, prompts.into_iter());
    }
    let example = |(index, kind): (usize, Kind)| {
        let (prompt, reference) = made.get_mut(&kind)?.next()?;
        Some(Example {
            id: format!("{name}/{index}/{}", kind.name()),
            messages: vec![Message::user(prompt)],
            reference: serde_json::to_value(reference).expect("a reference has string keys and finite numbers only"),
        })
    };
    Ok(turns.into_iter().enumerate().filter_map(example).collect())
}

/// Up to `wanted` different prompts of one kind. Topics take turns, and so do the questions of a topic.
fn prompts(kind: Kind, split: Split, wanted: usize, topics: &Topics, seed: Seed) -> Vec<(String, Reference)> {
    let mut queues: Vec<_> = kind
        .topics(topics)
        .into_iter()
        .map(|topic| queue(kind, share(topic, split), seed.named(kind.name()).named(topic.name)))
        .collect();
    let mut prompts = Vec::new();
    while prompts.len() < wanted {
        let before = prompts.len();
        prompts.extend(queues.iter_mut().filter_map(Iterator::next));
        if prompts.len() == before {
            break;
        }
    }
    prompts.truncate(wanted);
    prompts
}

/// All prompts of one kind over `facts`: each question once, with an instruction that `seed` chooses, before any question
/// comes again with its next instruction.
fn queue(kind: Kind, facts: &[Fact], seed: Seed) -> impl Iterator<Item = (String, Reference)> {
    let mut questions: Vec<&Question> = facts.iter().flatten().collect();
    seed.named("questions").shuffle(&mut questions);
    let prompt = move |round: usize, index: usize, question: &Question| {
        let count = if let Gold::Things { count, .. } = &question.gold {
            *count
        } else {
            1
        };
        let mut sayings = kind.sayings(count);
        seed.named("instructions").fold(index as u64).shuffle(&mut sayings);
        let (instruction, saying) = sayings.into_iter().nth(round)?;
        let gold = question.gold.clone();
        Some((format!("{} {saying}", question.text), Reference { instruction, gold }))
    };
    let rounds = kind.sayings(1).len();
    (0..rounds).flat_map(move |round| {
        let prompts = questions
            .iter()
            .enumerate()
            .filter_map(|(index, question)| prompt(round, index, question));
        prompts.collect::<Vec<_>>()
    })
}

/// The facts of a topic that belong to `split`: fixed shares, 60 % train, 15 % validation and 25 % test, so that no size of
/// one split moves a question in or out of another.
fn share(topic: &Topic, split: Split) -> &[Fact] {
    let facts = &topic.facts;
    let (train, validation) = (facts.len() * 60 / 100, facts.len() * 75 / 100);
    match split {
        Split::Train => &facts[..train],
        Split::Validation => &facts[train..validation],
        Split::Test => &facts[validation..],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(kinds: &[Kind]) -> Instructions {
        let config = InstructionsConfig {
            kinds: kinds.to_vec(),
            train_size: 12 * kinds.len(),
            validation_size: 6,
            test_size: 6,
            ..InstructionsConfig::default()
        };
        Instructions::new(&config, Seed::new(0)).expect("a small task can be made")
    }

    fn example(instruction: Instruction, gold: Gold) -> Example {
        Example {
            id: "test/0".into(),
            messages: vec![Message::user("?")],
            reference: serde_json::to_value(Reference { instruction, gold }).expect("plain data"),
        }
    }

    fn word(accepted: &str) -> Gold {
        Gold::Word {
            accepted: vec![accepted.into()],
            rivals: vec![],
        }
    }

    #[test]
    fn form_earns_half_and_content_the_other() {
        let task = task(&[Kind::Capitals]);
        let asked = example(Instruction::Capitals, word("cold"));
        let read = |response| {
            let terms = task.judge(&asked, response);
            assert_eq!(terms.parts["follows"], terms.parts["follows.capitals"]);
            (terms.reward, terms.parts["follows"], terms.parts["correct"])
        };
        assert_eq!(read("COLD"), (1.0, 1.0, 1.0));
        assert_eq!(read("WARM"), (0.5, 1.0, 0.0));
        assert_eq!(read("Cold"), (0.0, 0.0, 1.0));
        assert_eq!(read(""), (0.0, 0.0, 0.0));
    }

    #[test]
    fn a_list_earns_by_the_item() {
        let things = |count| Gold::Things {
            list: "planets".into(),
            count,
        };
        let asked = example(Instruction::Bullets { count: 2 }, things(2));
        let task = task(&[Kind::Bullets]);
        assert_eq!(task.judge(&asked, "- Mars\n- Venus").reward, 1.0);
        assert_eq!(task.judge(&asked, "- Mars\n- Mars").reward, 0.75);
        assert_eq!(task.judge(&asked, "- Mars").reward, 0.0);
        let asked = example(Instruction::CommaList { count: 3 }, things(3));
        assert_eq!(task.judge(&asked, "Mars, Venus and more, Earth").reward, 1.0);
        assert_eq!(task.judge(&asked, "Mars, Venus, Earth, Pluto").reward, 0.0);
    }

    #[test]
    fn the_answer_is_read_under_its_key() {
        let task = task(&[Kind::Json]);
        let asked = example(Instruction::Json { key: "answer".into() }, word("cold"));
        assert_eq!(task.judge(&asked, "{\"answer\": \"cold\"}").reward, 1.0);
        assert_eq!(task.judge(&asked, "{\"answer\": [\"Cold\"]}").reward, 1.0);
        assert_eq!(
            task.judge(&asked, "{\"answer\": \"warm\", \"note\": \"cold\"}").reward,
            0.5
        );
        assert_eq!(task.judge(&asked, "{\"reply\": \"cold\"}").reward, 0.0);
        let asked = example(Instruction::Json { key: "answer".into() }, Gold::Number(4));
        assert_eq!(task.judge(&asked, "{\"answer\": 4}").reward, 1.0);
    }

    #[test]
    fn a_lone_marker_says_nothing() {
        let task = task(&[Kind::EndsWith]);
        let ends = example(Instruction::EndsWith { word: "DONE".into() }, word("cold"));
        assert_eq!(task.judge(&ends, "Cold. DONE").reward, 1.0);
        assert_eq!(task.judge(&ends, "DONE.").reward, 0.0);
        let starts = example(Instruction::StartsWith { word: "Sure".into() }, word("cold"));
        assert_eq!(task.judge(&starts, "Sure, cold.").reward, 1.0);
        assert_eq!(task.judge(&starts, "Sure!").reward, 0.0);
    }

    #[test]
    fn a_foreign_example_is_a_failed_judgement() {
        let task = task(&[Kind::OneWord]);
        let unknown = Gold::Things {
            list: "dragons".into(),
            count: 2,
        };
        let mut foreign = vec![example(Instruction::OneWord, unknown)];
        for reference in [Value::Null, serde_json::json!({"answer": "x"}), serde_json::json!([1])] {
            foreign.push(Example {
                reference,
                ..foreign[0].clone()
            });
        }
        for example in foreign {
            assert_eq!(task.judge(&example, "cold"), Terms::failed());
        }
    }

    #[test]
    fn kinds_take_turns_and_weigh() {
        let task = task(&[Kind::Json, Kind::Number, Kind::Json]);
        let kinds: Vec<Kind> = task
            .examples(Split::Train)
            .iter()
            .map(|example| {
                Reference::deserialize(&example.reference)
                    .expect("ours")
                    .instruction
                    .kind()
            })
            .collect();
        assert_eq!(kinds.len(), 36);
        assert!(
            kinds
                .chunks(3)
                .all(|turn| turn == [Kind::Json, Kind::Number, Kind::Json])
        );
    }

    #[test]
    fn a_size_does_not_move_the_other_splits() {
        let make = |train_size, test_size| {
            let config = InstructionsConfig {
                train_size,
                test_size,
                ..InstructionsConfig::default()
            };
            Instructions::new(&config, Seed::new(5)).expect("can be made")
        };
        let (small, large) = (make(24, 48), make(600, 96));
        assert_eq!(small.examples(Split::Train), &large.examples(Split::Train)[..24]);
        assert_eq!(small.examples(Split::Validation), large.examples(Split::Validation));
        assert_eq!(small.examples(Split::Test), &large.examples(Split::Test)[..48]);
    }

    #[test]
    fn each_kind_alone_fills_the_default_sizes() {
        for kind in Kind::ALL {
            let config = InstructionsConfig {
                kinds: vec![kind],
                ..InstructionsConfig::default()
            };
            Instructions::new(&config, Seed::new(1)).unwrap_or_else(|error| panic!("{error}"));
        }
    }

    #[test]
    fn names_are_those_of_configs() {
        for kind in Kind::ALL {
            assert_eq!(serde_json::to_value(kind).expect("a name"), kind.name());
        }
    }

    #[test]
    fn what_cannot_be_made_is_refused() {
        let refused = |change: fn(&mut InstructionsConfig)| {
            let mut config = InstructionsConfig::default();
            change(&mut config);
            Instructions::new(&config, Seed::new(0))
                .expect_err("cannot be made")
                .to_string()
        };
        assert!(refused(|config| config.kinds.clear()).contains("kinds is empty"));
        assert!(refused(|config| config.content_weight = 1.5).contains("content_weight = 1.5"));
        assert!(refused(|config| config.content_weight = f64::NAN).contains("content_weight = NaN"));
        assert!(refused(|config| config.test_size = 0).contains("test_size = 0"));
        let message = refused(|config| config.train_size = 1_000_000);
        assert!(
            message.contains("train_size = 1000000 asks for") && message.contains("lower train_size"),
            "{message}"
        );
    }

    /// The example in this file's head is one that the task makes.
    #[test]
    fn the_example_in_the_head_is_real() {
        let task = Instructions::new(&InstructionsConfig::default(), Seed::new(0)).expect("the default can be made");
        let shown = HEAD_PROMPT;
        let found = task
            .examples(Split::Train)
            .iter()
            .find(|example| example.messages[0].content == shown);
        let example = found.expect("the prompt in the head of this file is made for seed 0");
        assert_eq!(example.reference.to_string(), HEAD_REFERENCE);
    }

    const HEAD_PROMPT: &str = "";
    const HEAD_REFERENCE: &str = "";
}
