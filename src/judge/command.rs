//! A program of the user's as a judge: one JSON object a line on its input, one back for each, in any order ([`super::process`] keeps it alive). On a
//! farm each rank runs its own copies.
//!
//! ```json
//! {"id": 17, "messages": [{"role": "user", "content": "…"}], "response": "…", "row": {"question": "…"}}
//! {"id": 17, "reward": 0.5}
//! ```
//!
//! `row` holds the columns of the example's file as they stand there. An answer has `reward`, or `terms` with a number each, or `error`. Terms weigh
//! one each unless `[reward]` says otherwise.

use super::kind::{Asked, Context, Kind, Opened, settings};
use super::process::{Answer, CommandConfig, CommandJudge, Troubles};
use super::{Judge, Response, Said, Verdict};
use crate::error::{Error, Result};
use crate::rows::Row;
use crate::terminal;
use crate::text::Message;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Settings, as a config spells them.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    command: Vec<String>,
    #[serde(default = "default_timeout")]
    timeout: String,
    #[serde(default = "one")]
    copies: usize,
    #[serde(default = "one")]
    batch: usize,
}

fn default_timeout() -> String {
    "30s".into()
}

fn one() -> usize {
    1
}

/// The most processes of one rank.
const MOST_COPIES: usize = 256;

/// The judge.
pub fn open(table: &toml::Table, context: &Context) -> Opened {
    let Settings {
        command,
        timeout,
        copies,
        batch,
    } = settings(table)?;
    if command.first().is_none_or(String::is_empty) {
        return Err(
            "command is empty, expected a program and its arguments, such as [\"python3\", \"reward.py\"]".into(),
        );
    }
    let time = humantime::parse_duration(&timeout)
        .ok()
        .filter(|time| !time.is_zero())
        .ok_or_else(|| format!("timeout is `{timeout}`, expected a time such as 30s or 2m"))?;
    if !(1..=MOST_COPIES).contains(&copies) {
        return Err(format!("copies is {copies}, expected 1 to {MOST_COPIES}"));
    }
    if context.reads_files && !is_program(&command[0]) {
        return Err(format!(
            "the program `{}` is not there, or may not be run; expected a path, or a name that PATH finds",
            command[0]
        ));
    }
    if batch == 0 {
        return Err("batch is 0, expected 1 or more rows that a copy has in hand".into());
    }
    Ok(Box::new(CommandConfig {
        command,
        timeout: time,
        copies,
        batch,
    }))
}

/// Whether this could be started, as far as that is known without starting it.
fn is_program(name: &str) -> bool {
    let may_run = |path: &Path| {
        path.metadata()
            .is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
    };
    if name.contains('/') {
        return may_run(Path::new(name));
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| may_run(&folder.join(name)))
}

impl Kind for CommandConfig {
    /// Nothing: the program gets the whole row. A gold answer that there is may serve another judge.
    fn reference(&self, asked: &Asked) -> std::result::Result<Value, String> {
        Ok(asked.gold.map_or(json!({}), |gold| json!({ "answer": gold })))
    }

    fn begin(&self, _: usize) -> Result<Box<dyn Judge>> {
        let name = self.command.first().cloned().unwrap_or_default();
        let say = move |line: &str| terminal::say(format_args!("{name}: {line}"));
        let running = CommandJudge::start(self, Arc::new(say)).map_err(Error::config)?;
        Ok(Box::new(Running {
            judge: running,
            name: self.command.join(" "),
        }))
    }
}

struct Running {
    judge: CommandJudge,
    name: String,
}

/// What went wrong is said once, at the end.
impl Drop for Running {
    fn drop(&mut self) {
        let Troubles {
            crashes,
            timeouts,
            failed_rows,
            ignored_lines,
            ..
        } = self.judge.troubles();
        if crashes + timeouts + failed_rows + ignored_lines > 0 {
            terminal::say(format_args!(
                "judge {}: {failed_rows} responses could not be judged; it ended by itself {crashes} times, was too slow {timeouts} times, and wrote {ignored_lines} lines that are no answer",
                self.name
            ));
        }
    }
}

impl Judge for Running {
    fn submit(&mut self, responses: Vec<Response>) {
        #[derive(Serialize)]
        struct Body<'a> {
            messages: &'a [Message],
            response: &'a str,
            row: &'a Row,
        }
        for response in responses {
            let text = match &response.said {
                Said::Text(text) => text.as_str(),
                Said::Logarithms(_) | Said::AgainstStart { .. } => "",
            };
            let body = Body {
                messages: &response.example.messages,
                response: text,
                row: &response.example.row,
            };
            let body = serde_json::to_string(&body).expect("JSON of texts and rows");
            self.judge.submit(response.ticket, body);
        }
    }

    fn poll(&mut self, wait: Duration, sink: &mut dyn FnMut(usize, Verdict)) {
        self.judge.poll(wait, &mut |ticket, answer| {
            let verdict = match answer {
                Answer::Failed(why) => Verdict::failed(why),
                Answer::Terms(terms) => {
                    // A reward beside terms is the reward; terms alone add up.
                    let sum = terms.values().sum();
                    let reward = terms.get("reward").copied().unwrap_or(sum);
                    Verdict::new(reward, terms.iter().map(|(name, value)| (name.as_str(), *value)))
                }
            };
            sink(ticket, verdict);
        });
    }
}
