//! A task from JSON-lines files: a prompt template over the columns, a gold answer, a judge. The first line of SST-2's
//! test set,
//!
//! ```text
//! {"text": "no movement , no yuks , not much of anything .", "label": 0}
//! ```
//!
//! under the prompt `Is this movie review positive or negative? Answer in one word.\n{text}` with the answer map
//! `0 = negative, 1 = positive` becomes the user's turn
//!
//! ```text
//! Is this movie review positive or negative? Answer in one word.
//! no movement , no yuks , not much of anything .
//! ```
//!
//! and the reference `{"answer": "negative"}`; the judge `first_word` gives `Negative.` the reward 1. Splits without a
//! file of their own are carved off train by the seed: test first, then validation, in the order of the file.

use super::splits::{self, Splits};
use super::{Example, Grade, Split, Task, Verdict};
use crate::error::{Error, Result};
use crate::reward::answer::{self, Case};
use crate::reward::format::has_word;
use crate::reward::number::Number;
use crate::seed::Seed;
use crate::text::Message;
use regex::Regex;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// How to read files into a task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JsonlConfig {
    /// The file that judges candidates; one JSON object a line.
    pub train: PathBuf,
    /// The file that judges the mean. Without it, `validation_size` lines are carved off train.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation: Option<PathBuf>,
    /// The file that judges the result. Without it, `test_size` lines are carved off train.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test: Option<PathBuf>,
    /// Lines to carve off train for validation, 256 unless told; only without a `validation` file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation_size: Option<usize>,
    /// Lines to carve off train for test, 256 unless told; only without a `test` file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test_size: Option<usize>,
    /// The user's turn. `{column}` stands for the line's value of that column, `{{` and `}}` for braces.
    pub prompt: String,
    /// The system's turn, as it is; without it the chat template decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system: Option<String>,
    /// The column with the gold answer.
    pub answer: String,
    /// What each value of the answer column means, where it is a code: `{ 0 = "negative", 1 = "positive" }`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer_map: Option<BTreeMap<String, String>>,
    /// When a response gives the answer.
    pub judge: Judge,
    /// Whether letters of other case are other letters.
    #[serde(default)]
    pub case_sensitive: bool,
    /// Whether, and how, candidates are judged by the probability of the gold answer, as it is spelt in the data, instead of
    /// by a text. Validation and test are judged by texts in any case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub graded: Option<Grade>,
}

/// When a response gives the answer: a name, or `{ regex = "…" }`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Judge {
    /// It is the answer and nothing else.
    Exact,
    /// Its first word is the answer.
    FirstWord,
    /// It mentions the answer as whole words and, where an `answer_map` lists all answers, no other one.
    Contains,
    /// Its last number equals the last number in the answer column.
    Number,
    /// Group 1 of the first match is the answer, as text or as a number. With `(?s).*` in front: of the last match.
    Regex(String),
}

/// The task.
#[derive(Debug)]
pub struct Jsonl {
    name: String,
    judge: Compiled,
    case: Case,
    graded: Option<Grade>,
    splits: Splits,
}

/// The longest line that is read, in bytes: JSON may take thirty times as much memory when it is parsed.
const LONGEST_LINE: usize = 16 << 20;

/// Examples carved off train for a split that has no file and no size.
const CARVED: usize = 256;

impl Jsonl {
    /// Reads the files; relative paths are relative to `base_dir`.
    pub fn load(config: &JsonlConfig, seed: Seed, base_dir: &Path) -> Result<Self> {
        let reader = Reader::new(config, base_dir)?;
        size_without_file("validation", config.validation.is_some(), config.validation_size)?;
        size_without_file("test", config.test.is_some(), config.test_size)?;

        let mut train = reader.read(&config.train)?;
        let lines = train.len();
        let carve = |name: &str, size: Option<usize>, train: &mut Vec<Example>| {
            let size = size.unwrap_or(CARVED);
            if size == 0 || size >= train.len() {
                return Err(Error::config(format!(
                    "task: {name}_size = {size} examples cannot be carved off {}, which has {lines} lines, {} of them \
                     still free; give a size from 1 to {}, or a `{name}` file",
                    config.train.display(),
                    train.len(),
                    train.len().saturating_sub(1),
                )));
            }
            Ok(carve_off(train, size, seed.named(name)))
        };
        let mut removed = 0;
        let test = match &config.test {
            Some(path) => reader.read(path)?,
            None => carve("test", config.test_size, &mut train)?,
        };
        // Before validation is carved, so that it is as large as asked for.
        removed += splits::remove(&mut train, &test);
        let validation = match &config.validation {
            Some(path) => reader.read(path)?,
            None => carve("validation", config.validation_size, &mut train)?,
        };
        let mut splits = Splits::new(train, validation, test);
        splits.removed_from_train += removed;
        for (split, name) in [(Split::Train, "train"), (Split::Validation, "validation")] {
            if splits.get(split).is_empty() {
                return Err(Error::config(format!(
                    "task: no example is left for {name}: each of its prompts is also in a split that is judged later; \
                     give {name} a file of its own"
                )));
            }
        }
        let case = if config.case_sensitive {
            Case::Sensitive
        } else {
            Case::Insensitive
        };
        let file = config.train.file_stem();
        Ok(Self {
            name: format!("jsonl {}", file.unwrap_or_default().to_string_lossy()),
            judge: reader.judge,
            case,
            graded: config.graded,
            splits,
        })
    }
}

