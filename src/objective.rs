//! From search vectors to evaluations. Texts and tensors stay below this line; numbers go up. [`Alignment`] is the
//! objective that the engine exists for; the test functions beside it let everything above be tried without a model.

use crate::adapter::{AdapterBank, Space};
use crate::engine::text::Opened;
use crate::engine::{Completion, Finish, Request, Sampling};
use crate::error::{Error, Result};
use crate::search::{Evaluation, Fitness, Layout, mean};
use crate::seed::Seed;
use crate::task::{Split, Task, Terms};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// Something that can be maximised by judging search vectors.
pub trait Objective {
    /// The search vector's slots.
    fn layout(&self) -> &Layout;

    /// How many examples a split has.
    fn examples(&self, split: Split) -> usize;

    /// Judges every search vector on the same questions, all in one batch. Each judged text goes into `rollouts`. `go_on`
    /// is asked now and then; when it says no, there is no result.
    fn evaluate(
        &mut self,
        thetas: &[Vec<f64>],
        questions: &Questions,
        rollouts: &mut Vec<Rollout>,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<Option<Vec<Evaluation>>>;

    /// Writes one search vector as something that others can use.
    fn export(&self, theta: &[f64], directory: &Path) -> Result<()>;
}

/// The examples that all candidates of a generation are judged on.
#[derive(Clone, Debug, PartialEq)]
pub struct Questions {
    /// Which split.
    pub split: Split,
    /// Which of its examples.
    pub indices: Vec<usize>,
    /// The stream of sampled texts; example i uses `seed.fold(i)`, whoever the candidate is.
    pub seed: Seed,
}

/// One judged text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rollout {
    /// Index into the search vectors that were judged.
    pub candidate: usize,
    /// The example.
    pub prompt_id: String,
    /// The example's last turn.
    pub prompt: String,
    /// What the model wrote.
    pub completion: String,
    /// The judgement.
    #[serde(flatten)]
    pub terms: Terms,
    /// Tokens of the completion.
    pub tokens: usize,
    /// Why it ended.
    pub finish_reason: Finish,
}

/// A language model, an adapter space on it, and a task.
pub struct Alignment {
    opened: Opened,
    space: Space,
    bank: AdapterBank,
    task: Box<dyn Task>,
    sampling: Sampling,
    max_new_tokens: usize,
    /// What the adapter's config calls the base model.
    base_name: String,
    /// Prompts by split, tokenized once a run.
    prompts: BTreeMap<&'static str, Vec<Vec<u32>>>,
}

impl Alignment {
    /// Puts the parts together and tokenizes every prompt of the task.
    pub fn new(
        opened: Opened,
        space: Space,
        task: Box<dyn Task>,
        sampling: Sampling,
        max_new_tokens: usize,
        base_name: String,
    ) -> Result<Self> {
        let text = opened.text()?;
        let context = opened.weights.config().context;
        let mut prompts = BTreeMap::new();
        for split in [Split::Train, Split::Validation, Split::Test] {
            let examples = task.examples(split);
            let ids: Result<Vec<Vec<u32>>> = examples
                .par_iter()
                .map(|example| text.chat_ids(&example.messages))
                .collect();
            let ids = ids?;
            if let Some((ids, example)) = ids
                .iter()
                .zip(examples)
                .find(|(ids, _)| ids.len() + max_new_tokens > context)
            {
                return Err(Error::mismatch(format!(
                    "example `{}` has {} tokens, and {max_new_tokens} may follow; the model's context is {context}: shorten the prompt or generation.max_new_tokens",
                    example.id,
                    ids.len()
                )));
            }
            prompts.insert(name(split), ids);
        }
        let bank = AdapterBank::new(&space, opened.engine.model());
        Ok(Self {
            opened,
            space,
            bank,
            task,
            sampling,
            max_new_tokens,
            base_name,
            prompts,
        })
    }

    /// The model and its engine.
    pub fn opened(&self) -> &Opened {
        &self.opened
    }

    fn judge(&self, questions: &Questions, candidate: usize, completions: &[Completion]) -> (Evaluation, Vec<Rollout>) {
        let examples = self.task.examples(questions.split);
        let prompts = &self.prompts[name(questions.split)];
        let text = self.opened.text.as_ref().expect("checked when the objective was made");
        let rollouts: Vec<Rollout> = questions
            .indices
            .par_iter()
            .zip(completions)
            .map(|(&index, completion)| {
                let response = text.decode(&completion.token_ids);
                Rollout {
                    candidate,
                    prompt_id: examples[index].id.clone(),
                    prompt: examples[index]
                        .messages
                        .last()
                        .map_or(String::new(), |message| message.content.clone()),
                    terms: self.task.judge(&examples[index], &response),
                    completion: response,
                    tokens: completion.token_ids.len(),
                    finish_reason: completion.finish,
                }
            })
            .collect();
        let prompt_tokens = questions.indices.iter().map(|&index| prompts[index].len()).sum();
        (evaluation(&rollouts, prompt_tokens), rollouts)
    }
}

impl Objective for Alignment {
    fn layout(&self) -> &Layout {
        self.space.layout()
    }

