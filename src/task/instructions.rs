//! Following verifiable instructions: a simple question, and a demand on the form of the answer that a program can
//! check. It is alignment in the small, needs no data set, and is made from a seed. The example `train/8/ends_with` of
//! seed 0, and its reference:
//!
//! ```text
//! What is the plural form of the word "match"? Finish your answer with the word "DONE".
//! {"instruction":{"ends_with":{"word":"DONE"}},"gold":{"word":{"accepted":["matches"],"rivals":[]}}}
//! ```
//!
//! SmolLM2-135M-Instruct answers `The plural form of the word "match" is "mats".` and earns nothing; `Matches. DONE`
//! earns 1.
//!
//! The judge reads three terms: `follows`, 0 or 1, whether the instruction was obeyed; `closeness`, from 0 to 1, how
//! near the response came to obeying; and `correct`, from 0 to 1, how right the content is (for a list, the share of
//! the things asked for). The reward is `form · (1 − w + w · correct)` with w = `content_weight`; `form` is 1 if the
//! instruction was obeyed and else `partial_credit · closeness`. With the defaults, w = ½ and no partial credit,
//! obeying with nonsense earns half, and a right answer in the wrong form nothing. `follows.<kind>` is `follows`
//! again, so that its mean is of one kind alone. Facts, and not only prompts, are kept apart between the splits: a
//! better score on test is no memory.

mod instruction;
mod questions;
mod word_lists;

pub use instruction::Kind;

use super::splits::Splits;
use super::{Example, Split, Task, Verdict};
use crate::error::{Error, Result};
use crate::judge::{Judge, pure};
use crate::seed::Seed;
use crate::text::Message;
use instruction::Instruction;
use questions::{Fact, Gold, Question, Topic, Topics};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::collections::HashSet;

/// What to make.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct InstructionsConfig {
    /// The kinds of instruction, which take turns; a kind that is listed twice comes up twice as often.
    pub kinds: Vec<Kind>,
    /// What the questions are about, such as `sentiment`; none means anything.
    pub topics: Vec<String>,
    /// The system's turn; without it the chat template decides.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub system: Option<String>,
    /// Examples that judge candidates.
    pub train_size: usize,
    /// Examples that judge the mean during a run.
    pub validation_size: usize,
    /// Examples that judge the result.
    pub test_size: usize,
    /// w, the part of the reward that right content earns, from 0 (form alone) to 1 (form earns nothing alone).
    pub content_weight: f64,
    /// What a response that does not obey earns at most, of what it would earn if it did, by how near it comes: from 0,
    /// the clean measure, to 1. A model that never obeys gives a search nothing to climb on without it.
    pub partial_credit: f64,
}

impl Default for InstructionsConfig {
    fn default() -> Self {
        Self {
            kinds: DEFAULT_KINDS.to_vec(),
            topics: Vec::new(),
            system: None,
            train_size: 512,
            validation_size: 128,
            test_size: 256,
            content_weight: 0.5,
            partial_credit: 0.0,
        }
    }
}

/// The most examples of a split: more than there are different ones.
const LARGEST_SPLIT: usize = 1 << 20;

/// The kinds of instruction in a run that names none.
pub const DEFAULT_KINDS: [Kind; 12] = Kind::ALL;

/// The task.
#[derive(Debug)]
pub struct Instructions {
    content_weight: f64,
    partial_credit: f64,
    splits: Splits,
}

impl Instructions {
    /// Makes the examples.
    pub fn new(config: &InstructionsConfig, seed: Seed) -> Result<Self> {
        for (name, share) in [
            ("content_weight", config.content_weight),
            ("partial_credit", config.partial_credit),
        ] {
            if !(0.0..=1.0).contains(&share) {
                return Err(Error::config(format!(
                    "task: {name} = {share}; expected a number from 0 to 1"
                )));
            }
        }
        if config.kinds.is_empty() {
            return Err(Error::config(
                "task: kinds is empty; expected at least one kind of instruction",
            ));
        }
        let mut topics = Topics::new(seed.named("splits"));
        topics.keep(&config.topics).map_err(|(unknown, known)| {
            Error::config(format!(
                "task: topics has `{unknown}`; expected some of {}",
                known.join(", ")
            ))
        })?;
        let make = |split| examples(config, split, &topics, seed);
        let splits = Splits::new(make(Split::Train)?, make(Split::Validation)?, make(Split::Test)?);
        debug_assert_eq!((splits.removed_from_train, splits.removed_from_validation), (0, 0));
        Ok(Self {
            content_weight: config.content_weight,
            partial_credit: config.partial_credit,
            splits,
        })
    }
}

