//! From search vectors to evaluations. Texts and tensors stay below this line; numbers go up. [`Alignment`] is the
//! objective that the engine exists for; the test functions beside it let everything above be tried without a model.

use crate::adapter::decoding::Setting;
use crate::adapter::{AdapterBank, Space};
use crate::engine::text::Opened;
use crate::engine::{Completion, Finish, Request, Sampling, ScoreRequest};
use crate::error::{Error, Result};
use crate::model::Weights;
use crate::model::weights::hex;
use crate::search::{Evaluation, Fitness, Layout, mean};
use crate::seed::Seed;
use crate::task::{Example, Split, Task, Terms};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::path::Path;

/// Something that can be maximised by judging search vectors.
pub trait Objective {
    /// The search vector's slots.
    fn layout(&self) -> &Layout;

    /// How many examples a split has.
    fn examples(&self, split: Split) -> usize;

    /// Judges search vectors on questions, all `items` in one batch. Rollouts go to `take` as they end, in any order; an
    /// error of its ends the work. `go_on` is asked now and then; returns whether all was done, which it is not when that
    /// says no.
    fn evaluate(
        &mut self,
        thetas: &[Vec<f64>],
        questions: &Questions,
        items: &[Item],
        take: &mut dyn FnMut(Vec<Rollout>) -> Result<()>,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<bool>;

    /// SHA-256 of all that decides a judgement beside the config: weights, bases, examples. A run is only resumed on
    /// the same.
    fn digest(&self) -> Result<String>;

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
    /// Whether a task that can tell degrees ([`Task::graded_by`]) is asked for them, and no text is written.
    pub graded: bool,
}

/// One search vector on one question: the unit of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Item {
    /// Index into the search vectors; in a generation, the member.
    pub candidate: usize,
    /// Index into the questions' examples.
    pub question: usize,
}

/// One judged text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rollout {
    /// Whose it is, and to what.
    #[serde(flatten)]
    pub item: Item,
    /// The example.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub prompt_id: String,
    /// The example's last turn.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub prompt: String,
    /// What the model wrote.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub completion: String,
    /// The judgement.
    #[serde(flatten)]
    pub terms: Terms,
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// Tokens of the completion.
    pub tokens: usize,
    /// Why it ended.
    pub finish_reason: Finish,
}

