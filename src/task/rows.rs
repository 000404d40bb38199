//! Tasks from JSON-lines files. The kinds of task differ in what they take where a config says nothing ([`Preset`]): the prompt, the judge, the
//! few-shot answer. Everything else is the same for all of them: splits, few-shot blocks, subsets, which judge is told what.
//!
//! A file for each split is taken as it is. What has none is carved off train by a hash of the prompt, test first, so that a share of the rows
//! stands when rows are added.

use super::nearness::{Target, nearness};
use super::splits::{Splits, prompt};
use super::template::Template;
use super::{Example, Split, Task};
use crate::error::{Error, Result};
use crate::judge::answer::captures;
use crate::judge::kind::{Asked, Context, Conversation, Kind};
use crate::judge::{Judge, JudgeConfig};
use crate::reward::answer::Case;
use crate::rows::{self, Row, named};
use crate::text::Message;
use crate::text::conversation::turns;
use regex::Regex;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

/// How to read files into a task.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RowsConfig {
    /// The file that judges candidates; one JSON object a line.
    pub train: PathBuf,
    /// The file that judges the mean. Without it, `validation_size` lines are carved off train.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub validation: Option<PathBuf>,
    /// The file that judges the result. Without it, `test_size` lines are carved off train.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test: Option<PathBuf>,
    /// What to carve off train for validation, 256 lines unless told; of a `validation` file, so many of its lines.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub validation_size: Option<Size>,
    /// The same for test.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test_size: Option<Size>,
    /// Which rows of train are used; without it all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subset: Option<Subset>,
    /// Whether of rows of train that have the same prompt only the first is used.
    pub deduplicate: bool,
    /// Answered examples before each prompt, as turns of the conversation; they are taken from train.
    pub shots: usize,
    /// The assistant's turn of these, a template.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shot: Option<String>,
    /// The user's turn, a template; without it that of the kind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt: Option<String>,
    /// The column with the conversation, instead of a prompt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub messages: Option<String>,
    /// The system's turn, as it is; without it the chat template decides.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub system: Option<String>,
    /// Where the gold answer is; without it the judge knows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer: Option<Answer>,
    /// What each value of the answer column means, where it is a code: `{ 0 = "negative", 1 = "positive" }`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer_map: Option<BTreeMap<String, String>>,
    /// The column with the possible answers: a list of texts, or `{"text": […], "label": […]}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub options: Option<String>,
    /// What a response is worth; without it the judge of the kind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub judge: Option<JudgeConfig>,
    /// What a candidate is worth while the search goes on, where that is to be another judge than the mean's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub train_judge: Option<JudgeConfig>,
    /// Whether letters of other case are other letters.
    pub case_sensitive: bool,
}

/// How many rows: a number of them, or a share.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Size {
    /// So many.
    Count(usize),
    /// Those whose hash falls below this share; which ones does not change when rows are added.
    Share(f64),
}

/// Where the gold answer is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Answer {
    /// The whole of a column.
    Column(String),
    /// Group 1 of the last match of a pattern in a column.
    Part(Part),
}

/// A part of a column.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// The column.
    pub column: String,
    /// A pattern with a group.
    pub regex: String,
}

/// Which rows of train are used.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Subset {
    /// At most so many: the nearest where `near` is set, and otherwise those that a hash chooses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<usize>,
    /// Prompts of at least so many characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub least: Option<usize>,
    /// Prompts of at most so many characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub most: Option<usize>,
    /// A file of rows like those that are wanted, by compression distance (ZIP-FIT, arXiv 2410.18194).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub near: Option<PathBuf>,
}

/// What a kind of task takes where its config says nothing.
#[derive(Clone, Copy, Debug)]
pub struct Preset {
    /// What a leaderboard calls it.
    pub name: &'static str,
    /// The user's turn.
    pub prompt: Option<&'static str>,
    /// The same where answered examples stand before it.
    pub prompt_after_shots: Option<&'static str>,
    /// The assistant's turn of answered examples.
    pub shot: Option<&'static str>,
    /// The column with the gold answer.
    pub answer: Option<&'static str>,
    /// The column with the possible answers.
    pub options: Option<&'static str>,
    /// The judge.
    pub judge: Option<&'static str>,
}

/// Rows carved off train for a split that has no file and no size.
const CARVED: Size = Size::Count(256);

/// A task from files.
pub struct Rows {
    name: String,
    splits: Splits,
    judge: Box<dyn Kind>,
    train_judge: Option<Box<dyn Kind>>,
    duplicates: usize,
}

