//! What a warm start is between two steps: the factors, the moments, the best factors so far, and a row for each step that was taken. It is one file,
//! written to a sibling and renamed, so that it is whole whenever the process ends.

use super::adamw::AdamW;
use super::trainer::{Stepped, Trainer};
use crate::adapter::Learned;
use crate::error::{Error, Result};
use crate::files::write_atomically;
use crate::model::numbers;
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tch::Tensor;

/// A line of `metrics.csv`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// From 1.
    pub step: u64,
    /// Passes over the rows after this step.
    pub epoch: f64,
    /// Mean over the completion tokens of the step, nats, before it.
    pub loss: f64,
    /// What it was in this step.
    pub learning_rate: f64,
    /// Before clipping.
    pub grad_norm: f64,
    /// Tokens read, prompts included.
    pub tokens: usize,
    /// Of these, forward, backward and update.
    pub tokens_per_second: f64,
    /// Held-out loss after this step, where it was looked at.
    pub validation_loss: Option<f64>,
}

impl Row {
    /// Of a step that took so long, and is `share` of a pass.
    pub fn new(step: u64, share: f64, stepped: Stepped, took: Duration) -> Self {
        Self {
            step,
            epoch: step as f64 * share,
            loss: stepped.loss,
            learning_rate: stepped.learning_rate,
            grad_norm: stepped.grad_norm,
            tokens: stepped.tokens,
            tokens_per_second: stepped.tokens as f64 / took.as_secs_f64().max(1e-9),
            validation_loss: None,
        }
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(
            f,
            "step {}  loss {:.4}  learning rate {:.2e}  gradient {:.3}  {:.0} tokens/s",
            self.step, self.loss, self.learning_rate, self.grad_norm, self.tokens_per_second
        )?;
        self.validation_loss
            .map_or(Ok(()), |loss| write!(f, "  held-out loss {loss:.4}"))
    }
}

/// How far it is.
#[derive(Debug)]
pub struct Progress {
    /// A row for each step.
    pub rows: Vec<Row>,
    before: f64,
    best_loss: f64,
    best_step: u64,
    /// Looks since the best one.
    stalled: u64,
    best: BTreeMap<String, Tensor>,
}

fn copies(trainer: &Trainer) -> Result<BTreeMap<String, Tensor>> {
    let factors = trainer.lora.factors().into_iter();
    factors
        .map(|(name, factor)| Ok((name, factor.f_detach()?.copy())))
        .collect()
}

impl Progress {
    /// Before the first step, at which the held-out loss is `loss`.
    pub fn new(loss: f64, trainer: &Trainer) -> Result<Self> {
        Ok(Self {
            rows: Vec::new(),
            before: loss,
            best_loss: loss,
            best_step: 0,
            stalled: 0,
            best: copies(trainer)?,
        })
    }

    /// After a step at which the held-out loss is `loss`.
    pub fn look(&mut self, loss: f64, trainer: &Trainer) -> Result<()> {
        if loss < self.best_loss {
            (self.best_loss, self.best_step, self.stalled) = (loss, self.rows.len() as u64 + 1, 0);
            self.best = copies(trainer)?;
        } else {
            self.stalled += 1;
        }
        Ok(())
    }

    /// Whether the held-out loss has not fallen in so many looks.
    pub fn has_stalled(&self, patience: Option<u64>) -> bool {
        patience.is_some_and(|patience| self.stalled >= patience)
    }

    /// Puts the best factors back.
    pub fn best(&self, trainer: &mut Trainer) -> Result<()> {
        assert!(trainer.lora.restore(&self.best), "they are copies of its own");
        Ok(())
    }

    /// What an adapter of the best factors says of itself.
    pub fn learned(&self, config_sha256: String, keys: HashSet<String>) -> Learned {
        let mut prompts: Vec<String> = keys.into_iter().collect();
        prompts.sort();
        Learned {
            config_sha256,
            steps: self.best_step,
            validation_loss_before: self.before,
            validation_loss: self.best_loss,
            prompts,
        }
    }
}

/// The file of a warm start's state.
pub struct State {
    path: PathBuf,
    metrics: PathBuf,
    digest: String,
}