impl Task for Instructions {
    fn name(&self) -> String {
        "instructions".into()
    }

    fn examples(&self, split: Split) -> &[Example] {
        self.splits.get(split)
    }

    fn set_apart(&mut self, seen: &HashSet<String>) -> Result<()> {
        self.splits.set_apart(seen)
    }

    fn judge(&self) -> Result<Box<dyn Judge>> {
        let (content_weight, partial_credit) = (self.content_weight, self.partial_credit);
        Ok(pure(move |example, response| {
            judge(example, response, content_weight, partial_credit)
        }))
    }
}

fn judge(example: &Example, response: &str, content_weight: f64, partial_credit: f64) -> Verdict {
    let Ok(Reference { instruction, gold }) = Reference::deserialize(&example.reference) else {
        return Verdict::failed("the example has no instruction");
    };
    let Some(correct) = gold.share(&instruction.content(response)) else {
        return Verdict::failed("the example has no answer");
    };
    let closeness = instruction.closeness(response);
    let follows = f64::from(instruction.is_followed(response));
    let form = if follows == 1.0 {
        1.0
    } else {
        partial_credit * closeness
    };
    let reward = form * (1.0 - content_weight + content_weight * correct);
    let by_kind = format!("follows.{}", instruction.kind().name());
    let terms = [
        ("follows", follows),
        (by_kind.as_str(), follows),
        ("closeness", closeness),
        ("correct", correct),
    ];
    Verdict::new(reward, terms)
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
    if size == 0 || size > LARGEST_SPLIT {
        return Err(Error::config(format!(
            "task: {name}_size = {size}; expected a number from 1 to {LARGEST_SPLIT}"
        )));
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
                "task: {name}_size = {size} asks for {wanted} different prompts of the kind \"{}\", and there are {} \
                 in {name}; lower {name}_size or list more kinds",
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
            messages: config
                .system
                .iter()
                .map(Message::system)
                .chain([Message::user(prompt)])
                .collect(),
            reference: serde_json::to_value(reference).expect("a reference has string keys and finite numbers only"),
            ..Example::default()
        })
    };
    Ok(turns.into_iter().enumerate().filter_map(example).collect())
}