impl RowsConfig {
    /// Files that are read.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        let near = self.subset.as_ref().and_then(|subset| subset.near.as_ref());
        let own = std::iter::once(&self.train).chain(&self.validation).chain(&self.test);
        own.chain(near).map(PathBuf::as_path)
    }

    /// The judge of texts.
    pub fn judge(&self, preset: &Preset) -> Result<JudgeConfig> {
        match (&self.judge, preset.judge) {
            (Some(judge), _) => Ok(judge.clone()),
            (None, Some(name)) => Ok(JudgeConfig::named(name)),
            (None, None) => Err(Error::config(
                "task.judge is missing; expected what a response is worth, such as judge = \"number\" (docs/judging.md)",
            )),
        }
    }

    /// The task of this kind. Relative paths are relative to `base_dir`.
    pub fn open(&self, preset: &Preset, base_dir: &Path) -> Result<Rows> {
        if self.train.as_os_str().is_empty() {
            return Err(Error::config(format!(
                "task.train is missing; {} reads its rows from files",
                preset.name
            )));
        }
        let reader = Reader::new(self, preset)?;
        let read = |path: &Path| reader.read(path, base_dir);
        let size = |drafts: &mut Vec<Draft>, name: &str, size: Option<Size>| match size {
            Some(size) => carve(drafts, name, size).map(|carved| *drafts = carved),
            None => Ok(()),
        };
        let mut train = read(&self.train)?;
        let rows = train.len();
        let mut duplicates = 0;
        if self.deduplicate {
            let mut seen = HashSet::new();
            train.retain(|draft| seen.insert(draft.key.clone()));
            duplicates = rows - train.len();
        }
        let test = match &self.test {
            Some(path) => {
                let mut test = read(path)?;
                size(&mut test, "test", self.test_size)?;
                test
            }
            None => self.carve_off(&mut train, "test", self.test_size)?,
        };
        // Before validation is carved, so that it is as large as asked for.
        let mut removed_from_train = remove(&mut train, &test);
        let mut validation = match &self.validation {
            Some(path) => {
                let mut validation = read(path)?;
                size(&mut validation, "validation", self.validation_size)?;
                validation
            }
            None => self.carve_off(&mut train, "validation", self.validation_size)?,
        };
        let removed_from_validation = remove(&mut validation, &test);
        removed_from_train += remove(&mut train, &validation);
        let shots = self.take_shots(&mut train)?;
        if let Some(subset) = &self.subset {
            let near = subset.near.as_ref().map(|path| read(path)).transpose()?;
            subset.choose(&mut train, near)?;
        }
        let finish = |drafts: Vec<Draft>| drafts.into_iter().map(|draft| draft.after(&shots)).collect();
        let [train, validation, test]: [Vec<Example>; 3] = [train, validation, test].map(finish);
        for (examples, name) in [(&train, "train"), (&validation, "validation")] {
            if examples.is_empty() {
                return Err(Error::config(format!(
                    "task: no example is left for {name}: each of its prompts is also in a split that is judged later, or was left out \
                     by task.subset; give {name} a file of its own"
                )));
            }
        }
        let splits = Splits {
            train,
            validation,
            test,
            removed_from_train,
            removed_from_validation,
            set_apart: 0,
        };
        let file = self.train.file_stem().unwrap_or_default().to_string_lossy();
        Ok(Rows {
            name: if preset.prompt.is_none() {
                format!("{} {file}", preset.name)
            } else {
                preset.name.into()
            },
            splits,
            judge: reader.judge,
            train_judge: reader.train_judge,
            duplicates,
        })
    }

    /// The examples of stored rows, without their prompts where the rows do not have what these are made of, and their judge.
    pub fn stored(
        &self,
        preset: &Preset,
        rows: Vec<(usize, Row)>,
        path: &Path,
    ) -> Result<(Vec<Example>, Box<dyn Kind>)> {
        let reader = Reader::new(self, preset)?;
        let example = |(line, row): (usize, Row)| {
            let draft = reader.draft(&row, line.to_string(), true);
            draft
                .map(|draft| draft.example)
                .map_err(|what| Error::file(path, format!("line {line}: {what}")))
        };
        let examples = rows.into_iter().map(example).collect::<Result<_>>()?;
        Ok((examples, reader.judge))
    }

    fn carve_off(&self, train: &mut Vec<Draft>, name: &str, size: Option<Size>) -> Result<Vec<Draft>> {
        let free = train.len();
        let size = size.unwrap_or(CARVED);
        let carved = carve(train, name, size)?;
        if carved.is_empty() || train.is_empty() {
            let (what, most) = match size {
                Size::Count(count) => (
                    count.to_string(),
                    format!("a number from 1 to {}", free.saturating_sub(1)),
                ),
                Size::Share(share) => (share.to_string(), "another share".into()),
            };
            return Err(Error::config(format!(
                "task: {name}_size = {what} leaves no row for {name} or none for train, of {free} rows of {}; give {most}, or a `{name}` file",
                self.train.display()
            )));
        }
        Ok(carved)
    }

    /// Answered examples, the same before every prompt.
    fn take_shots(&self, train: &mut Vec<Draft>) -> Result<Vec<Message>> {
        if self.shots == 0 {
            return Ok(Vec::new());
        }
        if self.shots >= train.len() {
            return Err(Error::config(format!(
                "task.shots is {}, and train has {} rows left to take them from; expected fewer",
                self.shots,
                train.len()
            )));
        }
        let taken = carve(train, "shots", Size::Count(self.shots))?;
        let turns = taken.into_iter().map(|draft| {
            let answer = draft
                .shot
                .map_err(|what| Error::config(format!("task.shots: {}: {what}", draft.example.id)))?;
            let asked = draft
                .example
                .messages
                .into_iter()
                .filter(|message| message.role != "system");
            Ok(asked.chain([Message::assistant(answer)]).collect::<Vec<_>>())
        });
        Ok(turns.collect::<Result<Vec<_>>>()?.concat())
    }
}