    fn examples(&self, split: Split) -> usize {
        self.task.examples(split).len()
    }

    fn evaluate(
        &mut self,
        thetas: &[Vec<f64>],
        questions: &Questions,
        rollouts: &mut Vec<Rollout>,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<Option<Vec<Evaluation>>> {
        self.bank.set(&self.space, thetas);
        let prompts = &self.prompts[name(questions.split)];
        let stop = self.opened.text()?.stop();
        let requests: Vec<Request> = (0..thetas.len())
            .flat_map(|candidate| questions.indices.iter().map(move |&index| (candidate, index)))
            .map(|(candidate, index)| Request {
                prompt_ids: prompts[index].clone(),
                candidate,
                max_new_tokens: self.max_new_tokens,
                sampling: self.sampling,
                seed: questions.seed.fold(index as u64),
                stop: stop.to_vec(),
            })
            .collect();
        let Some(completions) = self.opened.engine.generate(&requests, Some(&self.bank), go_on)? else {
            return Ok(None);
        };
        let mut evaluations = Vec::with_capacity(thetas.len());
        for (candidate, completions) in completions.chunks_exact(questions.indices.len()).enumerate() {
            let (evaluation, judged) = self.judge(questions, candidate, completions);
            evaluations.push(evaluation);
            rollouts.extend(judged);
        }
        Ok(Some(evaluations))
    }

    fn export(&self, theta: &[f64], directory: &Path) -> Result<()> {
        self.space.export(theta).write(directory, &self.base_name)
    }
}

/// Sums judged texts up; a failed judgement counts as its reward says, and is counted.
fn evaluation(rollouts: &[Rollout], prompt_tokens: usize) -> Evaluation {
    let rewards: Vec<f64> = rollouts.iter().map(|rollout| rollout.terms.reward).collect();
    let mut parts: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for (part, value) in rollouts.iter().flat_map(|rollout| &rollout.terms.parts) {
        parts.entry(part.clone()).or_default().push(*value);
    }
    let failed = rollouts.iter().filter(|rollout| rollout.terms.failed).count();
    Evaluation {
        fitness: if failed == rollouts.len() {
            Fitness::FAILED
        } else {
            Fitness::new(mean(&rewards))
        },
        terms: parts.into_iter().map(|(part, values)| (part, mean(&values))).collect(),
        rewards,
        failed,
        truncated: rollouts
            .iter()
            .filter(|rollout| rollout.finish_reason == Finish::Length)
            .count(),
        prompt_tokens,
        completion_tokens: rollouts.iter().map(|rollout| rollout.tokens).sum(),
    }
}

fn name(split: Split) -> &'static str {
    match split {
        Split::Train => "train",
        Split::Validation => "validation",
        Split::Test => "test",
    }
}

/// −‖θ − target‖², the same on every question: a smoke test of everything above an objective.
pub struct Sphere {
    layout: Layout,
    target: f64,
}

impl Sphere {
    /// In `n` dimensions, with the optimum at `target` in each.
    pub fn new(n: usize, target: f64) -> Self {
        Self {
            layout: Layout::new([("x".to_string(), n)]),
            target,
        }
    }
}

impl Objective for Sphere {
    fn layout(&self) -> &Layout {
        &self.layout
    }

    fn examples(&self, _: Split) -> usize {
        8
    }

    fn evaluate(
        &mut self,
        thetas: &[Vec<f64>],
        questions: &Questions,
        _: &mut Vec<Rollout>,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<Option<Vec<Evaluation>>> {
        let value = |theta: &Vec<f64>| -theta.iter().map(|x| (x - self.target).powi(2)).sum::<f64>();
        let one = |theta: &Vec<f64>| Evaluation {
            fitness: Fitness::new(value(theta)),
            terms: BTreeMap::new(),
            rewards: vec![value(theta); questions.indices.len()],
            failed: 0,
            truncated: 0,
            prompt_tokens: 0,
            completion_tokens: 0,
        };
        Ok(go_on().then(|| thetas.iter().map(one).collect()))
    }

    fn export(&self, theta: &[f64], directory: &Path) -> Result<()> {
        let json = serde_json::to_string(theta).expect("JSON of numbers");
        crate::files::write_atomically(&directory.join("theta.json"), json.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rollout(reward: f64, failed: bool) -> Rollout {
        Rollout {
            candidate: 0,
            prompt_id: "1".into(),
            prompt: String::new(),
            completion: String::new(),
            terms: Terms {
                reward,
                failed,
                ..Default::default()
            },
            tokens: 3,
            finish_reason: Finish::Stop,
        }
    }

    /// Promise 6: a failed judgement is data, counted and scored as it says; only where nothing could be judged has
    /// the candidate failed.
    #[test]
    fn failed_judgements_are_counted() {
        let some = evaluation(&[rollout(1.0, false), rollout(0.0, true)], 10);
        assert_eq!(
            (some.fitness, some.failed, some.completion_tokens),
            (Fitness::new(0.5), 1, 6)
        );
        assert!(evaluation(&[rollout(0.0, true)], 10).fitness.is_failed());
    }
}
