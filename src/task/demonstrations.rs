//! What supervised learning imitates: prompts with an assistant's answer. They come from a file of instruction rows, in any of the shapes in
//! which the field publishes them, or from the train split of a task, with the turn that its few-shot blocks would show.
//!
//! ```json
//! {"instruction": "Name a prime.", "input": "", "output": "7"}
//! {"messages": [{"role": "user", "content": "Name a prime."}, {"role": "assistant", "content": "7"}]}
//! {"prompt": "Name a prime.", "completion": "7"}
//! ```

use super::rows::{Size, place};
use super::splits::prompt_key;
use super::{Example, Split, Task};
use crate::error::{Error, Result};
use crate::rows::{self, Row, named};
use crate::text::Message;
use crate::text::conversation::{Content, content, turns};
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::path::{Path, PathBuf};

/// A prompt and its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Demonstration {
    /// Where it is from.
    pub id: String,
    /// The conversation so far.
    pub messages: Vec<Message>,
    /// The assistant's next turn.
    pub completion: String,
    /// What makes two prompts the same ([`prompt_key`]).
    pub key: String,
}

/// `[data]` of a warm start: which rows it learns from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DataConfig {
    /// A file of instruction rows, JSON lines or a JSON array; without it the train split of the task.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub train: Option<PathBuf>,
    /// A file whose loss is watched; without it `validation_size` rows of train, or of a task its validation split.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub validation: Option<PathBuf>,
    /// What is carved off train for that, by a hash of the prompt: a number of rows, or a share.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub validation_size: Option<Size>,
    /// Learn from so many rows of train, chosen by a hash of the prompt; without it from all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<usize>,
}

/// What is learned from, and what is only watched.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Demonstrations {
    /// Gradients come from these.
    pub train: Vec<Demonstration>,
    /// Held out.
    pub validation: Vec<Demonstration>,
}

/// A twentieth is watched where a config says nothing.
const WATCHED: Size = Size::Share(0.05);

impl DataConfig {
    /// Reads the rows. `task` is where they come from when no file is named.
    pub fn open(&self, task: Option<&dyn Task>) -> Result<Demonstrations> {
        if self.validation_size.is_some() && (self.validation.is_some() || self.train.is_none()) {
            return Err(Error::config(
                "data.validation_size carves rows off data.train; leave it out beside data.validation, and where the rows are those of a task",
            ));
        }
        let mut found = match (&self.train, task) {
            (Some(path), _) => self.read(path)?,
            (None, Some(task)) => {
                if let Some(path) = &self.validation {
                    return Err(Error::config(format!(
                        "data.validation is {}, but the rows are those of the task, whose own validation split is watched; leave it out, or set \
                         data.train",
                        path.display()
                    )));
                }
                Demonstrations {
                    train: of_task(task, Split::Train)?,
                    validation: of_task(task, Split::Validation)?,
                }
            }
            (None, None) => {
                return Err(Error::config(
                    "data.train is missing; expected a file of rows with instruction and output, messages, or prompt and completion, or a [task] \
                     whose train rows are learned from",
                ));
            }
        };
        if self.size == Some(0) {
            return Err(Error::config("data.size is 0, expected 1 or more"));
        }
        if let Some(size) = self.size {
            keep_nearest_to_zero(&mut found.train, "warm start", size);
        }
        if found.train.is_empty() || found.validation.is_empty() {
            return Err(Error::config(format!(
                "the warm start has {} rows to learn from and {} to watch; expected one of each at least: set data.validation_size or data.validation",
                found.train.len(),
                found.validation.len()
            )));
        }
        Ok(found)
    }