impl Subset {
    fn choose(&self, train: &mut Vec<Draft>, near: Option<Vec<Draft>>) -> Result<()> {
        let length = |draft: &Draft| draft.text.chars().count();
        let before = train.len();
        train.retain(|draft| {
            length(draft) >= self.least.unwrap_or(0) && length(draft) <= self.most.unwrap_or(usize::MAX)
        });
        if train.is_empty() {
            return Err(Error::config(format!(
                "task.subset: none of {before} prompts has from {} to {} characters",
                self.least.unwrap_or(0),
                self.most.unwrap_or(usize::MAX)
            )));
        }
        match (self.size, near) {
            (Some(0), _) => Err(Error::config("task.subset.size is 0, expected 1 or more")),
            (None, Some(_)) => Err(Error::config(
                "task.subset.near is set without task.subset.size; say how many of the nearest are wanted",
            )),
            (Some(size), Some(near)) => {
                let targets: Vec<Target> = near.into_iter().map(|draft| Target::new(draft.text)).collect();
                let scores: Vec<f64> = train.iter().map(|draft| nearness(&draft.text, &targets)).collect();
                let mut order: Vec<usize> = (0..train.len()).collect();
                order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
                *train = keep(train, order.into_iter().take(size));
                Ok(())
            }
            (Some(size), None) => carve(train, "subset", Size::Count(size)).map(|chosen| *train = chosen),
            (None, None) => Ok(()),
        }
    }
}

/// An example before few-shot blocks are put in.
struct Draft {
    example: Example,
    /// The last turn of the prompt.
    text: String,
    /// What makes two prompts the same.
    key: String,
    /// What the assistant would say to it in a few-shot block, or why that is not known.
    shot: std::result::Result<String, String>,
}

impl Draft {
    fn after(mut self, shots: &[Message]) -> Example {
        self.example.completion = self.shot.ok();
        let messages = &mut self.example.messages;
        let system = messages.iter().take_while(|message| message.role == "system").count();
        messages.splice(system..system, shots.iter().cloned());
        self.example
    }
}

/// The place of a prompt in an order that hangs on nothing but the prompt and `name`, from 0 to 1.
pub(super) fn place(name: &str, key: &str) -> f64 {
    let hash = Sha256::digest(format!("{name}\n{key}"));
    let first: [u8; 8] = hash[..8].try_into().expect("a hash has 32 bytes");
    // The upper 53 bits are what a float holds.
    (u64::from_be_bytes(first) >> 11) as f64 / (1_u64 << 53) as f64
}

/// Takes rows out of `drafts`, chosen by a hash; both keep the order of the file.
fn carve(drafts: &mut Vec<Draft>, name: &str, size: Size) -> Result<Vec<Draft>> {
    let places: Vec<f64> = drafts.iter().map(|draft| place(name, &draft.key)).collect();
    let mut order: Vec<usize> = (0..drafts.len()).collect();
    let chosen: Vec<usize> = match size {
        Size::Count(0) => {
            return Err(Error::config(format!(
                "task: {name}_size = 0, expected 1 or more, or a share between 0 and 1"
            )));
        }
        Size::Count(count) => {
            order.sort_by(|&a, &b| places[a].total_cmp(&places[b]));
            order.into_iter().take(count).collect()
        }
        Size::Share(share) if share > 0.0 && share < 1.0 => {
            order.into_iter().filter(|&at| places[at] < share).collect()
        }
        Size::Share(share) => {
            return Err(Error::config(format!(
                "task: {name}_size = {share}, expected a number of rows, or a share between 0 and 1"
            )));
        }
    };
    Ok(keep(drafts, chosen.into_iter()))
}

/// Splits `drafts` into those of these numbers, which are returned, and the rest.
fn keep(drafts: &mut Vec<Draft>, chosen: impl Iterator<Item = usize>) -> Vec<Draft> {
    let chosen: HashSet<usize> = chosen.collect();
    let numbered = std::mem::take(drafts).into_iter().enumerate();
    let (carved, rest): (Vec<_>, Vec<_>) = numbered.partition(|(at, _)| chosen.contains(at));
    *drafts = rest.into_iter().map(|(_, draft)| draft).collect();
    carved.into_iter().map(|(_, draft)| draft).collect()
}

fn remove(drafts: &mut Vec<Draft>, protected: &[Draft]) -> usize {
    let keys: HashSet<&str> = protected.iter().map(|draft| draft.key.as_str()).collect();
    let before = drafts.len();
    drafts.retain(|draft| !keys.contains(draft.key.as_str()));
    before - drafts.len()
}

/// Turns rows into examples.
struct Reader<'a> {
    config: &'a RowsConfig,
    prompt: Prompt,
    shot: Option<Template>,
    answer: Option<(String, Option<Regex>)>,
    options: Option<String>,
    judge: Box<dyn Kind>,
    train_judge: Option<Box<dyn Kind>>,
}

enum Prompt {
    Template(Template),
    Messages(String),
    /// The judge's rows bring it.
    OfRow(Conversation),
}

