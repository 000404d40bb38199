//! A reward model as judge: a classifier of one label, beside the policy's model, reads the whole conversation and gives it a number. It
//! has an engine and a thread of its own, which takes whatever responses have ended meanwhile as one batch, so the policy's engine goes on
//! writing; both use the same cores. Its weights and its cache together stay within `memory_gib`.
//!
//! ```toml
//! judge = { reward_model = "my-reward-model", precision = "int8", memory_gib = 4.0 }
//! ```

use super::kind::{Asked, Context, Kind, Opened, settings};
use super::{Example, Judge, Response, Said, Verdict};
use crate::engine::Limits;
use crate::error::{Error, Result};
use crate::language_model::LanguageModel;
use crate::model::{LoadOptions, Precision, Weights, weight_bytes};
use crate::text::{Message, Text};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Rows of one step: few, because a thread of the pool that waits for a piece of the policy's step may take up a whole step of this
/// engine's meanwhile.
const ROWS: usize = 128;

/// Settings, as a config spells them.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    reward_model: PathBuf,
    /// In int8 a score hangs on its conversation alone and not on the batch that it came in.
    #[serde(default = "int8")]
    precision: Precision,
    #[serde(default = "four")]
    memory_gib: f64,
}

fn int8() -> Precision {
    Precision::Int8
}

fn four() -> f64 {
    4.0
}

/// The judge. Where files are read, the model's header, its tokenizer and its template are; its numbers only when it begins.
pub fn open(table: &toml::Table, context: &Context) -> Opened {
    let settings: Settings = settings(table)?;
    if !(settings.memory_gib > 0.0 && settings.memory_gib.is_finite()) {
        return Err(format!("memory_gib is {}, expected above 0", settings.memory_gib));
    }
    if context.reads_files {
        settings.check().map_err(|error| error.to_string())?;
    }
    Ok(Box::new(settings))
}

impl Settings {
    fn options(&self) -> LoadOptions {
        self.precision.into()
    }

    /// The model, if it can judge: it has one score, a tokenizer and a template, and memory for it all.
    fn check(&self) -> Result<Weights> {
        let weights = Weights::open(&self.reward_model)?;
        weights.expect_score_head()?;
        let probe = [Message::user("a"), Message::assistant("b")];
        Text::of(&weights)?
            .told_ids(&probe)
            .map_err(|error| Error::file(&self.reward_model, error.to_string()))?;
        self.cache_bytes(&weights)?;
        Ok(weights)
    }

    /// What the weights leave of the memory.
    fn cache_bytes(&self, weights: &Weights) -> Result<usize> {
        let gib = (1_u64 << 30) as f64;
        let (all, needed) = ((self.memory_gib * gib) as usize, weight_bytes(weights, self.options()));
        all.checked_sub(needed).filter(|left| *left > 0).ok_or_else(|| {
            Error::file(
                &self.reward_model,
                format!(
                    "its weights take {:.3} GiB in {}, and memory_gib is {}; raise it, or take a smaller precision",
                    needed as f64 / gib,
                    format!("{:?}", self.precision).to_lowercase(),
                    self.memory_gib
                ),
            )
        })
    }
}

impl Kind for Settings {
    /// Nothing. A gold answer that there is may serve another judge.
    fn reference(&self, asked: &Asked) -> std::result::Result<Value, String> {
        Ok(asked.gold.map_or(json!({}), |gold| json!({ "answer": gold })))
    }

    fn begin(&self, _: usize) -> Result<Box<dyn Judge>> {
        let weights = self.check()?;
        let limits = Limits {
            cache_bytes: self.cache_bytes(&weights)?,
            rows: ROWS,
        };
        let opened = LanguageModel::load(weights, self.options(), limits)?;
        Ok(Box::new(RewardModel::start(opened)))
    }
}

/// The running judge.
struct RewardModel {
    asked: Option<Sender<Response>>,
    judged: Receiver<(usize, Verdict)>,
    /// Tickets without a verdict yet.
    outstanding: BTreeSet<usize>,
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl RewardModel {
    fn start(opened: LanguageModel) -> Self {
        let (asked, inbox) = channel::<Response>();
        let (outbox, judged) = channel();
        let ends = Arc::new(AtomicBool::new(false));
        let mut rater = Rater {
            opened,
            outbox,
            ends: ends.clone(),
        };
        let work = move || {
            while let Ok(first) = inbox.recv() {
                let batch: Vec<Response> = std::iter::once(first).chain(inbox.try_iter()).collect();
                if rater.ends.load(Ordering::Relaxed) {
                    return;
                }
                rater.rate(&batch);
            }
        };
        Self {
            asked: Some(asked),
            judged,
            outstanding: BTreeSet::new(),
            ends,
            thread: Some(thread::spawn(work)),
        }
    }
}

impl Judge for RewardModel {
    fn submit(&mut self, responses: Vec<Response>) {
        let asked = self.asked.as_ref().expect("open until dropped");
        for response in responses {
            self.outstanding.insert(response.ticket);
            // Where the thread is gone, `poll` says so.
            let _ = asked.send(response);
        }
    }