impl Task for Jsonl {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn examples(&self, split: Split) -> &[Example] {
        self.splits.get(split)
    }

    fn judge(&self, example: &Example, response: &str) -> Verdict {
        let Some(gold) = gold(example) else {
            return Verdict::failed();
        };
        let correct = f64::from(self.judge.correct(response, gold, self.case));
        Verdict::new(correct, [("correct", correct)])
    }

    fn graded_by<'a>(&self, example: &'a Example) -> Option<(&'a str, Grade)> {
        gold(example).zip(self.graded)
    }

    fn notes(&self) -> Vec<String> {
        let removed = [
            (self.splits.removed_from_train, "train", "validation or test"),
            (self.splits.removed_from_validation, "validation", "test"),
        ];
        removed
            .iter()
            .filter(|(count, _, _)| *count > 0)
            .map(|(count, from, by)| format!("{count} examples were removed from {from} because {by} has their prompt"))
            .collect()
    }
}

fn gold(example: &Example) -> Option<&str> {
    example.reference.get("answer").and_then(Value::as_str)
}

/// A judge that is ready to judge.
#[derive(Debug)]
enum Compiled {
    Exact,
    FirstWord,
    /// All possible answers; empty when they are not known.
    Contains(BTreeSet<String>),
    Number,
    Regex(Regex),
}

impl Compiled {
    fn new(config: &JsonlConfig) -> Result<Self> {
        Ok(match &config.judge {
            Judge::Exact => Self::Exact,
            Judge::FirstWord => Self::FirstWord,
            Judge::Contains => Self::Contains(config.answer_map.iter().flat_map(BTreeMap::values).cloned().collect()),
            Judge::Number => Self::Number,
            Judge::Regex(pattern) => {
                let regex = Regex::new(pattern).map_err(|error| {
                    Error::config(format!("task: judge: regex = '{pattern}' is not valid: {error}"))
                })?;
                if regex.captures_len() < 2 {
                    return Err(Error::config(format!(
                        "task: judge: regex = '{pattern}' has no group; put ( ) around the part that is the answer"
                    )));
                }
                Self::Regex(regex)
            }
        })
    }

    /// Why `gold` can never be given under this judge, if so.
    fn refuses(&self, gold: &str) -> Option<&'static str> {
        match self {
            _ if gold.trim().is_empty() => Some("is empty"),
            Self::FirstWord if gold.split_whitespace().count() != 1 || !has_word(gold) => {
                Some("is not a single word, and judge = \"first_word\"")
            }
            Self::Number if Number::last_in(gold).is_none() => Some("has no number, and judge = \"number\""),
            _ => None,
        }
    }

    fn correct(&self, response: &str, gold: &str, case: Case) -> bool {
        match self {
            Self::Exact => answer::exact(response, gold, case),
            Self::FirstWord => answer::first_word(response, gold, case),
            Self::Number => answer::number(response, gold),
            Self::Regex(pattern) => answer::regex(response, pattern, gold, case),
            // Naming all answers must not be rewarded, and repeating the question often does just that. An answer
            // that is a part of the right one (`good` of `very good`) cannot be avoided.
            Self::Contains(all) => {
                let other = |label: &&String| !answer::contains(gold, label, case);
                answer::contains(response, gold, case)
                    && !all
                        .iter()
                        .filter(other)
                        .any(|label| answer::contains(response, label, case))
            }
        }
    }
}