impl<'a> Reader<'a> {
    fn new(config: &'a RowsConfig, preset: &Preset) -> Result<Self> {
        let by_kind = if config.shots > 0 {
            preset.prompt_after_shots.or(preset.prompt)
        } else {
            preset.prompt
        };
        let context = Context {
            case: if config.case_sensitive {
                Case::Sensitive
            } else {
                Case::Insensitive
            },
            labels: config.answer_map.iter().flat_map(BTreeMap::values).cloned().collect(),
            reads_files: true,
        };
        let judge = config.judge(preset)?.open(&context)?;
        let prompt = match (&config.messages, &config.prompt, by_kind) {
            (Some(_), Some(_), _) => {
                return Err(Error::config(
                    "task.prompt and task.messages are both set; the conversation is one or the other",
                ));
            }
            (Some(column), None, _) => Prompt::Messages(column.clone()),
            (None, Some(text), _) => Prompt::Template(Template::parse("prompt", text)?),
            (None, None, Some(text)) => Prompt::Template(Template::parse("prompt", text)?),
            (None, None, None) if judge.conversation().is_some() => {
                Prompt::OfRow(judge.conversation().expect("just seen"))
            }
            (None, None, None) => {
                return Err(Error::config(
                    "task.prompt is missing; expected the user's turn, such as \"{question}\", or task.messages, the column with a conversation",
                ));
            }
        };
        let shot = config.shot.as_deref().or(preset.shot);
        let answer = match &config.answer {
            Some(Answer::Column(column)) => Some((column.clone(), None)),
            Some(Answer::Part(Part { column, regex })) => {
                let regex = captures(regex).map_err(|what| Error::config(format!("task.answer: {what}")))?;
                Some((column.clone(), Some(regex)))
            }
            None => preset.answer.map(|column| (column.to_owned(), None)),
        };
        Ok(Self {
            config,
            prompt,
            shot: shot.map(|shot| Template::parse("shot", shot)).transpose()?,
            answer,
            options: config.options.clone().or(preset.options.map(String::from)),
            judge,
            train_judge: config
                .train_judge
                .as_ref()
                .map(|judge| judge.open(&context))
                .transpose()?,
        })
    }

    fn read(&self, name: &Path, base_dir: &Path) -> Result<Vec<Draft>> {
        let path = base_dir.join(name);
        let draft = |(line, row): (usize, Row)| {
            self.draft(&row, format!("{}:{line}", name.display()), false)
                .map_err(|what| Error::file(&path, format!("line {line}: {what}")))
        };
        rows::read(&path)?.into_iter().map(draft).collect()
    }

    /// `stored`: a row that was answered already, of which the prompt may be missing.
    fn draft(&self, row: &Row, id: String, stored: bool) -> std::result::Result<Draft, String> {
        let (mut options, labels) = match &self.options {
            Some(column) => options(row, column)?,
            None => (Vec::new(), None),
        };
        if options.is_empty() {
            options = self
                .config
                .answer_map
                .iter()
                .flat_map(BTreeMap::values)
                .cloned()
                .collect();
            options.sort();
            options.dedup();
        }
        let mut messages: Vec<Message> = self.config.system.as_deref().map(Message::system).into_iter().collect();
        let mut said = None;
        match &self.prompt {
            Prompt::Messages(column) => {
                let mut conversation = turns(row, column)?;
                said = conversation
                    .pop_if(|turn| turn.role == "assistant")
                    .map(|turn| turn.content);
                if conversation.is_empty() {
                    return Err(format!("column `{column}` has no turn that could be answered"));
                }
                messages.extend(conversation);
            }
            Prompt::Template(template) => match template.render(row, &options) {
                Ok(text) => messages.push(Message::user(text)),
                Err(_) if stored => {}
                Err(what) => return Err(what),
            },
            Prompt::OfRow(read) => messages.extend(read(row)?),
        }
        let right = match (&labels, &self.answer) {
            (Some(labels), Some((column, _))) => Some(right(&row.text(column)?, labels, &options, column)?),
            _ => None,
        };
        let gold = match (right, &self.answer, &said) {
            (Some(right), _, _) => Some(options[right].clone()),
            (None, Some((column, part)), _) => Some(self.gold(row, column, part.as_ref())?),
            (None, None, said) => said.clone(),
        };
        let asked = Asked {
            row,
            gold: gold.as_deref(),
            options: &options,
            right,
        };
        let mut reference = self.judge.reference(&asked)?;
        if let Some(judge) = &self.train_judge {
            merge(&mut reference, judge.reference(&asked)?);
        }
        let shot = match (&self.shot, said) {
            (Some(template), _) => template.render(row, &options),
            (None, Some(said)) => Ok(said),
            // Who is to name a letter is shown one.
            (None, None) if right.is_some() && !self.judge.asks_likelihood() => Ok(letter(right.unwrap_or(0))),
            (None, None) => {
                gold.ok_or_else(|| "what the assistant says is not known; set task.shot to a template".into())
            }
        };
        let example = Example {
            id,
            messages,
            reference,
            row: row.clone(),
            completion: None,
        };
        let text = example
            .messages
            .last()
            .map_or(String::new(), |message| message.content.clone());
        Ok(Draft {
            key: prompt(&example),
            example,
            text,
            shot,
        })
    }

    fn gold(&self, row: &Row, column: &str, part: Option<&Regex>) -> std::result::Result<String, String> {
        let mut found = row.text(column)?;
        if let Some(pattern) = part {
            let last = pattern.captures_iter(&found).last().and_then(|groups| groups.get(1));
            let last = last.map(|group| group.as_str().trim().to_owned());
            found = last.ok_or_else(|| format!("column `{column}` has no match of {}", pattern.as_str()))?;
        }
        match &self.config.answer_map {
            None => Ok(found),
            Some(map) => map.get(found.trim()).cloned().ok_or_else(|| {
                let keys: Vec<_> = map.keys().map(String::as_str).collect();
                format!(
                    "column `{column}` is `{found}`, which answer_map does not have; it has {}",
                    named(&keys)
                )
            }),
        }
    }
}

