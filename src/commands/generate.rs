//! `essa generate`: texts for a file of prompts, so that anyone can look at the engine's work.

use super::ModelArguments;
use crate::engine::{Finish, Request, Sampling};
use crate::error::{Error, Result};
use crate::files::{check_output, write_output};
use crate::language_model::LanguageModel;
use crate::rows::{self, Row};
use crate::seed::Seed;
use crate::text::Message;
use clap::Args;
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Flags of `essa generate`.
#[derive(Args, Clone, Debug)]
pub struct GenerateArguments {
    /// The model.
    #[command(flatten)]
    pub model: ModelArguments,
    /// JSON lines with `prompt`.
    #[arg(long, value_name = "FILE")]
    pub prompts: PathBuf,
    /// Token budget of a text.
    #[arg(long, value_name = "N")]
    pub max_new_tokens: usize,
    /// Takes prompts as they stand, without the chat template.
    #[arg(long)]
    pub raw: bool,
    /// Writes on past stop tokens.
    #[arg(long)]
    pub ignore_eos: bool,
    /// 0 takes the likeliest token.
    #[arg(long, default_value_t = 0.0)]
    pub temperature: f64,
    /// Probability that the kept tokens hold.
    #[arg(long, default_value_t = 1.0)]
    pub top_p: f64,
    /// Likeliest tokens kept; 0 keeps all.
    #[arg(long, default_value_t = 0)]
    pub top_k: usize,
    /// Root of the random numbers.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Writes counts and times as JSON.
    #[arg(long, value_name = "FILE")]
    pub stats: Option<PathBuf>,
    /// Where the rows go, with `completion`, `token_ids` and `finish_reason`.
    #[arg(long, value_name = "FILE")]
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
    let sampling = Sampling {
        temperature: arguments.temperature,
        top_p: arguments.top_p,
        top_k: arguments.top_k,
    };
    sampling.check("--")?;
    if arguments.max_new_tokens == 0 {
        return Err(Error::config("--max-new-tokens is 0, expected 1 or more"));
    }
    [Some(&arguments.output), arguments.stats.as_ref()]
        .into_iter()
        .flatten()
        .try_for_each(|path| check_output(path))?;
    let mut rows = rows::read(&arguments.prompts)?;
    let clock = Instant::now();
    let (mut opened, bank) = arguments.model.open()?;
    let load_s = clock.elapsed().as_secs_f64();
    let text = opened.text()?;
    let mut requests = Vec::with_capacity(rows.len());
    for (index, (line, row)) in rows.iter().enumerate() {
        requests.push(Request {
            prompt_ids: prompt_ids(&opened, &arguments.prompts, *line, row, arguments.raw)?,
            candidate: 0,
            max_new_tokens: arguments.max_new_tokens,
            sampling,
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
    for ((_, row), completion) in rows.iter_mut().zip(&completions) {
        let finish = if completion.finish == Finish::Stop {
            "stop"
        } else {
            "length"
        };
        row.set("completion", &text.decode(&completion.token_ids));
        row.set("token_ids", &completion.token_ids);
        row.set("finish_reason", &finish);
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

/// The tokens of one row's prompt; an error names the file and the line.
pub(super) fn prompt_ids(opened: &LanguageModel, path: &Path, line: usize, row: &Row, raw: bool) -> Result<Vec<u32>> {
    let text = opened.text()?;
    let wrong = |what: String| Error::file(path, format!("line {line}: {what}"));
    let prompt = row.get::<String>("prompt", "a text").map_err(wrong)?;
    let ids = if raw {
        text.raw_ids(&prompt)?
    } else {
        text.chat_ids(&[Message::user(prompt)])?
    };
    if ids.is_empty() {
        return Err(wrong("the prompt has no tokens".into()));
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