    fn read(&self, path: &Path) -> Result<Demonstrations> {
        let mut train = read(path)?;
        let validation = match (&self.validation, self.validation_size.unwrap_or(WATCHED)) {
            (Some(path), _) => read(path)?,
            (None, Size::Count(count)) => {
                let mut rest = train.clone();
                keep_nearest_to_zero(&mut rest, "validation", count);
                rest
            }
            (None, Size::Share(share)) if share > 0.0 && share < 1.0 => {
                let mut rest = train.clone();
                rest.retain(|one| place("validation", &one.key) < share);
                rest
            }
            (None, Size::Share(share)) => {
                return Err(Error::config(format!(
                    "data.validation_size is {share}, expected a number of rows, or a share between 0 and 1"
                )));
            }
        };
        let watched: HashSet<&str> = validation.iter().map(|one| one.key.as_str()).collect();
        train.retain(|one| !watched.contains(one.key.as_str()));
        Ok(Demonstrations { train, validation })
    }
}

impl Demonstrations {
    /// The prompts that gradients come from, by [`prompt_key`].
    pub fn keys(&self) -> HashSet<String> {
        self.train.iter().map(|one| one.key.clone()).collect()
    }
}

/// Keeps the `count` rows whose prompts a hash places first, in the order of the file.
fn keep_nearest_to_zero(rows: &mut Vec<Demonstration>, name: &str, count: usize) {
    let mut places: Vec<f64> = rows.iter().map(|one| place(name, &one.key)).collect();
    places.sort_by(f64::total_cmp);
    if let Some(&beyond) = places.get(count) {
        rows.retain(|one| place(name, &one.key) < beyond);
    }
}

fn of_task(task: &dyn Task, split: Split) -> Result<Vec<Demonstration>> {
    let demonstration = |example: &Example| {
        let completion = example.demonstrated().ok_or_else(|| {
            Error::config(format!(
                "example `{}` of the task has no answer to learn from; set task.shot to a template of what the assistant says, or data.train to a file \
                 of rows",
                example.id
            ))
        })?;
        Ok(Demonstration {
            id: example.id.clone(),
            messages: example.messages.clone(),
            completion: completion.into(),
            key: prompt_key(example),
        })
    };
    task.examples(split).iter().map(demonstration).collect()
}

fn read(path: &Path) -> Result<Vec<Demonstration>> {
    let mut found = Vec::new();
    for (line, row) in rows::read(path)? {
        let answered = answered(&row).map_err(|what| Error::file(path, format!("line {line}: {what}")))?;
        for (messages, completion) in answered {
            let example = Example {
                id: format!("{}:{line}", path.display()),
                messages,
                ..Example::default()
            };
            found.push(Demonstration {
                key: prompt_key(&example),
                id: example.id,
                messages: example.messages,
                completion,
            });
        }
    }
    Ok(found)
}

/// The answered prompts of a row; of a conversation each turn of the assistant.
fn answered(row: &Row) -> std::result::Result<Vec<(Vec<Message>, String)>, String> {
    let not_empty = |text: String, column: &str| match text.trim() {
        "" => Err(format!("column `{column}` is empty")),
        _ => Ok(text),
    };
    if row.has("messages") {
        let turns = turns(row, "messages")?;
        let by_assistant = (1..turns.len()).filter(|&at| turns[at].role == "assistant");
        let answered: Vec<_> = by_assistant
            .map(|at| (turns[..at].to_vec(), turns[at].content.clone()))
            .collect();
        if answered.is_empty() {
            return Err("column `messages` has no turn of the assistant after another".into());
        }
        return Ok(answered);
    }
    if row.has("prompt") {
        let messages = match content_or_number(row, "prompt")? {
            Content::Text(text) => vec![Message::user(text)],
            Content::Turns(turns) => turns,
        };
        let completion = match content_or_number(row, "completion")? {
            Content::Text(text) => text,
            Content::Turns(turns) => match turns.as_slice() {
                [turn] if turn.role == "assistant" => turn.content.clone(),
                _ => return Err("column `completion` has turns, expected one of the assistant".into()),
            },
        };
        return Ok(vec![(messages, not_empty(completion, "completion")?)]);
    }
    if row.has("instruction") {
        let (instruction, output) = (row.text("instruction")?, row.text("output")?);
        let input = if row.has("input") {
            row.text("input")?
        } else {
            String::new()
        };
        let prompt = match input.trim() {
            "" => instruction,
            _ => format!("{instruction}\n\n{input}"),
        };
        return Ok(vec![(vec![Message::user(prompt)], not_empty(output, "output")?)]);
    }
    let columns: Vec<&str> = row.columns().collect();
    Err(format!(
        "has {}, expected `messages`, `prompt` and `completion`, or `instruction` and `output`",
        named(&columns)
    ))
}