fn letter(index: usize) -> String {
    ('A'..='Z').nth(index).map(String::from).unwrap_or_default()
}

fn merge(reference: &mut Value, other: Value) {
    match (reference, other) {
        (Value::Object(own), Value::Object(other)) => own.extend(other),
        (own @ Value::Null, other) => *own = other,
        _ => {}
    }
}

/// The possible answers of a row, and the labels by which its answer names them.
#[allow(clippy::type_complexity)]
fn options(row: &Row, column: &str) -> std::result::Result<(Vec<String>, Option<Vec<String>>), String> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Options {
        Texts(Vec<String>),
        Labelled { text: Vec<String>, label: Vec<String> },
    }
    let found = row.get(column, "a list of texts, or {\"text\": […], \"label\": […]}")?;
    let (texts, labels) = match found {
        Options::Texts(texts) => (texts, Vec::new()),
        Options::Labelled { text, label } if text.len() == label.len() => (text, label),
        Options::Labelled { text, label } => {
            return Err(format!(
                "column `{column}` has {} texts and {} labels",
                text.len(),
                label.len()
            ));
        }
    };
    if !(2..=26).contains(&texts.len()) {
        return Err(format!(
            "column `{column}` has {} options, expected 2 to 26",
            texts.len()
        ));
    }
    Ok((texts, Some(labels)))
}

/// Which option an answer means: by its label, by its letter, by its index from 0, or by its text.
fn right(answer: &str, labels: &[String], options: &[String], column: &str) -> std::result::Result<usize, String> {
    let answer = answer.trim();
    let letter = match answer.as_bytes() {
        [letter @ b'A'..=b'Z'] => Some(usize::from(letter - b'A')),
        _ => None,
    };
    let place = |texts: &[String]| texts.iter().position(|text| text.trim() == answer);
    let found = place(labels).or_else(|| {
        if labels.is_empty() {
            letter.or_else(|| answer.parse().ok())
        } else {
            None
        }
    });
    found
        .filter(|&at| at < options.len())
        .or_else(|| place(options))
        .ok_or_else(|| {
            format!(
                "column `{column}` is `{answer}`, which is no label, letter, index or text of the {} options",
                options.len()
            )
        })
}

impl Task for Rows {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn examples(&self, split: Split) -> &[Example] {
        self.splits.get(split)
    }

    fn set_apart(&mut self, seen: &HashSet<String>) -> Result<()> {
        self.splits.set_apart(seen)
    }

    fn judge(&self) -> Result<Box<dyn Judge>> {
        self.judge.begin(1)
    }

    fn train_judge(&self) -> Result<Option<Box<dyn Judge>>> {
        self.train_judge.as_ref().map(|judge| judge.begin(1)).transpose()
    }

    fn notes(&self) -> Vec<String> {
        let removed = [
            (self.splits.removed_from_train, "train", "validation or test"),
            (self.splits.removed_from_validation, "validation", "test"),
        ];
        let removed = removed
            .iter()
            .filter(|(count, _, _)| *count > 0)
            .map(|(count, from, by)| {
                format!("{count} examples were removed from {from} because {by} has their prompt")
            });
        let double = (self.duplicates > 0).then(|| {
            format!(
                "{} examples were removed from train because it has their prompt twice",
                self.duplicates
            )
        });
        let seen = (self.splits.set_apart > 0).then(|| {
            format!(
                "{} examples were removed from train because the warm start has seen them",
                self.splits.set_apart
            )
        });
        removed.chain(double).chain(seen).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{TaskConfig, verdict};
    use super::*;
    use crate::seed::Seed;
    use serde_json::json;

    /// Files in a fresh folder, and the task that a config makes of them.
    fn load(files: &[(&str, &str)], config: &str) -> Result<Box<dyn Task>> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for (name, content) in files {
            std::fs::write(folder.path().join(name), content).expect("a file in it");
        }
        let config: TaskConfig = toml::from_str(config).map_err(|error| Error::config(error.message()))?;
        config.load(Seed::new(0), folder.path())
    }

    const THREE: &str = "kind = 'jsonl'\ntrain = 'train.jsonl'\nvalidation = 'dev.jsonl'\ntest = 'test.jsonl'\n";
    const PLAIN: &str = "prompt = '{q}'\nanswer = 'a'\njudge = 'exact'\n";

    fn rows(prompts: &[&str]) -> String {
        prompts
            .iter()
            .map(|q| format!("{}\n", json!({ "q": q, "a": "yes" })))
            .collect()
    }

    fn with_train(train: &str, config: &str) -> Result<Box<dyn Task>> {
        let files = [
            ("train.jsonl", train),
            ("dev.jsonl", &rows(&["v"])),
            ("test.jsonl", &rows(&["t"])),
        ];
        load(&files, &format!("{THREE}{config}"))
    }

    fn refused(train: &str, config: &str) -> String {
        match with_train(train, config) {
            Ok(_) => panic!("{config} on {train} must be refused"),
            Err(error) => error.to_string(),
        }
    }

    fn reward(task: &dyn Task, response: &str) -> f64 {
        verdict(task, &task.examples(Split::Train)[0], response)
            .expect("a judge")
            .reward
    }