/// What stands beside the tensors.
#[derive(Serialize, Deserialize)]
struct Header {
    config_sha256: String,
    rows: Vec<Row>,
    before: f64,
    best_loss: f64,
    best_step: u64,
    stalled: u64,
}

const BEST: &str = "best.";

impl State {
    /// Of the warm start in `directory` whose config has this digest.
    pub fn new(directory: &Path, digest: &str) -> Self {
        Self {
            path: directory.join("state.safetensors"),
            metrics: directory.join("metrics.csv"),
            digest: digest.into(),
        }
    }

    /// Writes state and metrics.
    pub fn save(&self, trainer: &Trainer, progress: &Progress) -> Result<()> {
        let header = Header {
            config_sha256: self.digest.clone(),
            rows: progress.rows.clone(),
            before: progress.before,
            best_loss: progress.best_loss,
            best_step: progress.best_step,
            stalled: progress.stalled,
        };
        let best = progress
            .best
            .iter()
            .map(|(name, tensor)| (format!("{BEST}{name}"), tensor));
        let factors = trainer.lora.factors();
        let mut tensors = Vec::new();
        for (name, tensor) in factors.into_iter().chain(trainer.optimizer.moments()).chain(best) {
            let bytes: Vec<u8> = numbers(tensor)?.iter().flat_map(|x| x.to_le_bytes()).collect();
            let shape: Vec<usize> = tensor.size().iter().map(|&size| size as usize).collect();
            tensors.push((name, shape, bytes));
        }
        let views = tensors.iter().map(|(name, shape, bytes)| {
            let view = TensorView::new(Dtype::F32, shape.clone(), bytes).expect("bytes of this shape");
            (name.as_str(), view)
        });
        let header = serde_json::to_string(&header).expect("JSON of numbers and text");
        let bytes =
            safetensors::serialize(views, Some([("state".to_owned(), header)].into())).expect("names of their own");
        write_atomically(&self.path, &bytes)?;
        let mut csv = csv::Writer::from_writer(Vec::new());
        for row in &progress.rows {
            csv.serialize(row).expect("a row in memory");
        }
        write_atomically(&self.metrics, &csv.into_inner().expect("a table in memory"))
    }

    /// Puts a state back into a trainer; none where there is no file.
    pub fn load(&self, trainer: &mut Trainer) -> Result<Option<Progress>> {
        if !self.path.exists() {
            return Ok(None);
        }
        let bytes = std::fs::read(&self.path).map_err(Error::io(&self.path))?;
        let error = |what: &str| Error::file(&self.path, what.to_owned());
        let broken = || error("is not the state of a warm start; remove it to begin again");
        let (_, metadata) = SafeTensors::read_metadata(&bytes).map_err(|_| broken())?;
        let header = metadata.metadata().as_ref().and_then(|entries| entries.get("state"));
        let header: Header = header
            .and_then(|text| serde_json::from_str(text).ok())
            .ok_or_else(broken)?;
        if header.config_sha256 != self.digest {
            return Err(error(
                "is the state of another warm start; take another --out, or remove its folder",
            ));
        }
        let mut tensors = BTreeMap::new();
        for (name, view) in SafeTensors::deserialize(&bytes).map_err(|_| broken())?.tensors() {
            let numbers: Vec<f32> = view
                .data()
                .chunks_exact(4)
                .map(|bytes| f32::from_le_bytes(bytes.try_into().expect("four bytes")))
                .collect();
            let shape: Vec<i64> = view.shape().iter().map(|&size| size as i64).collect();
            tensors.insert(name, Tensor::from_slice(&numbers).f_view(shape.as_slice())?);
        }
        let best: BTreeMap<String, Tensor> = tensors
            .iter()
            .filter_map(|(name, tensor)| Some((name.strip_prefix(BEST)?.to_owned(), tensor.shallow_clone())))
            .collect();
        if !trainer.lora.restore(&tensors) {
            return Err(broken());
        }
        if !header.rows.is_empty() {
            let steps = header.rows.len() as u64;
            trainer.optimizer = AdamW::restore(&trainer.lora.factors(), &tensors, steps).ok_or_else(broken)?;
        }
        Ok(Some(Progress {
            rows: header.rows,
            before: header.before,
            best_loss: header.best_loss,
            best_step: header.best_step,
            stalled: header.stalled,
            best,
        }))
    }
}
