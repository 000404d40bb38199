//! `essa score`: log-probabilities of given texts, or what a classifier says of them, so that anyone can hold the model against another
//! implementation.

use super::ModelArguments;
use super::generate::prompt_ids;
use crate::engine::ScoreRequest;
use crate::error::{Error, Result};
use crate::files::{check_output, write_output};
use crate::language_model::LanguageModel;
use crate::model::{Head, Weights};
use crate::rows::{self, Row};
use crate::text::Message;
use crate::text::conversation::turns;
use clap::Args;
use serde::Serialize;
use std::path::{Path, PathBuf};

/// Flags of `essa score`.
#[derive(Args, Clone, Debug)]
pub struct ScoreArguments {
    /// The model.
    #[command(flatten)]
    pub model: ModelArguments,
    /// JSON lines with `prompt` and `completion`, or `prompt_ids` and `completion_ids`; for a classifier a conversation in `messages`, or
    /// `prompt` and `completion`, or `prompt_ids` alone.
    #[arg(long, value_name = "FILE")]
    pub input: PathBuf,
    /// Takes prompts as they stand, without the chat template.
    #[arg(long)]
    pub raw: bool,
    /// Where the rows go, with `logprobs`, or with a classifier's `score`.
    #[arg(long, value_name = "FILE")]
    pub output: PathBuf,
}

/// Writes every row again with `logprobs`, one natural logarithm a completion token, or, of a classifier, with one `score`.
pub fn score(arguments: &ScoreArguments) -> Result<()> {
    check_output(&arguments.output)?;
    let rows = rows::read(&arguments.input)?;
    let weights = Weights::open(&arguments.model.model)?;
    let is_classifier = weights.config().head != Head::Language;
    let (mut opened, bank) = arguments.model.load(weights)?;
    if is_classifier {
        let sequences: Result<Vec<Vec<u32>>> = rows
            .iter()
            .map(|(line, row)| sequence(&opened, &arguments.input, *line, row, arguments.raw))
            .collect();
        let scores = opened.engine.rate(&sequences?, bank.as_ref())?;
        return write(rows, "score", &scores, &arguments.output);
    }
    let requests: Result<Vec<ScoreRequest>> = rows
        .iter()
        .map(|(line, row)| request(&opened, &arguments.input, *line, row, arguments.raw))
        .collect();
    let scores = opened.engine.score(&requests?, bank.as_ref())?;
    write(rows, "logprobs", &scores, &arguments.output)
}

/// Writes every row again with one more column.
fn write(rows: Vec<(usize, Row)>, column: &str, values: &[impl Serialize], output: &Path) -> Result<()> {
    let mut lines = String::new();
    for ((_, mut row), value) in rows.into_iter().zip(values) {
        row.set(column, value);
        lines += &format!("{row}\n");
    }
    write_output(output, lines.as_bytes())
}

/// The tokens that a classifier reads of one row; an error names the file and the line.
fn sequence(opened: &LanguageModel, path: &Path, line: usize, row: &Row, raw: bool) -> Result<Vec<u32>> {
    let error = |what: &str| Error::file(path, format!("line {line}: {what}"));
    let ids = if row.has("prompt_ids") {
        row.get::<Vec<u32>>("prompt_ids", "a list of token numbers")
            .map_err(|what| error(&what))?
    } else {
        let text = opened.text()?;
        let column = |name: &str| row.get::<String>(name, "a text").map_err(|what| error(&what));
        if row.has("messages") {
            text.told_ids(&turns(row, "messages").map_err(|what| error(&what))?)?
        } else if raw {
            text.raw_ids(&(column("prompt")? + &column("completion")?))?
        } else {
            text.told_ids(&[
                Message::user(column("prompt")?),
                Message::assistant(column("completion")?),
            ])?
        }
    };
    if ids.is_empty() {
        return Err(error("there are no tokens to score"));
    }
    check_vocabulary(opened, &ids).map_err(|what| error(&what))?;
    Ok(ids)
}

fn check_vocabulary(opened: &LanguageModel, ids: &[u32]) -> std::result::Result<(), String> {
    let vocab = opened.weights.config().vocab;
    match ids.iter().find(|&&token| token as usize >= vocab) {
        Some(token) => Err(format!("token {token} is not in the vocabulary of {vocab}")),
        None => Ok(()),
    }
}

fn request(opened: &LanguageModel, path: &Path, line: usize, row: &Row, raw: bool) -> Result<ScoreRequest> {
    let error = |what: &str| Error::file(path, format!("line {line}: {what}"));
    let (prompt_ids, completion_ids) = if row.has("prompt_ids") {
        let ids = |column: &str| {
            row.get::<Vec<u32>>(column, "a list of token numbers")
                .map_err(|what| error(&what))
        };
        (ids("prompt_ids")?, ids("completion_ids")?)
    } else {
        let completion = row.get::<String>("completion", "a text").map_err(|what| error(&what))?;
        let prompt_ids = prompt_ids(opened, path, line, row, raw)?;
        let (text, prompt) = (opened.text()?, row.text("prompt").map_err(|what| error(&what))?);
        let completion_ids = if raw {
            text.ids_after(&prompt, &completion, false, false)?
        } else {
            text.ids_after(&text.chat_text(&[Message::user(prompt)])?, &completion, true, false)?
        };
        (prompt_ids, completion_ids)
    };
    if prompt_ids.is_empty() {
        return Err(error(
            "the prompt has no tokens; the first token needs something before it",
        ));
    }
    check_vocabulary(opened, &completion_ids).map_err(|what| error(&what))?;
    Ok(ScoreRequest {
        prompt_ids,
        completion_ids,
        candidate: 0,
    })
}