/// Turns lines into examples.
struct Reader<'a> {
    config: &'a JsonlConfig,
    base_dir: &'a Path,
    template: Template,
    judge: Compiled,
}

impl<'a> Reader<'a> {
    fn new(config: &'a JsonlConfig, base_dir: &'a Path) -> Result<Self> {
        Ok(Self {
            config,
            base_dir,
            template: Template::parse(&config.prompt)?,
            judge: Compiled::new(config)?,
        })
    }

    fn read(&self, name: &Path) -> Result<Vec<Example>> {
        let path = self.base_dir.join(name);
        let bytes = std::fs::read(&path).map_err(Error::io(&path))?;
        let bytes = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(&bytes);
        let mut examples = Vec::new();
        for (index, line) in bytes.split(|&byte| byte == b'\n').enumerate() {
            if line.trim_ascii().is_empty() {
                continue;
            }
            let number = index + 1;
            if line.len() > LONGEST_LINE {
                let what = format!(
                    "line {number} has {} MiB, expected at most {}",
                    line.len() >> 20,
                    LONGEST_LINE >> 20
                );
                return Err(Error::file(&path, what));
            }
            let example = self
                .example(line, format!("{}:{number}", name.display()))
                .map_err(|what| Error::file(&path, format!("line {number}: {what}")))?;
            examples.push(example);
        }
        if examples.is_empty() {
            return Err(Error::file(
                &path,
                "the file has no example; expected one JSON object a line",
            ));
        }
        Ok(examples)
    }

    fn example(&self, line: &[u8], id: String) -> std::result::Result<Example, String> {
        let row: Map<String, Value> = match serde_json::from_slice(line) {
            Ok(Value::Object(row)) => row,
            Ok(other) => return Err(format!("found {}, expected a JSON object", a_kind_of(&other))),
            Err(_) if line.trim_ascii() == b"[" => {
                return Err("found the start of a JSON array; expected JSON lines, one object a line".into());
            }
            Err(error) => {
                let error = error.to_string();
                let what = error.split(" at line").next().unwrap_or(&error);
                return Err(format!("not valid JSON ({what}); expected one object a line"));
            }
        };
        let mut messages = Vec::new();
        messages.extend(self.config.system.as_deref().map(Message::system));
        messages.push(Message::user(self.template.render(&row)?));
        Ok(Example {
            id,
            messages,
            reference: json!({ "answer": self.gold(&row)? }),
        })
    }

    fn gold(&self, row: &Map<String, Value>) -> std::result::Result<String, String> {
        let column = &self.config.answer;
        let found = text(row, column)?;
        let gold = match &self.config.answer_map {
            None => found,
            Some(map) => map.get(found.trim()).cloned().ok_or_else(|| {
                let keys: Vec<_> = map.keys().map(String::as_str).collect();
                format!(
                    "column `{column}` is `{found}`, which answer_map does not have; it has {}",
                    named(&keys)
                )
            })?,
        };
        match self.judge.refuses(&gold) {
            Some(why) => Err(format!("the answer `{gold}` from column `{column}` {why}")),
            None => Ok(gold),
        }
    }
}

/// A prompt with places for columns.
#[derive(Debug, PartialEq)]
struct Template(Vec<Part>);

#[derive(Debug, PartialEq)]
enum Part {
    Text(String),
    Column(String),
}

impl Template {
    fn parse(prompt: &str) -> Result<Self> {
        let wrong = |what: &str| Error::config(format!("task: prompt = \"{}\": {what}", prompt.escape_debug()));
        let mut parts = Vec::new();
        let mut text = String::new();
        let mut rest = prompt;
        while let Some(at) = rest.find(['{', '}']) {
            let (before, here) = rest.split_at(at);
            text.push_str(before);
            if let Some(after) = here.strip_prefix("{{") {
                text.push('{');
                rest = after;
            } else if let Some(after) = here.strip_prefix("}}") {
                text.push('}');
                rest = after;
            } else if let Some((name, after)) = here.strip_prefix('{').and_then(|inside| inside.split_once('}')) {
                if name.trim().is_empty() || name.contains('{') {
                    return Err(wrong(
                        "expected the name of a column between { and }; a brace itself is {{ or }}",
                    ));
                }
                parts.push(Part::Text(std::mem::take(&mut text)));
                parts.push(Part::Column(name.trim().to_owned()));
                rest = after;
            } else {
                return Err(wrong("a brace has no partner; a brace itself is {{ or }}"));
            }
        }
        if parts.is_empty() {
            return Err(wrong(
                "names no column, so all prompts would be the same; expected {column} somewhere",
            ));
        }
        text.push_str(rest);
        parts.push(Part::Text(text));
        parts.retain(|part| !matches!(part, Part::Text(text) if text.is_empty()));
        Ok(Self(parts))
    }

