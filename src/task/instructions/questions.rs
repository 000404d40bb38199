//! The questions of the task [`instructions`](super): small facts that a small model may know, made from
//! [`word_lists`](super::word_lists). Each topic is a list of facts, and a fact is one question in a few phrasings with
//! one [`Gold`]; all phrasings of a fact go to the same split.

use super::word_lists::*;
use crate::reward::answer::mention;
use crate::reward::number::Number;
use crate::seed::Seed;
use serde::{Deserialize, Serialize};

/// A question, and what is right.
#[derive(Clone, Debug)]
pub struct Question {
    /// What the user asks.
    pub text: String,
    /// What is right.
    pub gold: Gold,
}

/// What is right.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Gold {
    /// One of `accepted`, mentioned before any of `rivals`, the wrong answers that the question suggests. That tells
    /// `An elephant is larger than a mouse` from an echo of the question, at least half of the time.
    Word {
        /// Each is right; lower case.
        accepted: Vec<String>,
        /// Each is wrong; lower case.
        rivals: Vec<String>,
    },
    /// The last number of the response.
    Number(i64),
    /// So many different members of a list.
    Things {
        /// Which list.
        list: String,
        /// How many.
        count: usize,
    },
}

impl Gold {
    /// How right `response` is: 0 or 1, and for a list of things the share that is there. None if this gold names a
    /// list that does not exist.
    pub fn share(&self, response: &str) -> Option<f64> {
        let response = response.to_lowercase();
        match self {
            Self::Word { accepted, rivals } => {
                let first = |words: &[String]| words.iter().filter_map(|word| mention(&response, word)).min();
                let right = match (first(accepted), first(rivals)) {
                    (Some(right), Some(wrong)) => right <= wrong,
                    (right, None) => right.is_some(),
                    (None, Some(_)) => false,
                };
                Some(f64::from(right))
            }
            Self::Number(value) => Some(f64::from(Number::last_in(&response) == Some(Number::from(*value)))),
            Self::Things { list, count } => {
                let (_, members) = THINGS.iter().find(|(name, _)| name == list)?;
                let named = |member: &&str| {
                    // Most members are nowhere in the response; those are done with here.
                    response.contains(member.strip_suffix('y').unwrap_or(member))
                        && forms(member).iter().any(|form| mention(&response, form).is_some())
                };
                let found = members.split(", ").filter(named).take(*count).count();
                Some(found as f64 / (*count).max(1) as f64)
            }
        }
    }
}

/// The phrasings of one question. All share their gold, and so their split.
pub type Fact = Vec<Question>;

/// A group of facts, by name.
pub struct Topic {
    /// Names the topic.
    pub name: &'static str,
    /// Its facts.
    pub facts: Vec<Fact>,
}

/// All topics, by what an answer to their questions is.
pub struct Topics {
    /// A word.
    pub words: Vec<Topic>,
    /// A number.
    pub numbers: Vec<Topic>,
    /// A list of things.
    pub things: Vec<Topic>,
}

impl Topics {
    /// The topics, with the facts of each in an order that `seed` decides.
    pub fn new(seed: Seed) -> Self {
        let shuffled = |mut topics: Vec<Topic>| {
            for topic in &mut topics {
                seed.named(topic.name).shuffle(&mut topic.facts);
            }
            topics
        };
        Self {
            words: shuffled(words()),
            numbers: shuffled(numbers()),
            things: shuffled(things()),
        }
    }

    /// Keeps the topics of these names, all if there are none; the name that is no topic is the error.
    pub fn keep<'a>(&mut self, names: &'a [String]) -> Result<(), (&'a str, Vec<&'static str>)> {
        let groups = [&mut self.words, &mut self.numbers, &mut self.things];
        let known: Vec<&str> = groups
            .iter()
            .flat_map(|group| group.iter().map(|topic| topic.name))
            .collect();
        if let Some(unknown) = names.iter().find(|name| !known.contains(&name.as_str())) {
            return Err((unknown, known));
        }
        if !names.is_empty() {
            groups
                .into_iter()
                .for_each(|group| group.retain(|topic| names.iter().any(|name| name == topic.name)));
        }
        Ok(())
    }
}