    #[test]
    fn a_line_becomes_an_example() {
        let line = r#"{"n": 18446744073709551616, "ok": true, "text": "a {b} é", "label": 0}"#;
        let (dev, test) = (line.replace("16,", "17,"), line.replace("16,", "18,"));
        let files = [
            ("train.jsonl", &*format!("\u{feff}\r\n{line}\r\n\r\n")),
            ("dev.jsonl", &dev),
            ("test.jsonl", &test),
        ];
        let config = "prompt = '{{{n}}} {ok}: { text }'\nsystem = 'Be {brief}.'\nanswer = 'label'\nanswer_map = { 0 = 'No', 1 = 'Yes' }\njudge = 'exact'";
        let task = load(&files, &format!("{THREE}{config}")).expect("a good task");
        let [example] = task.examples(Split::Train) else {
            panic!("one line is one example");
        };
        assert_eq!(example.id, "train.jsonl:2");
        assert_eq!(example.messages[0], Message::system("Be {brief}."));
        assert_eq!(
            example.messages[1],
            Message::user("{18446744073709551616} true: a {b} é")
        );
        assert_eq!(example.reference, json!({ "answer": "No" }));
        assert_eq!(example.row.raw("label"), Ok("0"));
        assert_eq!([reward(&*task, " no\n"), reward(&*task, "yes")], [1.0, 0.0]);
        assert!(task.notes().is_empty());
        let foreign = Example {
            reference: json!({ "answer": 3 }),
            ..example.clone()
        };
        assert!(verdict(&*task, &foreign, "3").expect("a judge").failed);
    }

    /// Whole numbers beyond 64 bits, and what a float would spell otherwise, are the answers that the file has.
    #[test]
    fn gold_answers_keep_their_digits() {
        for number in [
            "18446744073709551616",
            "-9223372036854775809",
            "123456789012345678901234567890",
            "1.10",
            "0.00001",
            "1E3",
            "-0",
            "1e400",
        ] {
            for judge in ["exact", "number"] {
                let files = ["train.jsonl", "dev.jsonl", "test.jsonl"]
                    .map(|name| (name, format!("{{\"q\": \"{name}\", \"a\": {number}}}")));
                let files = files.each_ref().map(|(name, text)| (*name, text.as_str()));
                let task = load(
                    &files,
                    &format!("{THREE}prompt = '{{q}}'\nanswer = 'a'\njudge = '{judge}'"),
                )
                .expect("a good task");
                assert_eq!(reward(&*task, number), 1.0, "{number}");
                assert_eq!(reward(&*task, &format!("{number}1")), 0.0, "{number}");
            }
        }
    }

    #[test]
    fn errors_name_file_line_and_column() {
        let good = rows(&["x"]);
        let message = refused(&format!("{good}\n{{\"quest\": 1, \"a\": \"yes\"}}"), PLAIN);
        assert!(
            message.contains("train.jsonl: line 3: column `q` is missing; the line has `quest`, `a`"),
            "{message}"
        );
        let wrong = [
            ("", "has no row"),
            ("[\n", "begins as a JSON array, and not valid JSON"),
            ("[1]", "element 1: found a number, expected a JSON object"),
            ("{\"q\": ", "line 1: not valid JSON (EOF while parsing a value)"),
            ("{}", "the line has none"),
            ("{\"q\": null, \"a\": 1}", "column `q` is null, expected text"),
            ("{\"q\": {}, \"a\": 1}", "column `q` is an object"),
            ("{\"q\": \"x\", \"a\": \" \"}", "the answer ` ` is empty"),
        ];
        for (train, expected) in wrong {
            let message = refused(train, PLAIN);
            assert!(
                message.contains("train.jsonl: ") && message.contains(expected),
                "{train}: {message}"
            );
        }
    }

