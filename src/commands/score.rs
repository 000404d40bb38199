//! `essa score`: log-probabilities of given texts, so that anyone can hold the model against another implementation.

use super::ModelArguments;
use super::generate::prompt_ids;
use crate::engine::ScoreRequest;
use crate::error::{Error, Result};
use crate::files::read_json_lines;
use crate::files::{check_output, write_output};
use crate::language_model::LanguageModel;
use clap::Args;
use serde_json::{Value, json};
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
    let mut rows = read_json_lines(&arguments.input)?;
    let (mut opened, bank) = arguments.model.open()?;
    let requests: Result<Vec<ScoreRequest>> = rows
        .iter()
        .enumerate()
        .map(|(index, row)| request(&opened, &arguments.input, index, row, arguments.raw))
        .collect();
    let scores = opened.engine.score(&requests?, bank.as_ref())?;
    let mut lines = String::new();
    for (row, logprobs) in rows.iter_mut().zip(scores) {
        row["logprobs"] = json!(logprobs);
        lines += &format!("{row}\n");
    }
    write_output(&arguments.output, lines.as_bytes())
}

fn request(opened: &LanguageModel, path: &Path, index: usize, row: &Value, raw: bool) -> Result<ScoreRequest> {
    let error = |what: &str| Error::file(path, format!("row {}: {what}", index + 1));
    let (prompt_ids, completion_ids) = if row.get("prompt_ids").is_some() {
        (
            token_ids(row, "prompt_ids").map_err(|e| error(&e))?,
            token_ids(row, "completion_ids").map_err(|e| error(&e))?,
        )
    } else {
        let completion = row.get("completion").and_then(Value::as_str);
        let completion = completion.ok_or_else(|| error("key `completion` is missing or not a string"))?;
        (
            prompt_ids(opened, path, index, row, raw)?,
            opened.text()?.continuation_ids(completion)?,
        )
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

fn token_ids(row: &Value, key: &str) -> std::result::Result<Vec<u32>, String> {
    let values = row
        .get(key)
        .and_then(Value::as_array)
        .ok_or(format!("key `{key}` is missing or not a list"))?;
    let token = |value: &Value| value.as_u64().and_then(|token| u32::try_from(token).ok());
    values
        .iter()
        .map(|value| token(value).ok_or(format!("`{key}` holds {value}, expected token numbers")))
        .collect()
}
