//! Supervised learning of the adapter that a search begins from: the only place with gradients. It reads demonstrations, takes AdamW steps on the
//! factors of a LoRA, watches the held-out loss, and leaves a PEFT directory. The same command on a directory in which it was stopped goes on.
//!
//! In the directory: `config.toml`, `metrics.csv` with a row a step, `state.safetensors` with all that the next step needs, and at the end `adapter/`, in
//! which `warm_start.json` says what was learned from, so that a search which begins from it can keep away from those rows.

mod adamw;
mod lora;
mod state;
mod trainer;

pub use adamw::AdamW;
pub use lora::TrainableLora;
pub use trainer::{Sequence, Stepped, Trainer};

use crate::adapter::Learned;
use crate::adapter::peft::PeftAdapter;
use crate::config::WarmStartConfig;
use crate::error::{Error, Result};
use crate::files::write_atomically;
use crate::model::{Plain, Products, Weights};
use crate::record::lock::{Asked, Lock};
use crate::seed::Seed;
use crate::task::demonstrations::Demonstration;
use crate::text::Text;
use crate::threads::{self, Node};
use rayon::prelude::*;
use state::{Progress, Row, State};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Steps between two states on disk.
const SAVED_EVERY: u64 = 20;

/// Where the adapter of a warm start in `directory` lies.
pub fn adapter_of(directory: &Path) -> PathBuf {
    directory.join(WarmStartConfig::ADAPTER)
}

/// Learns, and writes what was learned into `directory`. None when `go_on` says no before it is through; the same call then goes on from there.
pub fn train(
    config: &WarmStartConfig,
    directory: &Path,
    say: &dyn Fn(&str),
    go_on: &mut dyn FnMut() -> bool,
) -> Result<Option<Learned>> {
    let adapter = adapter_of(directory);
    let digest = config.digest();
    let _lock = match Lock::take(&directory.join("lock"))? {
        Asked::Taken(lock) => lock,
        Asked::InUse(owner) => {
            return Err(Error::InUse {
                path: directory.to_path_buf(),
                owner,
            });
        }
    };
    if let Some(learned) = Learned::read(&adapter)? {
        return match learned.config_sha256 == digest {
            true => Ok(Some(learned)),
            false => Err(Error::file(
                directory,
                "holds the adapter of another warm start; take another --out, or remove it",
            )),
        };
    }
    let demonstrations = config.demonstrations()?;
    threads::set(config.model.threads, Node::ALONE);
    let weights = Weights::open(&config.model.path)?;
    weights.expect_language_head()?;
    let text = Text::of(&weights)?;
    let most = config.training.max_length.min(weights.config().context);
    let [train, validation] =
        [&demonstrations.train, &demonstrations.validation].map(|some| tokenize(&text, some, most));
    let (train, validation) = (train?, validation?);
    let left_out = demonstrations.train.len() - train.len();
    if train.is_empty() || validation.is_empty() {
        return Err(Error::config(format!(
            "no row to learn from or none to watch has at most {most} tokens; raise training.max_length"
        )));
    }
    let fresh = match &config.model.adapter {
        Some(path) => TrainableLora::from_peft(&PeftAdapter::read(path, weights.config())?),
        None => {
            let seed = Seed::new(config.seed).named("lora");
            let lora = &config.lora;
            TrainableLora::new(weights.config(), &config.modules()?, lora.r, lora.lora_alpha, seed)
        }
    };
    let settings = config.training.clone();
    let a_step = settings.batch_size * settings.gradient_accumulation_steps;
    let by_epochs = (settings.num_train_epochs * train.len() as f64 / a_step as f64).ceil() as u64;
    let steps = settings.max_steps.unwrap_or(by_epochs).max(1);
    say(&format!(
        "warm start: {steps} steps of {a_step} rows, from {} rows ({left_out} left out as too long), {} watched",
        train.len(),
        validation.len()
    ));
    let mut trainer = Trainer {
        model: Plain::load(&weights, config.options(), Products::Library)?,
        lora: fresh,
        optimizer: AdamW::default(),
        settings,
        steps,
    };
    let state = State::new(directory, &digest);
    let mut progress = match state.load(&mut trainer)? {
        Some(progress) => {
            say(&format!("warm start: going on after step {}", progress.rows.len()));
            progress
        }
        None => {
            write_atomically(&directory.join("config.toml"), config.to_toml().as_bytes())?;
            let loss = trainer.loss(&validation)?;
            say(&format!("warm start: held-out loss {loss:.4} before the first step"));
            Progress::new(loss, &trainer)?
        }
    };
    let every = trainer.settings.eval_steps;
    while (progress.rows.len() as u64) < steps && !progress.has_stalled(trainer.settings.early_stopping_patience) {
        let step = progress.rows.len() as u64;
        if !go_on() {
            state.save(&trainer, &progress)?;
            return Ok(None);
        }
        let began = Instant::now();
        let chosen = rows_of(step, a_step, &train, Seed::new(config.seed).named("order"));
        let batches: Vec<&[&Sequence]> = chosen.chunks(trainer.settings.batch_size).collect();
        let stepped = trainer.step(step, &batches)?;
        let mut row = Row::new(step + 1, a_step as f64 / train.len() as f64, stepped, began.elapsed());
        let is_last = step + 1 == steps;
        if is_last || (every > 0 && (step + 1).is_multiple_of(every)) {
            let loss = trainer.loss(&validation)?;
            row.validation_loss = Some(loss);
            progress.look(loss, &trainer)?;
        }
        say(&row.to_string());
        progress.rows.push(row);
        if (step + 1).is_multiple_of(SAVED_EVERY) {
            state.save(&trainer, &progress)?;
        }
    }
    state.save(&trainer, &progress)?;
    let mut seen = demonstrations.keys();
    if let Some(begun_with) = &config.model.adapter {
        seen.extend(
            Learned::read(begun_with)?
                .into_iter()
                .flat_map(|earlier| earlier.prompts),
        );
    }
    let learned = progress.learned(digest, seen);
    progress.best(&mut trainer)?;
    let peft = trainer.lora.to_peft()?;
    // First what was learned from, so that there is no adapter without it; the adapter's own config comes last.
    learned.write(&adapter)?;
    peft.write_for(weights.config(), &adapter, &config.model.path.to_string_lossy())?;
    say(&format!(
        "warm start: held-out loss {:.4} → {:.4} after {} steps",
        learned.validation_loss_before, learned.validation_loss, learned.steps
    ));
    Ok(Some(learned))
}

