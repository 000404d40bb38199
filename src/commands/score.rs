//! `essa score`: log-probabilities of given texts, so that anyone can hold the model against another implementation.

use super::ModelArguments;
use super::generate::prompt_ids;
use crate::engine::ScoreRequest;
use crate::error::{Error, Result};
use crate::files::{check_output, write_output};
use crate::language_model::LanguageModel;
use crate::rows::{self, Row};
use crate::text::Message;
use clap::Args;
use std::path::{Path, PathBuf};

/// Flags of `essa score`.
#[derive(Args, Clone, Debug)]
pub struct ScoreArguments {
    /// The model.
    #[command(flatten)]
    pub model: ModelArguments,
    /// JSON lines with `prompt` and `completion`, or `prompt_ids` and `completion_ids`.
    #[arg(long, value_name = "FILE")]
    pub input: PathBuf,
    /// Takes prompts as they stand, without the chat template.
    #[arg(long)]
    pub raw: bool,
    /// Where the rows go, with `logprobs`.
    #[arg(long, value_name = "FILE")]
    pub output: PathBuf,
}

/// Writes every row again with `logprobs`, one natural logarithm a completion token.
pub fn score(arguments: &ScoreArguments) -> Result<()> {
    check_output(&arguments.output)?;
    let mut rows = rows::read(&arguments.input)?;
    let (mut opened, bank) = arguments.model.open()?;
    let requests: Result<Vec<ScoreRequest>> = rows
        .iter()
        .map(|(line, row)| request(&opened, &arguments.input, *line, row, arguments.raw))
        .collect();
    let scores = opened.engine.score(&requests?, bank.as_ref())?;
    let mut lines = String::new();
    for ((_, row), logprobs) in rows.iter_mut().zip(scores) {
        row.set("logprobs", &logprobs);
        lines += &format!("{row}\n");
    }
    write_output(&arguments.output, lines.as_bytes())
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
    let vocab = opened.weights.config().vocab;
    if let Some(token) = completion_ids.iter().find(|&&token| token as usize >= vocab) {
        return Err(error(&format!("token {token} is not in the vocabulary of {vocab}")));
    }
    Ok(ScoreRequest {
        prompt_ids,
        completion_ids,
        candidate: 0,
    })
}
