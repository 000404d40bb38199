//! A reward model as judge: a classifier of one label, beside the policy's model, reads the whole conversation and gives it a number. It
//! has an engine and a thread of its own, which takes whatever responses have ended meanwhile as one batch, so the policy's engine goes on
//! writing; both use the same cores. Its weights and its cache together stay within `memory_gib`. Judges of one process with the same
//! settings share model and thread.
//!
//! ```toml
//! judge = { reward_model = "my-reward-model", precision = "int8", memory_gib = 4.0 }
//! ```

use super::kind::{Asked, Context, Kind, Opened, settings};
use super::{Example, Judge, Response, Said, Verdict};
use crate::digest::sha256;
use crate::engine::Limits;
use crate::error::{Error, Result};
use crate::language_model::LanguageModel;
use crate::model::{LoadOptions, Precision, Weights, weight_bytes};
use crate::text::{Message, Text};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Rows of one step: few, because a thread of the pool that waits for a piece of the policy's step may take up a whole step of this
/// engine's meanwhile.
const ROWS: usize = 128;

/// Settings, as a config spells them.
#[derive(Clone, Debug, PartialEq, Deserialize)]
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

    /// The model, if it can judge: it has one score, a tokenizer of its own and a template, and memory for it all.
    fn check(&self) -> Result<Weights> {
        let weights = Weights::open(&self.reward_model)?;
        weights.expect_score_head()?;
        let text = Text::of(&weights)?;
        let probe = [Message::user("a"), Message::assistant("b")];
        let told = text.told_ids(&probe);
        let told = told.map_err(|error| Error::file(&self.reward_model, error.to_string()))?;
        let most = told.into_iter().chain(text.largest_of_plain_text()).max().unwrap_or(0);
        let vocab = weights.config().vocab;
        if most as usize >= vocab {
            return Err(Error::file(
                &self.reward_model,
                format!(
                    "its tokenizer writes tokens up to {most}, and its vocabulary has {vocab}; expected the tokenizer that the model was trained with"
                ),
            ));
        }
        self.cache_bytes(&weights)?;
        Ok(weights)
    }

    fn load(&self) -> Result<LanguageModel> {
        let weights = self.check()?;
        let limits = Limits {
            cache_bytes: self.cache_bytes(&weights)?,
            rows: ROWS,
        };
        LanguageModel::load(weights, self.options(), limits)
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
        let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|(_, reader)| reader.strong_count() > 0);
        let mut known = open.iter().filter(|(settings, _)| settings == self);
        let reader = match known.find_map(|(_, reader)| reader.upgrade()) {
            Some(reader) => reader,
            None => {
                let reader = Arc::new(Reader::start(self.load()?));
                open.push((self.clone(), Arc::downgrade(&reader)));
                reader
            }
        };
        Ok(Box::new(RewardModel::of(reader)))
    }
}

/// The models that judges of this process read with: a run's `judge` and `train_judge` may name the same one, which then is loaded once.
static OPEN: Mutex<Vec<(Settings, Weak<Reader>)>> = Mutex::new(Vec::new());

/// The running judge.
struct RewardModel {
    reader: Arc<Reader>,
    outbox: Sender<(usize, Verdict)>,
    judged: Receiver<(usize, Verdict)>,
    /// Tickets without a verdict yet.
    outstanding: BTreeSet<usize>,
    ends: Arc<AtomicBool>,
}

impl RewardModel {
    fn of(reader: Arc<Reader>) -> Self {
        let (outbox, judged) = channel();
        Self {
            reader,
            outbox,
            judged,
            outstanding: BTreeSet::new(),
            ends: Arc::default(),
        }
    }
}

impl Judge for RewardModel {
    fn submit(&mut self, responses: Vec<Response>) {
        for response in responses {
            self.outstanding.insert(response.ticket);
            self.reader.read(Unread {
                response,
                outbox: self.outbox.clone(),
                ends: self.ends.clone(),
            });
        }
    }

    fn poll(&mut self, wait: Duration, sink: &mut dyn FnMut(usize, Verdict)) {
        let mut wait = if self.outstanding.is_empty() {
            Duration::ZERO
        } else {
            wait
        };
        while let Ok((ticket, verdict)) = self.judged.recv_timeout(wait) {
            self.outstanding.remove(&ticket);
            sink(ticket, verdict);
            wait = Duration::ZERO;
        }
    }
}

impl Drop for RewardModel {
    /// What is not read yet is not read any more.
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
    }
}

/// A thread that reads conversations for all judges of one model, and ends with the last of them.
struct Reader {
    inbox: Option<Sender<Unread>>,
    thread: Option<JoinHandle<()>>,
}

impl Reader {
    fn start(opened: LanguageModel) -> Self {
        let (inbox, unread) = channel::<Unread>();
        let mut rater = Rater { opened };
        let work = move || {
            while let Ok(first) = unread.recv() {
                let batch = std::iter::once(first).chain(unread.try_iter());
                let batch: Vec<Unread> = batch.filter(Unread::is_wanted).collect();
                rater.rate(&batch);
            }
        };
        Self {
            inbox: Some(inbox),
            thread: Some(thread::spawn(work)),
        }
    }