    fn poll(&mut self, wait: Duration, sink: &mut dyn FnMut(usize, Verdict)) {
        let mut wait = if self.outstanding.is_empty() {
            Duration::ZERO
        } else {
            wait
        };
        loop {
            match self.judged.recv_timeout(wait) {
                Ok((ticket, verdict)) => {
                    self.outstanding.remove(&ticket);
                    sink(ticket, verdict);
                }
                Err(RecvTimeoutError::Timeout) => return,
                Err(RecvTimeoutError::Disconnected) => {
                    for ticket in std::mem::take(&mut self.outstanding) {
                        sink(ticket, Verdict::failed("the reward model's thread ended"));
                    }
                    return;
                }
            }
            wait = Duration::ZERO;
        }
    }
}

impl Drop for RewardModel {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        drop(self.asked.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What the judge's thread has.
struct Rater {
    opened: LanguageModel,
    outbox: Sender<(usize, Verdict)>,
    ends: Arc<AtomicBool>,
}

impl Rater {
    /// Scores a batch; a conversation that cannot be scored fails alone.
    fn rate(&mut self, batch: &[Response]) {
        let (mut tickets, mut sequences) = (Vec::new(), Vec::new());
        for response in batch {
            match self.sequence(&response.example, &response.said) {
                Ok(ids) => {
                    tickets.push(response.ticket);
                    sequences.push(ids);
                }
                Err(why) => self.say(response.ticket, Verdict::failed(why)),
            }
        }
        let mut missing: BTreeSet<usize> = tickets.iter().copied().collect();
        let (outbox, ends) = (&self.outbox, &self.ends);
        let mut report = |some: Vec<(usize, f32)>| {
            for (index, score) in some {
                let score = f64::from(score);
                missing.remove(&tickets[index]);
                let _ = outbox.send((tickets[index], Verdict::new(score, [("score", score)])));
            }
            Ok(())
        };
        let engine = &mut self.opened.engine;
        let mut go_on = || !ends.load(Ordering::Relaxed);
        // A panic is a bug, which costs this batch its verdicts and no other.
        let rated = catch_unwind(AssertUnwindSafe(|| {
            engine.rate_each(&sequences, None, &mut report, &mut go_on)
        }));
        let why = match rated {
            Ok(Ok(_)) => return,
            Ok(Err(error)) => error.to_string(),
            Err(_) => "the reward model panicked".into(),
        };
        missing
            .into_iter()
            .for_each(|ticket| self.say(ticket, Verdict::failed(why.clone())));
    }

    /// The tokens of a whole conversation, if the model can read them.
    fn sequence(&self, example: &Example, said: &Said) -> std::result::Result<Vec<u32>, String> {
        let Said::Text(response) = said else {
            return Err("the reward model reads texts".into());
        };
        if example.messages.is_empty() {
            return Err("there is no conversation that was answered, only a response".into());
        }
        let told = [example.messages.as_slice(), &[Message::assistant(response)]].concat();
        let text = self.opened.text().map_err(|error| error.to_string())?;
        let ids = text.told_ids(&told).map_err(|error| error.to_string())?;
        let config = self.opened.weights.config();
        let most = config.context.min(self.opened.engine.tokens_that_fit());
        if ids.is_empty() || ids.len() > most {
            return Err(format!(
                "the conversation has {} tokens, and the reward model can read 1 to {most} (its context is {}, and memory_gib bounds its cache)",
                ids.len(),
                config.context
            ));
        }
        match ids.iter().find(|&&token| token as usize >= config.vocab) {
            Some(token) => Err(format!(
                "its tokenizer writes the token {token}, and its vocabulary ends at {}",
                config.vocab
            )),
            None => Ok(ids),
        }
    }

    fn say(&self, ticket: usize, verdict: Verdict) {
        // Nobody listens any more where the run has ended.
        let _ = self.outbox.send((ticket, verdict));
    }
}

/// SHA-256 of a reward model's files.
pub fn digest(path: &Path) -> Result<String> {
    Ok(Weights::open(path)?.digest()?.to_owned())
}