/// The rows of a step: each pass over the data has an order of its own.
fn rows_of(step: u64, count: usize, train: &[Sequence], order: Seed) -> Vec<&Sequence> {
    let first = step as usize * count;
    let mut shuffled: Option<(usize, Vec<usize>)> = None;
    let places = (first..first + count).map(|place| {
        let pass = place / train.len();
        if shuffled.as_ref().is_none_or(|(of, _)| *of != pass) {
            let mut indices: Vec<usize> = (0..train.len()).collect();
            order.fold(pass as u64).shuffle(&mut indices);
            shuffled = Some((pass, indices));
        }
        let (_, indices) = shuffled.as_ref().expect("just made");
        &train[indices[place % train.len()]]
    });
    places.collect()
}

/// Demonstrations in tokens, without those that have more than `most`.
fn tokenize(text: &Text, demonstrations: &[Demonstration], most: usize) -> Result<Vec<Sequence>> {
    let sequence = |one: &Demonstration| -> Result<Sequence> {
        let prompt = text.chat_ids(&one.messages)?;
        let completion = text.answer_ids(&one.messages, &one.completion, true)?;
        if prompt.is_empty() {
            return Err(Error::mismatch(format!("the prompt of {} has no tokens", one.id)));
        }
        Ok(Sequence {
            start: prompt.len(),
            token_ids: [prompt, completion].concat(),
        })
    };
    let all: Vec<Sequence> = demonstrations.par_iter().map(sequence).collect::<Result<_>>()?;
    Ok(all.into_iter().filter(|one| one.token_ids.len() <= most).collect())
}