/// Up to `wanted` different prompts of one kind. Topics take turns, and so do the questions of a topic. Each kind
/// begins with another topic, so that neighbours differ in topic as well as in kind.
fn prompts(kind: Kind, split: Split, wanted: usize, topics: &Topics, seed: Seed) -> Vec<(String, Reference)> {
    let mut queues: Vec<_> = kind
        .topics(topics)
        .into_iter()
        .map(|topic| queue(kind, share(topic, split), seed.named(kind.name()).named(topic.name)))
        .collect();
    let turned = kind as usize % queues.len().max(1);
    queues.rotate_left(turned);
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

/// All prompts of one kind over `facts`: each question once, with an instruction that `seed` chooses, before any
/// question comes again with its next instruction.
fn queue(kind: Kind, facts: &[Fact], seed: Seed) -> impl Iterator<Item = (String, Reference)> {
    let mut questions: Vec<&Question> = facts.iter().flatten().collect();
    seed.named("questions").shuffle(&mut questions);
    let rounds = kind.sayings(1).len();
    (0..rounds * questions.len()).filter_map(move |turn| {
        let (round, index) = (turn / questions.len(), turn % questions.len());
        let Question { text, gold } = questions[index];
        let count = if let Gold::Things { count, .. } = gold {
            *count
        } else {
            1
        };
        let mut sayings = kind.sayings(count);
        seed.named("instructions").fold(index as u64).shuffle(&mut sayings);
        let (instruction, saying) = sayings.into_iter().nth(round)?;
        let gold = gold.clone();
        Some((format!("{text} {saying}"), Reference { instruction, gold }))
    })
}

/// The facts of a topic that belong to `split`: fixed shares, 60 % train, 15 % validation and 25 % test, so that no
/// size of one split moves a question in or out of another.
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

    fn verdict(task: &dyn Task, example: &Example, response: &str) -> Verdict {
        crate::task::verdict(task, example, response).expect("a judge")
    }
    use serde_json::Value;

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
            ..Example::default()
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
            let verdict = verdict(&task, &asked, response);
            assert_eq!(verdict.terms["follows"], verdict.terms["follows.capitals"]);
            (verdict.reward, verdict.terms["follows"], verdict.terms["correct"])
        };
        assert_eq!(read("COLD"), (1.0, 1.0, 1.0));
        assert_eq!(read("WARM"), (0.5, 1.0, 0.0));
        assert_eq!(read("Cold"), (0.0, 0.0, 1.0));
        assert_eq!(read(""), (0.0, 0.0, 0.0));
    }

    #[test]
    fn partial_credit_is_for_coming_near() {
        let config = InstructionsConfig {
            partial_credit: 0.4,
            ..InstructionsConfig::default()
        };
        let task = Instructions::new(&config, Seed::new(0)).expect("can be made");
        let asked = example(Instruction::AtMostWords { count: 3 }, word("cold"));
        let reward = |response| verdict(&task, &asked, response).reward;
        assert_eq!(reward("It is cold"), 1.0);
        assert!((reward("I say it is cold now") - 0.4 * 0.5).abs() < 1e-12);
        assert!((reward("I say it is warm now") - 0.4 * 0.5 * 0.5).abs() < 1e-12);
        assert_eq!(reward(""), 0.0);
    }

    #[test]
    fn a_list_earns_by_the_item() {
        let things = |count| Gold::Things {
            list: "planets".into(),
            count,
        };
        let asked = example(Instruction::Bullets { count: 2 }, things(2));
        let task = task(&[Kind::Bullets]);
        assert_eq!(verdict(&task, &asked, "- Mars\n- Venus").reward, 1.0);
        assert_eq!(verdict(&task, &asked, "- Mars\n- Mars").reward, 0.75);
        assert_eq!(verdict(&task, &asked, "- Mars").reward, 0.0);
        let asked = example(Instruction::CommaList { count: 3 }, things(3));
        assert_eq!(verdict(&task, &asked, "Mars, Venus and more, Earth").reward, 1.0);
        assert_eq!(verdict(&task, &asked, "Mars, Venus, Earth, Pluto").reward, 0.0);
    }

    #[test]
    fn the_answer_is_read_under_its_key() {
        let task = task(&[Kind::Json]);
        let asked = example(Instruction::Json { key: "answer".into() }, word("cold"));
        assert_eq!(verdict(&task, &asked, "{\"answer\": \"cold\"}").reward, 1.0);
        assert_eq!(verdict(&task, &asked, "{\"answer\": [\"Cold\"]}").reward, 1.0);
        assert_eq!(
            verdict(&task, &asked, "{\"answer\": \"warm\", \"note\": \"cold\"}").reward,
            0.5
        );
        assert_eq!(verdict(&task, &asked, "{\"reply\": \"cold\"}").reward, 0.0);
        let asked = example(Instruction::Json { key: "answer".into() }, Gold::Number(4));
        assert_eq!(verdict(&task, &asked, "{\"answer\": 4}").reward, 1.0);
    }

    #[test]
    fn a_lone_marker_says_nothing() {
        let task = task(&[Kind::EndsWith]);
        let ends = example(Instruction::EndsWith { word: "DONE".into() }, word("cold"));
        assert_eq!(verdict(&task, &ends, "Cold. DONE").reward, 1.0);
        assert_eq!(verdict(&task, &ends, "DONE.").reward, 0.0);
        let starts = example(Instruction::StartsWith { word: "Sure".into() }, word("cold"));
        assert_eq!(verdict(&task, &starts, "Sure, cold.").reward, 1.0);
        assert_eq!(verdict(&task, &starts, "Sure!").reward, 0.0);
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
            assert!(verdict(&task, &example, "cold").failed);
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
        assert!(refused(|config| config.partial_credit = -0.1).contains("partial_credit = -0.1"));
        assert!(refused(|config| config.content_weight = f64::NAN).contains("content_weight = NaN"));
        assert!(refused(|config| config.test_size = 0).contains("test_size = 0"));
        let message = refused(|config| config.train_size = 1_000_000);
        assert!(
            message.contains("train_size = 1000000 asks for") && message.contains("lower train_size"),
            "{message}"
        );
    }

    #[test]
    fn the_example_in_the_head_is_real() {
        let task = Instructions::new(&InstructionsConfig::default(), Seed::new(0)).expect("the default can be made");
        let example = &task.examples(Split::Train)[8];
        assert_eq!(example.id, "train/8/ends_with");
        let head: Vec<&str> = include_str!("instructions.rs")
            .lines()
            .map_while(|line| line.strip_prefix("//!"))
            .map(str::trim)
            .collect();
        assert!(
            head.contains(&example.messages[0].content.as_str()),
            "{}",
            example.messages[0].content
        );
        assert!(
            head.contains(&example.reference.to_string().as_str()),
            "{}",
            example.reference
        );
        assert_eq!(
            verdict(&task, example, "The plural form of the word \"match\" is \"mats\".").reward,
            0.0
        );
        assert_eq!(verdict(&task, example, "Matches. DONE").reward, 1.0);
    }
}