    fn render(&self, row: &Map<String, Value>) -> std::result::Result<String, String> {
        let parts = self.0.iter().map(|part| match part {
            Part::Text(text) => Ok(text.clone()),
            Part::Column(column) => text(row, column),
        });
        parts.collect()
    }
}

/// The text in a column: strings as they are, numbers and booleans as JSON writes them.
fn text(row: &Map<String, Value>, column: &str) -> std::result::Result<String, String> {
    match row.get(column) {
        Some(Value::String(text)) => Ok(text.clone()),
        Some(value @ (Value::Number(_) | Value::Bool(_))) => Ok(value.to_string()),
        Some(other) => Err(format!(
            "column `{column}` is {}, expected text, a number or a boolean",
            a_kind_of(other)
        )),
        None => {
            let found: Vec<_> = row.keys().map(String::as_str).collect();
            Err(format!("column `{column}` is missing; the line has {}", named(&found)))
        }
    }
}

fn named(names: &[&str]) -> String {
    match names {
        [] => "none".into(),
        names => names
            .iter()
            .map(|name| format!("`{name}`"))
            .collect::<Vec<_>>()
            .join(", "),
    }
}

fn a_kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// Takes `size` examples out of `examples`, chosen by `seed`; both keep the order of the file.
fn carve_off(examples: &mut Vec<Example>, size: usize, seed: Seed) -> Vec<Example> {
    let mut order: Vec<usize> = (0..examples.len()).collect();
    seed.shuffle(&mut order);
    let chosen: BTreeSet<usize> = order.into_iter().take(size).collect();
    let (carved, kept): (Vec<_>, Vec<_>) = std::mem::take(examples)
        .into_iter()
        .enumerate()
        .partition(|(index, _)| chosen.contains(index));
    let bare = |numbered: Vec<(usize, Example)>| numbered.into_iter().map(|(_, example)| example).collect();
    *examples = bare(kept);
    bare(carved)
}