    #[test]
    fn a_config_that_cannot_work_is_refused() {
        let good = "answer = 'a'\njudge = 'exact'\n";
        for (config, expected) in [
            (format!("prompt = 'Say yes.'\n{good}"), "names no column"),
            (format!("prompt = '{{q'\n{good}"), "no partner"),
            (format!("prompt = '{{}}'\n{good}"), "the name of a column"),
            (good.into(), "task.prompt is missing"),
            (format!("prompt = '{{q}}'\nmessages = 'm'\n{good}"), "both set"),
            (
                "prompt = '{q}'\njudge = 'exact'".into(),
                "there is no gold answer; set task.answer",
            ),
            ("prompt = '{q}'\nanswer = 'a'".into(), "task.judge is missing"),
            (
                "prompt = '{q}'\nanswer = 'a'\njudge = { regex = '(' }".into(),
                "is not valid",
            ),
            ("prompt = '{q}'\nanswer = 'a'\njudge = 'number'".into(), "has no number"),
            (
                "prompt = '{q}'\nanswer = 'a'\njudge = 'likeliest'".into(),
                "the possible answers are not known",
            ),
            (
                "prompt = '{q}'\nanswer = 'a'\njudge = 'letter'".into(),
                "which option is right is not known",
            ),
            (
                "prompt = '{q}'\nanswer = 'a'\njudge = 'ifeval'".into(),
                "`instruction_id_list` is missing",
            ),
            (
                "prompt = '{q}'\nanswer = 'a'\njudge = 'countdown'".into(),
                "`nums` is missing",
            ),
            (
                "prompt = '{q}'\nanswer = { column = 'a', regex = 'no' }\njudge = 'exact'".into(),
                "has no group",
            ),
            (
                "prompt = '{q}'\nanswer = { column = 'a', regex = '(no)' }\njudge = 'exact'".into(),
                "has no match",
            ),
            (
                format!("prompt = '{{q}}'\nshots = 1\n{good}"),
                "task.shots is 1, and train has 1 rows",
            ),
            (format!("prompt = '{{q}}'\ntest_size = 0\n{good}"), "test_size = 0"),
            (format!("prompt = '{{q}}'\ntest_size = 1.5\n{good}"), "test_size = 1.5"),
            (
                format!("prompt = '{{q}}'\nsubset = {{ least = 9 }}\n{good}"),
                "none of 1 prompts",
            ),
            (
                format!("prompt = '{{q}}'\nsubset = {{ near = 'dev.jsonl' }}\n{good}"),
                "without task.subset.size",
            ),
            (
                format!("prompt = '{{q}}'\n{good}answer_map = {{ 1 = 'one' }}"),
                "column `a` is `yes`, which answer_map does not have; it has `1`",
            ),
        ] {
            let message = refused(&rows(&["x"]), &config);
            assert!(message.contains(expected), "{config}: {message}, expected: {expected}");
        }
        let same = refused(&rows(&["t"]), PLAIN);
        assert!(same.contains("no example is left for train"), "{same}");
        let one = load(
            &[("train.jsonl", &rows(&["x"]))],
            "kind = 'jsonl'\ntrain = 'train.jsonl'\ntest_size = 1\nprompt = '{q}'\nanswer = 'a'\njudge = 'exact'",
        );
        assert!(
            one.err()
                .expect("refused")
                .to_string()
                .contains("test_size = 1 leaves no row for test or none for train")
        );
    }

    #[test]
    fn repeated_prompts_stay_where_they_are_judged_last() {
        let files = [
            ("train.jsonl", &*rows(&["a", "b", " B", "c", "c"])),
            ("dev.jsonl", &rows(&["b", "t"])),
            ("test.jsonl", &rows(&["t", "T", "a"])),
        ];
        let ids = |task: &dyn Task, split| {
            task.examples(split)
                .iter()
                .map(|example| example.id.clone())
                .collect::<Vec<_>>()
        };
        let task = load(&files, &format!("{THREE}{PLAIN}")).expect("a good task");
        assert_eq!(
            ids(&*task, Split::Test),
            ["test.jsonl:1", "test.jsonl:2", "test.jsonl:3"]
        );
        assert_eq!(ids(&*task, Split::Validation), ["dev.jsonl:1"]);
        assert_eq!(ids(&*task, Split::Train), ["train.jsonl:4", "train.jsonl:5"]);
        assert_eq!(
            task.notes(),
            [
                "3 examples were removed from train because validation or test has their prompt",
                "1 examples were removed from validation because test has their prompt",
            ]
        );
        let task = load(&files, &format!("{THREE}{PLAIN}deduplicate = true")).expect("a good task");
        assert_eq!(ids(&*task, Split::Train), ["train.jsonl:4"]);
    }

    /// What is carved off hangs on the prompts: a share stands when rows are added, wherever they are put in.
    #[test]
    fn splits_stand_when_rows_are_added() {
        let carve = |prompts: &[String], sizes: &str| {
            let prompts: Vec<&str> = prompts.iter().map(String::as_str).collect();
            let config = format!("kind = 'jsonl'\ntrain = 'train.jsonl'\n{sizes}{PLAIN}");
            let task = load(&[("train.jsonl", &rows(&prompts))], &config).expect("a good task");
            [Split::Train, Split::Validation, Split::Test].map(|split| {
                let turn = |example: &Example| example.messages[0].content.clone();
                task.examples(split).iter().map(turn).collect::<HashSet<String>>()
            })
        };
        let few: Vec<String> = (0..400).map(|n| format!("prompt {n}")).collect();
        let mut more: Vec<String> = (400..600).map(|n| format!("prompt {n}")).collect();
        more.extend(few.clone());
        let shares = "test_size = 0.2\nvalidation_size = 0.1\n";
        let (before, after) = (carve(&few, shares), carve(&more, shares));
        for (before, after) in before.iter().zip(&after) {
            assert!(before.is_subset(after));
        }
        assert!(
            (60..100).contains(&before[2].len()) && (20..45).contains(&before[1].len()),
            "{} {}",
            before[2].len(),
            before[1].len()
        );
        let counts = carve(&few, "test_size = 30\nvalidation_size = 20\n");
        assert_eq!([counts[1].len(), counts[2].len()], [20, 30]);
    }