fn words() -> Vec<Topic> {
    vec![
        topic("animal_size", animal_size()),
        topic(
            "capital",
            looked_up(
                CAPITALS,
                ["What is the capital of {}?", "Which city is the capital of {}?"],
            ),
        ),
        topic("color", color()),
        topic("either_or", either_or()),
        topic("first_letter", first_letter()),
        topic("neighbour", cycle(DAYS, "day").chain(cycle(MONTHS, "month")).collect()),
        topic(
            "opposite",
            looked_up(
                OPPOSITES,
                ["What is the opposite of {}?", "Which word is the opposite of \"{}\"?"],
            ),
        ),
        topic(
            "past",
            looked_up(
                PASTS,
                [
                    "What is the past tense of {}?",
                    "What is the past tense of the verb \"{}\"?",
                ],
            ),
        ),
        topic(
            "plural",
            looked_up(
                PLURALS,
                [
                    "What is the plural of {}?",
                    "What is the plural form of the word \"{}\"?",
                ],
            ),
        ),
        topic("sentiment", sentiment()),
    ]
}

fn numbers() -> Vec<Topic> {
    let square = |from: i64, to: i64| (from..=to).flat_map(move |a| (from..=to).map(move |b| (a, b)));
    let ordered = |from: i64, to: i64| square(from, to).filter(|(a, b)| a > b);
    vec![
        topic("larger", larger_number()),
        topic(
            "minus",
            ordered(2, 20)
                .map(|(a, b)| arithmetic(a, "minus", "-", b, a - b))
                .collect(),
        ),
        topic("next", (5..=99).flat_map(next_number).collect()),
        topic(
            "plus",
            square(2, 20)
                .map(|(a, b)| arithmetic(a, "plus", "+", b, a + b))
                .collect(),
        ),
        topic("story", ordered(2, 9).flat_map(|(a, b)| story(a, b)).collect()),
        topic(
            "times",
            square(2, 10)
                .map(|(a, b)| arithmetic(a, "times", "x", b, a * b))
                .collect(),
        ),
    ]
}

fn things() -> Vec<Topic> {
    let facts = THINGS
        .iter()
        .flat_map(|(list, _)| (2..=5).map(|count| some_of(list, count)));
    vec![topic("things", facts.collect())]
}

/// A small number as a word.
pub fn spelled(n: usize) -> &'static str {
    ["zero", "one", "two", "three", "four", "five"]
        .get(n)
        .copied()
        .unwrap_or("many")
}

fn some_of(list: &str, count: usize) -> Fact {
    let gold = Gold::Things {
        list: list.to_owned(),
        count,
    };
    let n = spelled(count);
    ["Name {}.", "List {}.", "Can you name {}?", "Please name {}."]
        .map(|phrasing| ask(phrasing.replace("{}", &format!("{n} {list}")), &gold))
        .into()
}

fn animal_size() -> Vec<Fact> {
    let mut facts = Vec::new();
    for (tier, small_ones) in ANIMALS_BY_SIZE.iter().enumerate() {
        for small in *small_ones {
            for large in ANIMALS_BY_SIZE[tier + 1..].concat() {
                let both = [with_article(small), with_article(large)];
                facts.push(which(&both, "Which is larger,", large, small));
                facts.push(which(&both, "Which is smaller,", small, large));
            }
        }
    }
    facts
}

fn color() -> Vec<Fact> {
    let fact = |(thing, right): (&str, Vec<&str>)| {
        let rivals: Vec<&str> = COLORS.split(' ').filter(|color| !right.contains(color)).collect();
        let phrasings = [
            format!("What color is {thing}?"),
            format!("Tell me the color of {thing}."),
        ];
        word(phrasings, &right, &rivals)
    };
    entries(COLOR_OF).map(fact).collect()
}

fn sentiment() -> Vec<Fact> {
    let mut facts = Vec::new();
    for (right, wrong, adjectives) in [("positive", "negative", PRAISE), ("negative", "positive", BLAME)] {
        for noun in REVIEWED.split(' ') {
            for adjective in adjectives.split(' ') {
                let sentence = format!("The {noun} was {adjective}.");
                let phrasings = [
                    format!("Review: {sentence}\nIs this review positive or negative?"),
                    format!("Review: {sentence}\nIs that negative or positive?"),
                ];
                facts.push(word(phrasings, &[right], &[wrong]));
            }
        }
    }
    facts
}

fn first_letter() -> Vec<Fact> {
    let fact = |asked: &str| {
        let phrasings = [
            format!("What is the first letter of \"{asked}\"?"),
            format!("Which letter does the word {asked} start with?"),
        ];
        word(phrasings, &[&asked[..1]], &[])
    };
    FIRST_LETTERS.split(' ').map(fact).collect()
}