impl Rollout {
    /// Its numbers alone: what crosses ranks.
    pub fn without_texts(&self) -> Self {
        Self {
            prompt_id: String::new(),
            prompt: String::new(),
            completion: String::new(),
            terms: self.terms.clone(),
            ..*self
        }
    }
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
    /// The answers that training examples are graded by; none where the task grades none.
    answers: Vec<Vec<u32>>,
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
        let graded = task.examples(Split::Train).par_iter().filter_map(|example| {
            let (answer, _) = task.graded_by(example)?;
            Some(text.answer_ids(&example.messages, answer))
        });
        let answers = graded.collect::<Result<Vec<Vec<u32>>>>()?;
        assert!(
            answers.is_empty() || answers.len() == task.examples(Split::Train).len(),
            "a task grades all of its examples or none"
        );
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
            answers,
        })
    }

    /// What θ moves.
    pub fn space(&self) -> &Space {
        &self.space
    }

    /// The same on another space of the same model.
    pub fn reopened(mut self, open: impl FnOnce(&Weights) -> Result<Space>) -> Result<Self> {
        self.space = open(&self.opened.weights)?;
        self.bank = AdapterBank::new(&self.space, self.opened.engine.model());
        Ok(self)
    }

    /// How a candidate chooses its tokens.
    fn sampling_of(&self, theta: &[f64]) -> Sampling {
        let mut sampling = self.sampling;
        for (setting, value) in self.space.decoding(theta) {
            match setting {
                Setting::Temperature => sampling.temperature = value,
                Setting::TopP => sampling.top_p = value,
            }
        }
        sampling
    }

    /// The model and its engine.
    pub fn opened(&self) -> &Opened {
        &self.opened
    }

    /// Has texts written, and judges them.
    fn write_and_judge(
        &mut self,
        thetas: &[Vec<f64>],
        questions: &Questions,
        items: &[Item],
        take: &mut dyn FnMut(Vec<Rollout>) -> Result<()>,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<bool> {
        let (split, prompts) = (questions.split, &self.prompts[name(questions.split)]);
        let stop = self.opened.text()?.stop().to_vec();
        let samplings: Vec<Sampling> = thetas.iter().map(|theta| self.sampling_of(theta)).collect();
        let Opened { engine, text, .. } = &mut self.opened;
        let text = text.as_ref().expect("asked for above");
        let example = |item: Item| questions.indices[item.question];
        let request = |item: &Item| Request {
            prompt_ids: prompts[example(*item)].clone(),
            candidate: item.candidate,
            max_new_tokens: self.max_new_tokens,
            sampling: samplings[item.candidate],
            seed: questions.seed.fold(example(*item) as u64),
            stop: stop.clone(),
        };
        let requests: Vec<Request> = items.iter().map(request).collect();
        let judge = |(index, completion): &(usize, Completion)| {
            let item = items[*index];
            let example = &self.task.examples(split)[example(item)];
            let response = text.decode(&completion.token_ids);
            Rollout {
                item,
                prompt_id: example.id.clone(),
                prompt: last_turn(example),
                terms: self.task.judge(example, &response),
                completion: response,
                prompt_tokens: requests[*index].prompt_ids.len(),
                tokens: completion.token_ids.len(),
                finish_reason: completion.finish,
            }
        };
        let mut take = |completions: Vec<(usize, Completion)>| take(completions.par_iter().map(judge).collect());
        engine.generate_each(&requests, Some(&self.bank), &mut take, go_on)
    }

    /// Asks how probable the right answers are. The reward is the probability that a text sampled at temperature 1 is the
    /// answer and nothing else: the expectation of an exact match, without its noise.
    fn grade(
        &mut self,
        questions: &Questions,
        items: &[Item],
        take: &mut dyn FnMut(Vec<Rollout>) -> Result<()>,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<bool> {
        let (examples, prompts) = (self.task.examples(Split::Train), &self.prompts[name(Split::Train)]);
        let example = |item: Item| questions.indices[item.question];
        let request = |item: &Item| ScoreRequest {
            prompt_ids: prompts[example(*item)].clone(),
            completion_ids: self.answers[example(*item)].clone(),
            candidate: item.candidate,
        };
        let requests: Vec<ScoreRequest> = items.iter().map(request).collect();
        let rollout = |(index, logarithms): &(usize, Vec<f32>)| {
            let (item, request) = (items[*index], &requests[*index]);
            let example = &examples[example(item)];
            let (answer, grade) = self.task.graded_by(example).expect("a graded example");
            Rollout {
                item,
                prompt_id: example.id.clone(),
                prompt: last_turn(example),
                completion: answer.into(),
                terms: grade.terms(logarithms),
                prompt_tokens: request.prompt_ids.len(),
                tokens: request.completion_ids.len(),
                finish_reason: Finish::Stop,
            }
        };
        let mut take = |scores: Vec<(usize, Vec<f32>)>| take(scores.iter().map(rollout).collect());
        let engine = &mut self.opened.engine;
        engine.score_each(&requests, Some(&self.bank), &mut take, go_on)
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
        items: &[Item],
        take: &mut dyn FnMut(Vec<Rollout>) -> Result<()>,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<bool> {
        self.bank.set(&self.space, thetas);
        if questions.graded && questions.split == Split::Train && !self.answers.is_empty() {
            self.grade(questions, items, take, go_on)
        } else {
            self.write_and_judge(thetas, questions, items, take, go_on)
        }
    }

    fn digest(&self) -> Result<String> {
        let mut hash = Sha256::new();
        hash.update(self.opened.weights.digest()?);
        for split in [Split::Train, Split::Validation, Split::Test] {
            hash.update(serde_json::to_vec(self.task.examples(split)).expect("JSON of text"));
        }
        let floats = self.bank.paths().iter().flatten().flatten();
        for number in floats.flat_map(|path| [&path.v, &path.ut]).flatten() {
            hash.update(number.to_le_bytes());
        }
        Ok(hex(&hash.finalize()))
    }

    fn export(&self, theta: &[f64], directory: &Path) -> Result<()> {
        self.space.write(theta, directory, &self.base_name)
    }
}

/// Sums up the rollouts of one candidate; a failed judgement counts as its reward says, and is counted.
pub fn evaluation(rollouts: &[&Rollout]) -> Evaluation {
    let rewards: Vec<f64> = rollouts.iter().map(|rollout| rollout.terms.reward).collect();
    let mut parts: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for (part, value) in rollouts.iter().flat_map(|rollout| &rollout.terms.parts) {
        parts.entry(part.clone()).or_default().push(*value);
    }
    let count = |is: &dyn Fn(&Rollout) -> bool| rollouts.iter().filter(|rollout| is(rollout)).count();
    let failed = count(&|rollout| rollout.terms.failed);
    Evaluation {
        fitness: if failed == rollouts.len() {
            Fitness::FAILED
        } else {
            Fitness::new(mean(&rewards))
        },
        terms: parts.into_iter().map(|(part, values)| (part, mean(&values))).collect(),
        rewards,
        failed,
        truncated: count(&|rollout| rollout.finish_reason == Finish::Length),
        prompt_tokens: rollouts.iter().map(|rollout| rollout.prompt_tokens).sum(),
        completion_tokens: rollouts.iter().map(|rollout| rollout.tokens).sum(),
    }
}

fn last_turn(example: &Example) -> String {
    let last = example.messages.last();
    last.map_or(String::new(), |message| message.content.clone())
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
        _: &Questions,
        items: &[Item],
        take: &mut dyn FnMut(Vec<Rollout>) -> Result<()>,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<bool> {
        let value = |theta: &Vec<f64>| -theta.iter().map(|x| (x - self.target).powi(2)).sum::<f64>();
        for item in items {
            if !go_on() {
                return Ok(false);
            }
            take(vec![Rollout {
                item: *item,
                prompt_id: item.question.to_string(),
                prompt: String::new(),
                completion: String::new(),
                terms: Terms {
                    reward: value(&thetas[item.candidate]),
                    ..Default::default()
                },
                prompt_tokens: 0,
                tokens: 0,
                finish_reason: Finish::Stop,
            }])?;
        }
        Ok(true)
    }

    fn digest(&self) -> Result<String> {
        Ok(format!("sphere {} around {}", self.layout.dim(), self.target))
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
            item: Item {
                candidate: 0,
                question: 0,
            },
            prompt_id: "1".into(),
            prompt: String::new(),
            completion: String::new(),
            terms: Terms {
                reward,
                failed,
                ..Default::default()
            },
            prompt_tokens: 10,
            tokens: 3,
            finish_reason: Finish::Stop,
        }
    }

    /// Promise 6: a failed judgement is data, counted and scored as it says; only where nothing could be judged has
    /// the candidate failed.
    #[test]
    fn failed_judgements_are_counted() {
        let some = evaluation(&[&rollout(1.0, false), &rollout(0.0, true)]);
        assert_eq!(
            (some.fitness, some.failed, some.completion_tokens),
            (Fitness::new(0.5), 1, 6)
        );
        assert!(evaluation(&[&rollout(0.0, true)]).fitness.is_failed());
    }
}