fn size_without_file(name: &str, file: bool, size: Option<usize>) -> Result<()> {
    match size {
        Some(size) if file => Err(Error::config(format!(
            "task: {name}_size = {size} is for carving {name} off train, and there is a `{name}` file; remove one of \
             the two"
        ))),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three files in a fresh folder, and a config that reads them.
    fn folder(files: &[(&str, &str)]) -> (tempfile::TempDir, JsonlConfig) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for (name, content) in files {
            std::fs::write(folder.path().join(name), content).expect("a file in it");
        }
        let config = JsonlConfig {
            train: "train.jsonl".into(),
            validation: Some("dev.jsonl".into()),
            test: Some("test.jsonl".into()),
            validation_size: None,
            test_size: None,
            prompt: "{q}".into(),
            system: None,
            answer: "a".into(),
            answer_map: None,
            judge: Judge::Exact,
            case_sensitive: false,
            graded: None,
        };
        (folder, config)
    }

    fn rows(prompts: &[&str]) -> String {
        prompts
            .iter()
            .map(|q| format!("{}\n", json!({ "q": q, "a": "yes" })))
            .collect()
    }

    fn load(folder: &tempfile::TempDir, config: &JsonlConfig) -> Result<Jsonl> {
        Jsonl::load(config, Seed::new(0), folder.path())
    }

    /// The error of a train file with this content.
    fn refused(train: &str, change: fn(&mut JsonlConfig)) -> String {
        let (folder, mut config) = folder(&[
            ("train.jsonl", train),
            ("dev.jsonl", &rows(&["v"])),
            ("test.jsonl", &rows(&["t"])),
        ]);
        change(&mut config);
        load(&folder, &config).expect_err("must be refused").to_string()
    }

    #[test]
    fn a_line_becomes_an_example() {
        let line = r#"{"n": 3, "ok": true, "text": "a {b} 
é", "label": 0}"#
            .replace('\n', "\\n");
        let (folder, mut config) = folder(&[
            ("train.jsonl", &format!("\u{feff}\r\n{line}\r\n\r\n")),
            ("dev.jsonl", &line.replace('3', "4")),
            ("test.jsonl", &line.replace('3', "5")),
        ]);
        config.prompt = "{{{n}}} {ok}: { text }".into();
        config.system = Some("Be {brief}.".into());
        config.answer = "label".into();
        config.answer_map = Some(BTreeMap::from([("0".into(), "No".into()), ("1".into(), "Yes".into())]));
        let task = load(&folder, &config).expect("a good task");
        let [example] = task.examples(Split::Train) else {
            panic!("one line is one example");
        };
        assert_eq!(example.id, "train.jsonl:2");
        assert_eq!(example.messages[0], Message::system("Be {brief}."));
        assert_eq!(example.messages[1], Message::user("{3} true: a {b} \né"));
        assert_eq!(example.reference, json!({ "answer": "No" }));
        assert_eq!(task.judge(example, " no\n"), Verdict::new(1.0, [("correct", 1.0)]));
        assert_eq!(task.judge(example, "yes"), Verdict::new(0.0, [("correct", 0.0)]));
        assert!(task.notes().is_empty());
        let foreign = Example {
            reference: json!({ "answer": 3 }),
            ..example.clone()
        };
        assert_eq!(task.judge(&foreign, "3"), Verdict::failed());
    }

    #[test]
    fn errors_name_file_line_and_column() {
        let good = rows(&["x"]);
        let message = refused(&format!("{good}\n{{\"quest\": 1, \"a\": \"yes\"}}"), |_| ());
        assert!(
            message.contains("train.jsonl: line 3: column `q` is missing; the line has `quest`, `a`"),
            "{message}"
        );
        let wrong = [
            ("", "has no example"),
            ("\n \n", "has no example"),
            ("[\n", "line 1: found the start of a JSON array"),
            ("[1]", "line 1: found an array, expected a JSON object"),
            ("{\"q\": ", "line 1: not valid JSON (EOF while parsing a value)"),
            ("{}", "the line has none"),
            ("{\"q\": null, \"a\": 1}", "column `q` is null, expected text"),
            ("{\"q\": [1], \"a\": 1}", "column `q` is an array"),
            (
                "{\"q\": \"x\", \"a\": \" \"}",
                "the answer ` ` from column `a` is empty",
            ),
        ];
        for (train, expected) in wrong {
            let message = refused(train, |_| ());
            assert!(
                message.contains("train.jsonl: ") && message.contains(expected),
                "{train}: {message}"
            );
        }
        assert!(refused(&good, |config| config.train = "no.jsonl".into()).contains("no.jsonl"));
    }

    #[test]
    fn a_config_that_cannot_work_is_refused() {
        type Change = (fn(&mut JsonlConfig), &'static str);
        let changes: [Change; 13] = [
            (|config| config.prompt = "Say yes.".into(), "names no column"),
            (|config| config.prompt = "{q".into(), "no partner"),
            (|config| config.prompt = "q}".into(), "no partner"),
            (|config| config.prompt = "{}".into(), "the name of a column"),
            (|config| config.prompt = "{a{q}}".into(), "the name of a column"),
            (|config| config.judge = Judge::Regex("(".into()), "is not valid"),
            (|config| config.judge = Judge::Regex("yes".into()), "has no group"),
            (|config| config.judge = Judge::Number, "has no number"),
            (|config| config.validation_size = Some(3), "remove one of the two"),
            (
                |config| (config.test, config.test_size) = (None, Some(0)),
                "test_size = 0",
            ),
            (
                |config| (config.test, config.test_size) = (None, Some(1)),
                "give a size from 1 to 0",
            ),
            (
                |config| config.test = Some("train.jsonl".into()),
                "no example is left for train",
            ),
            (
                |config| config.answer_map = Some(BTreeMap::from([("1".into(), "one".into())])),
                "column `a` is `yes`, which answer_map does not have; it has `1`",
            ),
        ];
        for (change, expected) in changes {
            let message = refused(&rows(&["x"]), change);
            assert!(message.contains(expected), "{message}, expected: {expected}");
        }
        let two_words: fn(&mut JsonlConfig) = |config| {
            config.judge = Judge::FirstWord;
            config.answer_map = Some(BTreeMap::from([("yes".into(), "very good".into())]));
        };
        assert!(refused(&rows(&["x"]), two_words).contains("is not a single word"));
    }

    #[test]
    fn repeated_prompts_stay_where_they_are_judged_last() {
        let (folder, config) = folder(&[
            ("train.jsonl", &rows(&["a", "b", " B", "c", "c"])),
            ("dev.jsonl", &rows(&["b", "t"])),
            ("test.jsonl", &rows(&["t", "T", "a"])),
        ]);
        let task = load(&folder, &config).expect("a good task");
        let ids = |split| {
            task.examples(split)
                .iter()
                .map(|example| example.id.as_str())
                .collect::<Vec<_>>()
        };
        assert_eq!(ids(Split::Test), ["test.jsonl:1", "test.jsonl:2", "test.jsonl:3"]);
        assert_eq!(ids(Split::Validation), ["dev.jsonl:1"]);
        assert_eq!(ids(Split::Train), ["train.jsonl:4", "train.jsonl:5"]);
        assert_eq!(
            task.notes(),
            [
                "3 examples were removed from train because validation or test has their prompt",
                "1 examples were removed from validation because test has their prompt",
            ]
        );
    }

    #[test]
    fn carving_is_as_large_as_asked_for_and_hangs_on_the_seed() {
        let prompts: Vec<String> = (0..100).map(|n| format!("prompt {}", n % 80)).collect();
        let prompts: Vec<&str> = prompts.iter().map(String::as_str).collect();
        let (folder, mut config) = folder(&[("train.jsonl", &rows(&prompts))]);
        (config.validation, config.validation_size) = (None, Some(20));
        (config.test, config.test_size) = (None, Some(30));
        let mut seen = Vec::new();
        for seed in 0..20 {
            let task = Jsonl::load(&config, Seed::new(seed), folder.path()).expect("a good task");
            let sizes = [Split::Train, Split::Validation, Split::Test].map(|split| task.examples(split).len());
            assert_eq!(sizes[1..], [20, 30]);
            let total: usize = sizes.iter().sum();
            assert_eq!(total + task.splits.removed_from_train, 100);
            let lines = |split| {
                let number = |example: &Example| example.id.split(':').nth(1).and_then(|line| line.parse::<u32>().ok());
                task.examples(split).iter().filter_map(number).collect::<Vec<_>>()
            };
            assert!(lines(Split::Train).is_sorted() && lines(Split::Test).is_sorted());
            assert!(!seen.contains(&lines(Split::Test)));
            seen.push(lines(Split::Test));
        }
    }

    #[test]
    fn a_closed_set_of_answers_cannot_be_recited() {
        let (folder, mut config) = folder(&[
            ("train.jsonl", "{\"q\": \"x\", \"a\": 2}"),
            ("dev.jsonl", "{\"q\": \"y\", \"a\": 2}"),
            ("test.jsonl", "{\"q\": \"z\", \"a\": 2}"),
        ]);
        config.judge = Judge::Contains;
        let labels = [("0", "bad"), ("1", "good"), ("2", "very good")];
        config.answer_map = Some(labels.map(|(code, label)| (code.into(), label.into())).into());
        let task = load(&folder, &config).expect("a good task");
        let reward = |response| task.judge(&task.examples(Split::Train)[0], response).reward;
        assert_eq!(reward("It is Very Good."), 1.0);
        assert_eq!(reward("Is it bad or very good?"), 0.0);
        assert_eq!(reward("good"), 0.0);
        config.case_sensitive = true;
        let task = load(&folder, &config).expect("a good task");
        assert_eq!(
            task.judge(&task.examples(Split::Train)[0], "It is Very Good.").reward,
            0.0
        );
    }

    #[test]
    fn configs_are_written_as_people_write_them() {
        let config: JsonlConfig = toml::from_str(
            r#"
            train = "a.jsonl"
            prompt = "{q}"
            answer = "a"
            answer_map = { 0 = "negative", 1 = "positive" }
            judge = { regex = 'answer is (\w+)' }
            "#,
        )
        .expect("valid");
        assert_eq!(config.judge, Judge::Regex(r"answer is (\w+)".into()));
        let written = toml::to_string(&config).expect("can be written");
        assert_eq!(toml::from_str::<JsonlConfig>(&written).expect("and read"), config);
        assert!(toml::from_str::<JsonlConfig>(&format!("{written}\njugde = 1")).is_err());
        let first_word = written.replace(&written[written.find("[judge]").expect("a table")..], "");
        assert!(
            toml::from_str::<JsonlConfig>(&first_word).is_err(),
            "a judge must be chosen"
        );
    }
}