/// Answers are often numbers, and stand as such in their files.
fn content_or_number(row: &Row, column: &str) -> std::result::Result<Content, String> {
    content(row, column).or_else(|what| row.text(column).map(Content::Text).map_err(|_| what))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(line: &str) -> std::result::Result<Vec<(Vec<Message>, String)>, String> {
        answered(&Row::parse(line).expect("a row"))
    }

    #[test]
    fn rows_of_every_shape_are_read() {
        let asked = |text: &str| vec![Message::user(text)];
        for line in [
            r#"{"instruction": "a", "input": "", "output": "b"}"#,
            r#"{"instruction": "a", "output": "b"}"#,
            r#"{"prompt": "a", "completion": "b"}"#,
            r#"{"prompt": [{"role": "user", "content": "a"}], "completion": [{"role": "assistant", "content": "b"}]}"#,
            r#"{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}], "source": "x"}"#,
        ] {
            assert_eq!(of(line).expect(line), [(asked("a"), "b".to_owned())], "{line}");
        }
        let alpaca = of(r#"{"instruction": "Add.", "input": "1 2", "output": "3"}"#).expect("a row");
        assert_eq!(alpaca, [(asked("Add.\n\n1 2"), "3".to_owned())]);
        let turns = r#"{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}, {"role": "assistant", "content": "d"}]}"#;
        let both = of(turns).expect("a conversation");
        assert_eq!((both.len(), both[1].0.len(), both[1].1.as_str()), (2, 3, "d"));
    }

    #[test]
    fn a_row_without_an_answer_is_refused() {
        for (line, named) in [
            (r#"{"instruction": "a", "output": " "}"#, "`output` is empty"),
            (r#"{"instruction": "a"}"#, "`output` is missing"),
            (r#"{"prompt": "a"}"#, "`completion` is missing"),
            (
                r#"{"prompt": [{"role": "x"}], "completion": "b"}"#,
                "`prompt` has a turn without a role",
            ),
            (
                r#"{"messages": [{"role": "user", "content": "a"}]}"#,
                "no turn of the assistant",
            ),
            (r#"{"text": "a"}"#, "has `text`, expected"),
        ] {
            let error = of(line).expect_err(line);
            assert!(error.contains(named), "{error}");
        }
    }

    #[test]
    fn what_is_watched_is_not_learned_from() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("rows.jsonl");
        let lines: String = (0..200)
            .map(|i| format!("{{\"prompt\": \"{i}\", \"completion\": \"x\"}}\n"))
            .collect();
        std::fs::write(&path, lines).expect("rows");
        let data = |size, validation_size| DataConfig {
            train: Some(path.clone()),
            size,
            validation_size,
            ..DataConfig::default()
        };
        let all = data(None, Some(Size::Count(20))).open(None).expect("rows");
        assert_eq!((all.train.len(), all.validation.len()), (180, 20));
        assert!(all.validation.iter().all(|one| !all.keys().contains(&one.key)));
        let some = data(Some(7), None).open(None).expect("rows");
        assert_eq!(some.train.len(), 7);
        assert!((1..30).contains(&some.validation.len()));
        assert!(data(Some(0), None).open(None).is_err());
        let twice = DataConfig {
            validation: Some(path.clone()),
            ..data(None, Some(Size::Count(20)))
        };
        let error = twice.open(None).expect_err("which rows are watched").to_string();
        assert!(error.contains("leave it out beside data.validation"), "{error}");
        assert!(DataConfig::default().open(None).is_err());
    }
}
