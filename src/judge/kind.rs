//! What a kind of judge answers for itself ([`Kind`]), and what it is told about an example ([`Asked`]).

use super::Judge;
use crate::error::Result;
use crate::reward::answer::Case;
use crate::rows::Row;
use crate::text::Message;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// A judge whose settings were read, or what is wrong with them, in a part of a sentence.
pub type Opened = std::result::Result<Box<dyn Kind>, String>;

/// Reads the conversation that a row brings. An error says, in a part of a sentence, what the row lacks.
pub type Conversation = fn(&Row) -> std::result::Result<Vec<Message>, String>;

/// One kind of judge, with its settings.
pub trait Kind: Send + Sync {
    /// What it needs of an example: the reference that comes back to it with each response. An error says, in a part of a sentence, what
    /// the row lacks, or why nobody could ever answer it right.
    fn reference(&self, asked: &Asked) -> std::result::Result<Value, String>;

    /// Whether its verdict hangs on how probable texts are to a candidate, and not on a text that it writes.
    fn asks_likelihood(&self) -> bool {
        false
    }

    /// How the prompt is read where the config names none, if the rows of this judge bring their own.
    fn conversation(&self) -> Option<Conversation> {
        None
    }

    /// Begins to judge, on so many threads where it is a pure function.
    fn begin(&self, threads: usize) -> Result<Box<dyn Judge>>;
}

/// What a task knows of an example that is to be judged.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The columns of its file.
    pub row: &'a Row,
    /// The gold answer, where the task was told which column holds it.
    pub gold: Option<&'a str>,
    /// The possible answers, where they are known; `gold` is one of them.
    pub options: &'a [String],
    /// Which of the options is right.
    pub right: Option<usize>,
}

impl<'a> Asked<'a> {
    /// Of a row alone.
    pub fn of(row: &'a Row) -> Self {
        Self {
            row,
            gold: None,
            options: &[],
            right: None,
        }
    }

    /// The gold answer, which may not be empty.
    pub fn answer(&self) -> std::result::Result<&'a str, String> {
        match self.gold {
            Some(gold) if gold.trim().is_empty() => Err(format!("the answer `{gold}` is empty")),
            Some(gold) => Ok(gold),
            None => Err("there is no gold answer; set task.answer to the column that holds it".into()),
        }
    }
}

/// What of a task a judge has to know before its first example.
#[derive(Clone, Debug)]
pub struct Context {
    /// Whether letters of other case are other letters.
    pub case: Case,
    /// All possible answers, where they are known for the whole task.
    pub labels: Vec<String>,
    /// Whether files that the settings name are read, or only the settings checked.
    pub reads_files: bool,
}

impl Default for Context {
    fn default() -> Self {
        Self {
            case: Case::Insensitive,
            labels: Vec::new(),
            reads_files: false,
        }
    }
}

/// Settings as a struct; an error names the key.
pub(super) fn settings<T: DeserializeOwned>(table: &toml::Table) -> std::result::Result<T, String> {
    toml::Value::Table(table.clone())
        .try_into()
        .map_err(|error: toml::de::Error| error.message().trim().to_owned())
}