/// What comes before and after each item of a cycle. The other items are rivals: to recite all of them is no answer.
fn cycle(items: &'static str, noun: &'static str) -> impl Iterator<Item = Fact> {
    let items: Vec<&str> = items.split(' ').collect();
    let n = items.len();
    let fact = move |asked: usize, side: &str, right: usize| {
        let rivals = (0..n)
            .filter(|item| ![asked, right].contains(item))
            .map(|item| items[item]);
        let phrasings = [
            format!("Which {noun} comes {side} {}?", items[asked]),
            format!("What is the {noun} right {side} {}?", items[asked]),
        ];
        word(phrasings, &[items[right]], &rivals.collect::<Vec<_>>())
    };
    (0..n).flat_map(move |asked| {
        [
            fact(asked, "after", (asked + 1) % n),
            fact(asked, "before", (asked + n - 1) % n),
        ]
    })
}

fn either_or() -> Vec<Fact> {
    let fact = |(thing, ways): (&str, Vec<&str>)| {
        let (right, wrong) = (ways[0], ways[1]);
        let phrasings = [
            format!("Is {thing} {right} or {wrong}?"),
            format!("Is {thing} {wrong} or {right}?"),
        ];
        word(phrasings, &[bare(right)], &[bare(wrong)])
    };
    entries(EITHER_OR).map(fact).collect()
}

fn larger_number() -> Vec<Fact> {
    let mut facts = Vec::new();
    for step in [2, 7, 18, 40] {
        for small in 3..=55 {
            let large = small + step;
            let ask = |asked: &str, right: i64| {
                let phrasings = [
                    format!("Which number is {asked}, {small} or {large}?"),
                    format!("Which number is {asked}, {large} or {small}?"),
                ];
                number(phrasings, right)
            };
            facts.extend([ask("larger", large), ask("smaller", small)]);
        }
    }
    facts
}

fn next_number(a: i64) -> [Fact; 2] {
    let ask = |side: &str, by: &str, right: i64| {
        let phrasings = [
            format!("What number comes {side} {a}?"),
            format!("Which number is one {by} than {a}?"),
        ];
        number(phrasings, right)
    };
    [ask("after", "more", a + 1), ask("before", "less", a - 1)]
}

fn arithmetic(a: i64, name: &str, sign: &str, b: i64, right: i64) -> Fact {
    number(
        [
            format!("What is {a} {name} {b}?"),
            format!("How much is {a} {sign} {b}?"),
        ],
        right,
    )
}

fn story(a: i64, b: i64) -> [Fact; 2] {
    let pick = |list: &[&'static str]| list[(a * 10 + b) as usize % list.len()];
    let name = pick(&["Tom", "Anna", "Ben", "Maria", "Sam", "Lucy", "Omar"]);
    let things = pick(&["apples", "books", "coins", "pens", "eggs"]);
    let tell = |action: &str, right: i64| {
        let phrasings = [
            format!("{name} has {a} {things} and {action} {b}. How many {things} does {name} have now?"),
            format!("{name} has {a} {things} and {action} {b}. How many are there now?"),
        ];
        number(phrasings, right)
    };
    [tell("buys", a + b), tell("loses", a - b)]
}

/// One fact for each entry of a table, under phrasings with `{}` for what is asked.
fn looked_up(table: &'static str, phrasings: [&str; 2]) -> Vec<Fact> {
    let fact = |(asked, right): (&str, Vec<&str>)| word(phrasings.map(|text| text.replace("{}", asked)), &right, &[]);
    entries(table).map(fact).collect()
}

/// The entries `asked = right|also right` of a table.
fn entries(table: &'static str) -> impl Iterator<Item = (&'static str, Vec<&'static str>)> {
    let entry = |entry: &'static str| {
        let (asked, right) = entry.split_once(" = ").expect("an entry of a word list has an answer");
        (asked, right.split('|').collect())
    };
    table.split("; ").map(entry)
}

/// A choice between two, in either order.
fn which([a, b]: &[String; 2], asked: &str, right: &str, wrong: &str) -> Fact {
    word(
        [format!("{asked} {a} or {b}?"), format!("{asked} {b} or {a}?")],
        &[right],
        &[wrong],
    )
}

fn word(phrasings: [String; 2], right: &[&str], wrong: &[&str]) -> Fact {
    let lower = |words: &[&str]| words.iter().map(|word| word.to_lowercase()).collect::<Vec<_>>();
    let gold = Gold::Word {
        accepted: lower(right),
        rivals: lower(wrong),
    };
    phrasings.map(|text| ask(text, &gold)).into()
}

fn number(phrasings: [String; 2], right: i64) -> Fact {
    phrasings.map(|text| ask(text, &Gold::Number(right))).into()
}

fn ask(text: String, gold: &Gold) -> Question {
    Question {
        text,
        gold: gold.clone(),
    }
}