    #[test]
    fn conversations_few_shot_blocks_and_parts_of_columns() {
        let turns = json!([{"role": "system", "content": "S"}, {"role": "user", "content": [{"type": "text", "text": "2"}]}, {"role": "assistant", "content": "It is 42."}]);
        let train = format!("{}\n", json!({ "m": turns }));
        let files = [
            ("train.jsonl", &*train),
            ("dev.jsonl", &*train.replace("\"2\"", "\"3\"")),
            ("test.jsonl", &*train.replace("\"2\"", "\"4\"")),
        ];
        let task = load(&files, &format!("{THREE}messages = 'm'\njudge = 'number'")).expect("a good task");
        let example = &task.examples(Split::Train)[0];
        assert_eq!(example.messages, [Message::system("S"), Message::user("2")]);
        assert_eq!(reward(&*task, "42.0"), 1.0);

        let solutions: String = (0..6)
            .map(|n| {
                format!(
                    "{}\n",
                    json!({ "question": format!("{n}?"), "answer": format!("So.\n#### {n}") })
                )
            })
            .collect();
        let config =
            "kind = 'gsm8k'\ntrain = 'train.jsonl'\ntest_size = 1\nvalidation_size = 1\nshots = 2\nsystem = 'S'";
        let task = load(&[("train.jsonl", &solutions)], config).expect("a good task");
        assert_eq!(task.examples(Split::Train).len(), 2);
        let messages = &task.examples(Split::Train)[0].messages;
        assert_eq!(
            messages.iter().map(|turn| &turn.role[..1]).collect::<String>(),
            "suauau"
        );
        assert!(messages[1].content.starts_with("Question: ") && messages[2].content.starts_with("So.\n#### "));
        assert_eq!(task.examples(Split::Test)[0].messages[..5], messages[..5]);

        let part = "prompt = '{question}'\nanswer = { column = 'answer', regex = '#### (.+)' }\njudge = 'number'";
        let files = ["train.jsonl", "dev.jsonl", "test.jsonl"].map(|name| {
            (
                name,
                format!("{}\n", json!({ "question": name, "answer": "1 + 1 = 2\n#### 2" })),
            )
        });
        let files = files.each_ref().map(|(name, text)| (*name, text.as_str()));
        let task = load(&files, &format!("{THREE}{part}")).expect("a good task");
        assert_eq!(task.examples(Split::Train)[0].reference, json!({ "answer": "2" }));
    }

    #[test]
    fn options_come_in_the_shapes_of_the_field() {
        let arc =
            json!({"question": "q", "choices": {"text": ["w", "x", "y"], "label": ["1", "2", "3"]}, "answer": "2"});
        let mmlu = json!({"question": "q", "choices": ["w", "x", "y"], "answer": 1});
        let letters = json!({"question": "q", "choices": ["w", "x", "y"], "answer": "B"});
        let config = "kind = 'choice'\ntrain = 'train.jsonl'\nvalidation_size = 1\ntest_size = 1\n";
        for row in [arc, mmlu, letters] {
            let line = |n: usize| format!("{}\n", row.to_string().replace("\"q\"", &format!("\"q{n}\"")));
            let train: String = (0..3).map(line).collect();
            let task = load(&[("train.jsonl", &train)], config).expect("a good task");
            let example = &task.examples(Split::Train)[0];
            assert!(
                example.messages[0].content.contains("\nA. w\nB. x\nC. y\n"),
                "{:?}",
                example.messages
            );
            assert_eq!([reward(&*task, "The answer is B."), reward(&*task, "C")], [1.0, 0.0]);
            let likely = load(
                &[("train.jsonl", &train)],
                &format!("{config}judge = 'likeliest'\nprompt = '{{question}}'"),
            )
            .expect("a good task");
            assert_eq!(
                likely.examples(Split::Train)[0].reference,
                json!({ "options": ["w", "x", "y"], "right": 1 })
            );
        }
        let wrong = json!({"question": "q", "choices": ["w", "x"], "answer": "C"}).to_string();
        let told = load(&[("train.jsonl", &wrong)], config)
            .err()
            .expect("refused")
            .to_string();
        assert!(
            told.contains("column `answer` is `C`, which is no label, letter, index or text of the 2 options"),
            "{told}"
        );
    }

    #[test]
    fn the_nearest_rows_are_chosen() {
        let talk = [
            "the cat sat on the warm mat",
            "the cat slept on the warm mat",
            "f(x) = 2x + 3 for all x",
            "g(x) = 5x + 1 for all x",
        ];
        let files = [
            ("train.jsonl", &*rows(&talk)),
            ("dev.jsonl", &rows(&["v"])),
            ("test.jsonl", &rows(&["t"])),
            ("near.jsonl", &rows(&["h(x) = 4x + 7 for all x"])),
        ];
        let task = load(
            &files,
            &format!("{THREE}{PLAIN}subset = {{ size = 2, near = 'near.jsonl' }}"),
        )
        .expect("a good task");
        let ids: Vec<&str> = task
            .examples(Split::Train)
            .iter()
            .map(|example| example.id.as_str())
            .collect();
        assert_eq!(ids, ["train.jsonl:3", "train.jsonl:4"]);
    }

    #[test]
    fn a_closed_set_of_answers_cannot_be_recited() {
        let files = ["x", "y", "z"].map(|q| format!("{{\"q\": \"{q}\", \"a\": 2}}"));
        let files = [
            ("train.jsonl", &*files[0]),
            ("dev.jsonl", &*files[1]),
            ("test.jsonl", &*files[2]),
        ];
        let config = format!(
            "{THREE}prompt = '{{q}}'\nanswer = 'a'\njudge = 'contains'\nanswer_map = {{ 0 = 'bad', 1 = 'good', 2 = 'very good' }}\n"
        );
        let task = load(&files, &config).expect("a good task");
        assert_eq!(
            ["It is Very Good.", "Is it bad or very good?", "good"].map(|text| reward(&*task, text)),
            [1.0, 0.0, 0.0]
        );
        let task = load(&files, &format!("case_sensitive = true\n{config}")).expect("a good task");
        assert_eq!(reward(&*task, "It is Very Good."), 0.0);
    }
}
