//! Supervised steps: the loss of tokenized demonstrations, its gradient, and AdamW. A step's loss is the mean over all completion tokens of its
//! batches, as transformers counts it, so that accumulating gradients changes nothing but memory.

use super::adamw::{AdamW, cosine};
use super::lora::TrainableLora;
use crate::config::TrainingSection;
use crate::error::{Error, Result};
use crate::model::{Module, Plain};
use tch::{Kind, Tensor};

/// A demonstration in tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sequence {
    /// Prompt and completion.
    pub token_ids: Vec<u32>,
    /// Where the completion begins; at least 1.
    pub start: usize,
}

/// What came of a step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stepped {
    /// Mean over completion tokens, nats, before the step.
    pub loss: f64,
    /// The gradient's norm before it was clipped.
    pub grad_norm: f64,
    /// What the learning rate was.
    pub learning_rate: f64,
    /// Tokens read, prompts included.
    pub tokens: usize,
}

/// A frozen model, an adapter, and what moves it.
pub struct Trainer {
    /// The frozen weights.
    pub model: Plain,
    /// What is learned.
    pub lora: TrainableLora,
    /// Moments.
    pub optimizer: AdamW,
    /// Rates and sizes.
    pub settings: TrainingSection,
    /// Over which the rate falls.
    pub steps: u64,
}

impl Trainer {
    /// Step `step`, counted from 0, on batches that are read one after the other.
    pub fn step(&mut self, step: u64, batches: &[&[&Sequence]]) -> Result<Stepped> {
        let sequences = || batches.iter().copied().flatten();
        let asked: usize = sequences().map(|one| one.token_ids.len() - one.start).sum();
        let mut loss = 0.0;
        for batch in batches {
            let own = self.negative_log_likelihood(batch)?.f_div_scalar(asked as f64)?;
            own.f_backward()?;
            loss += own.f_double_value(&[])?;
        }
        if !loss.is_finite() {
            return Err(Error::mismatch(format!(
                "the loss of step {} is {loss}; lower training.learning_rate",
                step + 1
            )));
        }
        let settings = &self.settings;
        let learning_rate = settings.learning_rate * cosine(step, settings.warmup_steps, self.steps);
        let grad_norm = self.optimizer.step(
            &self.lora.factors(),
            learning_rate,
            settings.weight_decay,
            settings.max_grad_norm,
        )?;
        Ok(Stepped {
            loss,
            grad_norm,
            learning_rate,
            tokens: sequences().map(|one| one.token_ids.len()).sum(),
        })
    }

    /// Mean over the completion tokens of held-out sequences, nats.
    pub fn loss(&self, sequences: &[Sequence]) -> Result<f64> {
        let guard = tch::no_grad_guard();
        let (mut sum, mut asked) = (0.0, 0);
        for batch in sequences.chunks(self.settings.batch_size) {
            let batch: Vec<&Sequence> = batch.iter().collect();
            sum += self.negative_log_likelihood(&batch)?.f_double_value(&[])?;
            asked += batch.iter().map(|one| one.token_ids.len() - one.start).sum::<usize>();
        }
        drop(guard);
        Ok(sum / asked as f64)
    }

    /// Summed over completion tokens.
    fn negative_log_likelihood(&self, batch: &[&Sequence]) -> Result<Tensor> {
        let ids: Vec<&[u32]> = batch.iter().map(|one| one.token_ids.as_slice()).collect();
        let starts: Vec<usize> = batch.iter().map(|one| one.start).collect();
        let side = |layer: usize, module: Module, x: &Tensor, y: Tensor| self.lora.add(layer, module, x, y);
        let logarithms = self.model.log_probabilities(&ids, &starts, &side)?;
        Ok(logarithms.f_sum(Kind::Float)?.f_neg()?)
    }
}
