//! `essa generate`: texts for a file of prompts, so that anyone can look at the engine's work.

use super::ModelArguments;
use crate::engine::text::{Opened, read_json_lines};
use crate::engine::{Finish, Request, Sampling};
use crate::error::{Error, Result};
use crate::files::{check_output, write_output};
use crate::seed::Seed;
use crate::task::Message;
use serde::Serialize;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// The command's flags.
#[derive(Clone, Debug)]
pub struct GenerateArguments {
    /// The model.
    pub model: ModelArguments,
    /// Rows `{"prompt": …}`.
    pub prompts: PathBuf,
    /// Token budget of a text.
    pub max_new_tokens: usize,
    /// Prompts are text as it stands, no chat template.
    pub raw: bool,
    /// Stop tokens do not stop; every text has `max_new_tokens`.
    pub ignore_eos: bool,
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// Root of the uniform numbers.
    pub seed: u64,
    /// Where to put times and counts.
    pub stats: Option<PathBuf>,
    /// Where to put the rows.
    pub output: PathBuf,
}

#[derive(Serialize)]
struct Stats {
    prompt_tokens: usize,
    completion_tokens: usize,
    load_s: f64,
    prefill_s: f64,
    decode_s: f64,
    peak_rss_bytes: u64,
}

/// Writes one row for every prompt: its own columns, `completion`, `token_ids` and `finish_reason`.
pub fn generate(arguments: &GenerateArguments) -> Result<()> {
    arguments.sampling.check("--")?;
    if arguments.max_new_tokens == 0 {
        return Err(Error::config("--max-new-tokens is 0, expected 1 or more"));
    }
    [Some(&arguments.output), arguments.stats.as_ref()]
        .into_iter()
        .flatten()
        .try_for_each(|path| check_output(path))?;
    let mut rows = read_json_lines(&arguments.prompts)?;
    let clock = Instant::now();
    let (mut opened, bank) = arguments.model.open()?;
    let load_s = clock.elapsed().as_secs_f64();
    let text = opened.text()?;
    let mut requests = Vec::with_capacity(rows.len());
    for (index, row) in rows.iter().enumerate() {
        requests.push(Request {
            prompt_ids: prompt_ids(&opened, &arguments.prompts, index, row, arguments.raw)?,
            candidate: 0,
            max_new_tokens: arguments.max_new_tokens,
            sampling: arguments.sampling,
            seed: Seed::new(arguments.seed).named("texts").fold(index as u64),
            stop: if arguments.ignore_eos {
                Vec::new()
            } else {
                text.stop().to_vec()
            },
        });
    }
    let completions = opened
        .engine
        .generate(&requests, bank.as_ref(), &mut || true)?
        .expect("nobody says stop");
    let text = opened.text()?;
    let mut lines = String::new();
    for (row, completion) in rows.iter_mut().zip(&completions) {
        row["completion"] = json!(text.decode(&completion.token_ids));
        row["token_ids"] = json!(completion.token_ids);
        row["finish_reason"] = json!(if completion.finish == Finish::Stop {
            "stop"
        } else {
            "length"
        });
        lines += &format!("{row}\n");
    }
    write_output(&arguments.output, lines.as_bytes())?;
    let engine = opened.engine.stats();
    let stats = Stats {
        prompt_tokens: engine.prompt_tokens,
        completion_tokens: engine.completion_tokens,
        load_s,
        prefill_s: engine.prefill_s,
        decode_s: engine.decode_s,
        peak_rss_bytes: peak_rss_bytes(),
    };
    if let Some(path) = &arguments.stats {
        write_output(path, &serde_json::to_vec_pretty(&stats).expect("JSON of numbers"))?;
    }
    Ok(())
}

/// The tokens of one row's prompt; an error names the file and the row.
pub(super) fn prompt_ids(opened: &Opened, path: &Path, index: usize, row: &Value, raw: bool) -> Result<Vec<u32>> {
    let text = opened.text()?;
    let prompt = row.get("prompt").and_then(Value::as_str).ok_or_else(|| {
        let keys: Vec<&String> = row.as_object().map(|row| row.keys().collect()).unwrap_or_default();
        Error::file(
            path,
            format!(
                "row {}: key `prompt` is missing or not a string; found keys {keys:?}",
                index + 1
            ),
        )
    })?;
    let ids = if raw {
        text.raw_ids(prompt)?
    } else {
        text.chat_ids(&[Message::user(prompt)])?
    };
    if ids.is_empty() {
        return Err(Error::file(
            path,
            format!("row {}: the prompt has no tokens", index + 1),
        ));
    }
    Ok(ids)
}

/// Largest memory that this process has had, in bytes; 0 where the system does not say.
fn peak_rss_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok())
        .map_or(0, |kib| kib * 1024)
}