fn topic(name: &'static str, facts: Vec<Fact>) -> Topic {
    Topic { name, facts }
}

fn bare(noun: &str) -> &str {
    noun.trim_start_matches("an ").trim_start_matches("a ")
}

fn with_article(noun: &str) -> String {
    let article = if noun.starts_with(['a', 'e', 'i', 'o', 'u']) {
        "an"
    } else {
        "a"
    };
    format!("{article} {noun}")
}

/// A word and its regular plurals, right or wrong: `cherry`, `cherrys`, `cherryes`, `cherries`.
fn forms(member: &str) -> Vec<String> {
    let mut forms = vec![member.to_owned(), format!("{member}s"), format!("{member}es")];
    forms.extend(member.strip_suffix('y').map(|stem| format!("{stem}ies")));
    forms
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn gold_of(text: &str) -> Gold {
        let topics = [words(), numbers(), things()].into_iter().flatten();
        let mut questions = topics.flat_map(|topic| topic.facts).flatten();
        questions
            .find(|question| question.text == text)
            .unwrap_or_else(|| panic!("no question {text}"))
            .gold
    }

    #[test]
    fn a_mention_before_its_rivals_is_right() {
        let gold = gold_of("Which is larger, a mouse or an elephant?");
        let right = [
            "elephant",
            "ELEPHANT.",
            "An elephant is larger than a mouse.",
            "{\"answer\": \"Elephant\"}",
        ];
        let wrong = [
            "",
            "mouse",
            "Which is larger, a mouse or an elephant?",
            "elephantine",
            "a whale",
            "\u{fffd}",
        ];
        assert!(right.iter().all(|response| gold.share(response) == Some(1.0)));
        assert!(wrong.iter().all(|response| gold.share(response) == Some(0.0)));
    }

    #[test]
    fn neighbours_of_a_cycle() {
        let gold = gold_of("Which day comes after Sunday?");
        assert_eq!(gold.share("The day after Sunday is Monday."), Some(1.0));
        assert_eq!(gold.share("Tuesday, Wednesday, Monday"), Some(0.0));
        assert_eq!(
            gold_of("Which month comes before January?").share("december"),
            Some(1.0)
        );
    }

    #[test]
    fn numbers_are_compared_as_numbers() {
        let gold = gold_of("What is 12 plus 9?");
        assert_eq!(gold.share("12 + 9 = 21.0"), Some(1.0));
        assert_eq!(gold.share("twenty-one"), Some(0.0));
        assert_eq!(gold_of("Which number is smaller, 10 or 3?").share("3"), Some(1.0));
    }

    #[test]
    fn things_count_once_each() {
        let gold = gold_of("Name four fruits.");
        assert_eq!(gold.share("apples, Cherries, figs, kiwi, plum"), Some(1.0));
        assert_eq!(gold.share("apple, apple, apples, apple"), Some(0.25));
        assert_eq!(gold.share("grapefruit"), Some(0.25));
        assert_eq!(gold.share("chair, table"), Some(0.0));
        let unknown = Gold::Things {
            list: "dragons".into(),
            count: 3,
        };
        assert_eq!(unknown.share("fafnir"), None);
    }

    #[test]
    fn no_member_is_mentioned_in_another() {
        for (list, members) in THINGS {
            let members: Vec<&str> = members.split(", ").collect();
            assert!(members.len() >= 7, "{list}");
            let all: Vec<String> = members.iter().flat_map(|member| forms(member)).collect();
            assert_eq!(
                all.iter().collect::<HashSet<_>>().len(),
                all.len(),
                "a form of {list} is there twice"
            );
            for form in &all {
                assert_eq!(*form, form.to_lowercase());
                let inside = all
                    .iter()
                    .filter(|other| *other != form && mention(other, form).is_some());
                assert_eq!(inside.collect::<Vec<_>>(), Vec::<&String>::new(), "{form} in {list}");
            }
        }
    }

    #[test]
    fn questions_are_distinct_and_do_not_answer_themselves() {
        let mut seen = HashSet::new();
        for topic in [words(), numbers(), things()].into_iter().flatten() {
            let mut echoes = 0.0;
            let mut count = 0.0;
            for question in topic.facts.iter().flatten() {
                assert!(seen.insert(question.text.clone()), "{} is asked twice", question.text);
                echoes += question.gold.share(&question.text).expect("a known list");
                count += 1.0;
            }
            assert!(
                echoes / count <= 0.5,
                "{}: an echo scores {}",
                topic.name,
                echoes / count
            );
        }
        assert!(seen.len() > 4000, "{}", seen.len());
    }
}