    fn read(&self, unread: Unread) {
        let inbox = self.inbox.as_ref().expect("open until dropped");
        inbox.send(unread).expect("the thread outlives what it is asked");
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        drop(self.inbox.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A response, and who waits for its verdict.
struct Unread {
    response: Response,
    outbox: Sender<(usize, Verdict)>,
    ends: Arc<AtomicBool>,
}

impl Unread {
    fn is_wanted(&self) -> bool {
        !self.ends.load(Ordering::Relaxed)
    }

    fn say(&self, verdict: Verdict) {
        // Nobody listens any more where the run has ended.
        let _ = self.outbox.send((self.response.ticket, verdict));
    }
}

const PANICKED: &str = "the reward model panicked";

/// What the reader's thread has.
struct Rater {
    opened: LanguageModel,
}

impl Rater {
    /// Scores a batch; a conversation that cannot be scored fails alone. Every response gets a verdict, unless nobody wants any.
    fn rate(&mut self, batch: &[Unread]) {
        let (mut readable, mut sequences) = (Vec::new(), Vec::new());
        for unread in batch {
            let Response { example, said, .. } = &unread.response;
            let ids = catch_unwind(AssertUnwindSafe(|| self.sequence(example, said)));
            match ids.unwrap_or_else(|_| Err(PANICKED.into())) {
                Ok(ids) => {
                    readable.push(unread);
                    sequences.push(ids);
                }
                Err(why) => unread.say(Verdict::failed(why)),
            }
        }
        let mut missing: BTreeSet<usize> = (0..readable.len()).collect();
        let mut report = |some: Vec<(usize, f32)>| {
            for (index, score) in some {
                let score = f64::from(score);
                missing.remove(&index);
                readable[index].say(Verdict::new(score, [("score", score)]));
            }
            Ok(())
        };
        let engine = &mut self.opened.engine;
        let mut go_on = || readable.iter().any(|unread| unread.is_wanted());
        // A panic is a bug, which costs this batch its verdicts and no other: the thread outlives it.
        let rated = catch_unwind(AssertUnwindSafe(|| {
            engine.rate_each(&sequences, None, &mut report, &mut go_on)
        }));
        let why = match rated {
            Ok(Ok(_)) => return,
            Ok(Err(error)) => error.to_string(),
            Err(_) => PANICKED.into(),
        };
        for index in missing {
            readable[index].say(Verdict::failed(why.clone()));
        }
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
}

/// SHA-256 of what a reward model's scores hang on: its weights, and the files that say how they and a conversation are read.
pub fn digest(path: &Path) -> Result<String> {
    let mut whole = Weights::open(path)?.digest()?.to_owned();
    for name in [
        "config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "chat_template.jinja",
    ] {
        let file = path.join(name);
        if file.exists() {
            whole += &sha256(fs::read(&file).map_err(Error::io(&file))?);
        }
    }
    Ok(sha256(whole))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::judge_all;

    fn conversations() -> (Vec<(Arc<Example>, Said)>, Vec<f64>) {
        let text = include_str!("../../tests/golden/fixtures/llama-reward/reference.json");
        let golden: Value = serde_json::from_str(text).expect("JSON");
        let read = |row: &Value| {
            let mut messages: Vec<Message> = serde_json::from_value(row["messages"].clone()).expect("turns");
            let said = Said::Text(messages.pop().expect("a turn").content);
            let example = Example {
                messages,
                ..Example::default()
            };
            ((Arc::new(example), said), row["score"].as_f64().expect("a score"))
        };
        golden["conversations"]
            .as_array()
            .expect("rows")
            .iter()
            .map(read)
            .unzip()
    }

    #[test]
    fn a_template_is_part_of_the_model() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/fixtures/llama-reward");
        let copy = tempfile::tempdir().expect("a temporary folder");
        for file in fs::read_dir(&folder).expect("a folder").flatten() {
            fs::copy(file.path(), copy.path().join(file.file_name())).expect("a copy");
        }
        let before = digest(copy.path()).expect("a sum");
        assert_eq!(before, digest(&folder).expect("a sum"));
        fs::write(copy.path().join("chat_template.jinja"), "{{ messages[0].content }}").expect("a file");
        assert_ne!(before, digest(copy.path()).expect("a sum"));
    }

    /// Of two judges with the same settings and tickets each gets its own verdicts, one of them goes on without the other, and the model
    /// goes with the last.
    #[test]
    fn judges_of_the_same_settings_share_a_model() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/fixtures/llama-reward");
        let open_reader = |settings: &Settings| {
            let open = OPEN.lock().expect("no panic");
            let known = open.iter().find(|(known, _)| known == settings);
            known.map_or(0, |(_, reader)| reader.strong_count())
        };
        let settings = |memory_gib| Settings {
            reward_model: folder.clone(),
            precision: Precision::F32,
            memory_gib,
        };
        let (one, other) = (settings(0.03), settings(0.04));
        let begin = |settings: &Settings| settings.begin(1).expect("a judge");
        let (mut first, mut second, third) = (begin(&one), begin(&one), begin(&other));
        assert_eq!([open_reader(&one), open_reader(&other)], [2, 1]);

        let (asked, scores) = conversations();
        let response = |(ticket, at): (usize, usize)| Response {
            ticket,
            example: asked[at].0.clone(),
            said: asked[at].1.clone(),
        };
        first.submit([(0, 0), (1, 1), (2, 2)].map(response).into());
        second.submit([(0, 2), (1, 0), (2, 1)].map(response).into());
        for (judge, order) in [(&mut first, [0, 1, 2]), (&mut second, [2, 0, 1])] {
            let mut missing = BTreeSet::from([0, 1, 2]);
            while !missing.is_empty() {
                judge.poll(Duration::from_secs(60), &mut |ticket, verdict| {
                    assert!(missing.remove(&ticket) && (verdict.reward - scores[order[ticket]]).abs() < 1e-4);
                });
            }
        }
        first.submit(vec![response((3, 0))]);
        drop((first, third));
        assert_eq!([open_reader(&one), open_reader(&other)], [1, 0]);
        let verdicts = judge_all(&mut *second, asked.clone());
        assert!(
            verdicts
                .iter()
                .zip(&scores)
                .all(|(found, score)| (found.reward - score).abs() < 1e-4)
        );
        drop(second);
        assert_eq!(open_reader(&one), 0);
    }
}
